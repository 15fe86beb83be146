//! A shard by itself: members that only take notes, and a journal with several bundles in flight whose outcomes the
//! test decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::path::Path;
use std::task::{Poll, Waker};

use galgo_storage::checkpoint::{CheckpointStore, LogCheckpoint};
use galgo_storage::disk::sim::{SimDisk, SplitMix};
use galgo_storage::features::UsedFeatures;
use galgo_storage::file_cache::FileCache;
use galgo_storage::journal::{
    Bundle, CommitError, CommitFailure, Frame, FramePlace, InFlight, Journal, JournalError,
    JournalUsage, Lsn, ReadReport, Settled,
};
use galgo_storage::log::{IndexCache, Log, LogReader, RecoveryReport};
use galgo_storage::twin::Twin;
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid};
use parking_lot::Mutex;

use super::*;
use crate::alarm::Rung;
use crate::offset_book::{Position, StoredPosition};
use crate::ticket::{Resolver, Ticket, ticket};

mod carry;
mod window;

/// A journal that settles what is in flight when it is told to.
#[derive(Clone, Default)]
struct HeldJournal(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    owner: Epoch,
    window: usize,
    in_flight: VecDeque<Arc<Mutex<Slot>>>,
    /// Payloads that were committed, in order.
    committed: Vec<Vec<u8>>,
    /// As they were submitted, with whose they were.
    submitted: Vec<(Epoch, Vec<u8>)>,
    in_flight_max: usize,
    /// Nothing is taken until the outcome of a bundle that was not has been.
    refuses: Option<CommitError>,
    /// Outcomes from here on, when nobody tells one by one.
    then: Option<Result<(), CommitError>>,
}

#[derive(Default)]
struct Slot {
    payload: Vec<u8>,
    settled: Option<Settled>,
    waker: Option<Waker>,
    /// The first that was not taken.
    is_first_refused: bool,
}

impl HeldJournal {
    fn with_window(window: usize) -> Self {
        Self(Arc::new(Mutex::new(Held { window, ..Held::default() })))
    }

    fn in_flight(&self) -> usize {
        self.0.lock().in_flight.len()
    }

    /// Settles the oldest; where it is not taken, all behind it as well, as a journal promises.
    fn settle(&self, outcome: Result<(), CommitError>) {
        let mut held = self.0.lock();
        let first = held.in_flight.pop_front().unwrap();
        if let Err(error) = outcome {
            let behind = if error.goes_on() { error } else { CommitError::Fenced };
            first.lock().is_first_refused = error.goes_on();
            held.refuses = Some(behind);
            held.settle(&first, outcome);
            for slot in std::mem::take(&mut held.in_flight) {
                held.settle(&slot, Err(behind));
            }
        } else {
            held.settle(&first, outcome);
        }
    }
}

