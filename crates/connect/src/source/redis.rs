//! Entries of a stream of Redis.
//!
//! A consumer group of the pipeline's name, of which each process is a member; an entry is acknowledged when Galgo has acknowledged it.
//! Until then Redis is told again and again that somebody is at work on it; what a member that is gone has left is taken over by another.

mod group;
mod pull;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use toml::Table;

use self::group::{EntryId, Member};
use self::pull::{EntryPuller, PullLinks, PullRules, TakenEntry};
use crate::bridge::carry::{GatheredHeaders, HeaderRule, LeftOut};
use crate::bridge::login::plain_name;
use crate::bridge::number::id_of_parts;
use crate::bridge::{CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, STEP_LIMIT};
use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::redis::entry::{self, PAYLOAD};
use crate::redis::link::{RedisAccess, RedisLink};
use crate::secret::SecretSource;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};

/// The kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "redis",
    promise: "once, within the deduplication of the topic: ids are made of stream and entry; acknowledged behind Galgo",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "from.redis";
/// While a run to the end finds nothing, it looks so often whether that is the end.
const END_LOOKS: Duration = Duration::from_millis(500);
/// Before it the ids of entries are no times.
const TIMES_BEGIN_MS: u64 = 1_000_000_000_000;

const EXAMPLE: &str = r#"[from.redis]
# redis://USER@HOST:PORT/DATABASE, or rediss:// with TLS.
url = "redis://bridge@redis.internal:6379/0"
# The password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "REDIS_PASSWORD" }
# The certificate of the authority that vouches for the server, for rediss://; without it those that browsers trust.
# ca_file = "redis-ca.pem"
# The key of the stream.
stream = "orders"
# The field of an entry that is the payload; the others are headers. An entry without it becomes JSON with all its fields.
payload = "payload"
# Where the very first run begins: "first" or "next".
start = "first"
# What is taken ahead of Galgo's acknowledgements.
prefetch = "8MiB"
# After so long without a sign of life what another process has taken is taken over.
claim_after = "30s"
# "drop-long": headers of more than 255 bytes are left out and counted; "envelope": the payload becomes JSON with all of them.
headers = "drop-long"
# How long Redis may take to answer.
timeout = "30s"
"#;

/// Where the very first run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RedisStart {
    #[default]
    First,
    Next,
}

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedisOriginSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    stream: String,
    payload: Option<String>,
    #[serde(default)]
    start: RedisStart,
    prefetch: Option<ByteSize>,
    claim_after: Option<Span>,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
}

/// A stream.
struct RedisOrigin {
    access: RedisAccess,
    pipeline: String,
    stream: String,
    payload_field: String,
    start: RedisStart,
    prefetch_bytes: usize,
    claim_after: Duration,
    headers: HeaderRule,
    left_out: LeftOut,
    /// Its name in the group.
    member: String,
    /// Whether the group was there once.
    has_begun: AtomicBool,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    let fault = |what: &str| ConfigError { at: format!("[{SECTION}]"), what: what.to_owned() };
    let settings: RedisOriginSettings = settings(SECTION, table)?;
    if settings.stream.is_empty() {
        return Err(fault("stream is empty"));
    }
    let claim_after = settings.claim_after.map_or(STEP_LIMIT, |span| span.0);
    if claim_after < Duration::from_secs(1) {
        return Err(fault("claim_after is at least 1s"));
    }
    let limit = settings.timeout.map_or(STEP_LIMIT, |span| span.0);
    if limit < Duration::from_secs(5) {
        return Err(fault("timeout is at least 5s, as Redis waits for entries for a while"));
    }
    let pipeline = surroundings.pipeline.clone();
    let access = RedisAccess::new(&settings.url, format!("galgo:{pipeline}"), limit);
    Ok(Box::new(RedisOriginSpec(Arc::new(RedisOrigin {
        access: RedisAccess {
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            ..access.map_err(|what| fault(&what))?
        },
        pipeline,
        stream: settings.stream,
        payload_field: settings.payload.unwrap_or_else(|| PAYLOAD.to_owned()),
        start: settings.start,
        prefetch_bytes: settings.prefetch.map_or(8 << 20, ByteSize::bytes),
        claim_after,
        headers: settings.headers,
        left_out: LeftOut::default(),
        member: member_name(),
        has_begun: AtomicBool::new(false),
    }))))
}

