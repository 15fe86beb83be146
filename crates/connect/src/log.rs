//! The partition a lane reads, seen from the lane.
//!
//! A trait, so that what a lane does when a partition is purged, taken away or overtaken by retention is tested without a server.

#[cfg(test)]
pub(crate) mod memory;

use async_trait::async_trait;
use bytes::Bytes;

/// A message as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMessage {
    /// Its offset.
    pub offset: u64,
    /// Its id.
    pub id: u128,
    /// When it was stored, in microseconds since the Unix epoch.
    pub time: u64,
    /// When its sender made it, by the sender's clock.
    pub origin_time: u64,
    /// Its headers as they are in the log.
    pub headers_block: Bytes,
    /// Its payload.
    pub payload: Bytes,
}

impl LogMessage {
    /// Bytes it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.headers_block.len() + self.payload.len()
    }
}

/// What there is of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// The offset of the first message that is kept.
    pub start: u64,
    /// The offset behind the last one.
    pub end: u64,
    /// The offset the group has stored.
    pub stored: Option<u64>,
    /// When the topic was made, in microseconds since the Unix epoch.
    pub topic_made_at: u64,
}

/// Why there are no messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// Another member of the group has the partition now.
    Lost,
    /// The partition was purged or made again.
    BegunAnew,
    /// Retention took what was to come next; the first message that is left is this one.
    Gap(u64),
    /// The server cannot be reached, or does not let us: what it said. It is tried again.
    Away(String),
}

/// A partition that is read by one lane.
#[async_trait]
pub trait LaneLog: Send {
    /// What there is of it. Whoever has asked says with [`LaneLog::seek`] where to go on, as the partition may have begun anew.
    ///
    /// # Errors
    /// [`ReadEnd`].
    async fn extent(&mut self) -> Result<LogExtent, ReadEnd>;

    /// The message at an offset, if it is there.
    ///
    /// # Errors
    /// [`ReadEnd`].
    async fn message_at(&mut self, offset: u64) -> Result<Option<LogMessage>, ReadEnd>;

    /// The offset of the first message that was stored at a time or later.
    ///
    /// # Errors
    /// [`ReadEnd`].
    async fn offset_at(&mut self, time: u64) -> Result<u64, ReadEnd>;

    /// Has [`LaneLog::next`] go on with this offset.
    fn seek(&mut self, offset: u64);

    /// The next messages, at least one, in order and without a gap; waits while there are none. Nothing is lost when it is dropped
    /// while it waits.
    ///
    /// # Errors
    /// [`ReadEnd`].
    async fn next(&mut self) -> Result<Vec<LogMessage>, ReadEnd>;

    /// Stores the group's offset: everything up to this message is delivered.
    ///
    /// # Errors
    /// [`ReadEnd`].
    async fn store(&mut self, offset: u64) -> Result<(), ReadEnd>;
}
