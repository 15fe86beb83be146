//! Messages to streams of Redis.
//!
//! Part of INV-ONE-STEP: one script compares the position of the lane, adds the entries of the batch and moves the position. Redis runs a
//! script alone and keeps or forgets what it did as a whole, so entries and position never disagree, whatever Redis loses in a crash.

mod check;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use toml::Table;

use crate::batch::{Batch, Row};
use crate::bridge::STEP_LIMIT;
use crate::bridge::carry::{HeaderRule, LeftOut, leaving, leaving_envelope};
use crate::bridge::route::MessageRoute;
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::headers::to_json;
use crate::kind::SinkKind;
use crate::place::{LaneName, Position};
use crate::redis::entry::{self, EntryField, LeavingFields, PAYLOAD};
use crate::redis::link::{RedisAccess, RedisLink};
use crate::secret::SecretSource;
use crate::sink::{Promise, Sink, SinkSpec};
use crate::table::positions::FreshLanes;

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "redis",
    promise: "exactly once, as far as Redis keeps what it was told: one script adds the entries and moves the position",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "to.redis";

const EXAMPLE: &str = r#"[to.redis]
# redis://USER@HOST:PORT/DATABASE, or rediss:// with TLS.
url = "redis://bridge@redis.internal:6379/0"
# The password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "REDIS_PASSWORD" }
# The certificate of the authority that vouches for the server, for rediss://; without it those that browsers trust.
# ca_file = "redis-ca.pem"
# The key of a stream, or what makes one of each message: a program in jq, .field, @topic.
stream = '"orders:\(.country)"'
# The field of an entry that holds the payload; headers are the others.
payload = "payload"
# About so many entries are kept in a stream, the newest; all of them without it.
# max_entries = 1000000
# "drop-long": headers are fields; "envelope": the payload becomes JSON with headers and payload.
headers = "drop-long"
# How long Redis may take to answer.
timeout = "30s"
# Connections that all partitions share.
connections = 2
"#;

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedisTargetSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    stream: MessageRoute,
    payload: Option<String>,
    max_entries: Option<u64>,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
    connections: Option<usize>,
}

/// Streams of a server.
struct RedisTarget {
    access: RedisAccess,
    pipeline: String,
    stream: MessageRoute,
    payload_field: String,
    max_entries: u64,
    headers: HeaderRule,
    connections: usize,
    script: redis::Script,
    fresh: FreshLanes,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let fault = |what: &str| ConfigError { at: format!("[{SECTION}]"), what: what.to_owned() };
    let settings: RedisTargetSettings = settings(SECTION, table)?;
    if settings.stream.fixed() == Some("") {
        return Err(fault("stream is empty"));
    }
    if settings.connections == Some(0) {
        return Err(fault("connections is at least 1"));
    }
    if settings.max_entries == Some(0) {
        return Err(fault("max_entries is at least 1"));
    }
    let pipeline = surroundings.pipeline.clone();
    let limit = settings.timeout.map_or(STEP_LIMIT, |span| span.0);
    let access = RedisAccess::new(&settings.url, format!("galgo:{pipeline}"), limit);
    Ok(Box::new(RedisSpec(Arc::new(RedisTarget {
        access: RedisAccess {
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            ..access.map_err(|what| fault(&what))?
        },
        pipeline,
        stream: settings.stream,
        payload_field: settings.payload.unwrap_or_else(|| PAYLOAD.to_owned()),
        max_entries: settings.max_entries.unwrap_or(0),
        headers: settings.headers,
        connections: settings.connections.unwrap_or(2),
        script: redis::Script::new(include_str!("redis/write.lua")),
        fresh: FreshLanes::default(),
        left_out: LeftOut::default(),
    }))))
}

/// A message as it is added.
struct NewEntry {
    stream: String,
    fields: Vec<EntryField>,
}

impl RedisTarget {
    /// A row as it is added.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    fn entry(
        &self,
        lane: &LaneName,
        row: &Row,
        stream: Result<String, String>,
    ) -> Result<NewEntry, String> {
        let stream = stream?;
        if stream.is_empty() {
            return Err(format!("{} gives an empty key", self.stream));
        }
        let headers =
            leaving(lane, row).map_err(|error| format!("its headers cannot be read: {error}"))?;
        let LeavingFields { mut fields, left_out } = entry::leaving(&headers, &self.payload_field);
        let payload: Bytes = match self.headers {
            HeaderRule::Envelope => leaving_envelope(row, &headers),
            HeaderRule::DropLong => {
                self.left_out.add(left_out, &self.pipeline);
                row.payload.clone()
            }
        };
        let name = self.payload_field.clone().into_bytes();
        fields.insert(0, EntryField { name, value: payload.to_vec() });
        Ok(NewEntry { stream, fields })
    }
}

