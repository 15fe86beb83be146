//! The seam between Galgo and the disk: what the storage engine asks of files and directories.
//!
//! Two implementations exist: [`RealDisk`] and, with the feature `sim`, `SimDisk`, which loses,
//! tears and reorders what was not synced.
//!
//! INV-SYNC: bytes are durable only after [`DiskFile::sync_data`] returned `Ok`; a failed sync makes
//! nothing durable and is never retried to get an `Ok`.
//! INV-DIRSYNC: a created, renamed or removed name is durable only after [`Disk::sync_dir`] of the
//! directory that holds it.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

#[cfg(test)]
mod conformance;
mod file;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

pub use file::RealDisk;
#[cfg(any(test, feature = "sim"))]
pub use sim::SimDisk;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    ReadWrite,
    /// For reading and writing; made when missing, kept as it is otherwise.
    Create,
    /// For reading and writing; an existing file is an error (`AlreadyExists`).
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its directory.
    pub name: String,
    /// Bytes in the file; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A file or directory, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub number: u64,
}

/// A file system, real or simulated.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file. One that is made is for its owner alone, whatever the umask.
    ///
    /// # Errors
    /// Those of the system: `NotFound`, `AlreadyExists`, `PermissionDenied`, `StorageFull`, ...
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a directory and its missing parents, for their owner alone. Durable only when each parent is synced; see
    /// [`create_dir_synced`].
    ///
    /// # Errors
    /// Those of the system.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes a file's name; open handles stay usable.
    ///
    /// # Errors
    /// Those of the system.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and everything in it.
    ///
    /// # Errors
    /// Those of the system.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, atomically replacing a file of that name.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of the system; the names may or may not be durable then.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory, sorted by name. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// Those of the system.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Whether a file or directory of this name exists.
    ///
    /// # Errors
    /// Those of the system, when it cannot tell.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Tells this run of the system from every other: while it stays the same, what a process wrote
    /// is there, synced or not, unless a write-back failed. `None` when that is not known.
    fn boot(&self) -> Option<u128> {
        None
    }

    /// What tells the file or directory that has this name from any other that is there at the same time;
    /// `None` when the disk cannot tell.
    ///
    /// # Errors
    /// Those of the system: `NotFound`, ...
    fn inode(&self, path: &Path) -> io::Result<Option<Inode>> {
        let _ = path;
        Ok(None)
    }
}

/// An open file. All positions are bytes from the start; there is no cursor.
pub trait DiskFile: Send + Sync {
    /// Reads until `buffer` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `bytes`, growing the file when it ends before.
    ///
    /// # Errors
    /// Those of the system; any part of `bytes` may have been written.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Writes all slices one after the other, as one write where the system can.
    ///
    /// # Errors
    /// Those of the system; any part may have been written.
    fn write_vectored_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()>;

    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    /// Those of the system. INV-SYNC: the caller treats everything since the last successful sync
    /// as lost, whatever a later sync answers.
    fn sync_data(&self) -> io::Result<()>;

    /// The length of the file.
    ///
    /// # Errors
    /// Those of the system.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Cuts the file, or grows it with zeros.
    ///
    /// # Errors
    /// Those of the system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// As [`DiskFile::read_at`], without waiting for the disk.
    ///
    /// # Errors
    /// `WouldBlock` when a part of it is not in the page cache, or that is not known; else those of the
    /// system.
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        // Not known counts as not cached: whoever asks would wait for the disk otherwise.
        if !self.cached(position, buffer.len() as u64) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buffer, position)
    }

    /// Whether the whole range is in the page cache, told without I/O; `false` when not known.
    fn cached(&self, position: u64, len: u64) -> bool;

    /// The file descriptor, for `sendfile`; `None` when there is none.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Tells the system that the range will not be read again soon. A hint: does nothing by default.
    fn drop_cache(&self, position: u64, len: u64) {
        let _ = (position, len);
    }

    /// Fills `buffer` from the file.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; else those of the system.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        // `read_at` stops short only at the end of the file.
        if self.read_at(buffer, position)? == buffer.len() {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

/// Makes a directory and its missing parents, and makes all names on the way to it durable.
///
/// For start-up: it syncs every directory above, as one that exists may have been made by a process
/// that ended before it could sync.
///
/// # Errors
/// Those of the disk. That a directory further up may not be opened for syncing is not one.
pub fn create_dir_synced(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.create_dir_all(path)?;
    // From the innermost outwards, all of them: which were made just now is not known, and one whose name goes takes
    // with it everything inside.
    for dir in path.ancestors().skip(1) {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        match disk.sync_dir(dir) {
            // What is closed to us was not made by us. The parent is always ours to sync, or the name in it is not safe.
            Err(error) if Some(dir) != path.parent() && is_not_for_us(&error) => break,
            result => result?,
        }
    }
    Ok(())
}

/// What an operator can do about a limit of the system that `error` speaks of; `None` when it speaks of none.
pub fn advice(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::EMFILE) => Some(
            "raise the limit of open files (ulimit -n, LimitNOFILE), or lower limits.open_files and \
             limits.connections",
        ),
        Some(libc::ENFILE) => Some("raise the system's limit of open files (fs.file-max)"),
        Some(libc::EFBIG) => Some("raise the limit of the file size (ulimit -f, LimitFSIZE)"),
        Some(libc::ENOSPC) => Some("make room on the volume"),
        Some(libc::EDQUOT) => Some("raise the quota, or make room"),
        Some(libc::ENOMEM) => Some("raise the limit of memory (ulimit -v, LimitAS, MemoryMax)"),
        Some(libc::EAGAIN) => Some("raise the limit of threads (ulimit -u, LimitNPROC, TasksMax)"),
        _ => None,
    }
}

/// Whether a directory is closed to us or cannot be synced at all, as those above a container's
/// volume may be.
fn is_not_for_us(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported)
}
