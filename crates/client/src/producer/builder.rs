//! The settings of a producer.

use std::time::Duration;

use galgo_wire::limits::{
    DELIVERY_SECONDS_DEFAULT, PRODUCER_MESSAGES_IN_FLIGHT_DEFAULT, SEND_PAYLOAD_BYTES_MAX_DEFAULT,
};
use tokio::sync::Semaphore;

use crate::producer::Producer;
use crate::{Client, Identifier, ProduceError};

/// Which partition a message goes to, unless it is sent with a key of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionBy {
    /// The server spreads batches over the partitions.
    Balance,
    /// All messages to the partition of this key.
    Key(Vec<u8>),
    /// All messages to this partition.
    Id(u32),
}

/// What a producer does with a batch that was sent and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendRetry {
    /// Sends it again, in order: every message arrives, some may arrive twice; in a topic with
    /// [deduplication](crate::Deduplication) none does.
    AtLeastOnce,
    /// Gives up: no message arrives twice, some may not arrive. Their receipts and `flush` fail, and so do
    /// those of all messages behind them.
    AtMostOnce,
}

/// Settings of a producer; every one has a default.
///
/// Made by [`Client::producer`](crate::Client::producer).
#[derive(Debug, Clone)]
pub struct ProducerBuilder {
    pub(crate) client: Client,
    pub(crate) stream: Identifier,
    pub(crate) topic: Identifier,
    pub(crate) partition_by: PartitionBy,
    pub(crate) batch_messages: u32,
    pub(crate) batch_bytes: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) retry: SendRetry,
    pub(crate) delivery_timeout: Duration,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, stream: Identifier, topic: Identifier) -> Self {
        Self {
            client,
            stream,
            topic,
            partition_by: PartitionBy::Balance,
            batch_messages: BATCH_MESSAGES_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            buffer_bytes: BUFFER_BYTES_DEFAULT,
            linger: Duration::from_millis(1),
            max_in_flight: MAX_IN_FLIGHT_DEFAULT,
            retry: SendRetry::AtLeastOnce,
            delivery_timeout: Duration::from_secs(DELIVERY_SECONDS_DEFAULT),
        }
    }

    /// Sets the partition messages go to. Default: balanced by the server.
    pub fn partition_by(mut self, by: PartitionBy) -> Self {
        self.partition_by = by;
        self
    }

    /// Sets how many messages fill a batch. Default: 1,000.
    pub fn batch_messages(mut self, messages: u32) -> Self {
        self.batch_messages = messages.max(1);
        self
    }

    /// Sets how many bytes fill a batch; a larger message makes a batch of its own. Default: 1 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.clamp(1, BATCH_BYTES_MAX);
        self
    }

    /// Sets how many bytes may be accepted and not acknowledged. Default: 32 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.clamp(1, BUFFER_BYTES_MAX);
        self
    }

    /// Sets how long a batch waits to fill. Default: 1 ms.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets how many batches may be in flight. Default: 8. A server that does not know
    /// [chains](crate::Producer) gets one at a time for each partition.
    pub fn max_in_flight(mut self, batches: usize) -> Self {
        self.max_in_flight = batches.max(1);
        self
    }

    /// Sets what to do with a batch that was sent and not answered. Default: at least once.
    pub fn retry(mut self, retry: SendRetry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how long a message may take from being accepted to being acknowledged, retries and
    /// reconnects included. Default: 2 minutes. In a topic with [deduplication](crate::Deduplication) it has
    /// to be shorter than the time for which the server remembers ids, 5 minutes unless it is configured
    /// otherwise; building the producer warns when it is not.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Starts the producer. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ProduceError::NoTopic`]: the server says that there is no such topic. [`ProduceError::Lookup`]: the
    /// server could not be asked what has to be known before the first message.
    pub async fn build(self) -> Result<Producer, ProduceError> {
        Producer::start(self).await
    }
}

const BATCH_MESSAGES_DEFAULT: u32 = 1_000;
const MAX_IN_FLIGHT_DEFAULT: usize = 8;
const _: () = assert!(
    BATCH_MESSAGES_DEFAULT as usize * MAX_IN_FLIGHT_DEFAULT
        == PRODUCER_MESSAGES_IN_FLIGHT_DEFAULT as usize,
    "the limits of the server know what a producer has in flight"
);
const BATCH_BYTES_DEFAULT: usize = 1 << 20;
const BUFFER_BYTES_DEFAULT: usize = 32 << 20;
const _: () = assert!(
    2 * MAX_IN_FLIGHT_DEFAULT * BATCH_BYTES_DEFAULT <= BUFFER_BYTES_DEFAULT,
    "while as much is in flight as may, the batches behind it are filled"
);

/// Largest batch that can be set.
const BATCH_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(
    BATCH_BYTES_MAX < SEND_PAYLOAD_BYTES_MAX_DEFAULT as usize,
    "a server takes the largest batch unless it is configured otherwise"
);

/// Largest buffer that can be set.
const BUFFER_BYTES_MAX: usize = u32::MAX as usize;
const _: () = assert!(
    BATCH_BYTES_MAX <= BUFFER_BYTES_MAX && BUFFER_BYTES_MAX <= Semaphore::MAX_PERMITS,
    "a buffer may have room for any batch, and room is counted in permits"
);
