//! Messages of topics of MQTT.
//!
//! The broker keeps a session of the pipeline: subscriptions, and messages it has not acknowledged. A message is acknowledged when Galgo
//! has acknowledged it, in the order they came. A broker may drop messages of a session that is away or slow, whatever it has
//! acknowledged to their senders.

mod take;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rumqttc::{Publish, valid_filter};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use toml::Table;

use self::take::{SubscribedLink, Subscriptions, TakenPublish};
use crate::bridge::carry::{GatheredHeaders, HeaderRule, LeftOut, open_envelope};
use crate::bridge::login::plain_name;
use crate::bridge::{CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, STEP_LIMIT};
use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::mqtt::link::{MqttAccess, MqttIdentity};
use crate::secret::SecretSource;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};

/// The kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "mqtt",
    promise: "at least once, of what the broker keeps: acknowledged behind Galgo, in a session that outlives the connection",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "from.mqtt";
/// A run to the end is over when nothing came for so long: MQTT does not tell what waits.
const QUIET: Duration = Duration::from_secs(3);

const EXAMPLE: &str = r#"[from.mqtt]
# mqtt://USER@HOST:PORT, or mqtts:// with TLS.
url = "mqtt://bridge@mqtt.internal:1883"
# The password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "MQTT_PASSWORD" }
# The certificate of the authority that vouches for the broker, for mqtts://; without it those that browsers trust.
# ca_file = "mqtt-ca.pem"
# Topics, with + and # as in MQTT.
topics = ["shop/orders/#"]
# The session that the broker keeps; one process at a time can have it. Without it galgo-PIPELINE.
# client_id = "galgo-orders"
# What is taken ahead of Galgo's acknowledgements.
prefetch = "8MiB"
# true: payloads are what [to.mqtt] with headers = "envelope" sends, and become payload and headers again.
envelopes = false
# "drop-long": headers of more than 255 bytes are left out and counted; "envelope": the payload becomes JSON with all of them.
headers = "drop-long"
# How long the broker may take to answer.
timeout = "30s"
"#;

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MqttOriginSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    topics: Vec<String>,
    client_id: Option<String>,
    prefetch: Option<ByteSize>,
    #[serde(default)]
    envelopes: bool,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
}

/// Topics of a broker.
#[derive(Debug)]
struct MqttOrigin {
    access: MqttAccess,
    pipeline: String,
    topics: Vec<String>,
    client_id: String,
    prefetch_bytes: usize,
    envelopes: bool,
    headers: HeaderRule,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    let fault = |what: &str| ConfigError { at: format!("[{SECTION}]"), what: what.to_owned() };
    let settings: MqttOriginSettings = settings(SECTION, table)?;
    if settings.topics.is_empty() {
        return Err(fault("topics is empty; name at least one"));
    }
    if let Some(topic) = settings.topics.iter().find(|topic| !valid_filter(topic)) {
        return Err(fault(&format!("\"{topic}\" is nothing to subscribe to")));
    }
    if settings.client_id.as_deref() == Some("") {
        return Err(fault("client_id is empty"));
    }
    let pipeline = surroundings.pipeline.clone();
    Ok(Box::new(MqttOriginSpec(Arc::new(MqttOrigin {
        access: MqttAccess {
            address: MqttAccess::address(&settings.url).map_err(|what| fault(&what))?,
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            limit: settings.timeout.map_or(STEP_LIMIT, |span| span.0),
        },
        topics: settings.topics,
        client_id: settings.client_id.unwrap_or_else(|| plain_name(&pipeline)),
        pipeline,
        prefetch_bytes: settings.prefetch.map_or(8 << 20, ByteSize::bytes),
        envelopes: settings.envelopes,
        headers: settings.headers,
        left_out: LeftOut::default(),
    }))))
}

struct MqttOriginSpec(Arc<MqttOrigin>);

#[async_trait]
impl SourceSpec for MqttOriginSpec {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn keeps_cursor(&self) -> bool {
        false
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(MqttSource { origin: self.0.clone(), link: None, ends: None })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let origin = &self.0;
        let found = async {
            // Under another name: whoever runs is not cut off.
            origin.open(&MqttIdentity::passing(&origin.client_id)).await
        };
        let mut findings = match found.await {
            Ok(_) => vec![Finding::good(format!(
                "the broker lets us subscribe; it keeps the session \"{}\" from the first run on",
                origin.client_id
            ))],
            Err(Failure::Refused { reason, advice }) => {
                return Ok(vec![Finding::fault(reason, advice)]);
            }
            Err(failure) => return Err(failure),
        };
        findings.push(Finding::warning(
            "a broker may drop messages it has acknowledged when this pipeline is away or slow: Mosquitto keeps 1,000 of a session unless \
             it is told otherwise, and forgets them in a crash unless it stores them",
            "set max_queued_messages 0 and persistence true in Mosquitto, or what limits sessions in other brokers; publish with QoS 1",
        ));
        if !origin.envelopes {
            findings.push(Finding::warning(
                "MQTT 3.1.1 has no headers: what a pipeline of Galgo has sent is not known again",
                "set envelopes = true here and headers = \"envelope\" there, or keep topics of both directions apart",
            ));
        }
        Ok(findings)
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        let origin = &self.0;
        let client_id = origin.client_id.clone();
        let kept = MqttIdentity { client_id: client_id.clone(), is_kept: true };
        let is_known = origin.access.connect(&kept).await?.is_known;
        // Whoever comes without a session ends the one there is.
        let ended = MqttIdentity { client_id: client_id.clone(), is_kept: false };
        origin.access.connect(&ended).await?;
        Ok(match is_known {
            true => vec![format!("session \"{client_id}\" of the MQTT broker")],
            false => Vec::new(),
        })
    }
}

