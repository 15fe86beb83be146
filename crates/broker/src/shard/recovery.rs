//! Opens a shard: the last checkpoint, then the journal behind it, brought together per partition.
//!
//! INV-REDO: every batch in the journal behind the checkpoint is written to its segment again and
//! synced before the journal is given back, whatever the page cache seems to hold.
//! INV-REPEAT: a recovery that is cut short, or done twice, ends in the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use galgo_storage::boot;
use galgo_storage::checkpoint::{
    CheckpointStore, CheckpointedOffset, FoundCheckpoint, LogCheckpoint, ShardCheckpoint,
};
use galgo_storage::disk::Disk;
use galgo_storage::file_cache::FileCache;
use galgo_storage::journal::{Journal, Lsn};
use galgo_storage::log::{
    self, Evidence, IndexCache, Log, LogName, LogOptions, RecoveryReport, durable_end, first_base,
};
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::{ConsumerId, Epoch, Offset, PartitionUid, Timestamp};

use super::carry::{Carried, LostFrames, Uncovered, carry_forward};
use super::checkpoint::{CheckpointCalls, Checkpointer, Checkpoints};
use super::journaled::{JournalSource, Journaled};
use super::record::OffsetOwner;
use super::removal::Removals;
use super::stamps::Stamps;
use super::standing::ShardStanding;
use super::{Shard, ShardOptions};
use crate::lives::Lives;
use crate::offset_book::{OffsetBook, Position};
use crate::stats::Counters;
use crate::vault::Vault;

/// What a shard is opened from.
pub struct ShardRecovery {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The bounded set of open segment files.
    pub files: Arc<FileCache>,
    /// The directory that holds one directory for each partition.
    pub partitions_dir: PathBuf,
    /// Sizes of the logs; their directory is filled in for each partition.
    pub segment_bytes: u64,
    /// Log bytes for each index entry.
    pub index_interval_bytes: u32,
    /// Memory for the indexes of segments that are read.
    pub indexes: Arc<IndexCache>,
    /// The journal.
    pub journal: Box<dyn Journal>,
    /// Where checkpoints are kept.
    pub checkpoints: CheckpointStore,
    /// What the last checkpoint says.
    pub found: FoundCheckpoint,
    /// Bounds and thresholds.
    pub options: ShardOptions,
    /// Where it is on record in which run of the system the shard was last opened.
    pub boot_path: PathBuf,
    /// Partitions whose acknowledgements survive a power cut.
    pub synced: BTreeSet<PartitionUid>,
    /// Partitions whose directories cannot be read, and why: they are offline.
    pub unreadable: BTreeMap<PartitionUid, io::Error>,
    /// What partitions are called in the log.
    pub names: BTreeMap<PartitionUid, Arc<LogName>>,
    /// When it is: stored offsets whose time was not written down count from now.
    pub now: Timestamp,
    /// The server's counters.
    pub stats: Arc<Counters>,
    /// What seals and opens messages.
    pub(crate) vault: Option<Arc<Vault>>,
    /// Asked where there are files to be removed.
    pub(crate) removals: Arc<Removals>,
    /// The cluster, for the directories of partitions.
    pub cluster_id: u128,
}

/// What the checkpoint, the journal and the names of directories speak of, whether the metadata knows of
/// it or not.
#[derive(Debug, Default)]
pub struct Spoken {
    /// Partitions with messages, offsets or a start in the checkpoint or in the journal.
    pub uids: BTreeSet<PartitionUid>,
    /// Numbers under which offsets of consumer groups are stored there.
    pub groups: BTreeSet<ConsumerId>,
}

/// A shard that is open, with the logs it found.
pub struct RecoveredShard {
    /// The shard.
    pub shard: Arc<Shard>,
    /// The live partitions' logs and offsets.
    pub partitions: BTreeMap<PartitionUid, RecoveredPartition>,
    /// Directories of partitions that nobody knows; left alone.
    pub unknown: Vec<String>,
}

