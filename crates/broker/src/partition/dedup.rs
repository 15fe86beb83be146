//! The message ids a partition stored lately, so that a send that is tried again stores nothing twice.
//!
//! INV-WINDOW: every id in the window is that of a message in the log; what is taken back from the log
//! is taken out of the window.
//! INV-NO-HOLE: duplicates are dropped before offsets are given.
//!
//! Ages are told by how long the system was running: a wall clock that is set makes no sender try again sooner.

use std::collections::{HashMap, HashSet, VecDeque};

use galgo_storage::log::LogReader;
use galgo_wire::batch::MessageHeader;
use galgo_wire::command::DeduplicationWindow;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::{part, part_mut, to_u32};
use galgo_wire::limits::{INDEX_ENTRY_BYTES, MESSAGE_HEADER_BYTES};

use super::PollError;
use super::appender::AppendContext;

/// How much of the past a topic with deduplication knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeduplicationBounds {
    /// Most ids of one partition.
    pub entries_max: usize,
    /// Microseconds after which an id may be used again.
    pub expiry_us: u64,
}

impl DeduplicationBounds {
    /// As clients are told.
    pub(crate) fn told(&self) -> DeduplicationWindow {
        // Whoever configures more than there is room for in the reply has clients count on less than they have.
        let seconds = (self.expiry_us / 1_000_000).min(u16::MAX.into());
        DeduplicationWindow { entries: to_u32(self.entries_max), seconds: seconds as u16 }
    }
}

/// Where the id is in the header of a message.
const ID_AT: usize = 8;
const _: () = assert!(ID_AT + 16 <= MESSAGE_HEADER_BYTES, "the id is in the header");

/// A message of the log that is known by its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    /// Its id; 0 for none.
    pub(super) id: u128,
    pub(super) offset: Offset,
    /// For how many microseconds the system had been running when it was stored.
    pub(super) stored_us: u64,
}

/// The ids stored lately, oldest first.
#[derive(Debug, Default)]
pub(super) struct IdWindow {
    ids: HashMap<u128, Offset>,
    order: VecDeque<Remembered>,
}

impl IdWindow {
    /// The ids of the newest messages below `end` of a log, when it is `now`. May block on the disk.
    ///
    /// # Errors
    /// [`PollError`] when the disk does not give them.
    pub(super) fn read(
        reader: &LogReader,
        end: Offset,
        now: Timestamp,
        context: AppendContext<'_>,
    ) -> Result<Self, PollError> {
        let bounds = &context.deduplication;
        let mut window = Self::default();
        // Messages have the time of the wall clock. What it is ahead of the time to go by makes none of them older;
        // those that are ahead of that themselves may have been stored just now.
        let running_us = context.clock.running_us();
        let oldest = Timestamp::new(now.get().saturating_sub(bounds.expiry_us));
        // Damage in the way of the search by time only makes the window read more than it needs.
        let in_time = reader.offset_at(oldest, end).unwrap_or(Some(Offset::ZERO));
        let Some(in_time) = in_time else { return Ok(window) };
        let most = bounds.entries_max as u64;
        let from = in_time.max(Offset::new(end.get().saturating_sub(most)));
        reader.visit(from..end, &mut |message| {
            let age_us = now.get().saturating_sub(message.timestamp.get());
            let stored_us = running_us.saturating_sub(age_us);
            window.remember(Remembered { id: message.id, offset: message.offset, stored_us });
        })?;
        window.expire(bounds, running_us);
        Ok(window)
    }

    /// Forgets what is too old or too much, now that the system has been running for `running_us`.
    pub(super) fn expire(&mut self, bounds: &DeduplicationBounds, running_us: u64) {
        while let Some(oldest) = self.order.front() {
            let age_us = running_us.saturating_sub(oldest.stored_us);
            if self.order.len() <= bounds.entries_max && age_us < bounds.expiry_us {
                break;
            }
            let Remembered { id, offset, .. } = *oldest;
            self.order.pop_front();
            // The same id may have come again behind it, when it was too old here and not on disk: that one counts on.
            if self.ids.get(&id) == Some(&offset) {
                self.ids.remove(&id);
            }
        }
        if self.order.is_empty() {
            // A partition that nobody sends to keeps no memory of when somebody did.
            *self = Self::default();
        }
    }

    /// How many ids are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Remembers a message of the log; later ones have higher offsets.
    pub(super) fn remember(&mut self, message: Remembered) {
        if message.id != 0 {
            assert!(
                self.order.back().is_none_or(|newest| newest.offset < message.offset),
                "INV-WINDOW: messages are remembered in the order of the log"
            );
            // The newer one counts: the older leaves the window first, and is to leave the id in
            // it.
            self.ids.insert(message.id, message.offset);
            self.order.push_back(message);
        }
    }

