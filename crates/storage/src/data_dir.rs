//! The data directory: its lock, its identity, the names in it.
//!
//! INV-ONE-SERVER: while a [`DataDir`] lives, no other process opens the same directory.
//! INV-UNTOUCHED: a directory that is foreign, of a newer layout, or uses formats this program does not know, is
//! refused before a byte of it is changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_wire::id::PartitionUid;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::disk::{Disk, DiskFile, OpenMode, create_dir_synced};
use crate::features::{FEATURES_NAME, FeaturesError, UsedFeatures};
use crate::metadata_log::MetadataDirs;
use crate::twin::{Kept, Twin, TwinError};

pub mod anchors;
pub mod format;
pub mod owner;

use format::IDENTITY_BYTES_MAX;

/// Version of the layout of the directory that this program writes.
pub const LAYOUT_VERSION: u32 = 1;

const LOCK_NAME: &str = "galgo.lock";
const IDENTITY_NAME: &str = "identity";
const COPY_NAME: &str = "copy";
const METADATA_NAME: &str = "metadata";

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
    /// It uses a format this program does not know.
    #[error("{} names the format {name:?}, which this program does not know: start the version that wrote it, or a newer one", path.display())]
    Unknown {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// There is none.
    #[error("{} is not there, or no server ever used it", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{} holds {name:?} and no Galgo identity; give an empty directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        name: String,
    },
    /// A file that is kept twice cannot be read, nor the copy of it.
    #[error(
        "{} is damaged, and no sound copy is in {}: restore one of the two from a backup of this directory",
        path.display(),
        copy.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its copy.
        copy: PathBuf,
    },
    /// The identity and its copy are of two servers.
    #[error(
        "{} and {} are of two different servers: what was copied here from another directory has to go \
         again",
        path.display(),
        copy.display()
    )]
    Mixed {
        /// The identity file.
        path: PathBuf,
        /// Its copy.
        copy: PathBuf,
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
    features: Arc<UsedFeatures>,
    /// Holds the lock as long as it is open.
    _lock: Arc<dyn DiskFile>,
}

impl DataDir {
    /// Locks the directory `path`, made when missing; a new one gets the identity `fresh`.
    ///
    /// # Errors
    /// See [`DataDirError`]; except for `Disk`, the directory is as it was before.
    pub fn open(disk: &dyn Disk, path: &Path, fresh: Identity) -> Result<Self, DataDirError> {
        let place = OpeningDir { disk, path };
        // INV-UNTOUCHED: not even the lock file is made before it is clear whose directory this is.
        place.read_identity()?;
        place.read_features()?;
        create_dir_synced(disk, path).map_err(|error| place.write_error(error))?;
        let lock = place.lock()?;
        // Read again: another server may have made it before this one got the lock.
        let features = place.read_features()?;
        // The identity before all else: without it every other file in the directory is foreign to the next start.
        let identity = match place.read_identity()? {
            Some(kept) => {
                place.twin().mend(disk, &kept).map_err(|error| place.twin_error(error))?;
                kept.value
            }
            None => place.write_identity(fresh)?,
        };
        features.mend(disk).map_err(|error| place.features_error(error))?;
        // Its rename may not have reached the disk when the process that made it ended.
        disk.sync_dir(path).map_err(|error| place.write_error(error))?;
        Ok(Self { path: path.to_owned(), identity, features: Arc::new(features), _lock: lock })
    }

