//! What the shard of a node is opened from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use galgo_storage::checkpoint::CheckpointStore;
use galgo_storage::data_dir::DataDir;
use galgo_storage::file_cache::FileCache;
use galgo_storage::journal::{Journal, LocalJournal, Lsn};
use galgo_storage::log::IndexCache;
use galgo_wire::id::ShardId;
use galgo_wire::index::to_usize;

use super::super::stored::has_logs;
use super::{BrokerOptions, OpenError, prepare};
use crate::metadata::State;
use crate::shard::{ShardOptions, ShardRecovery};
use crate::stats::Counters;
use crate::vault::Vault;

/// INV-SHARDS: one node has the first shard.
pub(super) fn check_shards(state: &State) -> Result<(), OpenError> {
    let elsewhere = state.shards().into_iter().find(|shard| *shard != ShardId::FIRST);
    elsewhere.map_or(Ok(()), |shard| Err(OpenError::NotHere { shard: shard.get() }))
}

pub(super) fn shard_recovery(
    options: &BrokerOptions,
    data_dir: &DataDir,
    files: &Arc<FileCache>,
    indexes: &Arc<IndexCache>,
    stats: Arc<Counters>,
    vault: Option<Arc<Vault>>,
) -> Result<ShardRecovery, OpenError> {
    let disk = Arc::clone(&options.disk);
    let (checkpoints, mut found) =
        CheckpointStore::open(Arc::clone(&disk), &data_dir.checkpoint_dir(0), data_dir.features())
            .map_err(|e| prepare("the checkpoint", e))?;
    // The first start saves one before anything is written.
    if found.checkpoint.is_none() && has_logs(&*disk, data_dir)? {
        tracing::error!(
            dir = %data_dir.checkpoint_dir(0).display(),
            "there is no checkpoint although there are logs: it was removed or lost"
        );
        // Then the logs are put together from their files, as where it cannot be read.
        found.newest_damaged = true;
    }
    let checkpointed = found.checkpoint.as_ref().map_or(Lsn::ZERO, |checkpoint| checkpoint.lsn);
    let journal_options = options.journal.options(data_dir, checkpointed);
    let journal = LocalJournal::open(Arc::clone(&disk), &data_dir.journal_dir(0), journal_options)
        .map_err(|e| prepare("the journal", e))?;
    // Made before anything is acknowledged, and its name synced: the first append makes its directory in here.
    disk.create_dir_all(&data_dir.partitions_dir())
        .map_err(|e| prepare("the directory of partitions", e))?;
    disk.sync_dir(data_dir.path()).map_err(|e| prepare("the data directory", e))?;
    // A quarter: records that are no batches may fill a bundle up to twice that (see
    // `Shard::stage`), and evidence rides along in what is left.
    let half = to_usize(journal.payload_bytes_max() / 4);
    let shard = ShardOptions {
        bundle_bytes_max: options.shard.bundle_bytes_max.min(half),
        ..options.shard
    };
    Ok(ShardRecovery {
        disk,
        files: Arc::clone(files),
        indexes: Arc::clone(indexes),
        partitions_dir: data_dir.partitions_dir(),
        segment_bytes: options.bounds.segment_bytes,
        index_interval_bytes: options.bounds.index_interval_bytes,
        journal: Box::new(journal),
        checkpoints,
        found,
        boot_path: data_dir.boot_path(0),
        synced: BTreeSet::new(),
        unreadable: BTreeMap::new(),
        names: BTreeMap::new(),
        options: shard,
        now: options.clock.now(),
        stats,
        vault,
        removals: Arc::default(),
        cluster_id: data_dir.identity().cluster_id,
    })
}