struct RedisSpec(Arc<RedisTarget>);

#[async_trait]
impl SinkSpec for RedisSpec {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn needs_json(&self) -> bool {
        self.0.stream.needs_json()
    }

    fn connections(&self) -> usize {
        self.0.connections
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(RedisSink { target: self.0.clone(), link: None })
    }

    async fn prepare(&self) -> Result<(), Failure> {
        let link = self.0.access.connect().await?;
        self.0.find_stream(&link).await?;
        self.0.try_script(&link).await
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        check::check(&self.0, sample).await
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        let target = &self.0;
        let entry = target.entry(lane, row, target.stream.of(lane, row))?;
        let headers = row.headers().map_err(|error| error.to_string())?;
        let payload = entry.fields.first().map(|field| String::from_utf8_lossy(&field.value));
        let payload = payload.unwrap_or_default();
        Ok(format!("stream \"{}\", headers {}: {payload}", entry.stream, to_json(&headers)))
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        let link = self.0.access.connect().await?;
        self.0.forget(&link).await
    }
}

/// A connection, opened when it is needed.
struct RedisSink {
    target: Arc<RedisTarget>,
    link: Option<RedisLink>,
}

impl RedisSink {
    /// The connection; whoever is done with it and finds it well puts it back.
    async fn take_link(&mut self) -> Result<RedisLink, Failure> {
        match self.link.take() {
            Some(link) => Ok(link),
            None => self.target.access.connect().await,
        }
    }

    fn put_back<T>(&mut self, link: RedisLink, result: Result<T, Failure>) -> Result<T, Failure> {
        let is_doubtful = matches!(
            result,
            Err(Failure::Away { .. } | Failure::Refused { .. } | Failure::Unknown { .. })
        );
        if !is_doubtful {
            self.link = Some(link);
        }
        result
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        let link = self.take_link().await?;
        let result = self.target.position(&link, lane).await;
        self.put_back(link, result)
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let link = self.take_link().await?;
        let result = self.target.write(&link, lane, batch).await;
        self.put_back(link, result)
    }

    async fn set_position(&mut self, lane: &LaneName, position: &Position) -> Result<(), Failure> {
        let link = self.take_link().await?;
        let result = self.target.set_position(&link, lane, position).await;
        self.put_back(link, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Form;
    use crate::batch::tests::row;
    use crate::bridge::sample_lane;

    fn read_text(text: &str) -> Result<Box<dyn SinkSpec>, ConfigError> {
        let whole: Table = text.parse().unwrap();
        let section = whole["to"]["redis"].as_table().unwrap().clone();
        read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
    }

    #[test]
    fn the_example_is_read_and_a_wrong_section_says_why() {
        let spec = read_text(EXAMPLE).unwrap();
        assert_eq!(spec.promise(), Promise::ExactlyOnce);
        assert!(spec.needs_json());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        let base = "[to.redis]\nurl = 'redis://h'\nstream = ";
        assert!(fault(&format!("{base}''")).contains("stream is empty"));
        assert!(fault(&format!("{base}'a'\nstreams = 1")).contains("mean \"stream\""));
        assert!(fault(&format!("{base}'a'\nmax_entries = 0")).contains("at least 1"));
        assert!(fault("[to.redis]\nurl = 'redis://h/x'\nstream = 'a'").contains("number of a"));
    }

    #[test]
    fn a_key_that_is_none_is_a_bad_message() {
        let spec = read_text("[to.redis]\nurl = 'redis://h'\nstream = '.n'").unwrap();
        let mut row = row(1, 0);
        row.form = Form::Json;
        row.payload = Bytes::from_static(b"{\"n\":\"\",\"secret\":\"MARK\"}");
        assert_eq!(
            spec.preview(&sample_lane("p"), &row).unwrap_err(),
            ".n gives an empty key",
            "INV-MUTE"
        );
    }
}
