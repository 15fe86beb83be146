//! The place of a reader in a partition, and what answers to its polls mean there. Pure.
//!
//! Part of INV-LIFE: the place is one of a life; an answer of another one is told, and nothing of it handed out.
//! Part of P-ORDER: the place moves only past messages that are handed out, and never over what is gone: who
//! reads is told of that.

use galgo_wire::id::Life;

use crate::PolledMessages;
use crate::consumer::ConsumeError;
use crate::message::ReceivedMessage;

/// Where a reader goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadPlace {
    /// The offset of the next message.
    pub(super) next: u64,
    /// The life it is one of, once it is known.
    pub(super) life: Life,
}

/// What an answer brought.
#[derive(Debug)]
pub(super) enum Found {
    /// The messages from the place on.
    Messages(Vec<ReceivedMessage>),
    /// Nothing new yet.
    Nothing,
    /// The partition begins anew.
    Rewound,
    /// What was to come next is gone; this is the oldest offset there is.
    Gap(u64),
}

impl ReadPlace {
    /// What an answer to a poll from this place means.
    pub(super) fn find(self, polled: PolledMessages) -> Found {
        if self.life.differs_from(polled.life()) {
            return Found::Rewound;
        }
        if let Some(first) = polled.messages().first().map(ReceivedMessage::offset) {
            return match first > self.next {
                true => Found::Gap(first),
                false => Found::Messages(polled.into_messages()),
            };
        }
        match polled.extent() {
            Some(extent) if extent.end < self.next => Found::Rewound,
            Some(extent) if extent.start > self.next => Found::Gap(extent.start),
            Some(_) => Found::Nothing,
            // A classic server does not tell an empty partition from one with a single message.
            None if polled.current_offset().saturating_add(1) < self.next => Found::Rewound,
            None => Found::Nothing,
        }
    }

    /// The place behind messages that are handed out.
    pub(super) fn behind(self, messages: &[ReceivedMessage]) -> Self {
        let Some(last) = messages.last() else { return self };
        let life = if last.life().is_known() { last.life() } else { self.life };
        Self { next: last.offset().saturating_add(1), life }
    }

    /// How the program is told that the partition begins anew.
    pub(super) fn rewound(self, partition: u32) -> ConsumeError {
        ConsumeError::Rewound { partition, expected: self.next }
    }
}

#[cfg(test)]
mod tests;
