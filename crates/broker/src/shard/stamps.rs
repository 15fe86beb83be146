//! Says in the directory of each partition whose it is, so that one that is copied elsewhere is told.
//!
//! It is done where partitions are noted for a checkpoint: off the way of a message, and soon after the
//! directory was made. A directory without a stamp is taken as it is.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::data_dir::owner::Owner;
use galgo_storage::disk::Disk;
use galgo_wire::id::PartitionUid;

use super::recovery::partition_dir;

/// The stamps of a shard's partitions.
pub(super) struct Stamps {
    disk: Arc<dyn Disk>,
    partitions_dir: PathBuf,
    cluster_id: u128,
    stamped: BTreeSet<PartitionUid>,
}

impl Stamps {
    pub(super) fn new(disk: Arc<dyn Disk>, partitions_dir: PathBuf, cluster_id: u128) -> Self {
        Self { disk, partitions_dir, cluster_id, stamped: BTreeSet::new() }
    }

    /// Stamps the directory of a partition, if it has one and that was not done yet.
    pub(super) fn stamp(&mut self, uid: PartitionUid, known: &LogCheckpoint) {
        let has_files = known.active.is_some() || !known.sealed.is_empty();
        // Without files there is no directory yet: the first append makes it.
        if !has_files || self.stamped.contains(&uid) {
            return;
        }
        let dir = partition_dir(&self.partitions_dir, uid);
        match (Owner { cluster_id: self.cluster_id, uid }).stamp(&*self.disk, &dir) {
            Ok(()) => {
                self.stamped.insert(uid);
            }
            // Nothing depends on it; the next checkpoint tries again.
            Err(error) => {
                tracing::debug!(dir = %dir.display(), %error, "directory of a partition not stamped");
            }
        }
    }

    /// Whether the directory of a partition is that partition's, or nobody's.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` when it is another's.
    pub(super) fn check(&self, uid: PartitionUid) -> io::Result<()> {
        let dir = partition_dir(&self.partitions_dir, uid);
        let owner = Owner::read(&*self.disk, &dir)?;
        let ours = Owner { cluster_id: self.cluster_id, uid };
        match owner {
            Some(owner) if owner != ours => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the directory is another partition's",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn forget(&mut self, uid: PartitionUid) {
        self.stamped.remove(&uid);
    }
}

impl std::fmt::Debug for Stamps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stamps").field("stamped", &self.stamped.len()).finish_non_exhaustive()
    }
}
