//! What a section `[to.http]` says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Uri;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use toml::Table;

use super::clickhouse::ClickHouseSettings;
use super::elasticsearch::ElasticsearchSettings;
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::Failure;
use crate::secret::SecretSource;
use crate::transform::Expression;
use crate::web::tls::TlsFiles;

const SECTION: &str = "to.http";
/// Requests of a lane at a time.
const CONCURRENCY_MAX: usize = 64;

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSinkSection {
    url: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, HeaderSource>,
    #[serde(default)]
    body: Body,
    #[serde(default = "half_a_minute")]
    timeout: Span,
    #[serde(default = "one")]
    concurrency: usize,
    #[serde(default = "four")]
    connections: usize,
    content_type: Option<String>,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    clickhouse: Option<ClickHouseSettings>,
    elasticsearch: Option<ElasticsearchSettings>,
}

fn post() -> String {
    "POST".to_owned()
}

fn half_a_minute() -> Span {
    Span(Duration::from_secs(30))
}

fn one() -> usize {
    1
}

fn four() -> usize {
    4
}

/// What a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Body {
    /// One message.
    #[default]
    Message,
    /// A batch, a line of JSON for each.
    Lines,
    /// A batch as a list of JSON.
    Array,
    /// A batch for ClickHouse.
    Clickhouse,
    /// A batch for the bulk interface of Elasticsearch or OpenSearch.
    Elasticsearch,
}

/// The value of a header.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a header is a text, { env = \"NAME\" } or { file = \"PATH\" }")]
pub(super) enum HeaderSource {
    /// As it is written.
    Text(String),
    /// A secret.
    Secret(SecretSource),
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum RequestAddress {
    Fixed(Uri),
    /// Another one for each message.
    Of(Expression),
}

/// The section, checked.
#[derive(Debug)]
pub(super) struct HttpSettings {
    pub(super) pipeline: String,
    pub(super) address: RequestAddress,
    pub(super) method: Method,
    pub(super) headers: Vec<(HeaderName, HeaderSource)>,
    pub(super) body: Body,
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) connections: usize,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) tls: TlsFiles,
    pub(super) clickhouse: Option<ClickHouseSettings>,
    pub(super) elasticsearch: Option<ElasticsearchSettings>,
}

fn wrong(what: impl Into<String>) -> ConfigError {
    ConfigError { at: format!("[{SECTION}]"), what: what.into() }
}

impl HttpSettings {
    pub(super) fn read(table: Table, around: &Surroundings) -> Result<Self, ConfigError> {
        let section: HttpSinkSection = settings(SECTION, table)?;
        let method = section.method.parse().map_err(|_| {
            wrong(format!("\"{}\" is no method; use POST, PUT or PATCH", section.method))
        })?;
        let mut headers = Vec::with_capacity(section.headers.len());
        for (name, mut source) in section.headers {
            let parsed: HeaderName =
                name.parse().map_err(|_| wrong(format!("headers: \"{name}\" is no header")))?;
            if let HeaderSource::Text(text) = &source
                && HeaderValue::from_str(text).is_err()
            {
                return Err(wrong(format!("headers: {name} has characters no header can have")));
            }
            if let HeaderSource::Secret(SecretSource::File(path)) = &mut source {
                *path = around.path(path);
            }
            headers.push((parsed, source));
        }
        let content_type = section.content_type.map(|text| {
            HeaderValue::from_str(&text).map_err(|_| wrong("content_type cannot be a header"))
        });
        let at = |path: Option<PathBuf>| path.map(|path| around.path(&path));
        let identity = match (at(section.cert_file), at(section.key_file)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("cert_file and key_file belong together: name both")),
        };
        let mut clickhouse = section.clickhouse;
        if let Some(SecretSource::File(path)) =
            clickhouse.as_mut().and_then(|it| it.password.as_mut())
        {
            *path = around.path(path);
        }
        let read = Self {
            pipeline: around.pipeline.clone(),
            address: address(&section.url)?,
            method,
            headers,
            body: section.body,
            timeout: section.timeout.0,
            concurrency: section.concurrency,
            connections: section.connections,
            content_type: content_type.transpose()?,
            tls: TlsFiles { ca: at(section.ca_file), identity },
            clickhouse,
            elasticsearch: section.elasticsearch,
        };
        read.fits_together()?;
        Ok(read)
    }

    fn fits_together(&self) -> Result<(), ConfigError> {
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return Err(wrong(format!("concurrency is between 1 and {CONCURRENCY_MAX}")));
        }
        if !(1..=CONCURRENCY_MAX).contains(&self.connections) {
            return Err(wrong(format!("connections is between 1 and {CONCURRENCY_MAX}")));
        }
        if self.timeout.is_zero() {
            return Err(wrong("timeout has to be longer than nothing"));
        }
        let is_batch = self.body != Body::Message;
        if is_batch && matches!(self.address, RequestAddress::Of(_)) {
            return Err(wrong("url can be made of a message only with body = \"message\""));
        }
        if is_batch && self.concurrency > 1 {
            return Err(wrong("concurrency is for body = \"message\"; a batch is one request"));
        }
        let sections = [
            (Body::Clickhouse, "clickhouse", self.clickhouse.is_some()),
            (Body::Elasticsearch, "elasticsearch", self.elasticsearch.is_some()),
        ];
        for (body, name, is_there) in sections {
            match (self.body == body, is_there) {
                (true, false) => {
                    return Err(wrong(format!(
                        "body = \"{name}\" needs a section [{SECTION}.{name}]"
                    )));
                }
                (false, true) => {
                    return Err(wrong(format!("[{SECTION}.{name}] needs body = \"{name}\"")));
                }
                _ => {}
            }
        }
        self.clickhouse.as_ref().map_or(Ok(()), |it| it.fits_together().map_err(wrong))?;
        self.elasticsearch.as_ref().map_or(Ok(()), |it| it.fits_together().map_err(wrong))
    }

    /// The headers as they are now: secrets are read.
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
        let value = |(name, source): &(HeaderName, HeaderSource)| {
            let refused = |what: String| {
                Failure::refused(format!("header {name}: {what}"), "see headers in [to.http]")
            };
            let value = match source {
                HeaderSource::Text(text) => HeaderValue::from_str(text),
                HeaderSource::Secret(secret) => {
                    let secret = secret.read().map_err(|error| refused(error.to_string()))?;
                    HeaderValue::from_str(secret.reveal())
                }
            };
            let mut value =
                value.map_err(|_| refused("it has characters no header can have".to_owned()))?;
            value.set_sensitive(matches!(source, HeaderSource::Secret(_)));
            Ok((name.clone(), value))
        };
        self.headers.iter().map(value).collect()
    }
}

/// A URL, or an expression that gives one.
fn address(text: &str) -> Result<RequestAddress, ConfigError> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return url(text).map(RequestAddress::Fixed).map_err(|what| wrong(format!("url: {what}")));
    }
    Expression::compile(text).map(RequestAddress::Of).map_err(|what| {
        wrong(format!("url begins with http:// or https://, or is an expression; as that: {what}"))
    })
}

/// A URL that requests can go to.
///
/// # Errors
/// What is wrong with it, without itself: it may be made of a message.
pub(super) fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "it is no URL".to_owned())?;
    let authority = uri.authority().ok_or("it names no host")?;
    match uri.scheme_str() {
        Some("http" | "https") if authority.as_str().contains('@') => {
            Err("a user in it would be shown; use headers with a secret".to_owned())
        }
        Some("http" | "https") => Ok(uri),
        _ => Err("it begins with neither http:// nor https://".to_owned()),
    }
}