/// A name that no other process has.
fn member_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

struct RedisOriginSpec(Arc<RedisOrigin>);

#[async_trait]
impl SourceSpec for RedisOriginSpec {
    fn promise(&self) -> Promise {
        Promise::Idempotent
    }

    fn keeps_cursor(&self) -> bool {
        false
    }

    fn source(&self) -> Box<dyn Source> {
        // The same member each time: what it held is its own again after a lost connection.
        let (stream, group) = (self.0.stream.clone(), plain_name(&self.0.pipeline));
        let member = Arc::new(Member::new(stream, group, self.0.member.clone()));
        Box::new(RedisSource { origin: self.0.clone(), member, reading: None })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let found = async {
            let link = self.0.access.connect().await?;
            self.0.find_stream(&link).await
        };
        match found.await {
            Err(Failure::Refused { reason, advice }) => Ok(vec![Finding::fault(reason, advice)]),
            other => other,
        }
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        let link = self.0.access.connect().await?;
        let (stream, group) = (&self.0.stream, plain_name(&self.0.pipeline));
        let kind: String = link.ask(redis::cmd("TYPE").arg(stream)).await?;
        if kind != "stream" {
            return Ok(Vec::new());
        }
        let destroyed: u8 =
            link.ask(redis::cmd("XGROUP").arg("DESTROY").arg(stream).arg(&group)).await?;
        Ok(match destroyed {
            0 => Vec::new(),
            _ => vec![format!("group \"{group}\" of stream \"{stream}\" in Redis")],
        })
    }
}

impl RedisOrigin {
    async fn find_stream(&self, link: &RedisLink) -> Result<Vec<Finding>, Failure> {
        let (stream, group) = (&self.stream, plain_name(&self.pipeline));
        let kind: String = link.ask(redis::cmd("TYPE").arg(stream)).await?;
        match kind.as_str() {
            "none" => Ok(vec![Finding::warning(
                format!("there is no stream \"{stream}\""),
                "correct stream in the file, unless it is made later; the first run makes an empty one",
            )]),
            "stream" => {
                let length: u64 = link.ask(redis::cmd("XLEN").arg(stream)).await?;
                let there = format!("stream \"{stream}\" is there, {length} entries are in it");
                let command = redis::cmd("XINFO").arg("GROUPS").arg(stream).to_owned();
                let groups: Vec<std::collections::HashMap<String, redis::Value>> =
                    link.ask(&command).await?;
                let is_it = |told: &std::collections::HashMap<String, redis::Value>| {
                    told.get("name").is_some_and(|name| {
                        *name == redis::Value::BulkString(group.clone().into_bytes())
                    })
                };
                let text = match groups.iter().any(is_it) {
                    true => format!("group \"{group}\" is there"),
                    false => format!("group \"{group}\" is made by the first run"),
                };
                Ok(vec![
                    Finding::good(there),
                    Finding::good(text),
                    Finding::good(
                        "entries that are trimmed (MAXLEN) before they are read are lost; the log says how many",
                    ),
                ])
            }
            _ => Err(link.refused(
                &format!("the key \"{stream}\" is there and is no stream"),
                "correct stream in the file",
            )),
        }
    }

    fn incoming(&self, taken: TakenEntry) -> Incoming {
        let mut gathering = GatheredHeaders::new(self.headers);
        let payload = entry::arriving(&mut gathering, taken.fields, &self.payload_field);
        gathering.text("redis.stream", &self.stream);
        gathering.text("redis.id", &taken.id.to_string());
        if taken.is_again {
            gathering.value("redis.redelivered", true, json!(true));
        }
        let (headers, payload, form, left_out) = gathering.finish(payload);
        self.left_out.add(left_out, &self.pipeline);
        let EntryId { time, number } = taken.id;
        let id = id_of_parts(&[self.stream.as_bytes(), &time.to_le_bytes(), &number.to_le_bytes()]);
        let made_at = (time >= TIMES_BEGIN_MS).then(|| time.saturating_mul(1_000));
        Incoming { payload, form, key: None, id: Some(id), headers, made_at }
    }
}

