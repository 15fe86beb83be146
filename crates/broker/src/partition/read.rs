//! Reads: finds the byte ranges a poll asks for, below the high-watermark.
//!
//! INV-VERIFIED: a range leaves as a file slice only when its bytes were written or verified by this
//! process and are still in the page cache. Everything else is read and verified first, on a
//! thread that may block.

use std::sync::Arc;

use galgo_storage::log::{LocateRequest, Located, LocatedSlice, ReadError};
use galgo_wire::consumer::PollingStrategy;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Offset;

use super::Partition;
use crate::alarm::Alarm;
use crate::outcome::Slice;
use crate::shard::OffsetOwner;
use crate::vault::{Unopened, Vault};

/// Most bytes of messages in one answer that is sent from the page cache; a larger first message is
/// sent all the same.
const POLL_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of messages in one answer that has to be read into memory first.
pub const COLD_POLL_BYTES_MAX: u64 = 4 << 20;
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
}

impl PollError {
    /// The number for the client.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoKey => ErrorCode::CannotDecryptData,
            Self::Read(ReadError::Damaged { .. }) => ErrorCode::InvalidMessageChecksum,
            Self::Read(_) => ErrorCode::CannotReadMessage,
        }
    }
}

/// Messages that were found, ready to be sent.
#[derive(Debug, Default)]
pub struct PolledRange {
    /// Offset of the first.
    pub first: Offset,
    /// How many.
    pub count: u32,
    /// Their bytes.
    pub slices: Vec<Slice>,
    /// Bytes of all slices.
    pub bytes: u64,
}

impl PolledRange {
    fn push_opened(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.len() as u64;
        self.slices.push(Slice::Memory(bytes));
    }

    /// The offset of the last message, if there is any.
    #[must_use]
    pub fn last(&self) -> Option<Offset> {
        let behind_first = self.count.checked_sub(1)?;
        self.first.plus(behind_first)
    }
}

/// Where a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    from: Offset,
    count: u32,
}

impl Partition {
    /// Turns a strategy into an offset to read from; `None` when nothing can match.
    ///
    /// # Errors
    /// [`PollError`] when a search by time meets a damaged or unreadable index or message.
    pub fn plan_read(
        &self,
        strategy: &PollingStrategy,
        owner: OffsetOwner,
        count: u32,
    ) -> Result<Option<ReadPlan>, PollError> {
        let end = self.high_watermark();
        let from = match *strategy {
            PollingStrategy::Timestamp(time) => match self.reader.offset_at(time, end)? {
                Some(offset) => offset.max(self.start()),
                None => return Ok(None),
            },
            _ => self.position(strategy, owner, count),
        };
        let nothing = count == 0 || from >= end;
        Ok(if nothing { None } else { Some(ReadPlan { from, count }) })
    }

    /// How many messages there are from where a read starts.
    #[must_use]
    pub fn behind(&self, plan: &ReadPlan) -> u64 {
        self.high_watermark().get().saturating_sub(plan.from.get())
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
            PollingStrategy::Next => match self.stored_offset(owner) {
                Some(stored) => Offset::new(stored.get().saturating_add(1)),
                None => start,
            },
        };
        from.max(start)
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
    /// or has not been verified, or what is needed to find it is not in memory.
    ///
    /// # Errors
    /// [`PollError`] when the range is damaged or its segment cannot be opened.
    pub fn read_cached(&self, plan: ReadPlan) -> Result<Option<PolledRange>, PollError> {
        if let Some(vault) = self.shard.vault() {
            return self.read_sealed_cached(plan, vault);
        }
        let Some(located) = self.locate_cached(plan, POLL_BYTES_MAX)? else { return Ok(None) };
        let mut range =
            PolledRange { first: located.first, count: located.count, ..Default::default() };
        for slice in &located.slices {
            if !slice.verified || !slice.file.cached(slice.position, slice.len) {
                return Ok(None);
            }
            let file = Arc::clone(&slice.file);
            range.bytes += slice.len;
            range.slices.push(Slice::File { file, position: slice.position, len: slice.len });
        }
        Ok(Some(range))
    }

    /// Bytes that [`Partition::read_cold`] will read, as far as can be told without reading.
    #[must_use]
    pub fn cold_bytes(&self, plan: ReadPlan) -> u64 {
        match self.locate_cached(plan, COLD_POLL_BYTES_MAX) {
            Ok(Some(located)) => located.bytes,
            Ok(None) | Err(_) => COLD_POLL_BYTES_MAX,
        }
    }

    /// Reads from the disk and verifies every message; may block.
    ///
    /// # Errors
    /// [`PollError`] when a checksum fails (the range is fenced then) or the disk does.
    pub fn read_cold(&self, plan: ReadPlan) -> Result<PolledRange, PollError> {
        let located = self.locate(plan, COLD_POLL_BYTES_MAX)?;
        let mut range =
            PolledRange { first: located.first, count: located.count, ..Default::default() };
        for slice in &located.slices {
            let bytes = self.reader.read_verified(slice)?;
            if let Some(vault) = self.shard.vault() {
                range.push_opened(self.open(vault, bytes, slice.first)?);
                continue;
            }
            range.bytes += bytes.len() as u64;
            range.slices.push(answer_with(slice, bytes));
        }
        Ok(range)
    }

    /// As [`Partition::read_cached`] where messages may be sealed: they have to pass through memory, so
    /// only a little is done on the connection's thread.
    fn read_sealed_cached(
        &self,
        plan: ReadPlan,
        vault: &Vault,
    ) -> Result<Option<PolledRange>, PollError> {
        let Some(located) = self.locate_cached(plan, COLD_POLL_BYTES_MAX)? else { return Ok(None) };
        if located.bytes > MEMORY_SLICE_BYTES_MAX as u64 {
            return Ok(None);
        }
        let mut range =
            PolledRange { first: located.first, count: located.count, ..Default::default() };
        for slice in &located.slices {
            if !slice.verified || !slice.file.cached(slice.position, slice.len) {
                return Ok(None);
            }
            let mut bytes = vec![0; usize::try_from(slice.len).unwrap_or(usize::MAX)];
            match slice.file.read_at(&mut bytes, slice.position) {
                Ok(read) if read == bytes.len() => {}
                // The reading that checks everything says what is wrong.
                _ => return Ok(None),
            }
            range.push_opened(self.open(vault, bytes, slice.first)?);
        }
        Ok(Some(range))
    }

    /// What was sent, from what is stored. A message that does not open is as good as damaged.
    fn open(&self, vault: &Vault, stored: Vec<u8>, first: Offset) -> Result<Vec<u8>, PollError> {
        vault.open_messages(self.uid, stored, first).map_err(|error| match error {
            Unopened::NoKey => PollError::NoKey,
            Unopened::Damaged(from) => {
                let (partition, offset) = (self.uid.get(), from.get());
                tracing::error!(partition, offset, "a sealed message does not open with its key");
                let to = Offset::new(from.get().saturating_add(1));
                PollError::Read(ReadError::Damaged { from, to })
            }
        })
    }

    fn locate(&self, plan: ReadPlan, bytes_max: u64) -> Result<Located, ReadError> {
        self.reader.locate(self.request(plan, bytes_max))
    }

    fn locate_cached(&self, plan: ReadPlan, bytes_max: u64) -> Result<Option<Located>, ReadError> {
        self.reader.locate_cached(self.request(plan, bytes_max))
    }

    fn request(&self, plan: ReadPlan, bytes_max: u64) -> LocateRequest {
        let (from, count_max, upto) = (plan.from, plan.count, self.high_watermark());
        LocateRequest { from, count_max, bytes_max, upto }
    }
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