    /// Forgets the messages from `to` on: they are no longer in the log.
    pub(super) fn rewind(&mut self, to: Offset) {
        // From the back, where the newest are. An id that was there twice is forgotten with the newer of both: one more is
        // stored then, and none is lost.
        while let Some(newest) = self.order.pop_back_if(|newest| newest.offset >= to) {
            self.ids.remove(&newest.id);
        }
    }

    /// Tells which messages of a batch are to be stored. The batch may be malformed; what cannot be read
    /// is left to the stamp to refuse.
    pub(super) fn sift(&self, messages: &[u8], count: u32) -> Sifted {
        let mut sifted = Sifted::default();
        let mut in_batch = HashSet::new();
        let mut rest = messages;
        for _ in 0..count {
            let Some(header) = MessageHeader::read(rest) else { break };
            let Some(len) = header.message_bytes().filter(|len| *len <= rest.len()) else { break };
            let known = self.ids.get(&header.id).filter(|_| header.id != 0);
            sifted.first_known = sifted.first_known.or(known.copied());
            let duplicate = header.id != 0 && (known.is_some() || !in_batch.insert(header.id));
            if duplicate {
                sifted.duplicates += 1;
            } else {
                sifted.given.push(header.id);
            }
            sifted.kept.push((!duplicate, len));
            rest = part(rest, len.., "INV-WINDOW: a message that was read is there");
        }
        sifted
    }
}

/// What is in a batch.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// For each message, whether it is kept, and its bytes.
    kept: Vec<(bool, usize)>,
    /// The ids of the messages that are kept, as the sender gave them; 0 for none.
    pub(super) given: Vec<u128>,
    /// How many are not kept.
    pub(super) duplicates: u32,
    /// Where the first of them that was stored before is.
    pub(super) first_known: Option<Offset>,
}

impl Sifted {
    /// Moves the messages that are kept to the front; returns their bytes and an index block for them.
    pub(super) fn compact(&self, messages: &mut [u8]) -> (usize, Vec<u8>) {
        let (mut from, mut to) = (0, 0);
        let mut given = self.given.iter();
        let mut indexes = Vec::with_capacity(self.given.len() * INDEX_ENTRY_BYTES);
        for (kept, len) in &self.kept {
            if *kept {
                // Forwards, as nothing moves to the right: what is still to be moved is not written over.
                messages.copy_within(from..from + len, to);
                // One that was made follows from the offset, which is another one now.
                if given.next() == Some(&0) {
                    let id = to + ID_AT..to + ID_AT + 16;
                    part_mut(messages, id, "INV-WINDOW: what is kept has a header").fill(0);
                }
                to += len;
                indexes.extend_from_slice(&[0; 4]);
                indexes.extend_from_slice(&to_u32(to).to_le_bytes());
                indexes.extend_from_slice(&[0; 8]);
            }
            from += len;
        }
        assert!(
            given.next().is_none(),
            "INV-WINDOW: what is kept are the messages whose ids were noted"
        );
        (to, indexes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: DeduplicationBounds = DeduplicationBounds { entries_max: 3, expiry_us: 100 };

    fn seen(id: u128, offset: u64, stored_us: u64) -> Remembered {
        Remembered { id, offset: Offset::new(offset), stored_us }
    }

    fn window(messages: &[Remembered]) -> IdWindow {
        let mut window = IdWindow::default();
        messages.iter().for_each(|message| window.remember(*message));
        window
    }

    fn ids(window: &IdWindow) -> Vec<u128> {
        let mut ids: Vec<_> = window.ids.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn what_is_too_old_or_too_much_is_forgotten() {
        let mut window = window(&[seen(1, 0, 0), seen(2, 1, 5), seen(0, 2, 6), seen(3, 3, 50)]);
        window.expire(&BOUNDS, 60);
        assert_eq!(ids(&window), [1, 2, 3], "a message without an id takes no place");
        window.remember(seen(4, 4, 60));
        window.expire(&BOUNDS, 60);
        assert_eq!(ids(&window), [2, 3, 4]);
        window.expire(&BOUNDS, 105);
        assert_eq!(ids(&window), [3, 4]);
        window.expire(&BOUNDS, 1_000);
        assert!(window.order.is_empty() && window.ids.is_empty());
    }

    #[test]
    fn an_id_that_came_again_later_is_known_until_the_later_one_is_too_old() {
        let mut window = window(&[seen(1, 0, 0), seen(1, 1, 90)]);
        window.expire(&BOUNDS, 120);
        assert_eq!(ids(&window), [1]);
    }

    /// INV-WINDOW.
    #[test]
    fn what_the_log_takes_back_is_forgotten() {
        let mut window = window(&[seen(1, 0, 0), seen(2, 1, 0), seen(3, 2, 0)]);
        window.rewind(Offset::new(1));
        assert_eq!(ids(&window), [1]);
    }
}
