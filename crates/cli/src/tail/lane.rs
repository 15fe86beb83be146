//! One partition of a tail: where it is, and what has been read ahead.

use std::collections::VecDeque;

use galgo::wire::id::{Offset, Timestamp};
use galgo::{Client, PollRequest, PollingStrategy, ReceivedMessage};

use crate::command::topic::{Extent, TopicPath};
use crate::failure::Outcome;

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At an offset.
    Offset(u64),
    /// At the first message of this time or later.
    Time(u64),
}

/// A partition that is read in order.
#[derive(Debug)]
pub(super) struct Lane {
    partition: u32,
    next: Start,
    /// Offset at which it ends for now.
    end: u64,
    ready: VecDeque<ReceivedMessage>,
}

impl Lane {
    pub(super) fn new(partition: u32, next: Start, end: u64) -> Self {
        Self { partition, next, end, ready: VecDeque::new() }
    }

    /// From now on it has no end; a time that has not come yet is where the partition ended.
    pub(super) fn open_end(&mut self) {
        if let Start::Time(_) = self.next {
            self.next = Start::Offset(self.end);
        }
        self.end = u64::MAX;
    }

    /// Reads on when nothing is left of what was read ahead.
    pub(super) async fn fill(&mut self, client: &Client, path: &TopicPath, ask: u32) -> Outcome {
        let strategy = match self.next {
            _ if !self.ready.is_empty() => return Ok(()),
            Start::Offset(offset) if offset >= self.end => return Ok(()),
            Start::Offset(offset) => PollingStrategy::Offset(Offset::new(offset)),
            Start::Time(time) => PollingStrategy::Timestamp(Timestamp::new(time)),
        };
        let request = PollRequest::new(&path.stream, &path.topic, self.partition)
            .strategy(strategy)
            .count(ask);
        let polled = client.poll(request).await?.into_messages();
        match polled.last() {
            Some(last) => self.next = Start::Offset(last.offset() + 1),
            // Nothing there although it should be: the partition was emptied meanwhile.
            None if self.end != u64::MAX => self.next = Start::Offset(self.end),
            None => {}
        }
        let end = self.end;
        self.ready.extend(polled.into_iter().filter(|message| message.offset() < end));
        if let Start::Offset(next) = self.next {
            self.next = Start::Offset(next.min(end));
        }
        Ok(())
    }

    /// The time of the next message, when it has been read.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.ready.front().map(ReceivedMessage::timestamp)
    }

    /// The next message, when it has been read.
    pub(super) fn take(&mut self) -> Option<ReceivedMessage> {
        self.ready.pop_front()
    }

    /// Begins again when the partition ends before the place that was reached: it was purged.
    pub(super) fn rewind_if_emptied(&mut self, extent: Extent) {
        if let Start::Offset(next) = self.next
            && next > extent.end
        {
            self.next = Start::Offset(extent.start);
        }
    }
}