    /// Locks the directory `path`, which a server has used before, and leaves it as it is.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn examine(disk: &dyn Disk, path: &Path) -> Result<Self, DataDirError> {
        let place = OpeningDir { disk, path };
        let missing = || DataDirError::Missing { path: path.to_owned() };
        // As in `open`: nothing is touched, not even the lock, before it is clear whose directory this is.
        place.read_identity()?.ok_or_else(missing)?;
        place.read_features()?;
        let lock = place.lock()?;
        // And again: a server may have changed it until the lock was taken.
        let kept = place.read_identity()?.ok_or_else(missing)?;
        let features = Arc::new(place.read_features()?);
        Ok(Self { path: path.to_owned(), identity: kept.value, features, _lock: lock })
    }

    /// The identity and the names of features, where they are to be restored from their copies.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn to_mend(&self, disk: &dyn Disk) -> Result<Vec<PathBuf>, DataDirError> {
        let place = OpeningDir { disk, path: &self.path };
        let identity = place.read_identity()?.is_some_and(|kept| kept.is_copy());
        let features = self.features.is_copy(disk).map_err(|error| place.features_error(error))?;
        let names = [(identity, IDENTITY_NAME), (features, FEATURES_NAME)];
        let lost = names.into_iter().filter(|(lost, _)| *lost);
        Ok(lost.map(|(_, name)| self.path.join(name)).collect())
    }

    /// Restores the identity and the names of features from their copies, or these from them.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn mend(&self, disk: &dyn Disk) -> Result<(), DataDirError> {
        let place = OpeningDir { disk, path: &self.path };
        // The names of formats first: an identity alone would let an older program in.
        self.features.mend(disk).map_err(|error| place.features_error(error))?;
        let Some(kept) = place.read_identity()? else { return Ok(()) };
        place.twin().mend(disk, &kept).map_err(|error| place.twin_error(error))
    }

    /// Whether a first start would make the directory: nothing of a server is in it. Changes nothing.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn is_new(disk: &dyn Disk, path: &Path) -> Result<bool, DataDirError> {
        Ok(OpeningDir { disk, path }.read_identity()?.is_none())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who it belongs to.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Which formats it uses that not every program knows.
    pub fn features(&self) -> &Arc<UsedFeatures> {
        &self.features
    }

    /// Where the metadata log and its copy are.
    pub fn metadata_dirs(&self) -> MetadataDirs {
        MetadataDirs {
            first: self.path.join(METADATA_NAME),
            copy: self.path.join(COPY_NAME).join(METADATA_NAME),
        }
    }

    /// A small file of the directory and its second copy.
    pub fn twin(&self, name: &str) -> Twin {
        twin(&self.path, name)
    }

    /// Where a shard's journal is.
    pub fn journal_dir(&self, shard: u32) -> PathBuf {
        self.path.join(format!("shards/{shard:04}/journal"))
    }

    /// Where a shard's checkpoints are.
    pub fn checkpoint_dir(&self, shard: u32) -> PathBuf {
        self.path.join(format!("shards/{shard:04}/checkpoint"))
    }

    /// Where it is on record in which run of the system a shard was last opened.
    pub fn boot_path(&self, shard: u32) -> PathBuf {
        self.path.join(format!("shards/{shard:04}/boot"))
    }

    /// Where it is on record what the clocks said.
    pub fn clock_path(&self) -> PathBuf {
        self.path.join("clock")
    }

    /// Where the partitions' directories are.
    pub fn partitions_dir(&self) -> PathBuf {
        self.path.join("partitions")
    }

    /// Where the log of a partition is.
    pub fn partition_dir(&self, uid: PartitionUid) -> PathBuf {
        self.path.join(format!("partitions/{:016x}", uid.get()))
    }

    /// Where directories of partitions that the metadata does not know are put by a repair.
    pub fn aside_dir(&self) -> PathBuf {
        self.path.join("aside")
    }

    /// The file whose lock says that a server runs.
    pub fn lock_path(&self) -> PathBuf {
        self.path.join(LOCK_NAME)
    }

    /// Where facts about the running server are written, for people and tools.
    pub fn runtime_dir(&self) -> PathBuf {
        self.path.join("runtime")
    }
}

/// A directory that is being opened.
struct OpeningDir<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
}

