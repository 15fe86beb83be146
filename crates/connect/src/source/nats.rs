//! Messages of a JetStream stream.
//!
//! A durable consumer of the pipeline's name; each message is acknowledged when Galgo has acknowledged it. Until then NATS is told
//! again and again that somebody is at work on it, so that it is not delivered a second time while Galgo is away.

mod pull;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull::Config};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::Stream;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use toml::Table;

use self::pull::{NatsDelivery, Puller};
use crate::bridge::carry::{GatheredHeaders, HeaderRule, LeftOut};
use crate::bridge::login::plain_name;
use crate::bridge::number::id_of_parts;
use crate::bridge::{CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, STEP_LIMIT};
use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::nats::headers;
use crate::nats::link::{NatsAccess, NatsLink};
use crate::secret::SecretSource;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};

/// The kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "nats",
    promise: "once, within the deduplication of the topic: ids are made of stream and sequence; acknowledged behind Galgo",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "from.nats";
/// While a run to the end finds nothing, it looks so often whether that is the end.
const END_LOOKS: Duration = Duration::from_secs(1);
/// Messages NATS delivers ahead of acknowledgements.
const AHEAD_MAX: u16 = 5_000;

const _: () = assert!(
    AHEAD_MAX as usize / 2 >= CHUNK_MESSAGES_MAX,
    "a whole chunk waits for Galgo while the next one comes"
);

const EXAMPLE: &str = r#"[from.nats]
# nats://USER@HOST:PORT, or tls:// with TLS.
url = "nats://bridge@nats.internal:4222"
# The password, or a token in place of user and password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "NATS_PASSWORD" }
# token = { file = "nats-token" }
# The certificate of the authority that vouches for the server, for tls://; without it those that browsers trust.
# ca_file = "nats-ca.pem"
# The stream of JetStream, which has to be there.
stream = "SHOP"
# Only messages of these subjects.
subject = "shop.orders.>"
# Where the very first run begins: "first" or "next".
start = "first"
# What NATS may send ahead of Galgo's acknowledgements.
prefetch = "8MiB"
# How long NATS waits for a sign of life before it delivers a message again.
ack_wait = "30s"
# "drop-long": headers of more than 255 bytes are left out and counted; "envelope": the payload becomes JSON with all of them.
headers = "drop-long"
# How long NATS may take to answer.
timeout = "30s"
"#;

/// Where the very first run begins.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NatsStart {
    #[default]
    First,
    Next,
}

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NatsOriginSettings {
    url: String,
    password: Option<SecretSource>,
    token: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    stream: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    start: NatsStart,
    prefetch: Option<ByteSize>,
    ack_wait: Option<Span>,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
}

/// A stream of JetStream.
#[derive(Debug)]
struct NatsOrigin {
    access: NatsAccess,
    pipeline: String,
    stream: String,
    subject: String,
    start: NatsStart,
    prefetch_bytes: usize,
    ack_wait: Duration,
    headers: HeaderRule,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    let fault = |what: String| ConfigError { at: format!("[{SECTION}]"), what };
    let settings: NatsOriginSettings = settings(SECTION, table)?;
    let ack_wait = settings.ack_wait.map_or(STEP_LIMIT, |span| span.0);
    if ack_wait < Duration::from_secs(1) {
        return Err(fault("ack_wait is at least 1s".to_owned()));
    }
    let pipeline = surroundings.pipeline.clone();
    Ok(Box::new(NatsOriginSpec(Arc::new(NatsOrigin {
        access: NatsAccess {
            address: NatsAccess::address(&settings.url).map_err(fault)?,
            password: settings.password,
            token: settings.token,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            name: format!("galgo:{pipeline}"),
            limit: settings.timeout.map_or(STEP_LIMIT, |span| span.0),
        },
        pipeline,
        stream: settings.stream,
        subject: settings.subject,
        start: settings.start,
        prefetch_bytes: settings.prefetch.map_or(8 << 20, ByteSize::bytes),
        ack_wait,
        headers: settings.headers,
        left_out: LeftOut::default(),
    }))))
}

