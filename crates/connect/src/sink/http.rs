//! Requests over HTTP: a message each, or a batch, to whoever takes them, to ClickHouse and to Elasticsearch.
//!
//! Part of INV-PLACE-KEY: the key that tells the target that a request comes again depends on the places of the messages alone.
//!
//! Part of INV-MUTE: answers are looked at and never shown.

mod answer;
mod batches;
mod clickhouse;
mod elasticsearch;
mod message;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use toml::Table;

use crate::batch::{Batch, Row};
use crate::config::{ConfigError, Surroundings};
use crate::failure::{Failure, Finding};
use crate::kind::SinkKind;
use crate::place::{LaneName, Place, Position};
use crate::sink::{Promise, Sink, SinkSpec};
use crate::transform::as_json;
use crate::web::{NoAnswer, WebAnswer, WebClient, tls};
use message::DeliveryProgress;
use settings::{Body, HttpSettings, RequestAddress};

/// Bytes that are read of an answer whose body says nothing to us.
const ANSWER_MAX: usize = 64 << 10;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "http",
    promise: "at least once, with the message's place as Idempotency-Key; ClickHouse: exactly once on one node; Elasticsearch: \
              repeats overwrite themselves, as _id is the place",
    example: include_str!("http/example.toml"),
    read,
};

fn read(table: Table, around: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let settings = Arc::new(HttpSettings::read(table, around)?);
    Ok(Box::new(HttpTarget { settings, progress: Arc::default(), seen: Arc::default() }))
}

/// The target as the file describes it.
struct HttpTarget {
    settings: Arc<HttpSettings>,
    progress: Arc<DeliveryProgress>,
    seen: Arc<clickhouse::Seen>,
}

/// A client with connections of its own, opened anew after a failure: files of TLS are read again then.
struct HttpSink {
    settings: Arc<HttpSettings>,
    progress: Arc<DeliveryProgress>,
    seen: Arc<clickhouse::Seen>,
    client: Option<WebClient>,
}

impl HttpTarget {
    fn connection(&self) -> HttpSink {
        HttpSink {
            settings: Arc::clone(&self.settings),
            progress: Arc::clone(&self.progress),
            seen: Arc::clone(&self.seen),
            client: None,
        }
    }
}

#[async_trait]
impl SinkSpec for HttpTarget {
    fn promise(&self) -> Promise {
        match self.settings.body {
            Body::Message | Body::Lines | Body::Array => Promise::AtLeastOnce,
            Body::Elasticsearch => Promise::Idempotent,
            Body::Clickhouse => Promise::ExactlyOnce,
        }
    }

    fn needs_json(&self) -> bool {
        self.settings.body != Body::Message
    }

    fn connections(&self) -> usize {
        self.settings.connections
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.connection())
    }

    async fn prepare(&self) -> Result<(), Failure> {
        let mut connection = self.connection();
        // What is wrong with secrets and files of TLS is said at once.
        self.settings.headers()?;
        connection.client()?;
        match &self.settings.clickhouse {
            Some(table) => clickhouse::prepare(&mut connection, table).await,
            None => Ok(()),
        }
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        let mut connection = self.connection();
        let mut findings = match (&self.settings.clickhouse, &self.settings.elasticsearch) {
            (Some(table), _) => clickhouse::check(&mut connection, table).await?,
            (None, Some(index)) => elasticsearch::check(&mut connection, index).await?,
            (None, None) => message::check(&mut connection).await?,
        };
        // Whether a row can be written does not depend on its lane.
        let lane = LaneName {
            pipeline: self.settings.pipeline.clone(),
            stream: String::new(),
            topic: String::new(),
            partition: 0,
        };
        let bad =
            sample.iter().filter_map(|row| Some((row.place, self.preview(&lane, row).err()?)));
        findings.extend(bad.map(|(place, reason)| {
            Finding::fault(
                format!("message {}: {reason}", place.offset),
                "add a transform, or see errors.on_bad",
            )
        }));
        Ok(findings)
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match (&self.settings.clickhouse, &self.settings.elasticsearch) {
            (Some(table), _) => clickhouse::shown(table, lane, row).map(|line| shown(&line)),
            (None, Some(index)) => {
                elasticsearch::entry(index, lane, row).map(|entry| shown(&entry).replace('\n', " "))
            }
            (None, None) if self.settings.body == Body::Message => Ok(shown(&row.payload)),
            (None, None) => line(row).map(|line| shown(&line)),
        }
    }
}

#[async_trait]
impl Sink for HttpSink {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        let settings = Arc::clone(&self.settings);
        match &settings.clickhouse {
            Some(table) => clickhouse::position(self, table, lane).await,
            None => Ok(None),
        }
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let settings = Arc::clone(&self.settings);
        let written = match (&settings.clickhouse, &settings.elasticsearch) {
            _ if batch.rows().is_empty() => Ok(()),
            (Some(table), _) => clickhouse::write(self, table, lane, batch).await,
            (None, Some(index)) => elasticsearch::write(self, index, lane, batch).await,
            (None, None) if settings.body == Body::Message => {
                message::write(self, lane, batch).await
            }
            (None, None) => batches::write(self, lane, batch).await,
        };
        if let Err(Failure::Away { .. } | Failure::Refused { .. } | Failure::Unknown { .. }) =
            &written
        {
            self.client = None;
        }
        written
    }

    async fn set_position(&mut self, lane: &LaneName, position: &Position) -> Result<(), Failure> {
        let settings = Arc::clone(&self.settings);
        match &settings.clickhouse {
            Some(table) => clickhouse::set_position(self, table, lane, position).await,
            None => Err(Failure::refused(
                format!("the target keeps no position of {lane}"),
                "set the offset of the group: galgo offset set",
            )),
        }
    }
}

impl HttpSink {
    fn client(&mut self) -> Result<WebClient, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = WebClient::new(tls::client_config(&self.settings.tls)?, self.settings.timeout);
        self.client = Some(client.clone());
        Ok(client)
    }

    /// The address, where it is the same for all.
    fn uri(&self) -> Result<Uri, Failure> {
        match &self.settings.address {
            RequestAddress::Fixed(uri) => Ok(uri.clone()),
            RequestAddress::Of(_) => Err(Failure::refused("url is an expression", "write a URL")),
        }
    }

    /// A request with the headers of the file.
    fn request(&self, method: Method, uri: Uri, body: Bytes) -> Result<Request<Bytes>, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().extend(self.settings.headers()?);
        Ok(request)
    }

    async fn ask(
        &mut self,
        request: Request<Bytes>,
        body_max: usize,
    ) -> Result<Result<WebAnswer, NoAnswer>, Failure> {
        Ok(self.client()?.ask(request, body_max).await)
    }
}

/// The place of a row as text: the same on every try, and all it depends on.
fn place_key(lane: &LaneName, place: Place) -> String {
    match place.part {
        0 => format!("{lane}/{}", place.offset),
        part => format!("{lane}/{}/{part}", place.offset),
    }
}

/// A text as the value of a header: what a header cannot hold is written as `%XX`.
fn header_value(text: &str) -> HeaderValue {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    let Ok(value) = HeaderValue::from_str(&escaped) else {
        unreachable!("INV-PLACE-KEY: visible characters are a header")
    };
    value
}

/// The payload of a row as JSON in one line.
fn line(row: &Row) -> Result<Bytes, String> {
    let json = as_json(row.form, &row.payload).map_err(|bad| bad.reason)?;
    if !json.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Ok(json);
    }
    // In a text of JSON they are escaped, so these stand between values.
    let spaced = json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
    Ok(spaced.collect())
}
