//! Messages to an exchange of RabbitMQ.
//!
//! Each message is persistent and mandatory and waits for its confirm; one that no queue is there for is sent back before it
//! is confirmed, and counts as not taken. What RabbitMQ has confirmed of a batch that failed is not sent again by this process.
//! Part of INV-PLACE-KEY: `message_id` is the key of the place.

mod line;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use toml::Table;

use self::line::{ConfirmChannel, UnconfirmedMessage};
use crate::batch::{Batch, Row};
use crate::bridge::carry::{HeaderRule, LeftOut, leaving, leaving_envelope};
use crate::bridge::confirmed::Confirmed;
use crate::bridge::route::MessageRoute;
use crate::bridge::{STEP_LIMIT, sample_lane};
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::headers::to_json;
use crate::kind::SinkKind;
use crate::place::{LaneName, Place, Position};
use crate::rabbitmq::SHORT_TEXT_BYTES_MAX;
use crate::rabbitmq::link::{RabbitLink, RabbitmqAccess};
use crate::rabbitmq::properties::{self, Naming};
use crate::secret::SecretSource;
use crate::sink::{Promise, Sink, SinkSpec};

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "rabbitmq",
    promise: "at least once: persistent, mandatory, confirmed; message_id is the place of the message",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "to.rabbitmq";

const EXAMPLE: &str = r#"[to.rabbitmq]
# amqp://USER@HOST:PORT/VHOST, or amqps:// with TLS; without a path the virtual host is "/".
url = "amqp://bridge@mq.internal:5672/"
# The password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "MQ_PASSWORD" }
# The certificate of the authority that vouches for the server, for amqps://; without it those that browsers trust.
# ca_file = "mq-ca.pem"
# The exchange; "" is the default one, for which the routing key is the name of a queue.
exchange = "shop"
# A name, or what makes one of each message: a program in jq, .field, @topic.
routing_key = '"orders.\(.country)"'
# "drop-long": headers are headers; "envelope": the payload becomes JSON with headers and payload.
headers = "drop-long"
# How long RabbitMQ may take to confirm the next message.
timeout = "30s"
# Connections that all partitions share.
connections = 4
"#;

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RabbitmqTargetSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    exchange: String,
    routing_key: MessageRoute,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
    connections: Option<usize>,
}

/// An exchange.
#[derive(Debug)]
struct RabbitmqTarget {
    access: RabbitmqAccess,
    pipeline: String,
    exchange: String,
    routing_key: MessageRoute,
    headers: HeaderRule,
    connections: usize,
    confirmed: Confirmed,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let fault = |what: String| ConfigError { at: format!("[{SECTION}]"), what };
    let settings: RabbitmqTargetSettings = settings(SECTION, table)?;
    for (key, name) in [
        ("exchange", settings.exchange.as_str()),
        ("routing_key", settings.routing_key.fixed().unwrap_or("")),
    ] {
        if name.len() > SHORT_TEXT_BYTES_MAX {
            return Err(fault(format!("{key} has more than {SHORT_TEXT_BYTES_MAX} bytes")));
        }
    }
    if settings.connections == Some(0) {
        return Err(fault("connections is at least 1".to_owned()));
    }
    let pipeline = surroundings.pipeline.clone();
    Ok(Box::new(RabbitmqSpec(Arc::new(RabbitmqTarget {
        access: RabbitmqAccess {
            address: RabbitmqAccess::address(&settings.url).map_err(fault)?,
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            name: format!("galgo:{pipeline}"),
            limit: settings.timeout.map_or(STEP_LIMIT, |span| span.0),
        },
        pipeline,
        exchange: settings.exchange,
        routing_key: settings.routing_key,
        headers: settings.headers,
        connections: settings.connections.unwrap_or(4),
        confirmed: Confirmed::default(),
        left_out: LeftOut::default(),
    }))))
}

/// A message as it is sent.
struct Outgoing {
    routing_key: String,
    message_id: String,
    properties: amqprs::BasicProperties,
    payload: bytes::Bytes,
}

impl RabbitmqTarget {
    /// A row as it is sent.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    fn outgoing(
        &self,
        lane: &LaneName,
        row: &Row,
        routing_key: Result<String, String>,
    ) -> Result<Outgoing, String> {
        let routing_key = routing_key?;
        if routing_key.len() > SHORT_TEXT_BYTES_MAX {
            return Err(format!(
                "{}: the routing key would have {} bytes, and AMQP has {SHORT_TEXT_BYTES_MAX}",
                self.routing_key,
                routing_key.len()
            ));
        }
        let headers =
            leaving(lane, row).map_err(|error| format!("its headers cannot be read: {error}"))?;
        let message_id = message_id(lane, row.place);
        let is_envelope = self.headers == HeaderRule::Envelope;
        let naming = Naming { message_id: &message_id, made_at: row.origin_time, is_envelope };
        let (properties, left_out) = properties::leaving(&headers, &naming);
        self.left_out.add(left_out, &self.pipeline);
        let payload = match is_envelope {
            true => leaving_envelope(row, &headers),
            false => row.payload.clone(),
        };
        Ok(Outgoing { routing_key, message_id, properties, payload })
    }

    /// Looks for the exchange, or for the queue if that is what the routing key names.
    async fn find(&self, link: &mut RabbitLink) -> Result<String, Failure> {
        match (self.exchange.as_str(), self.routing_key.fixed()) {
            ("", Some(queue)) => {
                link.find_queue(queue).await?;
                Ok(format!("queue \"{queue}\" is there"))
            }
            ("", None) => Ok("the default exchange is always there".to_owned()),
            (exchange, _) => {
                link.find_exchange(exchange).await?;
                Ok(format!("exchange \"{exchange}\" is there"))
            }
        }
    }
}

