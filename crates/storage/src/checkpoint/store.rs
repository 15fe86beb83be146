//! Two checkpoint files that are replaced in turn.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ShardCheckpoint;
use super::format::{Invalid, decode, encode, least_bytes, needs};
use crate::disk::{Disk, create_dir_synced};
use crate::features::UsedFeatures;
use crate::replace_file::{read_file, replace_file};
use crate::twin::TwinError;

const NAMES: [&str; 2] = ["a.ckpt", "b.ckpt"];
/// Largest checkpoint file that is read: some ten million segments.
pub(super) const FILE_BYTES_MAX: u64 = 512 << 20;

/// Keeps the last checkpoint and the one before.
pub struct CheckpointStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    features: Arc<UsedFeatures>,
    sequence_next: u64,
    /// Which of the two names the next checkpoint gets.
    next: usize,
}

/// What a store held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundCheckpoint {
    /// The newest checkpoint that can be read.
    pub checkpoint: Option<ShardCheckpoint>,
    /// Whether there is one that is gone or cannot be read, and may be newer. Checkpoints are replaced as a
    /// whole, so no crash leaves such a file: something damaged it.
    pub newest_damaged: bool,
}

/// Why a checkpoint could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointStoreError {
    /// Written by a newer program.
    #[error("{} has format version {found}, newer than this program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It holds what only a newer program knows.
    #[error("{} holds what this program does not know and may not skip: a newer one is needed", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// The disk's.
    #[error("checkpoint file {}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The names of the formats in use could not be written.
    #[error("the names of the formats in use were not written")]
    Features(#[from] TwinError),
}

impl CheckpointStore {
    /// Opens the store in `dir`, made when missing, and loads the newest checkpoint. `features` are those of the
    /// data directory.
    ///
    /// # Errors
    /// See [`CheckpointStoreError`]; nothing was changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        features: &Arc<UsedFeatures>,
    ) -> Result<(Self, FoundCheckpoint), CheckpointStoreError> {
        let disk_error =
            |path: &Path, source| CheckpointStoreError::Disk { path: path.into(), source };
        create_dir_synced(&*disk, dir).map_err(|error| disk_error(dir, error))?;
        // A checkpoint whose name never reached the disk is visible all the same. The journal is
        // recycled up to it, so it must not vanish in a later power cut.
        disk.sync_dir(dir).map_err(|error| disk_error(dir, error))?;
        let mut found = FoundCheckpoint::default();
        let (dir, features) = (dir.to_owned(), Arc::clone(features));
        let mut store = Self { disk, dir, features, sequence_next: 1, next: 0 };
        let mut missing = None;
        for (slot, name) in NAMES.iter().enumerate() {
            let path = store.dir.join(name);
            let bytes = read_file(&*store.disk, &path, FILE_BYTES_MAX)
                .map_err(|error| disk_error(&path, error))?;
            match bytes.as_deref().map(decode) {
                None => missing = Some(path),
                // By their numbers, not by the times of the files, which a copy or a restore changes.
                Some(Ok((sequence, checkpoint))) if sequence >= store.sequence_next => {
                    store.sequence_next = sequence.saturating_add(1);
                    store.next = 1 - slot;
                    found.checkpoint = Some(checkpoint);
                }
                Some(Ok(_)) => {}
                Some(Err(Invalid::Newer(version))) => {
                    return Err(CheckpointStoreError::Newer { path, found: version });
                }
                Some(Err(Invalid::Unknown)) => return Err(CheckpointStoreError::Unknown { path }),
                Some(Err(Invalid::Damaged)) => {
                    // Not refused: from the one before, and from the files of the logs, most of it can be found again. The
                    // caller is told, as the journal may have been recycled up to this one.
                    tracing::error!(path = %path.display(), "checkpoint file is damaged");
                    found.newest_damaged = true;
                }
            }
        }
        // Both files are there from the second checkpoint on, and no crash takes one away: a name is
        // replaced, never removed. The one that is missing may have been the newer.
        if let Some(path) = missing.filter(|_| store.sequence_next > 2) {
            tracing::error!(path = %path.display(), "checkpoint file is missing");
            found.newest_damaged = true;
        }
        Ok((store, found))
    }

    /// Saves a checkpoint, durable on return; the one before stays.
    ///
    /// # Errors
    /// [`CheckpointStoreError`]: the last saved checkpoint stays valid.
    pub fn save(&mut self, checkpoint: &ShardCheckpoint) -> Result<(), CheckpointStoreError> {
        // Never over the last one (INV-TWO): should this turn out damaged, the one before still says from where the
        // journal has to be read, which keeps what that needs until the next is durable.
        let name = if self.next == 0 { NAMES[0] } else { NAMES[1] };
        let path = self.dir.join(name);
        // What could not be read again must not be saved: the journal would be recycled upon it. One that is far too
        // large is not even encoded.
        let fits = |bytes: u64| match bytes > FILE_BYTES_MAX {
            true => {
                let (path, source) = (path.clone(), io::ErrorKind::FileTooLarge.into());
                Err(CheckpointStoreError::Disk { path, source })
            }
            false => Ok(()),
        };
        fits(least_bytes(checkpoint))?;
        let bytes = encode(self.sequence_next, checkpoint);
        fits(bytes.len() as u64)?;
        // INV-FEATURE-FIRST: an older program that met the file first would refuse it, when half of a start was done.
        if let Some(feature) = needs(checkpoint) {
            self.features.begin(&*self.disk, feature)?;
        }
        replace_file(&*self.disk, &path, &bytes)
            .map_err(|source| CheckpointStoreError::Disk { path, source })?;
        // Only behind the `Ok`: after an error the next try writes the same name again, and the other one stays.
        self.sequence_next = self.sequence_next.saturating_add(1);
        self.next = 1 - self.next;
        assert!(self.next < NAMES.len(), "INV-TWO: the two names are taken in turn");
        Ok(())
    }
}

impl std::fmt::Debug for CheckpointStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}