impl MqttOrigin {
    async fn open(&self, identity: &MqttIdentity) -> Result<SubscribedLink, Failure> {
        let opened = self.access.connect(identity).await?;
        let is_known = opened.is_known;
        let subscriptions =
            Subscriptions { access: self.access.clone(), topics: self.topics.clone() };
        let link = SubscribedLink::start(subscriptions, opened, self.prefetch_bytes);
        link.subscribe(is_known).await?;
        Ok(link)
    }

    fn incoming(&self, publish: &Publish) -> Incoming {
        let mut gathering = GatheredHeaders::new(self.headers);
        let mut payload = publish.payload.clone();
        if self.envelopes
            && let Some(opened) = open_envelope(&mut gathering, &payload)
        {
            payload = opened;
        }
        gathering.text("mqtt.topic", &String::from_utf8_lossy(&publish.topic));
        if publish.retain {
            gathering.value("mqtt.retained", true, json!(true));
        }
        if publish.dup {
            gathering.value("mqtt.redelivered", true, json!(true));
        }
        let (headers, payload, form, left_out) = gathering.finish(payload);
        self.left_out.add(left_out, &self.pipeline);
        // The numbers of MQTT are used again, so there is no id.
        Incoming { payload, form, key: None, id: None, headers, made_at: None }
    }
}

/// A reader, opened by [`Source::begin`].
struct MqttSource {
    origin: Arc<MqttOrigin>,
    link: Option<SubscribedLink>,
    /// Whether it is to end, and whether it has.
    ends: Option<bool>,
}

impl MqttSource {
    fn link(&mut self) -> Result<&mut SubscribedLink, Failure> {
        self.link.as_mut().ok_or_else(|| Failure::away("MQTT is not connected"))
    }

    /// Waits for the first message of a chunk; `None` at the end.
    async fn first(&mut self) -> Result<Option<TakenPublish>, Failure> {
        match self.ends {
            None => self.link()?.next().await.map(Some),
            Some(true) => Ok(None),
            Some(false) => match timeout(QUIET, self.link()?.next()).await {
                Ok(taken) => taken.map(Some),
                Err(_) => {
                    self.ends = Some(true);
                    Ok(None)
                }
            },
        }
    }
}

#[async_trait]
impl Source for MqttSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        // What was not acknowledged comes again.
        self.link = None;
        let origin = &self.origin;
        let identity = MqttIdentity { client_id: origin.client_id.clone(), is_kept: true };
        self.link = Some(origin.open(&identity).await?);
        self.ends = beginning.once.then_some(false);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let Some(first) = self.first().await? else { return Ok(None) };
        let origin = self.origin.clone();
        let link = self.link()?;
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut last = first.number;
        let mut next = Some(first);
        while let Some(taken) = next {
            last = taken.number;
            bytes += taken.publish.payload.len();
            messages.push(origin.incoming(&taken.publish));
            let is_full = messages.len() >= CHUNK_MESSAGES_MAX || bytes >= CHUNK_BYTES_MAX;
            next = if is_full { None } else { link.next_at_hand() };
        }
        let cursor = json!({ "epoch": link.epoch, "number": last });
        Ok(Some(Chunk { messages, cursor: Cursor(cursor) }))
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let link = self.link()?;
        let number = |key: &str| cursor.0.get(key).and_then(serde_json::Value::as_u64);
        let (Some(epoch), Some(last)) = (number("epoch"), number("number")) else { return Ok(()) };
        // Of an earlier connection: the broker sends those again.
        match epoch == link.epoch {
            true => link.acknowledge(last).await,
            false => Ok(()),
        }
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        match self.link.take() {
            Some(link) => link.close().await,
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
            let section = whole["from"]["mqtt"].as_table().unwrap().clone();
            read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
        };
        let spec = read_text(EXAMPLE).unwrap();
        assert!(!spec.keeps_cursor());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        let base = "[from.mqtt]\nurl = 'mqtt://h'\n";
        assert!(fault(&format!("{base}topics = []")).contains("name at least one"));
        assert!(fault(&format!("{base}topics = ['a/#/b']")).contains("nothing to subscribe to"));
        assert!(fault(&format!("{base}topics = ['a']\nclient_id = ''")).contains("is empty"));
        assert!(fault(&format!("{base}topic = ['a']")).contains("did you mean \"topics\""));
    }
}
