//! Reads: finds the byte ranges a poll asks for, below the high-watermark.
//!
//! INV-VERIFIED: a range leaves as a file slice only when its bytes were written or verified by this
//! process and are still in the page cache. Everything else is read and verified first, on a
//! thread that may block.

use std::sync::Arc;

use galgo_storage::log::{
    LocateRequest, Located, LocatedSlice, LogReader, NewestRequest, PartitionName, ReadError,
};
use galgo_wire::consumer::PollingStrategy;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid};
use galgo_wire::index::to_usize;
use galgo_wire::limits::POLL_BYTES_MAX;

use super::Rest;
use crate::outcome::Slice;
use crate::shard::OffsetOwner;
use crate::vault::{Unopened, Vault};

/// Most bytes of messages in one piece of an answer that is sent from the page cache: what its files are
/// checked for once, and held open.
const HOT_PIECE_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of messages in one piece that has to be read into memory; a single message may have more.
pub const COLD_PIECE_BYTES_MAX: u64 = 4 << 20;
/// Verified bytes up to this size stay in memory; more of them are sent from the page cache.
const MEMORY_SLICE_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(
    COLD_PIECE_BYTES_MAX < HOT_PIECE_BYTES_MAX && HOT_PIECE_BYTES_MAX <= POLL_BYTES_MAX as u64,
    "a piece that is read is a part of one that need not be, and that is no more than an answer"
);
const _: () = assert!(
    (MEMORY_SLICE_BYTES_MAX as u64) < COLD_PIECE_BYTES_MAX,
    "what is read waits in the page cache rather than in memory"
);

/// Why a poll failed.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The log does not give the messages.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Messages are sealed with a key that was not given.
    #[error("the messages are sealed with a key that was not given")]
    NoKey,
    /// The log could not be opened.
    #[error("the partition is offline: its log could not be opened")]
    Offline,
    /// What an answer that has begun still lacks was removed, or is not what it was.
    #[error("messages of an answer that has begun are gone")]
    Gone,
}

impl PollError {
    /// The number for the client.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoKey => ErrorCode::CannotDecryptData,
            Self::Read(ReadError::Damaged { .. }) => ErrorCode::InvalidMessageChecksum,
            // No damage, which a consumer may choose to step over.
            Self::Read(_) | Self::Offline | Self::Gone => ErrorCode::CannotReadMessage,
        }
    }
}

/// What an answer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerBounds {
    /// Most bytes of messages; one message is answered even when it is larger.
    pub bytes_max: u64,
    /// Most bytes of messages that are handed over at a time; one message likewise.
    pub piece_bytes_max: u64,
}

impl AnswerBounds {
    /// Those of the classic poll: all that was asked for, up to what its clients can take.
    pub const CLASSIC: Self =
        Self { bytes_max: POLL_BYTES_MAX as u64, piece_bytes_max: HOT_PIECE_BYTES_MAX };
    /// Those of polls whose clients go on by themselves where an answer ends.
    pub const EXTENSION: Self =
        Self { bytes_max: HOT_PIECE_BYTES_MAX, piece_bytes_max: HOT_PIECE_BYTES_MAX };
}

/// Messages that were found, ready to be sent.
#[derive(Debug, Default)]
pub struct PolledRange {
    /// Offset of the first; where there is none, the one that was asked for.
    pub first: Offset,
    /// How many.
    pub count: u32,
    /// The first of their bytes.
    pub slices: Vec<Slice>,
    /// Where the others come from.
    pub rest: Option<Rest>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Whether there are more that the answer has no room for, or that cannot be read.
    pub cut: bool,
}

impl PolledRange {
    /// The offset of the last message, if there is any.
    #[must_use]
    pub fn last(&self) -> Option<Offset> {
        let behind_first = self.count.checked_sub(1)?;
        self.first.plus(behind_first)
    }
}

/// What a poll asks of a partition.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// Where to start.
    pub strategy: PollingStrategy,
    /// Whose stored offset counts.
    pub owner: OffsetOwner,
    /// Most messages.
    pub count: u32,
    /// What the answer may hold.
    pub bounds: AnswerBounds,
}

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// The first message asked for.
    pub(super) asked: Offset,
    /// What is read of them; behind `asked` where the newest have no room for more.
    pub(super) span: OffsetRange,
    pub(super) bounds: AnswerBounds,
}

/// Offsets from one on, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetRange {
    pub(super) from: Offset,
    pub(super) end: Offset,
}

