//! A place in a partition, and how answers to polls move it. Pure.
//!
//! P-ORDER: the place moves only past messages that are handed out, so none is skipped.
//! Part of INV-LIFE: a place is one of a life; an answer of another one puts it at the first message there.

use galgo_wire::id::{Life, Offset, Timestamp};

use crate::message::ReceivedMessage;
use crate::{PolledMessages, PollingStrategy};

/// Where reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadPosition {
    /// With this offset.
    Offset(u64),
    /// With the first message taken at this time or later.
    Time(Timestamp),
}

/// A place in a partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionCursor {
    place: ReadPosition,
    /// Whether the partition is known to have reached up to the place.
    reached: bool,
    /// The last offset to hand out.
    end: Option<u64>,
    /// The life the place is one of, once it is known.
    life: Life,
    /// Messages taken before this time are not handed out.
    since: Option<Timestamp>,
}

/// What an answer to a poll means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Hand these out and go on.
    Messages(Vec<ReceivedMessage>),
    /// Hand these out and stop.
    LastMessages(Vec<ReceivedMessage>),
    /// Nothing new yet.
    Nothing,
    /// The partition begins anew, in another life or shorter than it was.
    Rewound {
        /// The offset that was to come next.
        expected: u64,
    },
}

impl PartitionCursor {
    /// A cursor at `place`. `reached`: the partition once held the message before it.
    pub(super) fn new(place: ReadPosition, reached: bool, end: Option<u64>) -> Self {
        Self { place, reached, end, life: Life::UNKNOWN, since: None }
    }

    /// A cursor with nothing to hand out.
    pub(super) fn at_end() -> Self {
        Self::new(ReadPosition::Offset(1), false, Some(0))
    }

    /// Sets the life the place was learned in.
    pub(super) fn in_life(self, life: Life) -> Self {
        Self { life, ..self }
    }

    /// The life the place is one of, as far as it is known.
    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// The place, as a poll asks for it.
    pub(super) fn strategy(&self) -> PollingStrategy {
        match self.place {
            ReadPosition::Offset(offset) => PollingStrategy::Offset(Offset::new(offset)),
            ReadPosition::Time(time) => PollingStrategy::Timestamp(time),
        }
    }

    /// Whether the end is behind the place before anything was read.
    pub(super) fn is_done(&self) -> bool {
        match (self.place, self.end) {
            (ReadPosition::Offset(next), Some(end)) => next > end,
            _ => false,
        }
    }

    /// Whether it ends somewhere.
    pub(super) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Goes on with `offset`, because what is before it cannot be read.
    pub(super) fn skip_to(&mut self, offset: u64) {
        if let ReadPosition::Time(time) = self.place {
            // Whether what is behind was taken at that time or later is still to be seen.
            self.since = Some(time);
        }
        self.place = ReadPosition::Offset(offset);
    }

    /// Moves past the messages of an answer.
    pub(super) fn advance(&mut self, polled: PolledMessages) -> Step {
        if self.life.differs_from(polled.life()) {
            return self.begin_anew(&polled);
        }
        if polled.life().is_known() {
            self.life = polled.life();
        }
        if polled.is_empty() {
            return self.nothing(&polled);
        }
        let mut messages = polled.into_messages();
        let Some(last) = messages.last() else {
            unreachable!("an answer that is not empty has a last message");
        };
        let next = last.offset().saturating_add(1);
        if let Some(end) = self.end {
            messages.retain(|message| message.offset() <= end);
        }
        (self.place, self.reached) = (ReadPosition::Offset(next), true);
        if let Some(since) = self.since.map(Timestamp::get) {
            messages.retain(|message| message.timestamp() >= since);
            if !messages.is_empty() {
                self.since = None;
            }
        }
        match self.is_done() {
            true => Step::LastMessages(messages),
            false => Step::Messages(messages),
        }
    }

    fn nothing(&mut self, polled: &PolledMessages) -> Step {
        // A classic server does not tell an empty partition from one with a single message.
        let end = polled.extent().map_or(polled.current_offset().saturating_add(1), |it| it.end);
        if let ReadPosition::Offset(expected) = self.place
            && self.reached
            && end < expected
        {
            return self.begin_anew(polled);
        }
        match self.end {
            // What was there up to the end is gone by now, or older than asked for.
            Some(_) => Step::LastMessages(Vec::new()),
            None => Step::Nothing,
        }
    }

    /// Goes on with the first message there is now.
    fn begin_anew(&mut self, polled: &PolledMessages) -> Step {
        let expected = match self.place {
            ReadPosition::Offset(expected) => expected,
            ReadPosition::Time(_) => 0,
        };
        // Whoever reads up to an end reads what was there when it was told of the new beginning: where
        // the old life ended means nothing any more.
        let end = match (self.end, polled.extent()) {
            (Some(_), Some(extent)) if extent.end == 0 => return self.end_anew(polled, expected),
            (Some(_), Some(extent)) => Some(extent.end - 1),
            (end, _) => end,
        };
        *self = Self::new(ReadPosition::Offset(0), false, end).in_life(polled.life());
        Step::Rewound { expected }
    }

    fn end_anew(&mut self, polled: &PolledMessages, expected: u64) -> Step {
        *self = Self::at_end().in_life(polled.life());
        Step::Rewound { expected }
    }
}

#[cfg(test)]
mod tests;
