//! The producer: batches messages and keeps several batches in flight.
//!
//! Part of INV-LANE: messages of one partition are stored in the order they were accepted, and none behind one that was
//! refused, before the refusal was reported. A purge and a lost connection at once can break the first: see
//! [`Producer`].
//! What was accepted and is not acknowledged is bounded by bytes; `send` waits for room.

mod batcher;
mod builder;
mod driver;
mod partitioner;
mod receipt;
mod send;

pub use crate::producer::builder::{PartitionBy, ProducerBuilder, SendRetry};
pub use crate::producer::receipt::{FlushError, ProduceError, Receipt};

use std::sync::Arc;

use crate::Message;
use crate::producer::batcher::Tracking;
use crate::producer::send::{MessageTarget, ProducerShared};

/// Sends messages to one topic, in batches, several of them in flight.
///
/// Cheap to clone; all clones fill the same batches. Messages of one partition arrive in the order
/// `send` accepted them. When the server refuses some, because they are too large, its disk is full or the user may
/// not send any longer, nothing behind them is stored until [`Producer::flush`] has reported it: the batches of a
/// producer are a chain to the server, which takes none whose predecessor it refused. So a program may send
/// what failed again, from the first message that was not acknowledged on, and no partition gets a hole or
/// another order. (A server without chains, as every classic one, gets one batch at a time for each partition.)
///
/// With [`SendRetry::AtLeastOnce`], the default, a batch whose acknowledgement
/// got lost with the connection is sent again, so its messages may be stored twice, except in a topic
/// with [deduplication](crate::Deduplication): every message gets a random id here, unless it has
/// one, and keeps it and its partition when it is sent again, so such a topic stores it once, as long as the
/// server remembers its id: for longer than the delivery timeout with the defaults of both, and for a dozen
/// producers to one partition. Whether a topic deduplicates is asked when the producer is built, which logs a
/// warning when its window is too small for the settings. A user who may not read the topic is not told; then a
/// balanced batch may be stored twice. There, a balanced message with an id of its own goes to a partition
/// that follows from the id, so that it is found again by whoever sends it again.
///
/// A purge takes that memory along with the messages. When the connection is lost in the same moment, a batch that
/// was stored before the purge is sent again, too, and stored behind it: maybe behind later batches of the same
/// producer that were stored in between.
///
/// ```no_run
/// # async fn run(client: galgo::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use galgo::Message;
///
/// let producer = client.producer(&"shop".parse()?, &"orders".parse()?).build().await?;
/// for number in 0..10_000 {
///     // Waits only when the buffer is full.
///     producer.send_keyed(format!("customer-{}", number % 7), Message::new("tea")).await?;
/// }
/// producer.close().await?; // everything is acknowledged, or this is an error
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// What is shared by the clones, but not by the task.
struct Handle {
    shared: Arc<ProducerShared>,
}

impl Producer {
    pub(crate) async fn start(settings: ProducerBuilder) -> Result<Self, ProduceError> {
        let shared = Arc::new(ProducerShared::new(settings));
        let lane = shared.prepare().await?;
        tokio::spawn(driver::run(Arc::clone(&shared), lane));
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Takes `message` into the buffer; waits while the buffer is full.
    ///
    /// # Errors
    /// [`ProduceError`]; the message was not taken.
    pub async fn send(&self, message: Message) -> Result<(), ProduceError> {
        self.shared().accept(MessageTarget::Any, message, Tracking::None).await.map(drop)
    }

    /// As [`Producer::send`], to the partition of `key`: messages of a key keep their order.
    ///
    /// # Errors
    /// [`ProduceError`]; the message was not taken.
    pub async fn send_keyed(
        &self,
        key: impl AsRef<[u8]>,
        message: Message,
    ) -> Result<(), ProduceError> {
        let to = MessageTarget::Key(key.as_ref());
        self.shared().accept(to, message, Tracking::None).await.map(drop)
    }

    /// As [`Producer::send`], to `partition`, whatever the settings of the producer say.
    ///
    /// A message with an [id](Message::id) of its own keeps it, and the partition, however often it is sent again: in a topic
    /// with [deduplication](crate::Deduplication) it is stored once, also when the program, or another one, sends it
    /// again to the same partition.
    ///
    /// # Errors
    /// [`ProduceError`]; the message was not taken. That there is no such partition is told when the message is sent, as
    /// [`ProduceError::Failed`].
    pub async fn send_to(&self, partition: u32, message: Message) -> Result<(), ProduceError> {
        let to = MessageTarget::Partition(partition);
        self.shared().accept(to, message, Tracking::None).await.map(drop)
    }

    /// As [`Producer::send_to`], and returns what resolves when the message is acknowledged.
    ///
    /// # Errors
    /// [`ProduceError`]; the message was not taken.
    pub async fn send_to_with_receipt(
        &self,
        partition: u32,
        message: Message,
    ) -> Result<Receipt, ProduceError> {
        self.track(MessageTarget::Partition(partition), message, Tracking::Receipt).await
    }

    /// As [`Producer::send`], and returns what resolves when the message is acknowledged.
    ///
    /// # Errors
    /// [`ProduceError`]; the message was not taken.
    pub async fn send_with_receipt(&self, message: Message) -> Result<Receipt, ProduceError> {
        self.track(MessageTarget::Any, message, Tracking::Receipt).await
    }

    /// As [`Producer::send_keyed`], and returns what resolves when the message is acknowledged.
    ///
    /// # Errors
    /// [`ProduceError`]; the message was not taken.
    pub async fn send_keyed_with_receipt(
        &self,
        key: impl AsRef<[u8]>,
        message: Message,
    ) -> Result<Receipt, ProduceError> {
        self.track(MessageTarget::Key(key.as_ref()), message, Tracking::Receipt).await
    }

    /// Sends `message` and waits until it is acknowledged.
    ///
    /// # Errors
    /// [`ProduceError`].
    pub async fn send_and_confirm(&self, message: Message) -> Result<(), ProduceError> {
        self.track(MessageTarget::Any, message, Tracking::Waiting).await?.await
    }

    /// Sends what is buffered and waits until everything accepted so far is settled.
    ///
    /// # Errors
    /// [`FlushError`]: how many messages were not acknowledged since the last flush, and why. None of them is
    /// on its way any longer, and the producer takes messages again.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.shared().flush().await
    }

    /// Stops taking messages, and flushes.
    ///
    /// # Errors
    /// [`FlushError`], as [`Producer::flush`].
    pub async fn close(&self) -> Result<(), FlushError> {
        self.shared().close().await
    }

    /// How many messages have been acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared().acknowledged()
    }

    /// How many of the acknowledged messages were not stored, because the topic had stored their ids before.
    /// Servers that do not tell count as having stored everything.
    pub fn stored_before(&self) -> u64 {
        self.shared().stored_before()
    }

    /// How many messages have been accepted and are not settled yet.
    pub fn pending(&self) -> u64 {
        self.shared().pending()
    }

    async fn track(
        &self,
        to: MessageTarget<'_>,
        message: Message,
        tracking: Tracking,
    ) -> Result<Receipt, ProduceError> {
        let receipt = self.shared().accept(to, message, tracking).await?;
        receipt.ok_or(ProduceError::Closed)
    }

    fn shared(&self) -> &ProducerShared {
        &self.handle.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let pending = self.shared.pending();
        if pending > 0 {
            tracing::warn!(
                pending,
                "producer dropped without close; its last messages are sent in the background"
            );
        }
        self.shared.refuse();
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("acknowledged", &self.acknowledged())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}