/// A log and its consumers' offsets, as recovered.
pub struct RecoveredPartition {
    /// The log; everything in it counts as published.
    pub log: Log,
    /// Positions, none beyond the log's end.
    pub offsets: OffsetBook,
    /// What recovery found, when the log had any files.
    pub report: Option<RecoveryReport>,
    /// Why the log could not be opened, where it could not: it only stands in for what is there.
    pub offline: Option<log::LogRecoverError>,
}

/// What is known of a partition before its log is opened.
struct KnownPartition {
    uid: PartitionUid,
    offsets: OffsetBook,
    /// What the checkpoint says of its log.
    log: Option<LogCheckpoint>,
    /// Why its directory cannot be read, where it cannot.
    unreadable: Option<io::Error>,
    evidence: Evidence,
    /// Whether it has a directory.
    may_be_there: bool,
}

/// Why a shard did not open. Nothing on disk was deleted.
#[derive(Debug, thiserror::Error)]
pub enum ShardRecoverError {
    /// The journal or a checkpoint could not be read.
    #[error("{what} cannot be read")]
    Read {
        /// Which.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A log can't be opened, and what is on record of it is damaged as well.
    #[error("the newest checkpoint is damaged, and the log of partition {} cannot be opened", uid.get())]
    Log {
        /// Which partition.
        uid: PartitionUid,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was recovered could not be written down, as when the disk is full. The journal still has
    /// all of it.
    #[error("{what} could not be written")]
    Write {
        /// Which.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ShardRecovery {
    /// Opens the shard for the partitions in `live`. Before anything of a partition is changed, `ready` is
    /// told what the files speak of, and may refuse.
    ///
    /// # Errors
    /// [`ShardRecoverError`] when the journal, the checkpoint or a log cannot be read at all, or what was
    /// recovered not be written; what `ready` says. Damage that can be fenced is reported instead.
    pub fn open<E: From<ShardRecoverError>>(
        mut self,
        live: &BTreeSet<PartitionUid>,
        ready: impl FnOnce(&Spoken) -> Result<(), E>,
    ) -> Result<RecoveredShard, E> {
        let rebuild = self.found.newest_damaged;
        if rebuild {
            tracing::error!(
                "the newest checkpoint is damaged; logs are rebuilt from their files and consumer \
                 offsets may be older than the last ones stored"
            );
        }
        let checkpoint = self.found.checkpoint.clone();
        // The first start of all has none, and begins with nothing.
        let mut checkpoint = checkpoint.unwrap_or_default();
        // Before it is read, so that what it gives is what counts behind this checkpoint. INV-EPOCH: on record from the
        // first checkpoint of the new owner on.
        checkpoint.epoch = self.journal.claim(checkpoint.epoch);
        let mut journaled = Journaled::read(&*self.journal, checkpoint.lsn)?;
        let (dirs, unknown) = self.list_partitions(live)?;
        ready(&Spoken::of(&checkpoint, &journaled))?;
        let mut books = offset_books(&checkpoint);
        journaled.apply_offsets(&mut books);
        let recorded = boot::recorded(&*self.disk, &self.boot_path);
        let recorded = recorded.map_err(|e| read_error("the record of the last boot", e))?;
        // Where either is not known, it is taken for another run: what was only written may be
        // gone.
        let cache_survived = recorded.is_some() && recorded == self.disk.boot();
        let mut unreadable = std::mem::take(&mut self.unreadable);
        let source = journaled.source(&*self.journal);
        let mut partitions = BTreeMap::new();
        for uid in live {
            let offsets = books.remove(uid).unwrap_or_default();
            let known = KnownPartition {
                uid: *uid,
                evidence: self.evidence(*uid, &journaled, &offsets, cache_survived),
                offsets,
                log: checkpoint.logs.get(uid).cloned(),
                unreadable: unreadable.remove(uid),
                may_be_there: dirs.contains(uid),
            };
            let partition = self.open_partition(known, &mut journaled, &source)?;
            match partition.offline {
                // What the older checkpoint knows of its start and its segments may be true no more, and this start
                // would be the last to know that.
                Some(why) if rebuild => {
                    return Err(ShardRecoverError::Log { uid: *uid, source: Box::new(why) }.into());
                }
                _ => partitions.insert(*uid, partition),
            };
        }
        assert!(
            partitions.len() == live.len(),
            "INV-SHARDS: every partition that the metadata names is opened, or offline"
        );
        drop(source);
        // Of what was deleted nothing is to be noted again: its files are going.
        checkpoint.logs.retain(|uid, _| live.contains(uid));
        let shard = self.build(checkpoint, &partitions, journaled.last, recorded)?;
        Ok(RecoveredShard { shard, partitions, unknown })
    }

    /// Opens the log of one partition, and gives it the offsets. One that cannot be opened is offline: all others
    /// can be.
    fn open_partition(
        &self,
        known: KnownPartition,
        journaled: &mut Journaled,
        source: &JournalSource<'_>,
    ) -> Result<RecoveredPartition, ShardRecoverError> {
        let KnownPartition { uid, mut offsets, log: known, unreadable, evidence, may_be_there } =
            known;
        offsets.begin(self.now);
        let start = journaled.apply_start(uid, known.clone()).map_or(Offset::ZERO, |it| it.start);
        let end = known.as_ref().map_or(start, durable_end).max(evidence.end);
        // INV-OFFLINE: of a log that cannot be opened this is the end, and the evidence by which it
        // is recovered when it can be.
        let end = end.max(journaled.acknowledged(uid));
        let opened = match unreadable {
            Some(source) => {
                let path = partition_dir(&self.partitions_dir, uid);
                Err(log::LogRecoverError::Disk { path, source })
            }
            None if self.found.newest_damaged => self.bare_start(uid, known),
            None => Ok(known),
        };
        let opened = opened.and_then(|known| {
            let known = journaled.apply_start(uid, known);
            let untouched = !journaled.has_batches(uid) && !may_be_there && known.is_none();
            // Nothing known, nothing there: a partition that was never written costs no disk access.
            if untouched && evidence.end == Offset::ZERO {
                return Ok((self.empty_log(uid), None));
            }
            // INV-REDO: also those that the files seem to hold: what the page cache has of them may be on no disk.
            let batches = journaled.log(uid, source);
            let (disk, files) = (Arc::clone(&self.disk), Arc::clone(&self.files));
            let options = self.log_options(uid);
            let known = known.unwrap_or_default();
            let (log, report) = Log::recover(disk, files, options, known, batches, evidence)?;
            Ok((log, Some(report)))
        });
        match opened {
            Ok((log, report)) => {
                // A power cut may take messages of a topic that rests in the page cache, and leave the position behind
                // them: it would skip those that get these offsets next.
                offsets.clamp(log.end());
                Ok(RecoveredPartition { log, offsets, report, offline: None })
            }
            // Not one log is offline for it: the journal is that of all.
            Err(log::LogRecoverError::Journal { source }) => Err(read_error("the journal", source)),
            Err(why) => {
                let (disk, files) = (Arc::clone(&self.disk), Arc::clone(&self.files));
                let log = Log::offline(disk, files, self.log_options(uid), start..end);
                Ok(RecoveredPartition { log, offsets, report: None, offline: Some(why) })
            }
        }
    }

    fn list_partitions(
        &self,
        live: &BTreeSet<PartitionUid>,
    ) -> Result<(BTreeSet<PartitionUid>, Vec<String>), ShardRecoverError> {
        let entries = self.disk.read_dir(&self.partitions_dir);
        let entries = entries.map_err(|e| read_error("the directory of partitions", e))?;
        let (mut known, mut unknown) = (BTreeSet::new(), Vec::new());
        for entry in entries {
            match u64::from_str_radix(&entry.name, 16).map(PartitionUid::new) {
                Ok(uid) if live.contains(&uid) => {
                    known.insert(uid);
                }
                // Left alone: it may be somebody's, and what is to be removed is on record
                // elsewhere.
                _ => unknown.push(entry.name),
            }
        }
        Ok((known, unknown))
    }

    /// What is left of `known` when a log is rebuilt from its files: where it starts. The checkpoint that
    /// is read then is the one before the last, which may not know of the segments dropped since.
    fn bare_start(
        &self,
        uid: PartitionUid,
        known: Option<LogCheckpoint>,
    ) -> Result<Option<LogCheckpoint>, log::LogRecoverError> {
        let path = partition_dir(&self.partitions_dir, uid);
        let oldest = first_base(&*self.disk, &path)
            .map_err(|source| log::LogRecoverError::Disk { path, source })?;
        let known = known.map(|known| known.start);
        let start = oldest.max(known).filter(|start| *start > Offset::ZERO);
        Ok(start.map(|start| LogCheckpoint { start, ..LogCheckpoint::default() }))
    }

    /// What the shard's other files prove about the end of a log.
    fn evidence(
        &self,
        uid: PartitionUid,
        journaled: &Journaled,
        offsets: &OffsetBook,
        cache_survived: bool,
    ) -> Evidence {
        let mut end = journaled.synced_end(uid).unwrap_or(Offset::ZERO);
        if cache_survived {
            // What was only written may be lost with the machine: where it is missing then, that is
            // no damage.
            end = journaled.written_end(uid).map_or(end, |written| written.max(end));
        }
        // A consumer's position is taken only of messages that are published. A power cut may take
        // those of a topic that rests in the page cache, and not the position.
        if (cache_survived || self.synced.contains(&uid))
            && let Some(offset) = offsets.largest()
        {
            end = end.max(Offset::new(offset.get().saturating_add(1)));
        }
        Evidence { end, cache_survived }
    }

    fn log_options(&self, uid: PartitionUid) -> LogOptions {
        LogOptions {
            dir: partition_dir(&self.partitions_dir, uid),
            segment_bytes: self.segment_bytes,
            index_interval_bytes: self.index_interval_bytes,
            indexes: Arc::clone(&self.indexes),
            // One that is made later is named by the catalog.
            name: self.names.get(&uid).map_or_else(Arc::default, Arc::clone),
        }
    }

    fn empty_log(&self, uid: PartitionUid) -> Log {
        Log::create(Arc::clone(&self.disk), Arc::clone(&self.files), self.log_options(uid))
    }

    /// INV-CARRY: keeps what the journal holds of partitions that are offline, which the checkpoint of the start does
    /// not cover. Damage was told when it was read.
    fn carry_offline(
        &self,
        partitions: &BTreeMap<PartitionUid, RecoveredPartition>,
        epoch: Epoch,
        range: RangeInclusive<Lsn>,
    ) -> Result<Carried, ShardRecoverError> {
        let offline = partitions.iter().filter(|(_, partition)| partition.offline.is_some());
        let uncovered: Uncovered = offline.map(|(uid, _)| (*uid, None)).collect();
        if uncovered.is_empty() {
            return Ok(Carried::default());
        }
        // Without room for it the start is refused. The journal as it is would bring back batches of other
        // partitions that were never acknowledged, behind those that are taken from now on.
        let carried = carry_forward(&*self.journal, epoch, range, &uncovered, LostFrames::Told);
        carried.map_err(|error| write_error("what the journal holds of partitions offline", error))
    }

    /// Saves what was recovered as a checkpoint, so that the journal starts over.
    fn build(
        self,
        checkpoint: ShardCheckpoint,
        partitions: &BTreeMap<PartitionUid, RecoveredPartition>,
        last: Lsn,
        recorded: Option<u128>,
    ) -> Result<Arc<Shard>, ShardRecoverError> {
        let (before, epoch) = (checkpoint.lsn, checkpoint.epoch);
        let lsn = last.max(before);
        // Before the checkpoint is saved and the journal given back: the frames that go then hold
        // it (INV-CARRY).
        let carried = self.carry_offline(partitions, epoch, before.next()..=lsn)?;
        let stamps =
            Stamps::new(Arc::clone(&self.disk), self.partitions_dir.clone(), self.cluster_id);
        let mut checkpointer = Checkpointer {
            store: self.checkpoints,
            last: checkpoint,
            saved: lsn,
            offsets: BTreeMap::new(),
            stamps,
        };
        checkpointer.note_recovered(partitions);
        // INV-REDO: all that was written again is synced by now; only behind this is the journal given back.
        checkpointer.save(lsn).map_err(|e| write_error("the checkpoint", e))?;
        self.journal.checkpoint(lsn).map_err(|e| write_error("the journal", e))?;
        // INV-BOOT: only now is nothing left that an earlier run of the system may have lost; what is offline was not
        // looked at.
        let is_whole = partitions.values().all(|partition| partition.offline.is_none());
        if let Some(boot) = self.disk.boot().filter(|boot| is_whole && recorded != Some(*boot)) {
            boot::record(&*self.disk, &self.boot_path, boot)
                .map_err(|e| write_error("the record of the last boot", e))?;
        }
        Ok(Arc::new(Shard {
            options: self.options,
            epoch,
            journal: self.journal,
            stats: self.stats,
            vault: self.vault,
            lives: Lives::new(self.cluster_id),
            intake: Arc::default(),
            syncs: Default::default(),
            touched: Default::default(),
            dropped: Default::default(),
            removals: self.removals,
            settled: AtomicU64::new(lsn.get()),
            unjournaled_bytes: AtomicU64::new(0),
            unsynced_ends: AtomicBool::new(false),
            now_us: AtomicU64::new(self.now.get()),
            checkpoints: Checkpoints::new(checkpointer, carried),
            calls: CheckpointCalls::default(),
            rescues: Default::default(),
            cache_survived: recorded.is_some() && recorded == self.disk.boot(),
            has_fenced: AtomicBool::new(false),
            standing: ShardStanding::default(),
        }))
    }
}

impl Spoken {
    fn of(checkpoint: &ShardCheckpoint, journaled: &Journaled) -> Self {
        let mut spoken = Self::default();
        spoken.uids.extend(checkpoint.logs.keys());
        spoken.uids.extend(journaled.uids());
        let group = ConsumerKind::Group.as_u8();
        for CheckpointedOffset { uid, kind, id, .. } in &checkpoint.offsets {
            spoken.uids.insert(*uid);
            spoken.groups.extend((*kind == group).then_some(ConsumerId::new(*id)));
        }
        for (uid, owner) in journaled.owners() {
            spoken.uids.insert(uid);
            spoken.groups.extend((owner.kind == ConsumerKind::Group).then_some(owner.id));
        }
        spoken
    }
}

/// What a checkpoint speaks of, and the journal behind it, if that is to be read.
///
/// # Errors
/// [`ShardRecoverError::Read`].
pub(crate) fn spoken_of(
    checkpoint: &ShardCheckpoint,
    journal: Option<&dyn Journal>,
) -> Result<Spoken, ShardRecoverError> {
    let journaled = journal.map(|journal| Journaled::read(journal, checkpoint.lsn)).transpose()?;
    // Where the journal is not to be read, it says nothing.
    Ok(Spoken::of(checkpoint, &journaled.unwrap_or_default()))
}

/// Where the log of a partition lies.
pub(super) fn partition_dir(partitions_dir: &Path, uid: PartitionUid) -> PathBuf {
    partitions_dir.join(format!("{:016x}", uid.get()))
}

fn offset_books(checkpoint: &ShardCheckpoint) -> BTreeMap<PartitionUid, OffsetBook> {
    let mut books: BTreeMap<PartitionUid, OffsetBook> = BTreeMap::new();
    for stored in &checkpoint.offsets {
        // An unknown kind would be from a newer version, whose directory is refused.
        let Some(kind) = ConsumerKind::from_u8(stored.kind) else { continue };
        let owner = OffsetOwner { kind, id: ConsumerId::new(stored.id) };
        let position = Position::noted(stored.offset, stored.note);
        books.entry(stored.uid).or_default().set(owner, position);
    }
    books
}

pub(super) fn read_error(
    what: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ShardRecoverError {
    ShardRecoverError::Read { what, source: Box::new(source) }
}

fn write_error(
    what: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ShardRecoverError {
    ShardRecoverError::Write { what, source: Box::new(source) }
}
