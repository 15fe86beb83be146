//! Statements for ClickHouse over HTTP.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Uri};

use super::insert::{Beside, BesideBody};
use super::refusal;
use super::table::ClickHouseSettings;
use crate::failure::Failure;
use crate::sink::http::HttpSink;
use crate::web::NoAnswer;

/// Bytes that are read of an answer.
const ANSWER_MAX: usize = 1 << 20;

/// A statement and what is said beside it.
#[derive(Debug)]
pub(super) struct Query {
    statement: String,
    parameters: Vec<(String, String)>,
}

impl Query {
    pub(super) fn new(statement: impl Into<String>) -> Self {
        Self { statement: statement.into(), parameters: Vec::new() }
    }

    /// Names it: a second one of the name is refused while the first runs.
    pub(super) fn named(mut self, id: String) -> Self {
        self.parameters.push(("query_id".to_owned(), id));
        self
    }

    pub(super) fn with(mut self, settings: Vec<(String, String)>) -> Self {
        self.parameters.extend(settings);
        self
    }

    /// What the server says to it. It may be asked again.
    pub(super) async fn ask(
        self,
        sink: &mut HttpSink,
        table: &ClickHouseSettings,
    ) -> Result<String, Failure> {
        let statement = QueryBody { bytes: Bytes::from(self.statement), content_type: None };
        let answered = posted(sink, table, &self.parameters, statement).await?;
        match answered {
            Ok(text) => Ok(text),
            Err(refusal::StatementRefusal::No(failure)) => Err(failure),
            Err(refusal::StatementRefusal::Nothing(none)) => Err(none.failure()),
        }
    }

    /// Sends rows beside it.
    pub(super) async fn send(
        mut self,
        sink: &mut HttpSink,
        table: &ClickHouseSettings,
        beside: &Beside,
        lines: &Bytes,
    ) -> Result<(), Failure> {
        self.parameters.push(("query".to_owned(), self.statement));
        self.parameters.push((format!("{}_format", beside.name), "JSONEachRow".to_owned()));
        self.parameters.push((format!("{}_structure", beside.name), beside.structure.clone()));
        let BesideBody { bytes, content_type } = beside.body(lines);
        let rows = QueryBody { bytes, content_type: Some(content_type) };
        match posted(sink, table, &self.parameters, rows).await? {
            Ok(text) if text.trim().is_empty() => Ok(()),
            Ok(_) => Err(Failure::Unknown {
                reason: "the target answers 200 to an insert, and more".to_owned(),
            }),
            Err(refusal::StatementRefusal::No(failure)) => Err(failure),
            Err(refusal::StatementRefusal::Nothing(NoAnswer::Lost(reason))) => {
                Err(Failure::Unknown { reason })
            }
            Err(refusal::StatementRefusal::Nothing(none)) => Err(none.failure()),
        }
    }
}

/// A body and what it is.
struct QueryBody {
    bytes: Bytes,
    content_type: Option<String>,
}

async fn posted(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
    parameters: &[(String, String)],
    content: QueryBody,
) -> Result<Result<String, refusal::StatementRefusal>, Failure> {
    let uri = uri(&sink.uri()?, parameters)?;
    let mut request = sink.request(Method::POST, uri, content.bytes)?;
    if let Some(kind) = content.content_type.and_then(|kind| HeaderValue::try_from(kind).ok()) {
        request.headers_mut().insert(CONTENT_TYPE, kind);
    }
    if let Some(login) = login(table)? {
        request.headers_mut().insert(AUTHORIZATION, login);
    }
    let answer = match sink.ask(request, ANSWER_MAX).await? {
        Ok(answer) => answer,
        Err(none) => return Ok(Err(refusal::StatementRefusal::Nothing(none))),
    };
    if !answer.status.is_success() {
        return Ok(Err(refusal::StatementRefusal::No(refusal::failure(&answer))));
    }
    Ok(Ok(String::from_utf8_lossy(&answer.body).into_owned()))
}

/// The user and the password as they are now.
fn login(table: &ClickHouseSettings) -> Result<Option<HeaderValue>, Failure> {
    let Some(user) = &table.user else { return Ok(None) };
    let password = match &table.password {
        None => String::new(),
        Some(secret) => {
            let secret = secret.read().map_err(|error| {
                Failure::refused(
                    format!("the password of {user}: {error}"),
                    "see password in [to.http.clickhouse]",
                )
            })?;
            secret.reveal().to_owned()
        }
    };
    let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut login = HeaderValue::from_str(&login).map_err(|_| {
        Failure::refused("the password cannot be sent", "see password in [to.http.clickhouse]")
    })?;
    login.set_sensitive(true);
    Ok(Some(login))
}

/// The address with parameters behind it.
fn uri(base: &Uri, parameters: &[(String, String)]) -> Result<Uri, Failure> {
    let mut path = base.path().to_owned();
    let mut divider = '?';
    if let Some(query) = base.query() {
        path = format!("{path}?{query}");
        divider = '&';
    }
    for (name, value) in parameters {
        path.push(divider);
        path.push_str(name);
        path.push('=');
        escape(value, &mut path);
        divider = '&';
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).map_err(|_| {
        Failure::refused("url and the statement make no address", "look at url and at the columns")
    })
}

fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                into.push(char::from(byte));
            }
            _ => {
                let Ok(()) = write!(into, "%{byte:02X}") else {
                    unreachable!("text takes what is written to it")
                };
            }
        }
    }
}

/// A text in a statement.
pub(super) fn text_literal(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_survive_whatever_names_there_are() {
        assert_eq!(text_literal(r"it's \n"), r"'it\'s \\n'");
        let base = "http://h:1/p?x=1".parse().unwrap();
        let parameters = [("query".to_owned(), "a b&c=ü".to_owned())];
        let made = uri(&base, &parameters).unwrap();
        assert_eq!(made, "http://h:1/p?x=1&query=a%20b%26c%3D%C3%BC");
    }
}
