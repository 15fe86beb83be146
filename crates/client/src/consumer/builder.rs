//! The settings of a consumer.

use std::time::{Duration, SystemTime};

use crate::builder::REPLY_BYTES_MAX_DEFAULT;
use crate::consumer::{ConsumeError, Consumer};
use crate::groups::SESSION;
use crate::{Client, Identifier, Life};

/// About how many bytes are fetched at once.
const BATCH_BYTES_DEFAULT: usize = 4 << 20;
const _: () = assert!(
    8 * BATCH_BYTES_DEFAULT <= REPLY_BYTES_MAX_DEFAULT,
    "an answer may be larger than expected, as messages grow, and is still read"
);
const POLL_INTERVAL_DEFAULT: Duration = Duration::from_millis(100);
const PARTITIONS_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
const _: () = assert!(
    POLL_INTERVAL_DEFAULT.as_millis() < PARTITIONS_INTERVAL_DEFAULT.as_millis(),
    "messages are looked for more often than partitions"
);

/// Where a consumer begins in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At this offset, or the oldest message there is if that is later.
    Offset(u64),
    /// At the first message the server took at or after this time.
    Time(SystemTime),
    /// At the oldest message.
    First,
    /// At the newest `n` messages of each partition; 0: at what comes next.
    Last(u32),
    /// After the offset stored for this consumer, or at the oldest message when none is stored.
    Next,
}

/// When a consumer stores the offset of what it has processed.
///
/// A message counts as processed when the program asks for the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Commit {
    /// Only when told, by [`Consumer::commit`].
    Manual,
    /// After every message; while one store is on its way, later ones are joined.
    PerMessage,
    /// After the last message of every fetched batch.
    PerBatch,
    /// At this interval.
    Every(Duration),
}

/// Settings of a consumer; every one has a default.
///
/// Made by [`Client::consumer`](crate::Client::consumer).
#[derive(Debug, Clone)]
pub struct ConsumerBuilder {
    pub(crate) client: Client,
    pub(crate) stream: Identifier,
    pub(crate) topic: Identifier,
    pub(crate) partitions: Option<Vec<u32>>,
    pub(crate) name: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) start: Start,
    pub(crate) commit: Option<Commit>,
    pub(crate) batch_size: u32,
    pub(crate) batch_bytes: usize,
    pub(crate) poll_interval: Duration,
    pub(crate) partitions_interval: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) until_end: bool,
    pub(crate) verify: bool,
    pub(crate) skip_damaged: bool,
    pub(crate) life: Life,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client, stream: Identifier, topic: Identifier) -> Self {
        Self {
            client,
            stream,
            topic,
            partitions: None,
            name: None,
            group: None,
            start: Start::Next,
            commit: None,
            batch_size: 1000,
            batch_bytes: BATCH_BYTES_DEFAULT,
            poll_interval: POLL_INTERVAL_DEFAULT,
            partitions_interval: PARTITIONS_INTERVAL_DEFAULT,
            session_timeout: SESSION,
            until_end: false,
            verify: true,
            skip_damaged: false,
            life: Life::UNKNOWN,
        }
    }

    /// Reads one partition. Default: all the topic has, those added later included.
    pub fn partition(self, partition: u32) -> Self {
        self.partitions([partition])
    }

    /// Reads these partitions. Default: all the topic has, those added later included.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = u32>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// Sets the name under which offsets are stored. Default: the consumer with the number 0.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Reads as a member of the consumer group `name`, which is created when there is none: the
    /// server shares the partitions out among the members, and every message goes to one of them.
    ///
    /// The consumer joins when it is built, joins again when the connection was lost or the server
    /// took it for dead, and leaves when it is closed or dropped. A connection is one member: give
    /// each consumer of a group a client of its own. Without another mode offsets are stored per
    /// batch, after it was processed; what a member processed and could not store before it died
    /// comes again to another. The place to begin is the group's own, so neither
    /// [`start`](Self::start), [`partitions`](Self::partitions), [`name`](Self::name) nor
    /// [`until_end`](Self::until_end) go with a group.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// Sets where to begin. Default: after the stored offset.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets when to store offsets. Default: by hand; in a group, per batch.
    pub fn commit(mut self, commit: Commit) -> Self {
        self.commit = Some(commit);
        self
    }

    /// Sets the most messages to fetch at once. Default: 1,000.
    pub fn batch_size(mut self, messages: u32) -> Self {
        self.batch_size = messages.max(1);
        self
    }

    /// Sets about how many bytes to fetch at once, by the sizes of the messages seen so far.
    /// Default: 4 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// Sets the longest pause between two polls of a partition that has nothing new; pauses grow up
    /// to it from a millisecond. Default: 100 ms.
    ///
    /// A consumer of one partition or in a group pauses only where it must: it lets a Galgo server wait
    /// for messages (see [`PollRequest::wait`](crate::PollRequest::wait)), over TCP and WebSocket. What
    /// else is sent on its connection cuts the waits short, so give it a client of its own.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets how often to look for partitions that were added to the topic. Default: 10 s.
    pub fn partitions_interval(mut self, interval: Duration) -> Self {
        self.partitions_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets after how long a silence a member of a group loses its partitions to the others, zero for never.
    /// Default: 30 s. Heeded by Galgo servers, which take 1 s to 1 h.
    ///
    /// The consumer gives signs of life by itself while its runtime runs, however long the program takes for
    /// a message. One that was stopped, or cut off from the network, drops what it had fetched of the
    /// partitions it lost.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Ends the stream at the messages that are the newest when the consumer is built, or, in a partition
    /// that [begins anew](ConsumeError::Rewound), when that is told. Default: waits for more.
    pub fn until_end(mut self) -> Self {
        self.until_end = true;
        self
    }

    /// Sets whether the checksum of every message is checked here too. Default: yes.
    pub fn verify_checksums(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Leaves damaged messages out, each run of them told by [`ConsumeError::Skipped`]. Default: the consumer
    /// stops in front of them and says so, [`ConsumeError::Unreadable`].
    pub fn skip_damaged(mut self) -> Self {
        self.skip_damaged = true;
        self
    }

    /// Sets the life of the partitions in which the place to begin was learned; a partition in another one is
    /// told as [`ConsumeError::Rewound`] and read from its first message. Default: whichever it is.
    pub fn life(mut self, life: Life) -> Self {
        self.life = life;
        self
    }

    /// Finds where to begin and starts to fetch. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ConsumeError`].
    pub async fn build(self) -> Result<Consumer, ConsumeError> {
        crate::consumer::start::start(self).await
    }

    /// When to store offsets, by setting or by default.
    pub(crate) fn commit_mode(&self) -> Commit {
        self.commit.unwrap_or(match self.group {
            Some(_) => Commit::PerBatch,
            None => Commit::Manual,
        })
    }
}