impl ReadPlan {
    /// Whether there are messages to be read in front of the damage that `error` tells of.
    pub fn has_good(&self, error: &PollError) -> bool {
        self.span.before(error).is_some()
    }

    /// How many messages there are of those that were asked for.
    pub(crate) fn messages(&self) -> u64 {
        self.span.end.get().saturating_sub(self.asked.get())
    }

    /// Whether it leaves out messages that are older than those it has room for.
    pub(super) fn is_cut(&self) -> bool {
        self.asked < self.span.from
    }
}

impl OffsetRange {
    /// The part of it before the damage that `error` tells of; `None` when there is nothing before it, or
    /// the error is another one.
    fn before(self, error: &PollError) -> Option<Self> {
        let PollError::Read(ReadError::Damaged { from, .. }) = error else { return None };
        let good = Self { end: self.end.min(*from), ..self };
        (!good.is_empty()).then_some(good)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(self) -> bool {
        self.from >= self.end
    }
}

/// Messages of a span that were found and are good.
#[derive(Debug, Default)]
pub(super) struct FoundMessages {
    pub(super) first: Offset,
    pub(super) count: u32,
    pub(super) bytes: u64,
    pub(super) slices: Vec<Slice>,
    /// Whether there are more that had no room.
    pub(super) cut: bool,
}

impl FoundMessages {
    fn of(located: &Located) -> Self {
        let Located { first, count, cut, .. } = *located;
        Self { first, count, cut, bytes: 0, slices: Vec::with_capacity(located.slices.len()) }
    }

    fn push(&mut self, slice: Slice) {
        self.bytes += slice.len();
        self.slices.push(slice);
    }
}

/// How far a partition goes at the moment of a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadableRange {
    /// Its oldest message.
    pub(super) start: Offset,
    /// Behind its last one: the high-watermark (INV-HW).
    pub(super) upto: Offset,
}

impl ReadRequest {
    /// Where its strategy starts, if that needs no search; for a search, the end. `stored` is the offset of its
    /// owner.
    pub(super) fn begins_at(
        &self,
        readable: ReadableRange,
        stored: impl FnOnce() -> Option<Offset>,
    ) -> Offset {
        begin_of(&self.strategy, self.count, readable, stored)
    }

    /// What is to be read from `asked` on.
    fn plan_from(&self, asked: Offset, readable: ReadableRange) -> ReadPlan {
        let ReadableRange { start, upto } = readable;
        let asked = asked.max(start);
        // INV-HW: one look at the high-watermark counts for all of an answer.
        let end = asked.plus(self.count).map_or(upto, |end| end.min(upto));
        let span = OffsetRange { from: asked, end: end.max(asked) };
        ReadPlan { asked, span, bounds: self.bounds }
    }
}

/// Where a strategy starts that needs no search; for a search, the end.
pub(super) fn begin_of(
    strategy: &PollingStrategy,
    count: u32,
    readable: ReadableRange,
    stored: impl FnOnce() -> Option<Offset>,
) -> Offset {
    let ReadableRange { start, upto } = readable;
    let from = match *strategy {
        PollingStrategy::Offset(offset) => offset,
        PollingStrategy::Timestamp(_) => upto,
        PollingStrategy::First => start,
        PollingStrategy::Last => Offset::new(upto.get().saturating_sub(u64::from(count))),
        PollingStrategy::Next => match stored() {
            Some(stored) => Offset::new(stored.get().saturating_add(1)),
            None => start,
        },
    };
    from.max(start)
}

/// Finds messages of one log, checks them, and opens those that are sealed. Of no interest to it: how far readers may
/// read, which whoever asks has looked at.
pub(super) struct MessageFinder {
    uid: PartitionUid,
    reader: Arc<LogReader>,
    /// `None` when nothing is or ever was sealed.
    vault: Option<Arc<Vault>>,
}

impl MessageFinder {
    pub(super) fn new(
        uid: PartitionUid,
        reader: Arc<LogReader>,
        vault: Option<Arc<Vault>>,
    ) -> Self {
        Self { uid, reader, vault }
    }

    /// What the partition is called in the log.
    pub(super) fn name(&self) -> Arc<PartitionName> {
        self.reader.name().get()
    }

