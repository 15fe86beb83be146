//! Polls: reading a batch of messages from one partition.

use std::time::Duration;

use bytes::Bytes;
use galgo_wire::batch::{MESSAGE_HEADER_BYTES, MessageRef, MessagesView};
use galgo_wire::command::extensions::PollWaiting;
use galgo_wire::command::messages::{PollMessages, PolledHeader};
use galgo_wire::id::PartitionId;
use galgo_wire::limits::POLLED_HEADER_BYTES;
use galgo_wire::permission::Action;
use galgo_wire::primitive::Payload;

use crate::connection::Replay;
use crate::extensions::WAITING_POLLS;
use crate::message::ReceivedMessage;
use crate::topics::path;
use crate::{
    CallError, Client, ConsumerIdentity, Identifier, InvalidRequest, PollingStrategy, Transport,
};

/// What to read: a partition, a place in it and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollRequest {
    /// The stream.
    pub stream: Identifier,
    /// The topic.
    pub topic: Identifier,
    /// The partition; `None`: one of those the group gives to this connection.
    pub partition: Option<u32>,
    /// Where to begin.
    pub strategy: PollingStrategy,
    /// Most messages to return.
    pub count: u32,
    /// The consumer, for the strategy `Next` and for commits.
    pub consumer: ConsumerIdentity,
    /// Whether the server stores the offset of the last message it returns.
    pub auto_commit: bool,
    /// How long the server waits for messages when there are too few.
    pub wait: Duration,
    /// How many messages end the wait.
    pub count_min: u32,
}

/// Messages returned by a poll when not told otherwise.
const POLL_COUNT_DEFAULT: u32 = 1000;

impl PollRequest {
    /// Asks for the first messages of a partition; the other methods change that.
    pub fn new(stream: &Identifier, topic: &Identifier, partition: u32) -> Self {
        Self {
            stream: stream.clone(),
            topic: topic.clone(),
            partition: Some(partition),
            strategy: PollingStrategy::First,
            count: POLL_COUNT_DEFAULT,
            consumer: ConsumerIdentity::new(Identifier::Numeric(0)),
            auto_commit: false,
            wait: Duration::ZERO,
            count_min: 1,
        }
    }

    /// Asks for what is next in one of the partitions that `group` gives to this connection, which
    /// must have joined it. Partitions take turns.
    pub fn group(stream: &Identifier, topic: &Identifier, group: &Identifier) -> Self {
        Self {
            partition: None,
            strategy: PollingStrategy::Next,
            consumer: ConsumerIdentity::group(group.clone()),
            ..Self::new(stream, topic, 0)
        }
    }

