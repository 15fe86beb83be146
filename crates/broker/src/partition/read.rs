//! Reads: finds the byte ranges a poll asks for, below the high-watermark.
//!
//! INV-VERIFIED: a range leaves as a file slice only when its bytes were written or verified by this
//! process and are still in the page cache. Everything else is read and verified first, on a
//! thread that may block.

use std::sync::Arc;

use galgo_storage::log::{LocateRequest, Located, LocatedSlice, NewestRequest, ReadError};
use galgo_wire::consumer::PollingStrategy;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Offset;
use galgo_wire::index::to_usize;
use galgo_wire::limits::POLL_BYTES_MAX;

use super::{Partition, Rest};
use crate::alarm::Alarm;
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
    pub(super) span: Span,
    pub(super) bounds: AnswerBounds,
}

/// Offsets from one on, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
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

impl Span {
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
pub(super) struct Found {
    pub(super) first: Offset,
    pub(super) count: u32,
    pub(super) bytes: u64,
    pub(super) slices: Vec<Slice>,
    /// Whether there are more that had no room.
    pub(super) cut: bool,
}

impl Found {
    fn of(located: &Located) -> Self {
        let Located { first, count, cut, .. } = *located;
        Self { first, count, cut, bytes: 0, slices: Vec::with_capacity(located.slices.len()) }
    }

    fn push(&mut self, slice: Slice) {
        self.bytes += slice.len();
        self.slices.push(slice);
    }
}

impl Partition {
    /// Finds what a poll is to read; a plan may be empty.
    ///
    /// # Errors
    /// [`PollError`] when a search by time, or for the newest that fit, meets a damaged or unreadable
    /// index or message.
    pub fn plan_read(&self, request: &ReadRequest) -> Result<ReadPlan, PollError> {
        self.check_open()?;
        let upto = self.high_watermark();
        let mut plan = self.plan_from(self.asked(request, upto)?, upto, request);
        if let Some(newest) = newest_of(&plan, request) {
            plan.span.from = self.reader.newest(newest)?;
        }
        Ok(plan)
    }

    /// As [`Partition::plan_read`], without waiting for the disk: `None` when that would have to be waited
    /// for.
    ///
    /// # Errors
    /// As [`Partition::plan_read`].
    pub fn plan_cached(&self, request: &ReadRequest) -> Result<Option<ReadPlan>, PollError> {
        self.check_open()?;
        let upto = self.high_watermark();
        let asked = match request.strategy {
            PollingStrategy::Timestamp(time) => match self.reader.offset_at_cached(time, upto)? {
                Some(offset) => offset,
                None => return Ok(None),
            },
            _ => self.position(&request.strategy, request.owner, request.count),
        };
        let mut plan = self.plan_from(asked, upto, request);
        if let Some(newest) = newest_of(&plan, request) {
            let Some(from) = self.reader.newest_cached(newest)? else { return Ok(None) };
            plan.span.from = from;
        }
        Ok(Some(plan))
    }

    /// INV-OFFLINE: not even an empty answer is given.
    fn check_open(&self) -> Result<(), PollError> {
        if self.is_offline() { Err(PollError::Offline) } else { Ok(()) }
    }

    fn plan_from(&self, asked: Offset, upto: Offset, request: &ReadRequest) -> ReadPlan {
        let asked = asked.max(self.start());
        let end = asked.plus(request.count).map_or(upto, |end| end.min(upto));
        let span = Span { from: asked, end: end.max(asked) };
        ReadPlan { asked, span, bounds: request.bounds }
    }

    /// How many messages there are from the first that is asked for. Waits for the disk in searches by time
    /// only.
    ///
    /// # Errors
    /// Those of [`Partition::plan_read`].
    pub fn available(&self, request: &ReadRequest) -> Result<u64, PollError> {
        self.check_open()?;
        let upto = self.high_watermark();
        let asked = self.asked(request, upto)?.max(self.start());
        Ok(upto.get().saturating_sub(asked.get()))
    }

    fn asked(&self, request: &ReadRequest, upto: Offset) -> Result<Offset, PollError> {
        Ok(match request.strategy {
            PollingStrategy::Timestamp(time) => self.reader.offset_at(time, upto)?.unwrap_or(upto),
            _ => self.position(&request.strategy, request.owner, request.count),
        })
    }

    /// Where a strategy starts that needs no search; for a search, the end.
    fn position(&self, strategy: &PollingStrategy, owner: OffsetOwner, count: u32) -> Offset {
        let start = self.start();
        let from = match *strategy {
            PollingStrategy::Offset(offset) => offset,
            PollingStrategy::Timestamp(_) => self.high_watermark(),
            PollingStrategy::First => start,
            PollingStrategy::Last => {
                Offset::new(self.high_watermark().get().saturating_sub(u64::from(count)))
            }
            PollingStrategy::Next => match self.offset_of_poll(owner) {
                Some(stored) => Offset::new(stored.get().saturating_add(1)),
                None => start,
            },
        };
        from.max(start)
    }

    /// Where a poll begins that nothing is read for: with this offset, if it is there, and one by time at the end.
    #[must_use]
    pub fn begins_at(&self, request: &ReadRequest) -> Offset {
        self.position(&request.strategy, request.owner, request.count)
    }

