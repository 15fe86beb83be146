//! Pulling messages while there is room for them, whether somebody waits for them or not.
//!
//! A task of its own does it: what NATS has delivered is at hand at once, and is kept alive until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{Message, Subject};
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::AHEAD_MAX;
use crate::bridge::held::HeldMessages;
use crate::failure::Failure;
use crate::nats::link::NatsLink;

/// How long one pull waits for messages.
const PULL_WAITS: Duration = Duration::from_secs(5);
/// Bytes of headers on top of the largest payload.
const HEADERS_BYTES: usize = 128 << 10;
/// What a message takes beside its payload.
const MESSAGE_BYTES: usize = 256;

/// A message that NATS delivered.
pub(super) struct NatsDelivery {
    /// Counted by us, in the order they came.
    pub number: u64,
    /// Its place in the stream.
    pub sequence: u64,
    /// How often it was delivered.
    pub times: i64,
    /// When NATS took it, in microseconds since the Unix epoch.
    pub published_us: u64,
    /// The message.
    pub message: Message,
}

/// What the task has.
struct NatsPulling {
    link: Arc<NatsLink>,
    consumer: PullConsumer,
    held: Arc<HeldMessages<Subject>>,
    room: Arc<Notify>,
    prefetch_bytes: usize,
    deliver: UnboundedSender<Result<NatsDelivery, Failure>>,
}

/// A task that pulls, and one that keeps alive what was pulled; both end when it is dropped.
pub(super) struct Puller {
    /// Which connection, as each counts from 1.
    pub epoch: u64,
    link: Arc<NatsLink>,
    consumer: PullConsumer,
    held: Arc<HeldMessages<Subject>>,
    room: Arc<Notify>,
    delivered: UnboundedReceiver<Result<NatsDelivery, Failure>>,
    tasks: [JoinHandle<()>; 2],
}

impl Puller {
    /// Begins to pull.
    pub(super) fn start(
        link: NatsLink,
        consumer: PullConsumer,
        prefetch_bytes: usize,
        ack_wait: Duration,
    ) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        let (link, held) = (Arc::new(link), Arc::new(HeldMessages::default()));
        let room = Arc::new(Notify::new());
        let (deliver, delivered) = unbounded_channel();
        let pulling = NatsPulling {
            link: link.clone(),
            consumer: consumer.clone(),
            held: held.clone(),
            room: room.clone(),
            prefetch_bytes,
            deliver,
        };
        let tasks = [
            tokio::spawn(pulling.run()),
            tokio::spawn(keep_alive(link.clone(), held.clone(), ack_wait / 3)),
        ];
        let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        Self { epoch, link, consumer, held, room, delivered, tasks }
    }

    /// The next message; nothing is lost when it is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<NatsDelivery, Failure> {
        match self.delivered.recv().await {
            Some(delivered) => delivered,
            None => Err(self.link.away("the connection is lost")),
        }
    }

    /// The next message, if there is one already.
    pub(super) fn next_at_hand(&mut self) -> Option<NatsDelivery> {
        // What is wrong is told by the next call of the other.
        if self.delivered.is_empty() {
            return None;
        }
        match self.delivered.try_recv() {
            Ok(Ok(delivered)) => Some(delivered),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Acknowledges all up to a number.
    pub(super) async fn acknowledge(&mut self, upto: u64) -> Result<(), Failure> {
        let client = &self.link.client;
        for reply in self.held.release(upto) {
            let sent = client.publish(reply, AckKind::Ack.into());
            self.link.ask(sent).await?.map_err(|error| self.link.away(&error.to_string()))?;
        }
        self.room.notify_one();
        let flushed = self.link.ask(client.flush()).await?;
        flushed.map_err(|error| self.link.away(&error.to_string()))
    }

    /// Whether nothing waits for this consumer but what is held here.
    pub(super) async fn is_at_end(&mut self) -> Result<bool, Failure> {
        let mut consumer = self.consumer.clone();
        let info = self.link.ask(consumer.info()).await?;
        let info = info.map_err(|error| self.link.away(&error.to_string()))?;
        Ok(info.num_pending == 0
            && info.num_ack_pending <= self.held.count()
            && self.delivered.is_empty())
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl NatsPulling {
    async fn run(self) {
        let failure = loop {
            if let Err(failure) = self.pull().await {
                break failure;
            }
        };
        // Nobody may be left to be told.
        let _ = self.deliver.send(Err(failure));
    }

    /// Waits for room and pulls once.
    async fn pull(&self) -> Result<(), Failure> {
        // A pull for less than one message would end at once, for ever.
        let largest = self.link.client.max_payload() + HEADERS_BYTES;
        let half = self.prefetch_bytes / 2;
        while self.held.bytes() > half || self.held.count() >= usize::from(AHEAD_MAX / 2) {
            self.room.notified().await;
        }
        let bytes = (self.prefetch_bytes - self.held.bytes()).max(largest);
        let ahead = self.held.count();
        assert!(
            ahead < usize::from(AHEAD_MAX),
            "INV-CONNECT-BUDGET: more is asked for only while there is room"
        );
        let count = usize::from(AHEAD_MAX) - ahead;
        let pull = self.consumer.batch().max_messages(count).max_bytes(bytes).expires(PULL_WAITS);
        let batch = self.link.ask(pull.messages()).await?;
        let mut batch = batch.map_err(|error| self.link.away(&error.to_string()))?;
        loop {
            // It ends by itself a while after what it waits, whatever the server does.
            let limit = PULL_WAITS * 3;
            let next = tokio::time::timeout(limit, self.link.ask(batch.next())).await;
            let Ok(next) = next else { return Err(self.link.away("it does not answer")) };
            match next? {
                None => return Ok(()),
                Some(Ok(message)) => self.take(message)?,
                // The next one did not fit into this pull.
                Some(Err(error)) if error.to_string().to_lowercase().contains("maxbytes") => {
                    return Ok(());
                }
                Some(Err(error)) => return Err(self.link.away(&error.to_string())),
            }
        }
    }

    fn take(&self, message: async_nats::jetstream::Message) -> Result<(), Failure> {
        let info = message.info().map_err(|error| self.link.away(&error.to_string()))?;
        let (sequence, times) = (info.stream_sequence, info.delivered);
        let published_us =
            u64::try_from(info.published.unix_timestamp_nanos() / 1_000).unwrap_or(0);
        // Taken out of the message by what follows.
        let reply = message.reply.clone();
        let (message, _) = message.split();
        let Some(reply) = reply else {
            return Err(self.link.away("it delivered a message without a place to answer to"));
        };
        let number = self.held.hold(reply, message.payload.len() + MESSAGE_BYTES);
        // Nobody may be left to read it; it comes again then.
        let _ =
            self.deliver.send(Ok(NatsDelivery { number, sequence, times, published_us, message }));
        Ok(())
    }
}

/// Tells NATS that somebody is at work on what is held.
async fn keep_alive(link: Arc<NatsLink>, held: Arc<HeldMessages<Subject>>, each: Duration) {
    loop {
        tokio::time::sleep(each).await;
        for reply in held.replies() {
            let sent = link.client.publish(reply, AckKind::Progress.into());
            if !matches!(link.ask(sent).await, Ok(Ok(()))) {
                // Whoever reads finds out.
                return;
            }
        }
    }
}
