//! The journal: the one place that is synced when small writes of many partitions become durable.
//!
//! A commit is one frame of opaque bytes with the next log sequence number ([`Lsn`]). The broker puts
//! everything staged since the last round into one bundle, submits it, and publishes when it is settled.
//! Nothing here says what a journal is kept in: files today, see [`LocalJournal`].
//!
//! INV-LSN: frames have consecutive numbers from 1; a number that was durable is never given twice.
//! INV-JOURNAL-FENCE: after a failed sync nothing is committed anymore; the journal is reopened. A failed write is
//! no failed sync: the frame is given up with its file, and its number given again in another.
//! INV-EPOCH: a journal has one owner at a time, told by an [`Epoch`] that every bundle carries. Whoever claims
//! it gets a higher one, and from then on nothing of an earlier owner is taken, nor read behind what is the
//! new one's. 0 is of before epochs were written down. In local files it is the lock on the data directory that keeps
//! two processes from writing at once; epochs alone would not keep their files apart.
//! INV-STALE: what a file held before it was recycled, or beyond a torn frame, never reads as a frame
//! of the present.
//! INV-LOUD: a frame known to have been durable and no longer readable is reported, never skipped in
//! silence; so is a file that is gone.

use std::fmt;
use std::ops::{ControlFlow, RangeInclusive};

use galgo_wire::id::Epoch;

/// Number of a frame in a journal. The first is 1; [`Lsn::ZERO`] is "before the first".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first frame.
    pub const ZERO: Self = Self(0);

    /// The frame of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The frame after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        // Never reached: a number above COUNTER_MAX is read as damage.
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one round of group commit writes.
#[derive(Debug, Default)]
pub struct Bundle {
    /// Opaque bytes, at most [`Journal::payload_bytes_max`]. They come back when the outcome is known.
    pub payload: Vec<u8>,
    /// Whether the bundle must survive power loss when it is settled; otherwise it survives the death of
    /// the process.
    pub sync: bool,
    /// Out of which room it is taken.
    pub room: JournalRoom,
}

/// Out of which room a bundle is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JournalRoom {
    /// What the journal may grow to.
    #[default]
    Shared,
    /// Beyond that too: what is in the journal already, and gives its place back once it is durable again.
    Reserved,
}

/// A frame that a [`Journal::read`] visits.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// Its payload.
    pub payload: &'a [u8],
    /// Where it is, for [`Journal::read_part`].
    pub place: FramePlace,
}

/// Where a frame is; means something to the journal that gave it only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace(u64);

/// What a [`Journal::read`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// The last frame visited, or the one before `from`.
    pub last: Lsn,
    /// Frames visited.
    pub frames: u64,
    /// Frames that had been durable and cannot be read anymore (INV-LOUD).
    pub damaged: Vec<RangeInclusive<u64>>,
    /// Parts that are on record and not there, with whatever was in them only (INV-LOUD).
    pub missing: Vec<String>,
    /// Frames left out because somebody else owned the journal by then (INV-EPOCH).
    pub deposed: Vec<RangeInclusive<u64>>,
    /// Whether frames after the last one were left out because one before them is missing: the
    /// remains of writes that were never acknowledged as durable.
    pub torn_tail: bool,
}

/// Space a journal takes, in the parts it is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalUsage {
    /// Parts that hold frames after the last checkpoint.
    pub parts_in_use: u32,
    /// Parts there may be.
    pub parts_max: u32,
    /// Writes that failed since the journal was opened; each was made again elsewhere, or its bundle
    /// refused.
    pub write_errors: u64,
}

/// Why a journal did not give something, or not give space back.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Frames that had been committed cannot be read any more.
    #[error("frame {first} of the journal cannot be read any more")]
    Lost {
        /// The first of them.
        first: u64,
    },
    /// What is to be carried was not committed once more.
    #[error("the journal took no more")]
    Commit(#[from] CommitFailure),
    /// What the journal is kept in failed.
    #[error(transparent)]
    Storage(Cause),
}

/// An ordered, durable sequence of bundles.
pub trait Journal: Send + Sync {
    /// Becomes the writer: from here on only bundles of the epoch that is returned are taken. It is higher than
    /// `above` and than that of any bundle there is. A claim by itself is on record nowhere; the first bundle, or a
    /// checkpoint of the new owner, puts it there (INV-EPOCH).
    fn claim(&self, above: Epoch) -> Epoch;

    /// Sends a bundle of the owner of `own` on its way, behind all earlier ones.
    ///
    /// It is settled with its number, or with why it has none. With `sync`, this bundle and all before it survive
    /// power loss then. Bundles are settled in the order in which they were submitted. When one is not
    /// taken, nothing that is submitted behind it is, until its outcome was taken from what this returns: so whoever
    /// sends it again can keep the order. What is taken out of reserved room stands outside of this order.
    ///
    /// At most [`Journal::window`] bundles may be in flight, besides those out of reserved room.
    fn submit(&self, own: Epoch, bundle: Bundle) -> InFlight;

    /// Most bundles in flight at once; 1 where they are settled when [`Journal::submit`] returns.
    fn window(&self) -> usize;

    /// Visits all frames from `from` on, in order, until `visit` breaks.
    ///
    /// Before frames from `from` on are checkpointed: at a start, or by whoever takes checkpoints. Commits may
    /// go on meanwhile; what they add is visited or not.
    ///
    /// # Errors
    /// [`JournalError::Storage`] when a part cannot be read at all.
    fn read(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ReadReport, JournalError>;

    /// Reads a part of the payload of a frame that was visited, from byte `at` on, into `buffer`; returns how many
    /// bytes there were. They are not checked once more, and may be followed by others than the payload's.
    ///
    /// Before the frame is checkpointed.
    ///
    /// # Errors
    /// [`JournalError::Storage`] when the part it is in cannot be read, or is not there any more.
    fn read_part(
        &self,
        place: FramePlace,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<usize, JournalError>;

    /// Tells that frames up to `upto` are not needed anymore, so that their space is used again.
    ///
    /// # Errors
    /// [`JournalError::Storage`].
    fn checkpoint(&self, upto: Lsn) -> Result<(), JournalError>;

    /// The number of the last frame.
    fn last(&self) -> Lsn;

    /// Whether a checkpoint would free space now.
    fn needs_checkpoint(&self) -> bool;

    /// Gets space ready for the bundles to come, so that none waits for it. For a background thread, behind each
    /// checkpoint that was asked for; cheap when there is nothing to do.
    ///
    /// # Errors
    /// Nothing is lost then: bundles make their space themselves.
    fn make_ready(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Largest payload of one bundle.
    fn payload_bytes_max(&self) -> u64;

    /// Space in use.
    fn usage(&self) -> JournalUsage;
}

#[cfg(any(test, feature = "sim"))]
pub mod conformance;
mod error;
mod files;
pub mod format;
mod in_flight;
mod list;
mod local;
mod recovery;

pub use error::{Cause, CommitError, CommitFailure};
pub use in_flight::{InFlight, Settled};
pub use local::{
    FILE_BYTES_DEFAULT, FILES_MAX_DEFAULT, JournalOptions, LocalJournal, OpenJournalError,
};