    /// Sets the partition.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
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
        self.consumer = ConsumerIdentity::new(consumer);
        self
    }

    /// Lets the server store the offset of the last message it returns, before this program has
    /// seen it. With `Next`, a lost answer is then not asked for again, because that would skip
    /// messages.
    pub fn auto_commit(mut self, auto_commit: bool) -> Self {
        self.auto_commit = auto_commit;
        self
    }

    /// Lets the server wait for messages when there are none, for up to this long; it wakes the poll
    /// when one comes. Default: no wait. A server without the extension answers at once.
    ///
    /// The answer may come early and empty: the server has a longest wait of its own (30 s unless it is
    /// configured), no wait is longer than half of the silence after which a connection counts as lost, and
    /// a wait ends as soon as anything else is sent on the connection, whose answer would otherwise have to
    /// wait, too. Over QUIC such requests are not sent before the wait is over. So give a program that
    /// waits a client of its own.
    ///
    /// A poll that is given up, by dropping its future, may still be answered: with
    /// [`auto_commit`](PollRequest::auto_commit) the server then has stored an offset nobody has seen.
    /// A ping ends its wait at once, but over QUIC it lasts to its end.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets how many messages end the wait. Default: 1.
    pub fn count_min(mut self, messages: u32) -> Self {
        self.count_min = messages;
        self
    }

    pub(crate) fn wait_if(self, wait: Option<Duration>) -> Self {
        match wait {
            Some(wait) => self.wait(wait),
            None => self,
        }
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
    /// The messages as they came, back to back.
    bytes: Bytes,
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

    /// Checks the checksum of every message; removes the first bad one and all after it, and returns
    /// its place.
    pub fn cut_damaged(&mut self) -> Option<u64> {
        let is_good = |message: Result<MessageRef<'_>, _>| message.is_ok_and(|it| it.verify());
        let bad = MessagesView::new(&self.bytes).position(|message| !is_good(message))?;
        let offset = self.messages.get(bad).map(ReceivedMessage::offset);
        self.messages.truncate(bad);
        offset
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes the messages have, headers included.
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
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
    /// Reads messages from one partition; returns none when there are none, at once unless it is to
    /// [wait](PollRequest::wait).
    ///
    /// # Errors
    /// [`CallError`]; code `PartitionNotFound` when there is no such partition.
    pub async fn poll(&self, mut request: PollRequest) -> Result<PolledMessages, CallError> {
        if !request.wait.is_zero() && !self.has(&WAITING_POLLS).await? {
            request.wait = Duration::ZERO;
        }
        // Nothing is heard from the server while it waits, and a silent connection counts as lost.
        request.wait = request.wait.min(self.connection.silence_max() / 2);
        let (frame, wait) = (frame(&request)?, request.wait);
        let reply = self.connection.exchange_waiting(frame, replay(&request), wait).await;
        let target = || target(&request);
        let payload = reply.map_err(|failure| {
            failure.into_call("poll", target).needing(Some(Action::PollMessages))
        })?;
        PolledMessages::decode(payload)
            .map_err(|reason| CallError::Reply { operation: "poll", reason: reason.into() })
    }
}

/// The longest wait a consumer asks for.
const WAIT_MAX: Duration = Duration::from_secs(10);

impl Client {
    /// How long a consumer lets the server wait for messages; `None` when it is to poll.
    pub(crate) async fn poll_wait(&self) -> Result<Option<Duration>, CallError> {
        let wait = WAIT_MAX.min(self.connection.silence_max() / 2);
        // What is asked over QUIC is asked one after the other: a wait would hold up commits.
        let can_wait = !wait.is_zero() && self.connection.transport() != Transport::Quic;
        Ok(if can_wait && self.has(&WAITING_POLLS).await? { Some(wait) } else { None })
    }
}

fn target(request: &PollRequest) -> String {
    let topic = path(&request.stream, &request.topic);
    match request.partition {
        Some(partition) => format!("partition {partition} of topic {topic}"),
        None => format!("topic {topic} for group {}", request.consumer.id),
    }
}

fn frame(request: &PollRequest) -> Result<Bytes, InvalidRequest> {
    let poll = PollMessages {
        consumer: request.consumer.clone(),
        stream: request.stream.clone(),
        topic: request.topic.clone(),
        partition_id: request.partition.map(PartitionId::new),
        strategy: request.strategy,
        count: request.count,
        auto_commit: request.auto_commit,
    };
    if request.wait.is_zero() {
        return crate::call::frame(&poll);
    }
    let wait = u64::try_from(request.wait.as_micros()).unwrap_or(u64::MAX);
    crate::call::frame(&PollWaiting { poll, wait, count_min: request.count_min })
}

/// A poll for what is next that was carried out has moved the stored offset: repeated, it would
/// skip the messages whose answer got lost.
fn replay(request: &PollRequest) -> Replay {
    match (request.auto_commit, request.strategy) {
        (true, PollingStrategy::Next) => Replay::Never,
        _ => Replay::Safe,
    }
}

impl PolledMessages {
    #[cfg(test)]
    pub(crate) fn for_test(current_offset: u64, messages: Vec<ReceivedMessage>) -> Self {
        Self { partition: 0, current_offset, messages, bytes: Bytes::new() }
    }

    fn decode(payload: Bytes) -> Result<Self, &'static str> {
        let Some((head, bytes)) = payload.split_first_chunk::<POLLED_HEADER_BYTES>() else {
            return Err("it is cut off");
        };
        let head = PolledHeader::from_bytes(head).map_err(|_| "its first bytes are wrong")?;
        let partition = head.partition_id.get();
        // The count is a hint from outside: room is made for what the bytes can hold.
        let room = (head.count as usize).min(bytes.len() / MESSAGE_HEADER_BYTES);
        let mut messages = Vec::with_capacity(room);
        for message in MessagesView::new(bytes) {
            let message = message.map_err(|_| "a message in it is cut off or too large")?;
            messages.push(ReceivedMessage::new(
                partition,
                message.header,
                payload.slice_ref(message.payload),
                payload.slice_ref(message.user_headers),
            ));
        }
        let current_offset = head.current_offset.get();
        let bytes = payload.slice_ref(bytes);
        Ok(Self { partition, current_offset, messages, bytes })
    }
}

#[cfg(test)]
mod tests;
