//! Where a message is, and how far a lane has come.

use std::fmt;

/// One partition of one topic in one pipeline: what is delivered in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneName {
    /// The pipeline.
    pub pipeline: String,
    /// The stream.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, topic, partition, .. } = self;
        write!(f, "{stream}/{topic}/{partition}")
    }
}

/// A message, and which of the rows that were made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The offset of the message.
    pub offset: u64,
    /// Which of its rows, from 0.
    pub part: u32,
}

/// How far a lane has come in a target, and what it was in front of: enough to notice that the topic is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The offset of the next message to be delivered.
    pub next: u64,
    /// When the topic was made, in microseconds since the Unix epoch; 0 if the target does not keep that.
    pub topic_made_at: u64,
    /// The id of the message at `next - 1`; 0 if there is none.
    pub last_id: u128,
    /// Its time, in microseconds since the Unix epoch.
    pub last_time: u64,
}
