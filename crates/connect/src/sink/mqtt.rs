//! Messages to topics of MQTT.
//!
//! Each message is published with QoS 1 and waits for its acknowledgement; all of a batch are on their way together. MQTT 3.1.1 has no
//! headers, and no word for "I do not take this": a broker acknowledges what it drops.

mod publish;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use toml::Table;

use self::publish::{PublishLink, is_topic};
use crate::batch::{Batch, Row};
use crate::bridge::carry::{HeaderRule, LeftOut, leaving, leaving_envelope};
use crate::bridge::confirmed::Confirmed;
use crate::bridge::login::plain_name;
use crate::bridge::route::MessageRoute;
use crate::bridge::{STEP_LIMIT, sample_lane};
use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::headers::to_json;
use crate::kind::SinkKind;
use crate::mqtt::link::{MqttAccess, MqttIdentity};
use crate::place::{LaneName, Position};
use crate::secret::SecretSource;
use crate::sink::{Promise, Sink, SinkSpec};

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "mqtt",
    promise: "at least once: published with QoS 1 and acknowledged by the broker",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "to.mqtt";
/// Bytes of a packet beside its payload, at most.
const PACKET_HEAD_BYTES: u64 = 66 << 10;
/// The largest packet of MQTT.
const PACKET_BYTES_MAX: u64 = 256 << 20;

const EXAMPLE: &str = r#"[to.mqtt]
# mqtt://USER@HOST:PORT, or mqtts:// with TLS.
url = "mqtt://bridge@mqtt.internal:1883"
# The password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "MQTT_PASSWORD" }
# The certificate of the authority that vouches for the broker, for mqtts://; without it those that browsers trust.
# ca_file = "mqtt-ca.pem"
# A topic, or what makes one of each message: a program in jq, .field, @topic.
topic = '"shop/orders/\(.country)"'
# true: the broker keeps the last message of each topic for whoever subscribes later.
retain = false
# MQTT 3.1.1 has no headers. "drop-long": they are left out and counted; "envelope": the payload becomes JSON with headers and payload.
headers = "drop-long"
# What is larger counts as bad. Say what the broker takes, as it cuts off or drops what is larger.
max_payload = "255MiB"
# How long the broker may take to acknowledge a message.
timeout = "30s"
# Connections that all partitions share.
connections = 2
"#;

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MqttTargetSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    topic: MessageRoute,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    headers: HeaderRule,
    max_payload: Option<ByteSize>,
    timeout: Option<Span>,
    connections: Option<usize>,
}

/// Topics of a broker.
#[derive(Debug)]
struct MqttTarget {
    access: MqttAccess,
    pipeline: String,
    topic: MessageRoute,
    retain: bool,
    headers: HeaderRule,
    payload_bytes_max: usize,
    connections: usize,
    confirmed: Confirmed,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let fault = |what: &str| ConfigError { at: format!("[{SECTION}]"), what: what.to_owned() };
    let settings: MqttTargetSettings = settings(SECTION, table)?;
    if settings.topic.fixed().is_some_and(|topic| !is_topic(topic)) {
        return Err(fault(
            "topic is no topic to publish to: 1 to 65535 bytes without + and #, not beginning with $",
        ));
    }
    if settings.connections == Some(0) {
        return Err(fault("connections is at least 1"));
    }
    let max_payload =
        settings.max_payload.unwrap_or(ByteSize(PACKET_BYTES_MAX - PACKET_HEAD_BYTES));
    if max_payload.0 > PACKET_BYTES_MAX - PACKET_HEAD_BYTES {
        return Err(fault("max_payload is more than MQTT has; 255MiB is the most"));
    }
    Ok(Box::new(MqttSpec(Arc::new(MqttTarget {
        access: MqttAccess {
            address: MqttAccess::address(&settings.url).map_err(|what| fault(&what))?,
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            limit: settings.timeout.map_or(STEP_LIMIT, |span| span.0),
        },
        pipeline: surroundings.pipeline.clone(),
        topic: settings.topic,
        retain: settings.retain,
        headers: settings.headers,
        payload_bytes_max: max_payload.bytes(),
        connections: settings.connections.unwrap_or(2),
        confirmed: Confirmed::default(),
        left_out: LeftOut::default(),
    }))))
}

/// A message as it is published.
struct MqttMessage {
    topic: String,
    payload: Bytes,
}

