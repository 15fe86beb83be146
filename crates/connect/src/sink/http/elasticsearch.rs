//! The bulk interface of Elasticsearch and OpenSearch: the id of a document is the place of its message, so that what comes again
//! writes the same document once more.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Uri};
use serde::Deserialize;

use super::answer::{RequestVerdict, verdict};
use super::batches::{each, joined};
use super::{ANSWER_MAX, HttpSink, line, place_key};
use crate::batch::{Batch, Row};
use crate::failure::{Failure, Finding};
use crate::place::LaneName;
use crate::web::{NoAnswer, retry_after};

/// `[to.http.elasticsearch]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ElasticsearchSettings {
    /// The index, or a data stream.
    pub(super) index: String,
    /// What is done with a document that is there already.
    #[serde(default)]
    pub(super) op: Operation,
    /// An ingest pipeline of the target.
    pub(super) pipeline: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    /// It is written again.
    #[default]
    Index,
    /// It stays; a data stream takes nothing else.
    Create,
}

/// Bytes of an answer for each document: statuses and names of errors alone are asked for.
const ANSWER_PER_ITEM: usize = 1 << 10;
/// Bytes that an id of theirs may have.
const ID_MAX: usize = 512;

impl ElasticsearchSettings {
    pub(super) fn fits_together(&self) -> Result<(), String> {
        let is_name = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !text.is_empty() && text.chars().all(allowed)
        };
        if !is_name(&self.index) {
            return Err("elasticsearch.index has letters, digits, dots, _ and -".to_owned());
        }
        if self.pipeline.as_deref().is_some_and(|name| !is_name(name)) {
            return Err("elasticsearch.pipeline has letters, digits, dots, _ and -".to_owned());
        }
        Ok(())
    }

    fn word(&self) -> &'static str {
        match self.op {
            Operation::Index => "index",
            Operation::Create => "create",
        }
    }
}

/// The two lines of a row.
pub(super) fn entry(
    settings: &ElasticsearchSettings,
    lane: &LaneName,
    row: &Row,
) -> Result<Bytes, String> {
    let id = place_key(lane, row.place);
    if id.len() > ID_MAX {
        return Err(format!("its place has more than {ID_MAX} bytes as an id"));
    }
    let document = line(row)?;
    if !document.trim_ascii_start().starts_with(b"{") {
        return Err("it is no JSON object, and a document has to be one".to_owned());
    }
    let action = serde_json::json!({ (settings.word()): { "_id": id } }).to_string();
    Ok([action.as_bytes(), b"\n", &document].concat().into())
}

fn path(sink: &HttpSink, path_and_query: &str) -> Result<Uri, Failure> {
    let base = sink.uri()?;
    let prefix = base.path().trim_end_matches('/');
    let mut parts = base.clone().into_parts();
    parts.path_and_query = format!("{prefix}{path_and_query}").parse().ok();
    Uri::from_parts(parts)
        .map_err(|_| Failure::refused("url and index make no address", "look at url and index"))
}

pub(super) async fn write(
    sink: &mut HttpSink,
    settings: &ElasticsearchSettings,
    lane: &LaneName,
    batch: &Batch,
) -> Result<(), Failure> {
    let entries = each(batch, |row| entry(settings, lane, row))?;
    let pipeline = settings.pipeline.as_ref().map(|name| format!("&pipeline={name}"));
    let uri = path(
        sink,
        &format!(
            "/{}/_bulk?filter_path=errors,items.*.status,items.*.error.type{}",
            settings.index,
            pipeline.unwrap_or_default()
        ),
    )?;
    let mut request = sink.request(Method::POST, uri, joined(&entries))?;
    let content_type = sink.settings.content_type.clone();
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    request.headers_mut().insert(CONTENT_TYPE, content_type.unwrap_or(ndjson));
    let answer_max = ANSWER_MAX + ANSWER_PER_ITEM * batch.rows().len();
    let answer = sink.ask(request, answer_max).await?.map_err(NoAnswer::failure)?;
    match verdict(&answer) {
        RequestVerdict::Done => {}
        RequestVerdict::AtFault(reason) => return Err(Failure::Batch { reason }),
        RequestVerdict::Fails(failure) => return Err(failure),
    }
    let said: BulkAnswer = serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::away("the target answers 200, but not as the bulk interface does"))?;
    judged(settings, batch, &said, retry_after(&answer.headers, SystemTime::now()))
}

