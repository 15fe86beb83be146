//! A directory for the data of one run, removed afterwards.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{BenchError, Outcome};
use crate::observer::Observer;

/// File system number of a file system in memory, on which a sync costs nothing.
const TMPFS_MAGIC: u64 = 0x0102_1994;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of this process alone; removed with all it holds when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Creates a new one under `parent`.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn create(parent: &Path) -> Outcome<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("galgo-bench-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| {
            BenchError::machine(format!("cannot create {}: {error}", path.display()))
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing better can be done about a directory that does not go away.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where data goes unless told otherwise: `/var/tmp`, which is on a disk where `/tmp` may not be.
pub fn default_parent() -> PathBuf {
    let on_disk = Path::new("/var/tmp");
    if on_disk.is_dir() { on_disk.to_owned() } else { std::env::temp_dir() }
}

/// Says so when data goes where figures for `fsync` mean nothing.
pub fn warn_of_memory(dir: &Path, observer: &dyn Observer) {
    if is_in_memory(dir) {
        observer.remark(&format!(
            "warning: {} is in memory, where a sync costs nothing; use --dir with a disk",
            dir.display()
        ));
    }
}

/// Whether `path` lies in memory.
fn is_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|info| u64::try_from(info.f_type) == Ok(TMPFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_goes_away_with_its_files() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(parent.path()).unwrap();
        std::fs::write(scratch.path().join("file"), b"x").unwrap();
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
