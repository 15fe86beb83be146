//! Messages from a queue of RabbitMQ.
//!
//! A message is acknowledged when Galgo has acknowledged it, together with all in front of it. How many RabbitMQ sends ahead
//! follows from their sizes: it counts messages only, and memory is bounded in bytes.

mod prefetch;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicQosArguments,
    ConsumerMessage,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use toml::Table;

use self::prefetch::Prefetch;
use crate::bridge::carry::{GatheredHeaders, HeaderRule, LeftOut};
use crate::bridge::number::id_of_text;
use crate::bridge::{CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, STEP_LIMIT};
use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::rabbitmq::SHORT_TEXT_BYTES_MAX;
use crate::rabbitmq::link::{RabbitLink, RabbitmqAccess};
use crate::rabbitmq::properties;
use crate::secret::SecretSource;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};

/// The kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "rabbitmq",
    promise: "at least once, acknowledged behind Galgo; a message with a message_id is stored once",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "from.rabbitmq";
/// While a run to the end finds nothing, it looks so often whether that is the end.
const END_LOOKS: Duration = Duration::from_secs(1);

const EXAMPLE: &str = r#"[from.rabbitmq]
# amqp://USER@HOST:PORT/VHOST, or amqps:// with TLS; without a path the virtual host is "/".
url = "amqp://bridge@mq.internal:5672/"
# The password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "MQ_PASSWORD" }
# The certificate of the authority that vouches for the server, for amqps://; without it those that browsers trust.
# ca_file = "mq-ca.pem"
# The queue, which has to be there.
queue = "billing.events"
# What RabbitMQ may send ahead of Galgo's acknowledgements.
prefetch = "8MiB"
# "drop-long": headers of more than 255 bytes are left out and counted; "envelope": the payload becomes JSON with all of them.
headers = "drop-long"
# How long RabbitMQ may take to answer.
timeout = "30s"
"#;

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RabbitmqOriginSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    queue: String,
    prefetch: Option<ByteSize>,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
}

/// A queue.
#[derive(Debug)]
struct RabbitmqOrigin {
    access: RabbitmqAccess,
    pipeline: String,
    queue: String,
    prefetch_bytes: usize,
    headers: HeaderRule,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    let fault = |what: String| ConfigError { at: format!("[{SECTION}]"), what };
    let settings: RabbitmqOriginSettings = settings(SECTION, table)?;
    if settings.queue.is_empty() || settings.queue.len() > SHORT_TEXT_BYTES_MAX {
        return Err(fault(format!("queue has 1 to {SHORT_TEXT_BYTES_MAX} bytes")));
    }
    let pipeline = surroundings.pipeline.clone();
    Ok(Box::new(RabbitmqOriginSpec(Arc::new(RabbitmqOrigin {
        access: RabbitmqAccess {
            address: RabbitmqAccess::address(&settings.url).map_err(fault)?,
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            name: format!("galgo:{pipeline}"),
            limit: settings.timeout.map_or(STEP_LIMIT, |span| span.0),
        },
        pipeline,
        queue: settings.queue,
        prefetch_bytes: settings.prefetch.map_or(8 << 20, ByteSize::bytes),
        headers: settings.headers,
        left_out: LeftOut::default(),
    }))))
}

struct RabbitmqOriginSpec(Arc<RabbitmqOrigin>);

#[async_trait]
impl SourceSpec for RabbitmqOriginSpec {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn keeps_cursor(&self) -> bool {
        false
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(RabbitmqSource { origin: self.0.clone(), subscription: None })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let found = async {
            let mut link = self.0.access.connect().await?;
            link.find_queue(&self.0.queue).await
        };
        match found.await {
            Ok(messages) => Ok(vec![Finding::good(format!(
                "queue \"{}\" is there, {messages} messages wait in it",
                self.0.queue
            ))]),
            Err(Failure::Refused { reason, advice }) => Ok(vec![Finding::fault(reason, advice)]),
            Err(failure) => Err(failure),
        }
    }
}