    /// What a poll is to read of what it may, see [`super::Partition::plan_read`].
    pub(super) fn plan(
        &self,
        request: &ReadRequest,
        readable: ReadableRange,
        stored: impl FnOnce() -> Option<Offset>,
    ) -> Result<ReadPlan, PollError> {
        let mut plan = request.plan_from(self.asked(request, readable, stored)?, readable);
        if let Some(newest) = newest_of(&plan, request) {
            plan.span.from = self.reader.newest(newest)?;
        }
        Ok(plan)
    }

    /// As [`MessageFinder::plan`], without waiting for the disk.
    pub(super) fn plan_cached(
        &self,
        request: &ReadRequest,
        readable: ReadableRange,
        stored: impl FnOnce() -> Option<Offset>,
    ) -> Result<Option<ReadPlan>, PollError> {
        let asked = match request.strategy {
            PollingStrategy::Timestamp(time) => {
                match self.reader.offset_at_cached(time, readable.upto)? {
                    Some(offset) => offset,
                    None => return Ok(None),
                }
            }
            _ => request.begins_at(readable, stored),
        };
        let mut plan = request.plan_from(asked, readable);
        if let Some(newest) = newest_of(&plan, request) {
            let Some(from) = self.reader.newest_cached(newest)? else { return Ok(None) };
            plan.span.from = from;
        }
        Ok(Some(plan))
    }

    /// Where a poll starts; a search by time waits for the disk.
    pub(super) fn asked(
        &self,
        request: &ReadRequest,
        readable: ReadableRange,
        stored: impl FnOnce() -> Option<Offset>,
    ) -> Result<Offset, PollError> {
        let ReadableRange { upto, .. } = readable;
        Ok(match request.strategy {
            PollingStrategy::Timestamp(time) => self.reader.offset_at(time, upto)?.unwrap_or(upto),
            _ => request.begins_at(readable, stored),
        })
    }

    /// What [`super::Partition::read_cached`] gives.
    pub(super) fn read_cached(&self, plan: ReadPlan) -> Result<Option<PolledRange>, PollError> {
        if plan.span.is_empty() {
            return Ok(Some(PolledRange { first: plan.asked, ..PolledRange::default() }));
        }
        let bytes_max = plan.bounds.bytes_max.min(plan.bounds.piece_bytes_max);
        // INV-WHOLE: an answer of several pieces is looked through to its end before it begins,
        // which takes a thread that may block.
        let found = self.find_cached(plan.span, bytes_max)?.filter(|found| !found.cut);
        Ok(found.map(|FoundMessages { first, count, bytes, slices, .. }| {
            // What ends before it should ends at damage.
            let is_short = u64::from(count) < plan.span.end.get().saturating_sub(first.get());
            let cut = plan.is_cut() || is_short;
            PolledRange { first, count, slices, rest: None, bytes, cut }
        }))
    }

    /// Bytes of messages that [`MessageFinder::find`] reads into memory, as far as can be told before.
    pub(super) fn cold_bytes(&self, span: OffsetRange, bytes_max: u64) -> u64 {
        let bytes_max = bytes_max.min(COLD_PIECE_BYTES_MAX);
        match self.locate_cached(span, bytes_max) {
            Ok(Some(located)) => located.bytes,
            // The most it may be: memory is granted by this before anything is read.
            Ok(None) | Err(_) => bytes_max,
        }
    }

    /// The first messages of a span, as many as a piece of `bytes_max` takes: from the page cache, or read
    /// from the disk and verified; may block.
    ///
    /// # Errors
    /// [`PollError`] when a checksum fails (the range is fenced then) or the disk does.
    pub(super) fn find(
        &self,
        span: OffsetRange,
        bytes_max: u64,
    ) -> Result<FoundMessages, PollError> {
        match self.find_all(span, bytes_max) {
            Err(error) => match span.before(&error) {
                // What comes before damage that only the reading showed is good.
                Some(good) => self.find_all(good, bytes_max),
                None => Err(error),
            },
            found => found,
        }
    }

    fn find_all(&self, span: OffsetRange, bytes_max: u64) -> Result<FoundMessages, PollError> {
        match self.find_cached(span, bytes_max)? {
            Some(found) => Ok(found),
            None => self.find_cold(span, bytes_max.min(COLD_PIECE_BYTES_MAX)),
        }
    }

