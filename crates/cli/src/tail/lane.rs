//! One partition of a tail: where it is, and what has been read ahead.

use std::collections::VecDeque;
use std::ops::Range;

use galgo::{Client, Life, PollRequest, PolledMessages, PollingStrategy, ReceivedMessage};
use galgo::{Offset, Timestamp};

use crate::failure::Outcome;
use crate::noun::extent::Extent;
use crate::noun::topic::TopicPath;
use crate::tail::whereabouts::Whereabouts;

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneStart {
    /// At an offset.
    Offset(u64),
    /// At the first message of this time or later.
    Time(u64),
}

/// A partition that is read in order.
#[derive(Debug)]
pub(super) struct TailLane {
    partition: u32,
    next: LaneStart,
    /// The life the place is one of, once it is known.
    life: Life,
    /// Offset at which it ends for now.
    end: u64,
    ready: VecDeque<ReceivedMessage>,
}

/// How a partition is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Messages to ask for at once.
    pub(super) count: u32,
    /// Whether damaged messages are left out.
    pub(super) skip_damaged: bool,
}

impl TailLane {
    pub(super) fn new(partition: u32, next: LaneStart, at: &Whereabouts) -> Self {
        let (life, end) = (at.life, at.extent.end);
        Self { partition, next, life, end, ready: VecDeque::new() }
    }

    /// From now on it has no end; a time that has not come yet is where the partition ended.
    pub(super) fn open_end(&mut self) {
        if let LaneStart::Time(_) = self.next {
            self.next = LaneStart::Offset(self.end);
        }
        self.end = u64::MAX;
    }

    /// Reads on when nothing is left of what was read ahead; gives what is to be told, if anything.
    pub(super) async fn fill(
        &mut self,
        client: &Client,
        path: &TopicPath,
        ask: Ask,
    ) -> Outcome<Option<String>> {
        let strategy = match self.next {
            _ if !self.ready.is_empty() => return Ok(None),
            LaneStart::Offset(offset) if offset >= self.end => return Ok(None),
            LaneStart::Offset(offset) => PollingStrategy::Offset(Offset::new(offset)),
            LaneStart::Time(time) => PollingStrategy::Timestamp(Timestamp::new(time)),
        };
        let mut request = PollRequest::new(&path.stream, &path.topic, self.partition)
            .strategy(strategy)
            .count(ask.count)
            .life(self.life);
        if ask.skip_damaged {
            request = request.tell_damage();
        }
        let polled = client.poll(request).await?;
        if polled.is_of_other_life() {
            return Ok(Some(self.begin_anew(&polled, path)));
        }
        if polled.life().is_known() {
            self.life = polled.life();
        }
        if let Some(damaged) = polled.damaged() {
            self.next = LaneStart::Offset(damaged.end.min(self.end));
            return Ok(Some(left_out(self.partition, path, &damaged)));
        }
        let told_end = polled.extent().map_or(u64::MAX, |extent| extent.end);
        let polled = polled.into_messages();
        match polled.last() {
            Some(last) => self.next = LaneStart::Offset(last.offset() + 1),
            // Nothing there although it should be: the partition was emptied, or the machine went down before it
            // had synced what was shown of the end. What comes gets the offsets from here on.
            None if self.end != u64::MAX => {
                self.end = match self.next {
                    LaneStart::Offset(offset) => offset,
                    LaneStart::Time(_) => told_end.min(self.end),
                };
                self.next = LaneStart::Offset(self.end);
            }
            None => {
                if let LaneStart::Offset(next) = self.next
                    && told_end < next
                {
                    self.next = LaneStart::Offset(told_end);
                    return Ok(Some(taken_back(self.partition, path, told_end..next)));
                }
            }
        }
        let end = self.end;
        self.ready.extend(polled.into_iter().filter(|message| message.offset() < end));
        if let LaneStart::Offset(next) = self.next {
            self.next = LaneStart::Offset(next.min(end));
        }
        Ok(None)
    }

    /// The partition is in another life: what it has now is all new.
    fn begin_anew(&mut self, polled: &PolledMessages, path: &TopicPath) -> String {
        self.life = polled.life();
        self.next = LaneStart::Offset(0);
        if self.end != u64::MAX {
            // A replay ends with what was the newest when it was told of the new beginning.
            self.end = polled.extent().map_or(0, |extent| extent.end);
        }
        begins_anew(self.partition, path)
    }

    /// The time of the next message, when it has been read.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.ready.front().map(ReceivedMessage::timestamp)
    }

    /// The next message, when it has been read.
    pub(super) fn take(&mut self) -> Option<ReceivedMessage> {
        self.ready.pop_front()
    }

    /// Begins again when the partition ends before the place that was reached: it was purged, and its
    /// server does not tell lives. Gives what is to be told.
    pub(super) fn rewind_if_emptied(&mut self, extent: Extent, path: &TopicPath) -> Option<String> {
        let LaneStart::Offset(next) = self.next else { return None };
        if self.life.is_known() || next <= extent.end {
            return None;
        }
        self.next = LaneStart::Offset(extent.start);
        Some(begins_anew(self.partition, path))
    }
}

/// What a reader is told of a partition that begins anew.
pub(super) fn begins_anew(partition: u32, path: &TopicPath) -> String {
    format!(
        "partition {partition} of {} was purged or made again; going on with its first message",
        path.phrase()
    )
}

/// What a follower is told of messages that were shown and are not there any more.
fn taken_back(partition: u32, path: &TopicPath, gone: Range<u64>) -> String {
    format!(
        "partition {partition} of {}: the messages from offset {} to {} were not synced when their machine went \
         down, and are gone; going on with what came after",
        path.phrase(),
        gone.start,
        gone.end.saturating_sub(1),
    )
}

/// What a reader is told of messages that are left out.
pub(super) fn left_out(partition: u32, path: &TopicPath, damaged: &Range<u64>) -> String {
    let last = damaged.end.saturating_sub(1);
    format!(
        "partition {partition} of {}: the messages from offset {} to {last} are damaged, and left out",
        path.phrase(),
        damaged.start
    )
}
