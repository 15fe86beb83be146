//! Polls: reading a batch of messages from one partition.

mod answer;
mod exchange;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use galgo_wire::id::Life;

pub use crate::poll::answer::PolledMessages;
use crate::{ConsumerIdentity, Identifier, PollingStrategy};

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
    /// The life of the partition to read in; unknown: whichever it is.
    pub life: Life,
    /// Whether damaged messages are told by the answer instead of an error.
    pub tells_damage: bool,
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
            life: Life::UNKNOWN,
            tells_damage: false,
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

    /// Sets the [life](PolledMessages::life) of the partition that the place was learned in. In another one
    /// nothing is read and no offset stored, and the answer [says so](PolledMessages::is_of_other_life). Default:
    /// whichever it is. A server without the extension does not look at it.
    pub fn life(mut self, life: Life) -> Self {
        self.life = life;
        self
    }

    /// Lets the answer [tell](PolledMessages::damaged) where the server found messages damaged, in place of
    /// [`CallError::Damaged`](crate::CallError::Damaged), so that the program can read on behind them. A
    /// server without the extension answers with an error all the same, code `InvalidMessageChecksum`.
    pub fn tell_damage(mut self) -> Self {
        self.tells_damage = true;
        self
    }

    pub(crate) fn wait_if(self, wait: Option<Duration>) -> Self {
        match wait {
            Some(wait) => self.wait(wait),
            None => self,
        }
    }
}
