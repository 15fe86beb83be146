//! Polls: reading a batch of messages from one partition.

use bytes::Bytes;

use crate::message::ReceivedMessage;
use crate::{CallError, Client, Identifier, PollingStrategy};

/// What to read: a partition, a place in it and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollRequest {
    /// The stream.
    pub stream: Identifier,
    /// The topic.
    pub topic: Identifier,
    /// The partition.
    pub partition: u32,
    /// Where to begin.
    pub strategy: PollingStrategy,
    /// Most messages to return.
    pub count: u32,
    /// The consumer, for the strategy `Next` and for commits.
    pub consumer: Identifier,
    /// Whether the server stores the offset of the last message it returns.
    pub auto_commit: bool,
}

/// Messages returned by a poll when not told otherwise.
pub const POLL_COUNT_DEFAULT: u32 = 1000;

impl PollRequest {
    /// Asks for the first messages of a partition; the other methods change that.
    pub fn new(stream: &Identifier, topic: &Identifier, partition: u32) -> Self {
        Self {
            stream: stream.clone(),
            topic: topic.clone(),
            partition,
            strategy: PollingStrategy::First,
            count: POLL_COUNT_DEFAULT,
            consumer: Identifier::Numeric(0),
            auto_commit: false,
        }
    }

    /// Sets where to begin.
    pub fn strategy(mut self, strategy: PollingStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets the most messages to return. Default: 1,000.
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets the consumer whose stored offset `Next` and `auto_commit` use. Default: number 0.
    pub fn consumer(mut self, consumer: Identifier) -> Self {
        self.consumer = consumer;
        self
    }

    /// Lets the server store the offset of the last message it returns, before this program has
    /// seen it. With `Next`, a lost answer is then not asked for again, because that would skip
    /// messages.
    pub fn auto_commit(mut self, auto_commit: bool) -> Self {
        self.auto_commit = auto_commit;
        self
    }
}

/// The answer to a poll: messages with consecutive, ascending offsets.
///
/// The messages share the memory of the reply; no payload is copied.
#[derive(Debug, Clone, Default)]
pub struct PolledMessages {
    partition: u32,
    current_offset: u64,
    messages: Vec<ReceivedMessage>,
}

impl PolledMessages {
    /// The partition they come from.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The last offset in the partition when the poll was answered; 0 also when it is empty.
    pub fn current_offset(&self) -> u64 {
        self.current_offset
    }

    /// The messages.
    pub fn messages(&self) -> &[ReceivedMessage] {
        &self.messages
    }

    /// The messages, taken out.
    pub fn into_messages(self) -> Vec<ReceivedMessage> {
        self.messages
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl IntoIterator for PolledMessages {
    type Item = ReceivedMessage;
    type IntoIter = std::vec::IntoIter<ReceivedMessage>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}

impl Client {
    /// Reads messages from one partition; returns none at once when there are none.
    ///
    /// # Errors
    /// [`CallError`]; code `PartitionNotFound` when there is no such partition.
    pub async fn poll(&self, request: PollRequest) -> Result<PolledMessages, CallError> {
        crate::poll::poll(self, &request).await
    }
}