    /// As [`MessageFinder::find`], without waiting for the disk: `None` when that would have to be waited for.
    pub(super) fn find_cached(
        &self,
        span: OffsetRange,
        bytes_max: u64,
    ) -> Result<Option<FoundMessages>, PollError> {
        if let Some(vault) = &self.vault {
            return self.find_sealed_cached(span, bytes_max, vault);
        }
        let Some(located) = self.locate_cached(span, bytes_max)? else { return Ok(None) };
        let mut found = FoundMessages::of(&located);
        for slice in &located.slices {
            // INV-VERIFIED: what nobody has checked may be damaged, and what is not in memory would
            // have the thread of a connection wait for the disk.
            if !slice.verified || !slice.file.cached(slice.position, slice.len) {
                return Ok(None);
            }
            let file = Arc::clone(&slice.file);
            found.push(Slice::File { file, position: slice.position, len: slice.len });
        }
        Ok(Some(found))
    }

    fn find_cold(&self, span: OffsetRange, bytes_max: u64) -> Result<FoundMessages, PollError> {
        let located = self.reader.locate(self.locating(span, bytes_max))?;
        let mut found = FoundMessages::of(&located);
        for slice in &located.slices {
            let bytes = self.reader.read_verified(slice)?;
            found.push(match &self.vault {
                Some(vault) => Slice::Memory(self.open(vault, bytes, slice.first)?),
                None => answer_with(slice, bytes),
            });
        }
        Ok(found)
    }

    /// As [`MessageFinder::find_cached`] where messages may be sealed: they have to pass through memory, so
    /// only a little is done on the connection's thread.
    fn find_sealed_cached(
        &self,
        span: OffsetRange,
        bytes_max: u64,
        vault: &Vault,
    ) -> Result<Option<FoundMessages>, PollError> {
        let bytes_max = bytes_max.min(COLD_PIECE_BYTES_MAX);
        let Some(located) = self.locate_cached(span, bytes_max)? else { return Ok(None) };
        if located.bytes > MEMORY_SLICE_BYTES_MAX as u64 {
            return Ok(None);
        }
        let mut found = FoundMessages::of(&located);
        for slice in &located.slices {
            if !slice.verified || !slice.file.cached(slice.position, slice.len) {
                return Ok(None);
            }
            let mut bytes = vec![0; to_usize(slice.len)];
            match slice.file.read_at(&mut bytes, slice.position) {
                Ok(read) if read == bytes.len() => {}
                // The reading that checks everything says what is wrong.
                _ => return Ok(None),
            }
            found.push(Slice::Memory(self.open(vault, bytes, slice.first)?));
        }
        Ok(Some(found))
    }

    /// What was sent, from what is stored. A message that does not open is as good as damaged.
    fn open(&self, vault: &Vault, stored: Vec<u8>, first: Offset) -> Result<Vec<u8>, PollError> {
        vault.open_messages(self.uid, stored, first).map_err(|error| match error {
            Unopened::NoKey => PollError::NoKey,
            Unopened::Damaged(from) => {
                let offset = from.get();
                tell!(error, self.name(), offset, "a sealed message does not open with its key");
                // Of this one alone: those behind it may open.
                let to = Offset::new(from.get().saturating_add(1));
                PollError::Read(ReadError::Damaged { from, to })
            }
        })
    }

    fn locate_cached(
        &self,
        span: OffsetRange,
        bytes_max: u64,
    ) -> Result<Option<Located>, ReadError> {
        self.reader.locate_cached(self.locating(span, bytes_max))
    }

    fn locating(&self, OffsetRange { from, end }: OffsetRange, bytes_max: u64) -> LocateRequest {
        LocateRequest { from, count_max: u32::MAX, bytes_max, upto: end }
    }
}
/// What of a plan is left to be searched: `last` wants the newest that fit, the others the first.
fn newest_of(plan: &ReadPlan, request: &ReadRequest) -> Option<NewestRequest> {
    let OffsetRange { from, end: upto } = plan.span;
    // An answer without room for all of them would else hold the oldest of the newest.
    let wanted = request.strategy == PollingStrategy::Last && !plan.span.is_empty();
    wanted.then_some(NewestRequest { from, upto, bytes_max: plan.bounds.bytes_max })
}

/// What was read and verified, as it is sent. An answer may wait long for a client that reads slowly, and
/// there may be as many such clients as connections, so its bytes wait in the page cache, where they
/// have just been put, whenever that can be told.
fn answer_with(slice: &LocatedSlice, bytes: Vec<u8>) -> Slice {
    let (position, len) = (slice.position, slice.len);
    if bytes.len() > MEMORY_SLICE_BYTES_MAX && slice.file.cached(position, len) {
        return Slice::File { file: Arc::clone(&slice.file), position, len };
    }
    Slice::Memory(bytes)
}