struct NatsOriginSpec(Arc<NatsOrigin>);

#[async_trait]
impl SourceSpec for NatsOriginSpec {
    fn promise(&self) -> Promise {
        Promise::Idempotent
    }

    fn keeps_cursor(&self) -> bool {
        false
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(NatsSource { origin: self.0.clone(), reading: None })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let found = async {
            let link = self.0.access.connect().await?;
            let stream = self.0.find_stream(&link).await?;
            let state = &stream.cached_info().state;
            let name = &self.0.stream;
            let mut findings = vec![Finding::good(format!(
                "stream \"{name}\" is there, {} messages are in it",
                state.messages
            ))];
            let consumer = self.0.consumer_name();
            let known = link.ask(stream.consumer_info(&consumer)).await?;
            findings.push(Finding::good(match known {
                Ok(info) => format!(
                    "consumer \"{consumer}\" is there, {} messages wait for it",
                    info.num_pending
                ),
                Err(_) => format!("consumer \"{consumer}\" is made by the first run"),
            }));
            Ok(findings)
        };
        match found.await {
            Err(Failure::Refused { reason, advice }) => Ok(vec![Finding::fault(reason, advice)]),
            other => other,
        }
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        let link = self.0.access.connect().await?;
        let stream = self.0.find_stream(&link).await?;
        let consumer = self.0.consumer_name();
        if link.ask(stream.consumer_info(&consumer)).await?.is_err() {
            return Ok(Vec::new());
        }
        let deleted = link.ask(stream.delete_consumer(&consumer)).await?;
        deleted.map_err(|error| link.away(&error.to_string()))?;
        Ok(vec![format!("consumer \"{consumer}\" of stream \"{}\" in NATS", self.0.stream)])
    }
}

impl NatsOrigin {
    /// The durable consumer: the name of the pipeline, of letters that NATS allows.
    fn consumer_name(&self) -> String {
        plain_name(&self.pipeline)
    }

    async fn find_stream(&self, link: &NatsLink) -> Result<Stream, Failure> {
        let name = &self.stream;
        link.ask(link.jetstream.get_stream(name)).await?.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.code() == 404 => link.refused(
                &format!("there is no stream \"{name}\""),
                "make it, or correct stream in the file",
            ),
            GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => link.refused(
                &format!("\"{name}\" cannot be the name of a stream"),
                "correct stream in the file",
            ),
            _ => link.away(&format!("JetStream does not answer: {error}")),
        })
    }

    async fn consumer(&self, link: &NatsLink, stream: &Stream) -> Result<PullConsumer, Failure> {
        let config = Config {
            durable_name: Some(self.consumer_name()),
            description: Some(format!("galgo connect, pipeline {}", self.pipeline)),
            deliver_policy: match self.start {
                NatsStart::First => DeliverPolicy::All,
                NatsStart::Next => DeliverPolicy::New,
            },
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            filter_subject: self.subject.clone(),
            max_ack_pending: i64::from(AHEAD_MAX),
            ..Config::default()
        };
        // What is there is changed to what the file says, if NATS allows that.
        let made = link.ask(stream.create_consumer(config)).await?;
        made.map_err(|error| {
            let reason = format!("consumer \"{}\" cannot be made: {error}", self.consumer_name());
            match error.kind() {
                async_nats::jetstream::stream::ConsumerErrorKind::JetStream(said)
                    if (400..500).contains(&said.code()) && said.code() != 408 =>
                {
                    link.refused(
                        &reason,
                        "correct subject and start in the file, or remove the consumer: galgo connect cleanup",
                    )
                }
                _ => link.away(&reason),
            }
        })
    }

    fn incoming(&self, stream_made_at: i128, delivered: &NatsDelivery) -> Incoming {
        let message = &delivered.message;
        let mut gathering = GatheredHeaders::new(self.headers);
        headers::arriving(&mut gathering, message.headers.as_ref());
        gathering.text("nats.subject", &message.subject);
        if delivered.times > 1 {
            gathering.value("nats.redelivered", true, json!(true));
        }
        let (headers, payload, form, left_out) = gathering.finish(message.payload.clone());
        self.left_out.add(left_out, &self.pipeline);
        // A stream that was made again counts from 1 again.
        let id = id_of_parts(&[
            self.stream.as_bytes(),
            &stream_made_at.to_le_bytes(),
            &delivered.sequence.to_le_bytes(),
        ]);
        let made_at = Some(delivered.published_us);
        Incoming { payload, form, key: None, id: Some(id), headers, made_at }
    }
}