/// A reader, opened by [`Source::begin`].
struct RedisSource {
    origin: Arc<RedisOrigin>,
    member: Arc<Member>,
    reading: Option<EntryReading>,
}

/// What is taken from Redis.
struct EntryReading {
    puller: EntryPuller,
    /// Whether it is to end, and whether it has.
    ends: Option<bool>,
}

impl RedisSource {
    fn reading(&mut self) -> Result<&mut EntryReading, Failure> {
        self.reading.as_mut().ok_or_else(|| Failure::away("Redis is not connected"))
    }

    /// Waits for the first entry of a chunk; `None` at the end.
    async fn first(&mut self) -> Result<Option<TakenEntry>, Failure> {
        let reading = self.reading()?;
        loop {
            match reading.ends {
                None => return reading.puller.next().await.map(Some),
                Some(true) => return Ok(None),
                Some(false) => match timeout(END_LOOKS, reading.puller.next()).await {
                    Ok(taken) => return taken.map(Some),
                    Err(_) => reading.ends = Some(reading.puller.is_at_end().await?),
                },
            }
        }
    }
}

#[async_trait]
impl Source for RedisSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        // What was not acknowledged comes again.
        self.reading = None;
        let origin = &self.origin;
        let link = origin.access.connect().await?;
        // A group that is gone since went with its stream: all that is in there now came later.
        let has_begun = origin.has_begun.load(Ordering::Relaxed);
        let is_first = has_begun || origin.start == RedisStart::First;
        let made = self.member.join(&link, is_first).await?;
        if made && has_begun {
            tracing::warn!(
                pipeline = origin.pipeline,
                stream = origin.stream,
                "the group was gone and is made again; it begins with the first entry there is"
            );
        }
        origin.has_begun.store(true, Ordering::Relaxed);
        let upto = match beginning.once {
            true => Some(self.member.last_id(&link).await?),
            false => None,
        };
        let rules = PullRules {
            prefetch_bytes: origin.prefetch_bytes,
            claim_after: origin.claim_after,
            upto,
        };
        let links = PullLinks { link, waiting: origin.access.connect().await? };
        let puller = EntryPuller::start(links, self.member.clone(), rules, &origin.pipeline);
        self.reading = Some(EntryReading { puller, ends: beginning.once.then_some(false) });
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let Some(first) = self.first().await? else { return Ok(None) };
        let origin = self.origin.clone();
        let reading = self.reading()?;
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut last = first.number;
        let mut next = Some(first);
        while let Some(taken) = next {
            last = taken.number;
            let incoming = origin.incoming(taken);
            bytes += incoming.payload.len();
            messages.push(incoming);
            let is_full = messages.len() >= CHUNK_MESSAGES_MAX || bytes >= CHUNK_BYTES_MAX;
            next = if is_full { None } else { reading.puller.next_at_hand() };
        }
        let cursor = json!({ "epoch": reading.puller.epoch, "number": last });
        Ok(Some(Chunk { messages, cursor: Cursor(cursor) }))
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let reading = self.reading()?;
        let number = |key: &str| cursor.0.get(key).and_then(serde_json::Value::as_u64);
        let (Some(epoch), Some(last)) = (number("epoch"), number("number")) else { return Ok(()) };
        // Of an earlier connection: they are read again.
        match epoch == reading.puller.epoch {
            true => reading.puller.acknowledge(last).await,
            false => Ok(()),
        }
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        match self.reading.take() {
            Some(reading) => reading.puller.leave().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read_and_a_wrong_section_says_why() {
        let read_text = |text: &str| {
            let whole: Table = text.parse().unwrap();
            let section = whole["from"]["redis"].as_table().unwrap().clone();
            read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
        };
        let spec = read_text(EXAMPLE).unwrap();
        assert!(!spec.keeps_cursor());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        let base = "[from.redis]\nurl = 'redis://h'\nstream = 's'\n";
        assert!(fault(&format!("{base}claim_after = '10ms'")).contains("at least 1s"));
        assert!(fault(&format!("{base}timeout = '1s'")).contains("at least 5s"));
        assert!(fault(&format!("{base}start = 'last'")).contains("last"));
        assert!(fault(&format!("{base}streem = 's'")).contains("did you mean \"stream\""));
    }
}