/// A reader, opened by [`Source::begin`].
struct RabbitmqSource {
    origin: Arc<RabbitmqOrigin>,
    subscription: Option<Subscription>,
}

/// What RabbitMQ delivers on one channel.
struct Subscription {
    link: RabbitLink,
    /// Delivered before the prefetch was changed.
    earlier: VecDeque<ConsumerMessage>,
    deliveries: UnboundedReceiver<ConsumerMessage>,
    consumer_tag: String,
    prefetch: Prefetch,
    /// Which channel, as each counts from 1.
    epoch: u64,
    delivered: u64,
    settled: u64,
    /// Messages up to the end that was found at the beginning, if it is to end there.
    left: Option<u32>,
}

impl RabbitmqOrigin {
    fn incoming(&self, message: ConsumerMessage) -> Option<(u64, Incoming)> {
        let (deliver, properties) = (message.deliver?, message.basic_properties?);
        let mut gathering = GatheredHeaders::new(self.headers);
        properties::arriving(&mut gathering, &deliver, &properties);
        let payload = Bytes::from(message.content?);
        let (headers, payload, form, left_out) = gathering.finish(payload);
        self.left_out.add(left_out, &self.pipeline);
        let id = properties.message_id().filter(|id| !id.is_empty()).map(|id| id_of_text(id));
        let made_at = properties::made_at(&properties);
        let incoming = Incoming { payload, form, key: None, id, headers, made_at };
        Some((deliver.delivery_tag(), incoming))
    }

    async fn subscribe(&self, is_once: bool) -> Result<Subscription, Failure> {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        let mut link = self.access.connect().await?;
        let waiting = link.find_queue(&self.queue).await?;
        let prefetch = Prefetch::new(self.prefetch_bytes);
        let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        let consumer_tag = self.consumer_tag(epoch, 0);
        let deliveries = self.consume(&mut link, &prefetch, &consumer_tag).await?;
        Ok(Subscription {
            link,
            earlier: VecDeque::new(),
            deliveries,
            consumer_tag,
            prefetch,
            epoch,
            delivered: 0,
            settled: 0,
            left: is_once.then_some(waiting),
        })
    }

    fn consumer_tag(&self, epoch: u64, settled: u64) -> String {
        format!("galgo:{}:{epoch}:{settled}", self.pipeline)
    }

    async fn consume(
        &self,
        link: &mut RabbitLink,
        prefetch: &Prefetch,
        consumer_tag: &str,
    ) -> Result<UnboundedReceiver<ConsumerMessage>, Failure> {
        let channel = link.channel.clone();
        // Not for the whole channel: quorum queues do not have that.
        link.ask(channel.basic_qos(BasicQosArguments::new(0, prefetch.count(), false))).await?;
        let mut arguments = BasicConsumeArguments::new(&self.queue, consumer_tag);
        arguments.manual_ack(true);
        let (_, deliveries) = link.ask(channel.basic_consume_rx(arguments)).await?;
        Ok(deliveries)
    }

    /// Has RabbitMQ send more or less ahead. What it has sent already stays in front.
    async fn change_prefetch(&self, subscription: &mut Subscription) -> Result<(), Failure> {
        let channel = subscription.link.channel.clone();
        let cancel = BasicCancelArguments::new(&subscription.consumer_tag);
        subscription.link.ask(channel.basic_cancel(cancel)).await?;
        // Its answer came behind all it had delivered.
        while let Ok(message) = subscription.deliveries.try_recv() {
            subscription.earlier.push_back(message);
        }
        let tag = self.consumer_tag(subscription.epoch, subscription.settled);
        subscription.deliveries =
            self.consume(&mut subscription.link, &subscription.prefetch, &tag).await?;
        subscription.consumer_tag = tag;
        Ok(())
    }
}