impl Held {
    fn settle(&mut self, slot: &Arc<Mutex<Slot>>, outcome: Result<(), CommitError>) {
        let mut slot = slot.lock();
        let payload = std::mem::take(&mut slot.payload);
        let outcome = outcome.map_err(CommitFailure::from).map(|()| {
            self.committed.push(payload.clone());
            Lsn::new(self.committed.len() as u64)
        });
        slot.settled = Some(Settled { outcome, payload });
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl Journal for HeldJournal {
    fn claim(&self, above: Epoch) -> Epoch {
        let mut held = self.0.lock();
        held.owner = Epoch::new(held.owner.max(above).get() + 1);
        held.owner
    }

    fn submit(&self, own: Epoch, bundle: Bundle) -> InFlight {
        let mut held = self.0.lock();
        held.submitted.push((own, bundle.payload.clone()));
        let slot = Slot { payload: bundle.payload, ..Slot::default() };
        let slot = Arc::new(Mutex::new(slot));
        if let Some(error) = held.refuses {
            held.settle(&slot, Err(error));
        } else if let Some(outcome) = held.then {
            held.settle(&slot, outcome);
        } else {
            held.in_flight.push_back(Arc::clone(&slot));
            held.in_flight_max = held.in_flight_max.max(held.in_flight.len());
        }
        let journal = self.clone();
        InFlight::waiting(poll_fn(move |context| {
            let mut slot = slot.lock();
            slot.waker = Some(context.waker().clone());
            let Some(settled) = slot.settled.take() else { return Poll::Pending };
            let goes_on = slot.is_first_refused;
            drop(slot);
            if goes_on {
                journal.0.lock().refuses = None;
            }
            Poll::Ready(settled)
        }))
    }

    fn window(&self) -> usize {
        self.0.lock().window
    }

    fn read(
        &self,
        from: Lsn,
        _: &mut dyn FnMut(&Frame<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<ReadReport, JournalError> {
        Ok(ReadReport { last: Lsn::new(from.get() - 1), ..ReadReport::default() })
    }

    fn read_part(&self, _: FramePlace, _: u64, _: &mut [u8]) -> Result<usize, JournalError> {
        unreachable!("nothing was visited")
    }

    fn checkpoint(&self, _: Lsn) -> Result<(), JournalError> {
        Ok(())
    }

    fn last(&self) -> Lsn {
        Lsn::new(self.0.lock().committed.len() as u64)
    }

    fn needs_checkpoint(&self) -> bool {
        false
    }

    fn payload_bytes_max(&self) -> u64 {
        1 << 20
    }

    fn usage(&self) -> JournalUsage {
        JournalUsage::default()
    }
}

/// What a member was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Journaled(u64),
    NotJournaled(u64),
    Fenced,
    Synced,
}

struct Notes {
    uid: PartitionUid,
    told: Mutex<Vec<Told>>,
    end: AtomicU64,
    /// What happens while it is to be noted for a checkpoint, which fails then.
    fails_checkpoint: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Whether it stops whoever tells it of a bundle.
    panics: AtomicBool,
}

impl Notes {
    fn new(uid: u64) -> Arc<Self> {
        Arc::new(Self {
            uid: PartitionUid::new(uid),
            told: Mutex::default(),
            end: AtomicU64::new(0),
            fails_checkpoint: Mutex::default(),
            panics: AtomicBool::new(false),
        })
    }

    fn note(&self, told: Told) {
        self.told.lock().push(told);
    }
}

impl ShardMember for Notes {
    fn uid(&self) -> PartitionUid {
        self.uid
    }

    fn is_closed(&self) -> bool {
        false
    }

    fn is_offline(&self) -> bool {
        false
    }

    fn high_watermark(&self) -> Offset {
        Offset::new(self.end.load(Ordering::Relaxed))
    }

    fn journaled(&self, end: Offset, _: &mut Vec<Resolver>) -> Rung {
        assert!(!self.panics.load(Ordering::Relaxed), "a defect of the committer's");
        self.end.store(end.get(), Ordering::Relaxed);
        self.note(Told::Journaled(end.get()));
        Rung::default()
    }

    fn not_journaled(&self, end: Offset) -> bool {
        self.note(Told::NotJournaled(end.get()));
        true
    }

    fn position_settled(self: Arc<Self>, _: OffsetOwner, _: Option<Option<Position>>) {}

    fn fence(&self, _: CommitError) {
        self.note(Told::Fenced);
    }

    fn sync(&self) -> Result<(), CommitError> {
        self.note(Told::Synced);
        Ok(())
    }

    fn checkpoint(&self) -> Result<MemberCheckpoint, CommitError> {
        if let Some(meanwhile) = self.fails_checkpoint.lock().take() {
            meanwhile();
            return Err(CommitError::Disk);
        }
        Ok(MemberCheckpoint { log: LogCheckpoint::default(), positions: Vec::new() })
    }

    fn durable_positions(&self) -> Vec<StoredPosition> {
        Vec::new()
    }

    fn take_unnoted_end(&self) -> Option<Offset> {
        None
    }

    fn touch(self: Arc<Self>) {}

    fn write_anew(self: Arc<Self>) -> bool {
        false
    }

    fn not_rescued(&self, _: &crate::causes::Causes<'_>) {}

    fn is_marked(&self) -> bool {
        false
    }

    fn unfence(&self) {}

    fn log_reader(&self) -> &LogReader {
        unreachable!("it is never offline")
    }

    fn come_online(self: Arc<Self>, _: Log, _: &RecoveryReport) {}

    fn stays_offline(&self) {}

    fn tell_still_offline(&self, _: &crate::causes::Causes<'_>) {}
}

/// A shard of no partitions over `journal`.
fn shard(journal: &HeldJournal) -> Arc<Shard> {
    shard_on(SimDisk::new(1), Box::new(journal.clone()))
}

fn shard_on(disk: SimDisk, journal: Box<dyn Journal>) -> Arc<Shard> {
    let disk: Arc<SimDisk> = Arc::new(disk);
    let features = Twin { path: "/d/features".into(), copy: "/d/copy/features".into() };
    let features = Arc::new(UsedFeatures::read(&*disk, features).unwrap());
    let partitions_dir = Path::new("/d/partitions");
    galgo_storage::disk::create_dir_synced(&*disk, partitions_dir).unwrap();
    let dir = Path::new("/d/checkpoint");
    let (checkpoints, found) =
        CheckpointStore::open(Arc::clone(&disk) as _, dir, &features).unwrap();
    let recovery = ShardRecovery {
        files: FileCache::new(Arc::clone(&disk) as _, 8),
        disk,
        partitions_dir: partitions_dir.to_owned(),
        segment_bytes: 1 << 20,
        index_interval_bytes: 256,
        indexes: Arc::new(IndexCache::new(1 << 16)),
        journal,
        checkpoints,
        found,
        options: ShardOptions {
            journal_batch_bytes_max: 1 << 10,
            bundle_bytes_max: 4 << 10,
            checkpoint_bytes: 1 << 20,
        },
        boot_path: "/d/boot".into(),
        synced: BTreeSet::new(),
        unreadable: BTreeMap::new(),
        names: BTreeMap::new(),
        now: Timestamp::new(1),
        stats: Arc::default(),
        vault: None,
        removals: Arc::default(),
        cluster_id: 7,
    };
    let opened = recovery.open(&BTreeSet::new(), |_| Ok::<_, ShardRecoverError>(())).unwrap();
    opened.shard
}

/// Stages a batch of `member` that ends at `end`, and a marker that tells the same outcome.
fn stage(shard: &Shard, member: &Arc<Notes>, end: u64) -> Ticket {
    let messages = end.to_le_bytes();
    let record = ShardRecord::Batch {
        uid: member.uid,
        base_offset: Offset::new(end - 1),
        high_watermark: Offset::ZERO,
        messages: &messages,
    };
    assert!(shard.stage_batch(&record, member, Offset::new(end)));
    mark(shard, end).unwrap()
}

fn mark(shard: &Shard, end: u64) -> Result<Ticket, CommitError> {
    let (waiting, resolver) = ticket();
    let record = ShardRecord::StartMoved { uid: PartitionUid::new(99), start: Offset::new(end) };
    shard.stage(&record, Durability::Fsync, Completion::Marker, resolver).map(|()| waiting)
}
