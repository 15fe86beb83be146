//! Replaces a small file as a whole: after a crash it is the old one or the new one.
//!
//! INV-REPLACE: the name never stands for a mixture or a part, and after `Ok` only for the new bytes.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, OpenMode};

/// Ending of the file the new bytes are written to first.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Writes `bytes` as the new content of `path`, durable on return.
///
/// # Errors
/// Those of the disk; the file then has its old content or, when only the last step failed, the new
/// one, which a power loss may take back.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path);
    // A new inode each time: pages of an earlier try whose sync failed would count as clean, and a
    // sync would not write them.
    if disk.exists(&temporary)? {
        disk.remove_file(&temporary)?;
    }
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_at(bytes, 0)?;
    // Synced before the rename: a name may reach the disk before the bytes it stands for.
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
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
    let mut free = path.to_owned();
    let mut again = 1_u32;
    while disk.exists(&free)? {
        again += 1;
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{again}"));
        free = PathBuf::from(name);
    }
    Ok(free)
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
