//! Answers of more than one piece.
//!
//! An answer begins with its length, and once it has begun there is no way to tell of an error. So all of
//! its messages are read and checked before, piece by piece, each forgotten again unless it can wait in the
//! page cache; when the answer is sent, the pieces are read, and checked, once more.
//!
//! INV-PIECE: of an answer, no more than one piece is in memory at a time.
//! INV-WHOLE: an answer begins only when all of it was found good. One whose messages are removed, or go
//! bad, while it is sent is broken off and never filled up.

use std::sync::Arc;

use galgo_wire::id::Offset;

use super::read::{FoundMessages, MessageFinder, OffsetRange};
use super::{Partition, PollError, PolledRange, ReadPlan};
use crate::outcome::{Slice, memory_bytes};

/// Most ranges of files that the beginning of an answer holds; each keeps a file open.
const BEGINNING_SLICES_MAX: usize = 32;

/// What is still to come of an answer that has begun.
pub struct Rest {
    finder: Arc<MessageFinder>,
    span: OffsetRange,
    /// Bytes of its messages.
    bytes: u64,
    piece_bytes_max: u64,
}

/// A piece of an answer.
#[derive(Debug)]
pub struct Piece {
    /// The messages, in order.
    pub slices: Vec<Slice>,
    /// What comes behind them.
    pub rest: Option<Rest>,
}

impl Rest {
    /// The next piece, when it can be had without waiting for the disk and without much memory.
    #[must_use]
    pub fn read_cached(&self) -> Option<Piece> {
        let found = self.finder.find_cached(self.span, self.piece_bytes_max);
        self.piece(found.ok()??).ok()
    }

    /// Bytes of messages that [`Rest::read`] reads into memory, as far as can be told before.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.finder.cold_bytes(self.span, self.piece_bytes_max)
    }

    /// Reads the next piece and verifies it; may block.
    ///
    /// # Errors
    /// [`PollError`]: the answer cannot be ended as it was begun.
    pub fn read(self) -> Result<Piece, PollError> {
        let read = self.finder.find(self.span, self.piece_bytes_max);
        let piece = read.and_then(|found| self.piece(found));
        piece.inspect_err(|error| {
            let (name, offset) = (self.finder.name(), self.span.from.get());
            tracing::warn!(
                stream = name.stream.as_str(),
                topic = name.topic.as_str(),
                partition = name.partition,
                offset,
                %error,
                "an answer was broken off: messages of it cannot be read any more"
            );
        })
    }

    fn piece(&self, found: FoundMessages) -> Result<Piece, PollError> {
        let next = behind(&found);
        let left = self.bytes.checked_sub(found.bytes);
        let left = left.filter(|_| found.count > 0 && found.first == self.span.from);
        // INV-WHOLE: fewer bytes than were announced, or others, are told by breaking off; the client would take what
        // follows for the rest.
        let bytes = left.ok_or(PollError::Gone)?;
        let span = OffsetRange { from: next, end: self.span.end };
        // Messages that are left without bytes for them, or the other way round, are none of the
        // answer that was announced.
        if span.is_empty() != (bytes == 0) {
            return Err(PollError::Gone);
        }
        let (finder, piece_bytes_max) = (Arc::clone(&self.finder), self.piece_bytes_max);
        let rest = Self { finder, span, bytes, piece_bytes_max };
        Ok(Piece { slices: found.slices, rest: (bytes > 0).then_some(rest) })
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("span", &self.span).field("bytes", &self.bytes).finish()
    }
}

/// An answer that is put together: what was found good of it so far.
pub(crate) struct Gathering {
    finder: Arc<MessageFinder>,
    plan: ReadPlan,
    range: PolledRange,
    next: Offset,
    /// Whether what comes next cannot be read.
    parted: bool,
    /// Where the first piece that was forgotten again begins.
    forgotten: Option<Offset>,
    /// Bytes of the slices that are kept.
    kept_bytes: u64,
}

impl Gathering {
    /// An answer of which nothing is known yet.
    pub(crate) fn begin(partition: &Partition, plan: ReadPlan) -> Self {
        let (first, cut) = (plan.asked, plan.is_cut());
        let range = PolledRange { first, cut, ..PolledRange::default() };
        let (next, forgotten) = (plan.span.from, None);
        let finder = Arc::clone(&partition.finder);
        Self { finder, plan, range, next, parted: false, forgotten, kept_bytes: 0 }
    }