    /// Hangs up the alarm of a poll that waits for `messages` from where its strategy starts.
    pub(crate) fn hang(
        &self,
        alarm: &Arc<Alarm>,
        (strategy, owner): (&PollingStrategy, OffsetOwner),
        messages: u32,
    ) {
        let from = match *strategy {
            // How many of what comes are young enough is not known before.
            PollingStrategy::Timestamp(_) => self.high_watermark().get(),
            _ => self.position(strategy, owner, messages).get(),
        };
        let messages = match *strategy {
            PollingStrategy::Timestamp(_) => 1,
            _ => messages,
        };
        self.commits.lock().bell.hang(alarm, from.saturating_add(messages.into()));
    }

    /// Takes an alarm off.
    pub(crate) fn take_off(&self, alarm: &Arc<Alarm>) {
        self.commits.lock().bell.take_off(alarm);
    }

    /// Reads without waiting for the disk: `None` when a part of the range is not in the page cache
    /// or has not been verified, when what is needed to find it is not in memory, or when it takes more
    /// than one piece.
    ///
    /// # Errors
    /// [`PollError`] when the range is damaged or its segment cannot be opened.
    pub fn read_cached(&self, plan: ReadPlan) -> Result<Option<PolledRange>, PollError> {
        if plan.span.is_empty() {
            return Ok(Some(PolledRange { first: plan.asked, ..PolledRange::default() }));
        }
        let bytes_max = plan.bounds.bytes_max.min(plan.bounds.piece_bytes_max);
        let found = self.find_cached(plan.span, bytes_max)?.filter(|found| !found.cut);
        Ok(found.map(|Found { first, count, bytes, slices, .. }| {
            // What ends before it should ends at damage.
            let is_short = u64::from(count) < plan.span.end.get().saturating_sub(first.get());
            let cut = plan.is_cut() || is_short;
            PolledRange { first, count, slices, rest: None, bytes, cut }
        }))
    }

    /// Bytes of messages that [`Partition::find`] reads into memory, as far as can be told before.
    pub(super) fn cold_bytes(&self, span: Span, bytes_max: u64) -> u64 {
        let bytes_max = bytes_max.min(COLD_PIECE_BYTES_MAX);
        match self.locate_cached(span, bytes_max) {
            Ok(Some(located)) => located.bytes,
            Ok(None) | Err(_) => bytes_max,
        }
    }

    /// The first messages of a span, as many as a piece of `bytes_max` takes: from the page cache, or read
    /// from the disk and verified; may block.
    ///
    /// # Errors
    /// [`PollError`] when a checksum fails (the range is fenced then) or the disk does.
    pub(super) fn find(&self, span: Span, bytes_max: u64) -> Result<Found, PollError> {
        match self.find_all(span, bytes_max) {
            Err(error) => match span.before(&error) {
                // What comes before damage that only the reading showed is good.
                Some(good) => self.find_all(good, bytes_max),
                None => Err(error),
            },
            found => found,
        }
    }

    fn find_all(&self, span: Span, bytes_max: u64) -> Result<Found, PollError> {
        match self.find_cached(span, bytes_max)? {
            Some(found) => Ok(found),
            None => self.find_cold(span, bytes_max.min(COLD_PIECE_BYTES_MAX)),
        }
    }

    /// As [`Partition::find`], without waiting for the disk: `None` when that would have to be waited for.
    pub(super) fn find_cached(
        &self,
        span: Span,
        bytes_max: u64,
    ) -> Result<Option<Found>, PollError> {
        if let Some(vault) = self.shard.vault() {
            return self.find_sealed_cached(span, bytes_max, vault);
        }
        let Some(located) = self.locate_cached(span, bytes_max)? else { return Ok(None) };
        let mut found = Found::of(&located);
        for slice in &located.slices {
            if !slice.verified || !slice.file.cached(slice.position, slice.len) {
                return Ok(None);
            }
            let file = Arc::clone(&slice.file);
            found.push(Slice::File { file, position: slice.position, len: slice.len });
        }
        Ok(Some(found))
    }

    fn find_cold(&self, span: Span, bytes_max: u64) -> Result<Found, PollError> {
        let located = self.reader.locate(self.locating(span, bytes_max))?;
        let mut found = Found::of(&located);
        for slice in &located.slices {
            let bytes = self.reader.read_verified(slice)?;
            found.push(match self.shard.vault() {
                Some(vault) => Slice::Memory(self.open(vault, bytes, slice.first)?),
                None => answer_with(slice, bytes),
            });
        }
        Ok(found)
    }

    /// As [`Partition::find_cached`] where messages may be sealed: they have to pass through memory, so
    /// only a little is done on the connection's thread.
    fn find_sealed_cached(
        &self,
        span: Span,
        bytes_max: u64,
        vault: &Vault,
    ) -> Result<Option<Found>, PollError> {
        let bytes_max = bytes_max.min(COLD_PIECE_BYTES_MAX);
        let Some(located) = self.locate_cached(span, bytes_max)? else { return Ok(None) };
        if located.bytes > MEMORY_SLICE_BYTES_MAX as u64 {
            return Ok(None);
        }
        let mut found = Found::of(&located);
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
                let to = Offset::new(from.get().saturating_add(1));
                PollError::Read(ReadError::Damaged { from, to })
            }
        })
    }

    fn locate_cached(&self, span: Span, bytes_max: u64) -> Result<Option<Located>, ReadError> {
        self.reader.locate_cached(self.locating(span, bytes_max))
    }

    fn locating(&self, Span { from, end }: Span, bytes_max: u64) -> LocateRequest {
        LocateRequest { from, count_max: u32::MAX, bytes_max, upto: end }
    }
}

/// What of a plan is left to be searched: `last` wants the newest that fit, the others the first.
fn newest_of(plan: &ReadPlan, request: &ReadRequest) -> Option<NewestRequest> {
    let Span { from, end: upto } = plan.span;
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