impl MqttTarget {
    /// A row as it is published.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    fn message(
        &self,
        lane: &LaneName,
        row: &Row,
        topic: Result<String, String>,
    ) -> Result<MqttMessage, String> {
        let topic = topic?;
        if !is_topic(&topic) {
            return Err(format!("{} does not give a topic to publish to", self.topic));
        }
        let headers =
            leaving(lane, row).map_err(|error| format!("its headers cannot be read: {error}"))?;
        let payload = match self.headers {
            HeaderRule::Envelope => leaving_envelope(row, &headers),
            HeaderRule::DropLong => {
                // But for the names of pipelines, which every message has.
                self.left_out.add(headers.len().saturating_sub(1) as u64, &self.pipeline);
                row.payload.clone()
            }
        };
        match payload.len() <= self.payload_bytes_max {
            true => Ok(MqttMessage { topic, payload }),
            false => Err("it is larger than max_payload".to_owned()),
        }
    }

    async fn connect(&self) -> Result<PublishLink, Failure> {
        let identity = MqttIdentity::passing(&plain_name(&self.pipeline));
        Ok(PublishLink::start(self.access.clone(), self.access.connect(&identity).await?))
    }

    async fn check_rows(&self, sample: &[Row]) -> Finding {
        let lane = sample_lane(&self.pipeline);
        let topics = self.topic.of_all(&lane, sample).await;
        let rows = sample.iter().zip(topics);
        let wrongs: Vec<String> =
            rows.filter_map(|(row, topic)| self.message(&lane, row, topic).err()).collect();
        match wrongs.first() {
            None => Finding::good(format!("{} rows have a topic", sample.len())),
            Some(first) => Finding::fault(
                format!("{} of {} rows cannot be sent: {first}", wrongs.len(), sample.len()),
                "correct topic, or set errors.on_bad",
            ),
        }
    }
}

struct MqttSpec(Arc<MqttTarget>);

#[async_trait]
impl SinkSpec for MqttSpec {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn needs_json(&self) -> bool {
        self.0.topic.needs_json()
    }

    fn connections(&self) -> usize {
        self.0.connections
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(MqttSink { target: self.0.clone(), link: None })
    }

    async fn prepare(&self) -> Result<(), Failure> {
        self.0.connect().await.map(drop)
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        let target = &self.0;
        match target.connect().await {
            Ok(_) => {}
            Err(Failure::Refused { reason, advice }) => {
                return Ok(vec![Finding::fault(reason, advice)]);
            }
            Err(failure) => return Err(failure),
        }
        let mut findings = vec![
            Finding::good("the broker lets us log in"),
            Finding::warning(
                "a broker acknowledges in MQTT 3.1.1 what its rules make it drop, so nobody can tell",
                "let the user publish to these topics, and set max_payload to what the broker takes",
            ),
        ];
        if target.headers == HeaderRule::DropLong {
            findings.push(Finding::warning(
                "MQTT 3.1.1 has no headers: none is sent, and a pipeline that reads these topics back into Galgo would not notice",
                "set headers = \"envelope\" here and envelopes = true there, or keep topics of both directions apart",
            ));
        }
        findings.push(target.check_rows(sample).await);
        Ok(findings)
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        let target = &self.0;
        let sent = target.message(lane, row, target.topic.of(lane, row))?;
        let headers = row.headers().map_err(|error| error.to_string())?;
        let payload = String::from_utf8_lossy(&sent.payload);
        Ok(format!("topic \"{}\", headers {}: {payload}", sent.topic, to_json(&headers)))
    }
}

/// A connection, opened when it is needed.
struct MqttSink {
    target: Arc<MqttTarget>,
    link: Option<PublishLink>,
}

#[async_trait]
impl Sink for MqttSink {
    async fn position(&mut self, _: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(None)
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let link = match self.link.take().filter(PublishLink::is_open) {
            Some(link) => link,
            None => self.target.connect().await?,
        };
        let result = self.target.deliver(&link, lane, batch).await;
        // What is not known to have come is sent again on a new connection.
        if !matches!(result, Err(Failure::Away { .. } | Failure::Refused { .. })) {
            self.link = Some(link);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Form;
    use crate::batch::tests::row;

    fn read_text(text: &str) -> Result<Box<dyn SinkSpec>, ConfigError> {
        let whole: Table = text.parse().unwrap();
        let section = whole["to"]["mqtt"].as_table().unwrap().clone();
        read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
    }

    #[test]
    fn the_example_is_read_and_a_wrong_section_says_why() {
        let spec = read_text(EXAMPLE).unwrap();
        assert_eq!(spec.promise(), Promise::AtLeastOnce);
        assert!(spec.needs_json());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        let base = "[to.mqtt]\nurl = 'mqtt://h'\ntopic = ";
        assert!(fault(&format!("{base}'\"a/#\"'")).contains("no topic to publish to"));
        assert!(fault(&format!("{base}''")).contains("no topic to publish to"));
        assert!(fault(&format!("{base}'a'\nretained = true")).contains("mean \"retain\""));
        assert!(fault(&format!("{base}'a'\nmax_payload = '1GiB'")).contains("255MiB is the most"));
        assert!(fault("[to.mqtt]\nurl = 'mqtt://h/x'\ntopic = 'a'").contains("has a path"));
    }

    #[test]
    fn a_topic_that_is_none_is_a_bad_message() {
        let spec = read_text("[to.mqtt]\nurl = 'mqtt://h'\ntopic = '.n'\nmax_payload = '40'");
        let spec = spec.unwrap();
        let mut row = row(1, 0);
        row.form = Form::Json;
        row.payload = Bytes::from_static(b"{\"n\":\"MARK/+\"}");
        let reason = spec.preview(&sample_lane("p"), &row).unwrap_err();
        assert_eq!(reason, ".n does not give a topic to publish to", "INV-MUTE");
        row.payload = Bytes::from(format!("{{\"n\":\"a\",\"x\":\"{}\"}}", "MARK".repeat(10)));
        assert_eq!(
            spec.preview(&sample_lane("p"), &row).unwrap_err(),
            "it is larger than max_payload",
            "INV-MUTE"
        );
    }
}
