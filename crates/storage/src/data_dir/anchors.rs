//! Whether the directories a server writes to are still the ones it opened.
//!
//! Files that are open can be written after their directory was removed or another one was put in its
//! place, and everything written is gone with them. So the names are looked up again and again.
//!
//! INV-ANCHOR: a name that leads elsewhere than when it was anchored is told; what was anchored is held
//! open, so that nothing new can have its number.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, Inode, OpenMode};

/// Files and directories by name, as they were when they were anchored.
pub struct Anchors {
    anchored: Vec<Anchored>,
}

struct Anchored {
    path: PathBuf,
    inode: Inode,
    /// As long as it is open, its number is not given to another.
    _open: Arc<dyn DiskFile>,
}

impl Anchors {
    /// Anchors `paths`. On a disk that cannot tell one file from another, nothing is watched.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn new(disk: &dyn Disk, paths: &[PathBuf]) -> io::Result<Self> {
        let mut anchored = Vec::with_capacity(paths.len());
        for path in paths {
            let Some(inode) = disk.inode(path)? else { continue };
            // Held open from here on: a file system gives the number of a removed file to the next one that is made, so
            // that another directory in its place would look the same.
            let open = disk.open(path, OpenMode::Read)?;
            anchored.push(Anchored { path: path.clone(), inode, _open: open });
        }
        Ok(Self { anchored })
    }

    /// The first name that leads nowhere or elsewhere now.
    pub fn lost(&self, disk: &dyn Disk) -> Option<&Path> {
        let is_lost = |anchored: &&Anchored| match disk.inode(&anchored.path) {
            Ok(found) => found != Some(anchored.inode),
            // Only what says that the name is gone: a disk that does not answer for a moment has lost nothing.
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
        };
        self.anchored.iter().find(is_lost).map(|anchored| anchored.path.as_path())
    }
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<_> = self.anchored.iter().map(|anchored| &anchored.path).collect();
        f.debug_struct("Anchors").field("paths", &paths).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::RealDisk;

    /// INV-ANCHOR.
    #[test]
    fn names_that_lead_elsewhere_are_told() {
        let root = tempfile::tempdir().unwrap();
        let (dir, other) = (root.path().join("data"), root.path().join("other"));
        let disk = RealDisk::new();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("galgo.lock"), "").unwrap();
        let paths = [dir.join("galgo.lock"), dir.clone()];
        let anchors = Anchors::new(&disk, &paths).unwrap();
        assert_eq!(anchors.lost(&disk), None);
        // Moved away, and back.
        fs::rename(&dir, &other).unwrap();
        assert_eq!(anchors.lost(&disk), Some(&*paths[0]));
        fs::rename(&other, &dir).unwrap();
        assert_eq!(anchors.lost(&disk), None);
        // Emptied, and made again by somebody else.
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("galgo.lock"), "").unwrap();
        assert_eq!(anchors.lost(&disk), Some(&*paths[0]));
    }
}
