//! A small file that is kept twice, as everything hangs on it: the file and its copy.
//!
//! INV-TWIN: both are replaced as a whole, the file before its copy, so that after any stop one of them
//! is sound, and where both are, the file is not the older one.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, create_dir_synced};
use crate::replace_file::{read_file, replace_file};

/// Where a file and its copy are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// The file.
    pub path: PathBuf,
    /// Its copy.
    pub copy: PathBuf,
}

/// Why the bytes of a file are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsound {
    /// Their checksum fails.
    Damaged,
    /// They are sound, and of a newer version.
    Newer(u32),
}

/// Why neither file can be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// Neither is sound, and one is there.
    #[error("{} is damaged, and no sound copy is in {}", path.display(), copy.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its copy.
        copy: PathBuf,
    },
    /// One of them was written by a newer program.
    #[error("{} has format version {found}, newer than this program", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The disk's.
    #[error("{}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// What was found in a file or its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// What it says.
    pub value: T,
    bytes: Vec<u8>,
    /// What has to be written for both to be sound and the same.
    mends: Mends,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mends {
    Nothing,
    /// The copy was missing or damaged.
    Copy,
    /// The copy is sound and says something else: it is behind.
    OtherCopy,
    /// The file was damaged or missing.
    File,
}

impl<T> Kept<T> {
    /// Whether the file is damaged or missing, so that its copy was taken.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.mends == Mends::File
    }

    /// Whether both are sound and the same.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.mends == Mends::Nothing
    }

    /// Whether both are sound and not the same.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.mends == Mends::OtherCopy
    }
}

enum TwinRead<T> {
    Missing,
    Damaged,
    Sound(T, Vec<u8>),
}

impl Twin {
    /// Reads the file, or else its copy; `None` when both are missing. Changes nothing.
    ///
    /// # Errors
    /// See [`TwinError`].
    pub fn read<T>(
        &self,
        disk: &dyn Disk,
        bytes_max: u64,
        decode: impl Fn(&[u8]) -> Result<T, Unsound>,
    ) -> Result<Option<Kept<T>>, TwinError> {
        let read = |path: &Path| match read_file(disk, path, bytes_max) {
            Ok(None) => Ok(TwinRead::Missing),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(TwinRead::Damaged),
            Err(source) => Err(TwinError::Disk { path: path.to_owned(), source }),
            Ok(Some(bytes)) => match decode(&bytes) {
                Ok(value) => Ok(TwinRead::Sound(value, bytes)),
                Err(Unsound::Damaged) => Ok(TwinRead::Damaged),
                Err(Unsound::Newer(found)) => {
                    Err(TwinError::Newer { path: path.to_owned(), found })
                }
            },
        };
        // Both are read whatever the first says: a newer program may have got as far as one of them, and a copy that
        // differs tells what the file alone does not.
        let (value, bytes, mends) = match (read(&self.path)?, read(&self.copy)?) {
            (TwinRead::Missing, TwinRead::Missing) => return Ok(None),
            (TwinRead::Sound(value, bytes), TwinRead::Sound(_, other)) if bytes == other => {
                (value, bytes, Mends::Nothing)
            }
            // Written in this order, so that it is the copy which is behind (INV-TWIN).
            (TwinRead::Sound(value, bytes), TwinRead::Sound(..)) => {
                (value, bytes, Mends::OtherCopy)
            }
            (TwinRead::Sound(value, bytes), _) => (value, bytes, Mends::Copy),
            (_, TwinRead::Sound(value, bytes)) => (value, bytes, Mends::File),
            // One is there, so that this is no first start: made anew, it would pass for one.
            _ => {
                let (path, copy) = (self.path.clone(), self.copy.clone());
                return Err(TwinError::Damaged { path, copy });
            }
        };
        Ok(Some(Kept { value, bytes, mends }))
    }

    /// Writes what is missing for both to be sound and the same.
    ///
    /// # Errors
    /// `Disk`.
    pub fn mend<T>(&self, disk: &dyn Disk, kept: &Kept<T>) -> Result<(), TwinError> {
        match kept.mends {
            Mends::Nothing => Ok(()),
            Mends::Copy | Mends::OtherCopy => self.write_copy(disk, &kept.bytes),
            Mends::File => {
                // With the very bytes of the copy: encoded anew, what a later version added would be lost.
                replace(disk, &self.path, &kept.bytes)?;
                tracing::warn!(
                    path = %self.path.display(),
                    copy = %self.copy.display(),
                    "damaged or missing file restored from its second copy"
                );
                Ok(())
            }
        }
    }

    /// Writes both; durable on return.
    ///
    /// # Errors
    /// `Disk`; the file has its old or new content then, and so has the copy.
    pub fn write(&self, disk: &dyn Disk, bytes: &[u8]) -> Result<(), TwinError> {
        // The file before its copy, each as a whole and durable before the next is begun: so one of them is sound at any
        // moment, and where they differ the file is the newer one. Side by side, a power cut could take both.
        replace(disk, &self.path, bytes)?;
        self.write_copy(disk, bytes)
    }

    fn write_copy(&self, disk: &dyn Disk, bytes: &[u8]) -> Result<(), TwinError> {
        if let Some(dir) = self.copy.parent() {
            // The directory of the copies is made by whoever writes the first of them.
            create_dir_synced(disk, dir)
                .map_err(|source| TwinError::Disk { path: dir.to_owned(), source })?;
        }
        replace(disk, &self.copy, bytes)
    }
}

fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), TwinError> {
    replace_file(disk, path, bytes)
        .map_err(|source| TwinError::Disk { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
