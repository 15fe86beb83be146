//! Every counter of the broker, and what the operating system says of the process.

pub mod process;
mod totals;

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_wire::command::CommandCode;

pub use totals::Totals;

/// Counters since the start. They are read while they change; each is exact for itself.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Requests,
    messages_appended: AtomicU64,
    bytes_appended: AtomicU64,
    commits: AtomicU64,
    checkpoints: AtomicU64,
    partitions_fenced: AtomicU64,
    segments_removed: AtomicU64,
    bytes_removed: AtomicU64,
    offsets_expired: AtomicU64,
    offsets_refused: AtomicU64,
}

/// The values of [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Messages staged.
    pub messages_appended: u64,
    /// Bytes of those messages as stored.
    pub bytes_appended: u64,
    /// Journal bundles committed.
    pub commits: u64,
    /// Checkpoints saved.
    pub checkpoints: u64,
    /// Partitions that take no writes after a failure.
    pub partitions_fenced: u64,
    /// Segments whose files were removed by retention or on request.
    pub segments_removed: u64,
    /// Bytes of messages in those segments.
    pub bytes_removed: u64,
    /// Stored offsets that were forgotten because their consumers were not seen any more.
    pub offsets_expired: u64,
    /// Offsets that were not stored, because the partition keeps as many as it may.
    pub offsets_refused: u64,
}

/// Requests by the place of their command in [`CommandCode::ALL`].
#[derive(Debug)]
struct Requests([AtomicU64; CommandCode::ALL.len()]);

impl Default for Requests {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    pub(crate) fn requested(&self, code: CommandCode) {
        let Some(counter) = self.requests.0.get(code.place()) else {
            unreachable!("every command has its counter, at its place among all")
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests of each command there were.
    #[must_use]
    pub fn requests(&self) -> Vec<(CommandCode, u64)> {
        let counts = self.requests.0.iter().map(|count| count.load(Ordering::Relaxed));
        CommandCode::ALL.iter().copied().zip(counts).collect()
    }

    pub(crate) fn appended(&self, messages: u64, bytes: u64) {
        self.messages_appended.fetch_add(messages, Ordering::Relaxed);
        self.bytes_appended.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn checkpointed(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fenced(&self) {
        self.partitions_fenced.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn segments_removed(&self, segments: u64, bytes: u64) {
        self.segments_removed.fetch_add(segments, Ordering::Relaxed);
        self.bytes_removed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn offsets_expired(&self, offsets: u64) {
        self.offsets_expired.fetch_add(offsets, Ordering::Relaxed);
    }

    pub(crate) fn offsets_refused(&self, refused: u64) {
        self.offsets_refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// Reads all counters.
    #[must_use]
    pub fn values(&self) -> CounterValues {
        CounterValues {
            // Relaxed, as all of them: nobody concludes anything from one about another.
            messages_appended: self.messages_appended.load(Ordering::Relaxed),
            bytes_appended: self.bytes_appended.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            partitions_fenced: self.partitions_fenced.load(Ordering::Relaxed),
            segments_removed: self.segments_removed.load(Ordering::Relaxed),
            bytes_removed: self.bytes_removed.load(Ordering::Relaxed),
            offsets_expired: self.offsets_expired.load(Ordering::Relaxed),
            offsets_refused: self.offsets_refused.load(Ordering::Relaxed),
        }
    }
}
