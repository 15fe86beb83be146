//! A place in a partition, and how answers to polls move it. Pure.
//!
//! P-ORDER: the place moves only past messages that are handed out, so none is skipped.

use galgo_wire::id::{Offset, Timestamp};

use crate::message::ReceivedMessage;
use crate::{PolledMessages, PollingStrategy};

/// Where reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// With this offset.
    Offset(u64),
    /// With the first message taken at this time or later.
    Time(Timestamp),
}

/// A place in a partition.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    place: Place,
    /// Whether the partition is known to have reached up to the place.
    reached: bool,
    /// The last offset to hand out.
    end: Option<u64>,
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
    /// The partition ends before the place: it begins anew.
    Rewound {
        /// The offset that was to come next.
        expected: u64,
    },
}

impl Cursor {
    /// A cursor at `place`. `reached`: the partition once held the message before it.
    pub(super) fn new(place: Place, reached: bool, end: Option<u64>) -> Self {
        Self { place, reached, end }
    }

    /// A cursor with nothing to hand out.
    pub(super) fn at_end() -> Self {
        Self::new(Place::Offset(1), false, Some(0))
    }

    /// The place, as a poll asks for it.
    pub(super) fn strategy(&self) -> PollingStrategy {
        match self.place {
            Place::Offset(offset) => PollingStrategy::Offset(Offset::new(offset)),
            Place::Time(time) => PollingStrategy::Timestamp(time),
        }
    }

    /// Whether the end is behind the place before anything was read.
    pub(super) fn is_done(&self) -> bool {
        match (self.place, self.end) {
            (Place::Offset(next), Some(end)) => next > end,
            _ => false,
        }
    }

    /// Whether it ends somewhere.
    pub(super) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Moves past the messages of an answer.
    pub(super) fn advance(&mut self, polled: PolledMessages) -> Step {
        let current_offset = polled.current_offset();
        let mut messages = polled.into_messages();
        if let Some(end) = self.end {
            messages.retain(|message| message.offset() <= end);
        }
        let Some(last) = messages.last() else {
            return self.nothing(current_offset);
        };
        let next = last.offset().saturating_add(1);
        (self.place, self.reached) = (Place::Offset(next), true);
        match self.is_done() {
            true => Step::LastMessages(messages),
            false => Step::Messages(messages),
        }
    }

    fn nothing(&mut self, current_offset: u64) -> Step {
        if let Place::Offset(expected) = self.place
            && self.reached
            && current_offset.saturating_add(1) < expected
        {
            *self = Self::new(Place::Offset(0), false, self.end);
            return Step::Rewound { expected };
        }
        match self.end {
            // What was there up to the end is gone by now, or older than asked for.
            Some(_) => Step::LastMessages(Vec::new()),
            None => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
