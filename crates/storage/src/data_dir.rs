//! The data directory: its lock, its identity, the names in it.
//!
//! INV-ONE-SERVER: while a [`DataDir`] lives, no other process opens the same directory.
//! INV-UNTOUCHED: a directory that is foreign or of a newer layout is refused before a byte of it is
//! changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_wire::id::PartitionUid;

use crate::disk::{Disk, DiskFile};

/// Version of the layout of the directory that this program writes.
pub const LAYOUT_VERSION: u32 = 1;

/// Who a data directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u128,
    /// The node in it.
    pub node_id: u128,
}

/// Why a data directory was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server runs on it.
    #[error("{} is in use by another server{}", path.display(), pid_text(*.pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process id of the other server, when it can be read.
        pid: Option<u32>,
    },
    /// It was written by a newer program.
    #[error("{} has layout version {found}; this program knows {LAYOUT_VERSION} and older", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its layout version.
        found: u32,
    },
    /// It holds something else.
    #[error("{} holds {name:?} and no Galgo identity; give an empty directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        name: String,
    },
    /// Its identity file cannot be read as one.
    #[error("identity file {} is damaged", path.display())]
    Damaged {
        /// The identity file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{} cannot be written: read-only or not permitted", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk's.
    #[error("data directory: {}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// A locked data directory.
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    /// Holds the lock as long as it is open.
    _lock: Arc<dyn DiskFile>,
}

impl DataDir {
    /// Locks the directory `path`, made when missing; a new one gets the identity `fresh`.
    ///
    /// # Errors
    /// See [`DataDirError`]; except for `Disk`, the directory is as it was before.
    pub fn open(
        _disk: &dyn Disk,
        path: &Path,
        _fresh: Identity,
    ) -> Result<Self, DataDirError> {
        Err(DataDirError::Damaged { path: path.to_owned() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who it belongs to.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Where the metadata log is.
    pub fn metadata_dir(&self) -> PathBuf {
        self.path.join("metadata")
    }

    /// Where a shard's journal is.
    pub fn journal_dir(&self, shard: u32) -> PathBuf {
        self.path.join(format!("shards/{shard:04}/journal"))
    }

    /// Where a shard's checkpoints are.
    pub fn checkpoint_dir(&self, shard: u32) -> PathBuf {
        self.path.join(format!("shards/{shard:04}/checkpoint"))
    }

    /// Where the partitions' directories are.
    pub fn partitions_dir(&self) -> PathBuf {
        self.path.join("partitions")
    }

    /// Where the log of a partition is.
    pub fn partition_dir(&self, uid: PartitionUid) -> PathBuf {
        self.path.join(format!("partitions/{:016x}", uid.get()))
    }

    /// Where facts about the running server are written, for people and tools.
    pub fn runtime_dir(&self) -> PathBuf {
        self.path.join("runtime")
    }
}