impl OpeningDir<'_> {
    /// The identity; `None` when the directory is missing or empty.
    fn read_identity(&self) -> Result<Option<Kept<Identity>>, DataDirError> {
        let twin = self.twin();
        let decode = |bytes: &[u8]| Identity::decode(bytes);
        let kept = twin.read(self.disk, IDENTITY_BYTES_MAX, decode);
        match kept.map_err(|error| self.twin_error(error))? {
            None => self.check_empty().map(|()| None),
            // It never changes, so a sound copy that differs was never made from it.
            Some(kept) if kept.differs() => {
                Err(DataDirError::Mixed { path: twin.path, copy: twin.copy })
            }
            Some(kept) => Ok(Some(kept)),
        }
    }

    fn twin(&self) -> Twin {
        twin(self.path, IDENTITY_NAME)
    }

    fn read_features(&self) -> Result<UsedFeatures, DataDirError> {
        let features = UsedFeatures::read(self.disk, twin(self.path, FEATURES_NAME));
        features.map_err(|error| self.features_error(error))
    }

    fn features_error(&self, error: FeaturesError) -> DataDirError {
        match error {
            FeaturesError::Unknown { path, name } => DataDirError::Unknown { path, name },
            FeaturesError::Twin(TwinError::Newer { path, found }) => {
                DataDirError::Unknown { path, name: format!("{FEATURES_NAME} version {found}") }
            }
            FeaturesError::Twin(error) => self.twin_error(error),
        }
    }

    fn twin_error(&self, error: TwinError) -> DataDirError {
        match error {
            TwinError::Damaged { path, copy } => DataDirError::Damaged { path, copy },
            TwinError::Newer { found, .. } => {
                DataDirError::Newer { path: self.path.to_owned(), found }
            }
            TwinError::Disk { source, .. } => self.write_error(source),
        }
    }

    /// Refuses a directory with anything in it that a first start did not leave there.
    fn check_empty(&self) -> Result<(), DataDirError> {
        let entries = match self.disk.read_dir(self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(DataDirError::Disk { path: self.path.to_owned(), source }),
        };
        // A new volume has a lost+found, a directory kept by a tool a hidden file.
        let own = [LOCK_NAME, "identity.tmp", "lost+found"];
        let foreign = |name: &str| !own.contains(&name) && !name.starts_with('.');
        match entries.into_iter().find(|entry| foreign(&entry.name)) {
            Some(entry) => {
                Err(DataDirError::Foreign { path: self.path.to_owned(), name: entry.name })
            }
            None => Ok(()),
        }
    }

    /// Takes the lock, which the system gives back when the process ends, however it ends.
    fn lock(&self) -> Result<Arc<dyn DiskFile>, DataDirError> {
        let path = self.path.join(LOCK_NAME);
        let file =
            self.disk.open(&path, OpenMode::Create).map_err(|error| self.write_error(error))?;
        // The simulated disk has no descriptors, and no other processes.
        let Some(descriptor) = file.as_fd() else { return Ok(file) };
        match flock(descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = read_pid(&*file);
                return Err(DataDirError::Locked { path: self.path.to_owned(), pid });
            }
            Err(error) => return Err(DataDirError::Disk { path, source: error.into() }),
        }
        // Behind the lock: whoever holds it is told by this number, and it must not be that of one who asked in vain.
        let pid = format!("{}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.write_at(pid.as_bytes(), 0));
        written.map_err(|error| self.write_error(error))?;
        Ok(file)
    }

    fn write_identity(&self, fresh: Identity) -> Result<Identity, DataDirError> {
        // What makes it ours: a directory that a stop left before this has nothing in it that a first start does not
        // make, and passes for a new one.
        self.twin().write(self.disk, &fresh.encode()).map_err(|error| self.twin_error(error))?;
        tracing::info!(path = %self.path.display(), "data directory made");
        Ok(fresh)
    }

    fn write_error(&self, source: io::Error) -> DataDirError {
        let path = self.path.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                DataDirError::ReadOnly { path, source }
            }
            _ => DataDirError::Disk { path, source },
        }
    }
}

fn twin(data_dir: &Path, name: &str) -> Twin {
    Twin { path: data_dir.join(name), copy: data_dir.join(COPY_NAME).join(name) }
}

fn read_pid(file: &dyn DiskFile) -> Option<u32> {
    // Only told: what counts is the lock, and the number may be of a process that is gone.
    let mut text = [0; 16];
    let count = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..count)?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
