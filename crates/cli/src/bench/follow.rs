//! A consumer that reads a partition as it grows, with polls that wait for what comes next.

use std::time::Duration;

use crate::bench::frame;
use crate::bench::plan::Batch;
use crate::bench::worker::Connection;
use crate::failure::{Failure, Outcome};

/// Where the answer to a poll says how many messages follow.
const COUNT_AT: std::ops::Range<usize> = 12..16;

/// Longest wait of a poll; short enough that a run ends soon after its last message.
const WAIT: Duration = Duration::from_millis(200);

/// One such consumer.
#[derive(Debug)]
pub(crate) struct Follower {
    connection: Connection,
    topic: String,
    partition: u32,
    at_most: Batch,
    next: u32,
}

impl Follower {
    /// Follows a partition from its beginning, with answers of at most so many messages.
    pub(crate) fn new(
        connection: Connection,
        topic: String,
        partition: u32,
        at_most: Batch,
    ) -> Self {
        Self { connection, topic, partition, at_most, next: 0 }
    }

    /// Reads what is there, or waits a moment for it; returns how many messages came.
    pub(crate) fn poll(&mut self) -> Outcome<u32> {
        let (topic, place, first) = (&self.topic, self.partition, self.next);
        let request = frame::poll_waiting(topic, place, first, self.at_most, WAIT)?;
        let count = message_count(&self.connection.call(&request)?)?;
        self.next += count;
        Ok(count)
    }
}

fn message_count(answer: &[u8]) -> Outcome<u32> {
    let count = answer.get(COUNT_AT).and_then(|bytes| bytes.try_into().ok());
    count
        .map(u32::from_le_bytes)
        .ok_or_else(|| Failure::connection("the answer to a poll is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_messages_is_found_in_an_answer() {
        let mut answer = vec![9; 12];
        answer.extend([7, 0, 0, 0, 1, 1]);
        assert_eq!(message_count(&answer).unwrap(), 7);
        assert!(message_count(&answer[..15]).is_err());
    }
}