#[derive(Debug, Deserialize)]
struct BulkAnswer {
    #[serde(default)]
    items: Vec<BulkItem>,
}

/// The outcome of an entry, under the word of its operation.
#[derive(Debug, Deserialize)]
struct BulkItem {
    #[serde(alias = "create")]
    index: ItemOutcome,
}

#[derive(Debug, Deserialize)]
struct ItemOutcome {
    status: u16,
    error: Option<ItemError>,
}

#[derive(Debug, Deserialize)]
struct ItemError {
    r#type: Option<String>,
}

impl ItemOutcome {
    /// The status and the name of the error; a name is shown only if it looks like one.
    fn said(&self) -> String {
        let name = self.error.as_ref().and_then(|error| error.r#type.as_deref());
        let is_name = |name: &&str| {
            name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let name = name.filter(is_name).unwrap_or("no name");
        format!("the target answers {} for it ({name})", self.status)
    }
}

/// What the outcomes of all entries come to.
fn judged(
    settings: &ElasticsearchSettings,
    batch: &Batch,
    said: &BulkAnswer,
    asked: Option<std::time::Duration>,
) -> Result<(), Failure> {
    if said.items.len() != batch.rows().len() {
        return Err(Failure::away(format!(
            "the target tells of {} documents, {} were sent",
            said.items.len(),
            batch.rows().len()
        )));
    }
    let (mut places, mut first) = (Vec::new(), None);
    let mut refused = None;
    for (row, item) in batch.rows().iter().zip(&said.items) {
        let outcome = &item.index;
        match outcome.status {
            200..=299 => {}
            409 if settings.op == Operation::Create => {}
            // The others are written: to write them again does no harm.
            429 | 500..=599 => {
                return Err(Failure::Away { reason: outcome.said(), retry_after: asked });
            }
            400 | 409 | 413 | 422 => {
                places.push(row.place);
                first = first.or_else(|| Some(outcome.said()));
            }
            _ => refused = refused.or_else(|| Some(outcome.said())),
        }
    }
    if let Some(reason) = refused {
        return Err(Failure::refused(reason, "look at the index and the rights of the user"));
    }
    match first {
        Some(reason) => Err(Failure::Bad { places, reason }),
        None => Ok(()),
    }
}

pub(super) async fn check(
    sink: &mut HttpSink,
    settings: &ElasticsearchSettings,
) -> Result<Vec<Finding>, Failure> {
    let uri = path(sink, &format!("/{}", settings.index))?;
    let request = sink.request(Method::HEAD, uri, Bytes::new())?;
    let answer = sink.ask(request, ANSWER_MAX).await?.map_err(NoAnswer::failure)?;
    let index = &settings.index;
    Ok(vec![match answer.status.as_u16() {
        200..=299 => Finding::good(format!("index {index} is there")),
        404 => Finding::warning(
            format!("index {index} is not there"),
            "the target makes it with the first document, with types it guesses; make it yourself if they matter",
        ),
        401 | 403 => Finding::fault(
            format!("the target answers {} about index {index}", answer.status),
            "look at the secret in headers and at its rights",
        ),
        _ => match verdict(&answer) {
            RequestVerdict::Fails(failure) => return Err(failure),
            RequestVerdict::AtFault(reason) => Finding::fault(reason, "look at url and index"),
            RequestVerdict::Done => Finding::good(format!("index {index} is there")),
        },
    }])
}
