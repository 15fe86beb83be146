//! The folder of a pipeline: who may write it, and where its lanes are.
//!
//! Part of INV-FILE-MARK: a lock keeps two processes, and two pipelines, from writing one folder.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::encode::Encoder;
use super::lane::LaneFolder;
use super::mark;
use crate::failure::Failure;
use crate::place::LaneName;

/// The file whose lock says who writes.
pub(super) const LOCK_NAME: &str = ".galgo-lock";

/// When an object is finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// With the batch that makes it so long.
    pub(super) bytes: u64,
    /// So many microseconds after its begin.
    pub(super) after_us: u64,
}

/// What all connections of a pipeline write to.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) pipeline: String,
    pub(super) encoder: Encoder,
    pub(super) rotation: Rotation,
    lock: Mutex<Option<File>>,
    lanes: Mutex<HashMap<LaneName, Arc<Mutex<Option<LaneFolder>>>>>,
}

impl Folder {
    pub(super) fn new(
        path: PathBuf,
        pipeline: String,
        encoder: Encoder,
        rotation: Rotation,
    ) -> Self {
        let (lock, lanes) = (Mutex::default(), Mutex::default());
        Self { path, pipeline, encoder, rotation, lock, lanes }
    }

    /// Takes the lock, unless it is held already. The system gives it back when the process ends, however that ends.
    ///
    /// # Errors
    /// [`Failure::Away`] while somebody else has it: whoever waits takes over when that one ends.
    pub(super) fn hold(&self) -> Result<(), Failure> {
        let mut held = self.lock.lock();
        if held.is_some() {
            return Ok(());
        }
        let path = self.path.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = opened.map_err(|error| failure("open the lock", &path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let told = file.read_to_string(&mut pid).is_ok_and(|_| !pid.trim().is_empty());
                let who = if told {
                    format!("process {}", pid.trim())
                } else {
                    "another process".to_owned()
                };
                return Err(Failure::away(format!(
                    "{who} writes into {}; this one goes on when that one has ended",
                    self.path.display()
                )));
            }
            Err(error) => return Err(failure("lock", &path, &error.into())),
        }
        // For people only: the lock is what counts, so nothing hangs on it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        *held = Some(file);
        Ok(())
    }

    /// Does something with a lane, which is found again from its files when it is used first and after each failure.
    pub(super) fn with_lane<T>(
        &self,
        name: &LaneName,
        work: impl FnOnce(&mut LaneFolder, &Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.hold()?;
        let place = Arc::clone(self.lanes.lock().entry(name.clone()).or_default());
        let mut place = place.lock();
        let mut lane = match place.take() {
            Some(lane) => lane,
            None => LaneFolder::find(self, self.folder_of(name))?,
        };
        let done = work(&mut lane, self);
        // What is not taken says nothing against the files.
        if matches!(done, Ok(_) | Err(Failure::Moved | Failure::Bad { .. } | Failure::Batch { .. }))
        {
            *place = Some(lane);
        }
        done
    }

    /// Finishes objects: all, or those that are old enough.
    ///
    /// # Errors
    /// The last of those that could not be finished; the others are.
    pub(super) fn finish(&self, all: bool) -> Result<(), Failure> {
        let lanes: Vec<_> = self.lanes.lock().keys().cloned().collect();
        let mut result = Ok(());
        for name in lanes {
            let finished = self.with_lane(&name, |lane, folder| {
                if all || lane.is_old(folder) { lane.finish(folder) } else { Ok(()) }
            });
            result = finished.and(result);
        }
        result
    }

    /// Where a lane's objects are.
    pub(super) fn folder_of(&self, lane: &LaneName) -> PathBuf {
        let partition = format!("partition={}", lane.partition);
        self.path.join(as_name(&lane.stream)).join(as_name(&lane.topic)).join(partition)
    }

    /// Makes the folder of a lane, each level of it durable.
    pub(super) fn make(&self, folder: &Path) -> Result<(), Failure> {
        let Ok(below) = folder.strip_prefix(&self.path) else {
            unreachable!("a lane's folder is in the pipeline's")
        };
        let mut at = self.path.clone();
        for level in below.components() {
            let parent = at.clone();
            at.push(level);
            match DirBuilder::new().create(&at) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failure("make", &at, &error)),
            }
            sync_folder(&parent).map_err(|error| failure("sync", &parent, &error))?;
        }
        Ok(())
    }

    /// The folders of lanes that this pipeline has written, whichever process did.
    pub(super) fn lanes_on_disk(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut found = vec![self.path.clone()];
        for _level in ["stream", "topic", "partition"] {
            let mut below = Vec::new();
            for folder in found {
                let listed = std::fs::read_dir(&folder);
                for entry in listed.map_err(|error| failure("list", &folder, &error))? {
                    let entry = entry.map_err(|error| failure("list", &folder, &error))?;
                    below.extend(Some(entry.path()).filter(|path| path.is_dir()));
                }
            }
            found = below;
        }
        let is_ours = |mark: &mark::LaneMark| mark.pipeline == self.pipeline;
        let ours = |folder: &PathBuf| matches!(mark::read(folder), Ok(Some(found)) if found.mark.as_ref().is_some_and(is_ours));
        found.retain(ours);
        Ok(found)
    }
}

/// A name as that of a folder: what a file system, a shell or a glob could take for something else is written as `%` and two
/// hexadecimal digits.
fn as_name(name: &str) -> String {
    let plain = |at: usize, byte: u8| {
        byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && at > 0)
    };
    let spelled = |(at, byte): (usize, u8)| match plain(at, byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().enumerate().map(spelled).collect()
}

/// Makes durable what was made, renamed or removed in a folder.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What an error of the disk means for the pipeline.
pub(super) fn failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let reason = format!("cannot {doing} {}: {error}", path.display());
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the user that runs galgo connect write there, or name another path"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or name another path",
        io::ErrorKind::InvalidFilename => "name a shorter path",
        io::ErrorKind::NotFound => "make the folder, or mount what should be there",
        io::ErrorKind::NotADirectory => "name a folder as path",
        _ => return Failure::away(reason),
    };
    Failure::refused(reason, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for (name, folder) in [
            ("orders", "orders"),
            ("a.b_c-9", "a.b_c-9"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("a/b", "a%2Fb"),
            ("100%", "100%25"),
            ("\u{e9}*", "%C3%A9%2A"),
        ] {
            assert_eq!(as_name(name), folder);
        }
    }
}
