//! Replaces a small file as a whole: after a crash it is the old one or the new one.
//!
//! INV-REPLACE: the name never stands for a mixture or a part, and after `Ok` only for the new bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode};

/// Ending of the file the new bytes are written to first.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Writes `bytes` as the new content of `path`, durable on return.
///
/// # Errors
/// Those of the disk; the file then has its old content or, when only the last step failed, the new
/// one, which a power loss may take back.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, file) = begin_temporary(disk, path)?;
    // Beside the old one, never over it: a stop in the middle of a write would leave a mixture.
    file.write_at(bytes, 0)?;
    // Synced before the rename: a name may reach the disk before the bytes it stands for.
    file.sync_data()?;
    drop(file);
    // The one step in which the name changes what it stands for.
    disk.rename(&temporary, path)?;
    // The caller goes on to what builds on the new bytes; a power cut that took the name back would leave that standing
    // on the old ones.
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Begins the file that is to take the place of `path`, under the name that stands for nothing.
pub(crate) fn begin_temporary(
    disk: &dyn Disk,
    path: &Path,
) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
    let temporary = temporary_path(path);
    // A new inode each time: pages of an earlier try whose sync failed would count as clean, and a
    // sync would not write them.
    if disk.exists(&temporary)? {
        disk.remove_file(&temporary)?;
    }
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    Ok((temporary, file))
}

/// Reads a file that is a hint, of at most `bytes_max` bytes; `None` when there is none that `decode` can read: the
/// caller does without, so neither damage nor a newer version refuses anything. It is told, as `what`.
///
/// # Errors
/// Those of the disk.
pub(crate) fn read_hint<T>(
    disk: &dyn Disk,
    path: &Path,
    bytes_max: u64,
    what: &'static str,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let hint = match read_file(disk, path, bytes_max) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => decode(&bytes),
        // Longer than any, or cut while it was read: nothing this program wrote.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(error),
    };
    if hint.is_none() {
        tracing::warn!(path = %path.display(), what, "hint not read; going on without it");
    }
    Ok(hint)
}

/// Reads a whole file; `None` when there is none.
///
/// # Errors
/// Those of the disk; `FileTooLarge` when it has more than `bytes_max`.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Compared before a byte is allocated for it: what lies under the name may be anything.
    let len = file.len()?;
    if len > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// `path`, or where that is taken, the first of `path-2`, `path-3`, ... that is not.
///
/// # Errors
/// Those of the disk.
pub fn free_path(disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
    let mut numbered = numbered(path);
    loop {
        match numbered.next() {
            Some(free) if !disk.exists(&free)? => return Ok(free),
            Some(_) => {}
            None => return Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
}

/// Keeps `bytes` under a free name of [`free_path`], unless they are kept under one of its names already.
///
/// # Errors
/// Those of the disk.
pub fn keep_beside(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    for kept in numbered(path) {
        match read_file(disk, &kept, bytes.len() as u64) {
            // As a whole: whoever asks for it deletes or replaces the original next.
            Ok(None) => return replace_file(disk, &kept, bytes),
            Ok(Some(same)) if same == bytes => return Ok(()),
            // Another one, be it that it is larger.
            Ok(Some(_)) | Err(_) => {}
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn numbered(path: &Path) -> impl Iterator<Item = PathBuf> {
    let others = (2_u32..10_000).map(|number| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    });
    std::iter::once(path.to_owned()).chain(others)
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