impl RabbitmqSource {
    fn subscription(&mut self) -> Result<&mut Subscription, Failure> {
        self.subscription.as_mut().ok_or_else(|| Failure::away("RabbitMQ is not connected"))
    }

    /// Waits for the first message of a chunk; `None` at the end. It is lost to nobody when this is dropped: what was taken out is returned at once.
    async fn first(&mut self) -> Result<Option<ConsumerMessage>, Failure> {
        let queue = self.origin.queue.clone();
        let subscription = self.subscription()?;
        loop {
            if subscription.left == Some(0) {
                return Ok(None);
            }
            if let Some(message) = subscription.earlier.pop_front() {
                return Ok(Some(message));
            }
            let received = match subscription.left {
                None => Ok(subscription.deliveries.recv().await),
                Some(_) => timeout(END_LOOKS, subscription.deliveries.recv()).await,
            };
            match received {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => return Err(subscription.link.why("the connection is lost").await),
                Err(_) => {
                    // Others may read the queue, too, and have got the rest.
                    let waiting = subscription.link.find_queue(&queue).await?;
                    if waiting == 0 && subscription.deliveries.is_empty() {
                        subscription.left = Some(0);
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Source for RabbitmqSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        // What was not acknowledged on it comes again.
        self.subscription = None;
        self.subscription = Some(self.origin.subscribe(beginning.once).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let Some(first) = self.first().await? else { return Ok(None) };
        let origin = self.origin.clone();
        let subscription = self.subscription()?;
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            let Some((tag, incoming)) = origin.incoming(message) else {
                return Err(Failure::away("RabbitMQ delivered half a message"));
            };
            let size = incoming.payload.len();
            bytes += size;
            subscription.prefetch.seen(size);
            subscription.delivered = tag;
            subscription.left = subscription.left.map(|left| left.saturating_sub(1));
            messages.push(incoming);
            let is_full = messages.len() >= CHUNK_MESSAGES_MAX
                || bytes >= CHUNK_BYTES_MAX
                || subscription.left == Some(0);
            next = match is_full {
                true => None,
                false => {
                    let earlier = subscription.earlier.pop_front();
                    earlier.or_else(|| subscription.deliveries.try_recv().ok())
                }
            };
        }
        let cursor = json!({ "epoch": subscription.epoch, "tag": subscription.delivered });
        Ok(Some(Chunk { messages, cursor: Cursor(cursor) }))
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let origin = self.origin.clone();
        let subscription = self.subscription()?;
        let number = |key: &str| cursor.0.get(key).and_then(serde_json::Value::as_u64);
        let (Some(epoch), Some(tag)) = (number("epoch"), number("tag")) else { return Ok(()) };
        // Of an earlier channel: RabbitMQ delivers those again.
        if epoch != subscription.epoch {
            return Ok(());
        }
        // To acknowledge what is acknowledged already closes the channel.
        if tag > subscription.settled && tag <= subscription.delivered {
            let channel = subscription.link.channel.clone();
            let acknowledged = channel.basic_ack(BasicAckArguments::new(tag, true));
            subscription.link.ask(acknowledged).await?;
            subscription.settled = tag;
        }
        if subscription.left.is_none() && subscription.prefetch.retune() {
            origin.change_prefetch(subscription).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read_and_a_wrong_section_says_why() {
        let read_text = |text: &str| {
            let whole: Table = text.parse().unwrap();
            let section = whole["from"]["rabbitmq"].as_table().unwrap().clone();
            read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
        };
        let spec = read_text(EXAMPLE).unwrap();
        assert!(!spec.keeps_cursor());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        assert!(fault("[from.rabbitmq]\nurl = 'amqp://h'\nqueue = ''").contains("queue has 1 to"));
        assert!(fault("[from.rabbitmq]\nurl = 'http://h'\nqueue = 'q'").contains("begins with"));
        assert!(
            fault("[from.rabbitmq]\nurl = 'amqp://h'\nque = 'q'")
                .contains("did you mean \"queue\"")
        );
    }
}