    /// Bytes of messages that [`Gathering::step`] reads into memory, as far as can be told before.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.finder.cold_bytes(self.span(), self.plan.bounds.piece_bytes_max)
    }

    /// Finds one more piece and checks it; tells whether it was the last. May block.
    ///
    /// # Errors
    /// [`PollError`] when the first message cannot be had. What cannot be had further on ends the answer
    /// before it; the next poll tells of it.
    pub(crate) fn step(&mut self) -> Result<bool, PollError> {
        if self.span().is_empty() {
            return Ok(true);
        }
        let bounds = self.plan.bounds;
        let room = bounds.bytes_max.saturating_sub(self.range.bytes);
        let is_first = self.range.count == 0;
        let found = match self.finder.find(self.span(), bounds.piece_bytes_max.min(room)) {
            Ok(found) => found,
            Err(error) if is_first => return Err(error),
            Err(_) => {
                self.parted = true;
                FoundMessages::default()
            }
        };
        // One message is found even when it has no room, and one further on where those before it were
        // removed meanwhile.
        let follows_on = is_first || (found.bytes <= room && found.first == self.next);
        if found.count == 0 || !follows_on {
            self.range.cut = true;
            return Ok(true);
        }
        Ok(self.add(found))
    }

    /// Whether it ended where messages cannot be read.
    pub(crate) fn is_parted(&self) -> bool {
        self.parted
    }

    /// Whether it begins with older messages than `plan`.
    pub(crate) fn begins_before(&self, plan: &ReadPlan) -> bool {
        self.plan.span.from < plan.span.from
    }

    /// The answer, as far as it was found good.
    pub(crate) fn finish(self) -> PolledRange {
        let Self { finder, plan, mut range, next, forgotten, kept_bytes, .. } = self;
        assert!(kept_bytes <= range.bytes, "INV-WHOLE: what is kept of an answer is a part of it");
        assert!(
            forgotten.is_some() || kept_bytes == range.bytes,
            "INV-WHOLE: what was announced of an answer is kept, or read once more"
        );
        // Nothing behind the first that was forgotten is kept.
        range.rest = forgotten.map(|from| Rest {
            finder,
            span: OffsetRange { from, end: next },
            bytes: range.bytes - kept_bytes,
            piece_bytes_max: plan.bounds.piece_bytes_max,
        });
        range
    }

    fn span(&self) -> OffsetRange {
        OffsetRange { from: self.next, end: self.plan.span.end }
    }

    fn add(&mut self, found: FoundMessages) -> bool {
        let is_first = self.range.count == 0;
        if is_first {
            self.range.first = found.first;
        }
        self.next = behind(&found);
        self.range.count = self.range.count.saturating_add(found.count);
        self.range.bytes += found.bytes;
        let is_last = !found.cut;
        // What ends before it should, and not for want of room, ends at damage.
        self.parted = is_last && !self.span().is_empty();
        self.range.cut |= self.parted;
        if (is_first && is_last) || self.waits_in_page_cache(&found) {
            self.kept_bytes += found.bytes;
            self.range.slices.extend(found.slices);
        } else {
            self.forgotten.get_or_insert(found.first);
        }
        is_last
    }

    /// Whether a piece belongs to the beginning of the answer and costs no memory until it is sent.
    fn waits_in_page_cache(&self, found: &FoundMessages) -> bool {
        // The first one always: it has more than a piece may have where it is a single message.
        let fits = self.kept_bytes == 0
            || self.kept_bytes + found.bytes <= self.plan.bounds.piece_bytes_max;
        let slices = self.range.slices.len() + found.slices.len();
        // Only in front of the first that was forgotten: the kept pieces are sent first, and behind
        // it they would come too early.
        self.forgotten.is_none()
            && memory_bytes(&found.slices) == 0
            && fits
            && slices <= BEGINNING_SLICES_MAX
    }
}

/// The offset behind what was found.
fn behind(found: &FoundMessages) -> Offset {
    Offset::new(found.first.get().saturating_add(u64::from(found.count)))
}