/// The id of a message. Names may be so long that their key is too long for AMQP; a hash of it stands for it then.
fn message_id(lane: &LaneName, place: Place) -> String {
    let key = lane.key(place);
    match key.len() <= SHORT_TEXT_BYTES_MAX {
        true => key,
        false => format!("{:032x}", twox_hash::XxHash3_128::oneshot(key.as_bytes())),
    }
}

struct RabbitmqSpec(Arc<RabbitmqTarget>);

#[async_trait]
impl SinkSpec for RabbitmqSpec {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn needs_json(&self) -> bool {
        self.0.routing_key.needs_json()
    }

    fn connections(&self) -> usize {
        self.0.connections
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(RabbitmqSink { target: self.0.clone(), line: None })
    }

    async fn prepare(&self) -> Result<(), Failure> {
        let mut link = self.0.access.connect().await?;
        self.0.find(&mut link).await.map(drop)
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        let target = &self.0;
        let mut link = match target.access.connect().await {
            Ok(link) => link,
            Err(Failure::Refused { reason, advice }) => {
                return Ok(vec![Finding::fault(reason, advice)]);
            }
            Err(failure) => return Err(failure),
        };
        let mut findings = vec![match target.find(&mut link).await {
            Ok(found) => Finding::good(found),
            Err(Failure::Refused { reason, advice }) => Finding::fault(reason, advice),
            Err(failure) => return Err(failure),
        }];
        let lane = sample_lane(&target.pipeline);
        let keys = target.routing_key.of_all(&lane, sample).await;
        let sample_keys = sample.iter().zip(keys);
        let wrongs: Vec<String> =
            sample_keys.filter_map(|(row, key)| target.outgoing(&lane, row, key).err()).collect();
        findings.push(match wrongs.first() {
            None => Finding::good(format!("{} rows have a routing key", sample.len())),
            Some(first) => Finding::fault(
                format!("{} of {} rows cannot be sent: {first}", wrongs.len(), sample.len()),
                "correct routing_key, or set errors.on_bad",
            ),
        });
        Ok(findings)
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        let target = &self.0;
        let sent = target.outgoing(lane, row, target.routing_key.of(lane, row))?;
        let headers = row.headers().map_err(|error| error.to_string())?;
        Ok(format!(
            "exchange \"{}\", routing key \"{}\", headers {}: {}",
            target.exchange,
            sent.routing_key,
            to_json(&headers),
            String::from_utf8_lossy(&sent.payload)
        ))
    }
}

/// A connection, opened when it is needed.
struct RabbitmqSink {
    target: Arc<RabbitmqTarget>,
    line: Option<ConfirmChannel>,
}

impl RabbitmqSink {
    async fn deliver(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let target = &self.target;
        if !self.line.as_ref().is_some_and(ConfirmChannel::is_open) {
            self.line = None;
        }
        let line = match &mut self.line {
            Some(line) => line,
            None => self.line.insert(ConfirmChannel::new(target.access.connect().await?).await?),
        };
        // What an earlier batch left behind: RabbitMQ may have stopped for a while and go on with it.
        line.settle(&target.confirmed).await?;
        line.forget_returns();
        let taken = target.confirmed.begin(lane, batch);
        let mut bad = Vec::new();
        let mut wrong = None;
        let shared = Arc::new(lane.clone());
        let keys = target.routing_key.of_all(lane, batch.rows()).await;
        let rows = batch.rows().iter().zip(keys);
        for (row, key) in rows.filter(|(row, _)| !taken.contains(&row.place)) {
            let outgoing = match target.outgoing(lane, row, key) {
                Ok(outgoing) => outgoing,
                Err(reason) => {
                    bad.push(row.place);
                    wrong.get_or_insert(reason);
                    continue;
                }
            };
            let sent = UnconfirmedMessage {
                lane: shared.clone(),
                topic_made_at: batch.end().topic_made_at,
                place: row.place,
                message_id: outgoing.message_id.clone(),
                is_returned: false,
            };
            line.publish(&target.exchange, outgoing, sent).await?;
            line.look(&target.confirmed)?;
        }
        line.settle(&target.confirmed).await?;
        let returned = line.returned(lane);
        if !returned.is_empty() {
            wrong.get_or_insert_with(|| {
                format!(
                    "no queue is bound for it to exchange \"{}\" with routing key {}: bind one",
                    target.exchange, target.routing_key
                )
            });
            bad.extend(returned);
        }
        if let Some(reason) = wrong {
            bad.sort_unstable();
            bad.dedup();
            assert!(!bad.is_empty(), "INV-PREFIX: bad messages are named");
            return Err(Failure::Bad { places: bad, reason });
        }
        target.confirmed.forget(lane);
        Ok(())
    }
}

#[async_trait]
impl Sink for RabbitmqSink {
    async fn position(&mut self, _: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(None)
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let result = self.deliver(lane, batch).await;
        if !self.line.as_ref().is_some_and(ConfirmChannel::is_open) {
            self.line = None;
        }
        result
    }
}

#[cfg(test)]
mod tests;