/// A reader, opened by [`Source::begin`].
struct NatsSource {
    origin: Arc<NatsOrigin>,
    reading: Option<NatsReading>,
}

/// What NATS delivers.
struct NatsReading {
    puller: Puller,
    stream_made_at: i128,
    /// Messages up to the end that was found at the beginning, if it is to end there.
    left: Option<u64>,
}

impl NatsSource {
    fn reading(&mut self) -> Result<&mut NatsReading, Failure> {
        self.reading.as_mut().ok_or_else(|| Failure::away("NATS is not connected"))
    }

    /// Waits for the first message of a chunk; `None` at the end.
    async fn first(&mut self) -> Result<Option<NatsDelivery>, Failure> {
        let reading = self.reading()?;
        loop {
            let Some(left) = reading.left else { return reading.puller.next().await.map(Some) };
            if left == 0 {
                return Ok(None);
            }
            match timeout(END_LOOKS, reading.puller.next()).await {
                Ok(delivered) => return delivered.map(Some),
                // Others may read the stream by the same consumer, and have got the rest.
                Err(_) if reading.puller.is_at_end().await? => reading.left = Some(0),
                Err(_) => {}
            }
        }
    }
}

#[async_trait]
impl Source for NatsSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        // What was not acknowledged comes again.
        self.reading = None;
        let origin = &self.origin;
        let link = origin.access.connect().await?;
        let stream = origin.find_stream(&link).await?;
        let stream_made_at = stream.cached_info().created.unix_timestamp_nanos();
        let consumer = origin.consumer(&link, &stream).await?;
        let info = consumer.cached_info();
        let waiting = info.num_pending + info.num_ack_pending as u64;
        let left = beginning.once.then_some(waiting);
        let puller = Puller::start(link, consumer, origin.prefetch_bytes, origin.ack_wait);
        self.reading = Some(NatsReading { puller, stream_made_at, left });
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
        while let Some(delivered) = next {
            last = delivered.number;
            bytes += delivered.message.payload.len();
            reading.left = reading.left.map(|left| left.saturating_sub(1));
            messages.push(origin.incoming(reading.stream_made_at, &delivered));
            let is_full = messages.len() >= CHUNK_MESSAGES_MAX
                || bytes >= CHUNK_BYTES_MAX
                || reading.left == Some(0);
            next = if is_full { None } else { reading.puller.next_at_hand() };
        }
        let cursor = json!({ "epoch": reading.puller.epoch, "number": last });
        Ok(Some(Chunk { messages, cursor: Cursor(cursor) }))
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let reading = self.reading()?;
        let number = |key: &str| cursor.0.get(key).and_then(serde_json::Value::as_u64);
        let (Some(epoch), Some(last)) = (number("epoch"), number("number")) else { return Ok(()) };
        // Of an earlier connection: NATS delivers those again.
        match epoch == reading.puller.epoch {
            true => reading.puller.acknowledge(last).await,
            false => Ok(()),
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
            let section = whole["from"]["nats"].as_table().unwrap().clone();
            read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
        };
        let spec = read_text(EXAMPLE).unwrap();
        assert!(!spec.keeps_cursor());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        let base = "[from.nats]\nurl = 'nats://h'\nstream = 'S'\n";
        assert!(fault(&format!("{base}ack_wait = '10ms'")).contains("at least 1s"));
        assert!(fault(&format!("{base}start = 'last'")).contains("last"));
        assert!(fault(&format!("{base}streem = 'S'")).contains("did you mean \"stream\""));
    }
}
