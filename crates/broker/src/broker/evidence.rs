//! What shows that the metadata has lost something: partitions and groups that it never gave a number to.
//!
//! A uid and a serial are in the metadata before anything is stored under them, and are never given again
//! (INV-META-UID, INV-META-GROUP). So what is stored under a number that is still to be given was made by
//! a record that is gone; going on would give the number, and with it the messages, to somebody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use galgo_storage::data_dir::owner::Owner;
use galgo_storage::data_dir::{DataDir, Identity};
use galgo_storage::disk::Disk;
use galgo_wire::id::PartitionUid;

use super::OpenError;
use crate::metadata::State;
use crate::shard::Spoken;

/// Names shown in a message.
const SHOWN_MAX: usize = 3;

const _: () = assert!(SHOWN_MAX > 0, "an operator is told where to look");

/// What is there and was never created, as far as the metadata knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incomplete {
    /// Directories of partitions.
    pub dirs: Vec<PathBuf>,
    /// Partitions in the checkpoint or the journal.
    pub uids: BTreeSet<PartitionUid>,
    /// Consumer groups, by their serials, whose offsets are in the checkpoint or the journal.
    pub groups: BTreeSet<u32>,
}

impl Incomplete {
    /// What of the directories in `partitions/`, and of what the journal and the checkpoint speak of, the
    /// metadata cannot know; `None` when there is nothing.
    pub(super) fn of(
        state: &State,
        dirs: &[String],
        partitions_dir: &Path,
        spoken: &Spoken,
    ) -> Option<Self> {
        // Only numbers that are still to be given tell something: one that was given may be gone in the ordinary way, and its
        // directory waits for the remover.
        let unknown = |name: &&String| uid_of(name).is_some_and(|uid| uid.get() >= state.next_uid);
        let dirs = dirs.iter().filter(unknown).map(|name| partitions_dir.join(name)).collect();
        let uids = spoken.uids.iter().filter(|uid| uid.get() >= state.next_uid);
        // Consumers have numbers of their own choosing; only groups have serials.
        let groups = spoken.groups.iter().map(|id| id.get());
        let found = Self {
            dirs,
            uids: uids.copied().collect(),
            groups: groups.filter(|serial| *serial >= state.next_group_serial).collect(),
        };
        (found != Self::default()).then_some(found)
    }

    /// Refuses to go on when there is something.
    ///
    /// # Errors
    /// [`OpenError::Incomplete`].
    pub(super) fn refuse(
        state: &State,
        dirs: &[String],
        partitions_dir: &Path,
        spoken: &Spoken,
    ) -> Result<(), OpenError> {
        Self::of(state, dirs, partitions_dir, spoken)
            .map_or(Ok(()), |found| Err(OpenError::Incomplete(found)))
    }

    /// The numbers that may be given next, so that none is given twice.
    pub(super) fn next(&self) -> (u64, u32) {
        let dirs = self.dirs.iter().filter_map(|dir| uid_of(dir.file_name()?.to_str()?));
        // Behind all that was found, wherever it was: the numbers in between were given, too, to what left no trace.
        let uid = dirs.chain(self.uids.iter().copied()).map(PartitionUid::get).max();
        let group = self.groups.last();
        (
            uid.map_or(0, |uid| uid.saturating_add(1)),
            group.map_or(0, |serial| serial.saturating_add(1)),
        )
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.dirs.is_empty() {
            let shown = self.dirs.iter().take(SHOWN_MAX).map(|dir| dir.display().to_string());
            let more = if self.dirs.len() > SHOWN_MAX { ", ..." } else { "" };
            let shown = shown.collect::<Vec<_>>().join(", ");
            parts.push(format!("{} directories of partitions ({shown}{more})", self.dirs.len()));
        }
        if !self.uids.is_empty() {
            parts.push(format!("{} partitions in the journal or checkpoint", self.uids.len()));
        }
        if !self.groups.is_empty() {
            parts.push(format!("stored offsets of {} consumer groups", self.groups.len()));
        }
        f.write_str(&parts.join(" and "))
    }
}

/// The partition whose directory has this name.
pub(super) fn uid_of(name: &str) -> Option<PartitionUid> {
    let is_uid = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uid = u64::from_str_radix(name, 16).ok().filter(|_| is_uid);
    uid.map(PartitionUid::new)
}

/// Directories of partitions of which it could not be read whose they are.
pub(super) type Unreadable = BTreeMap<PartitionUid, io::Error>;

/// Refuses directories of partitions that were made for another partition or by another server; tells those of which
/// that could not be read, and nothing may be changed.
///
/// # Errors
/// [`OpenError::NotOurs`].
pub(super) fn check_owners(
    disk: &dyn Disk,
    data_dir: &DataDir,
    dirs: &[String],
) -> Result<Unreadable, OpenError> {
    let mut unreadable = Unreadable::new();
    let Identity { cluster_id, .. } = data_dir.identity();
    for (name, uid) in dirs.iter().filter_map(|name| Some((name, uid_of(name)?))) {
        let dir = data_dir.partitions_dir().join(name);
        let owner = match Owner::read(disk, &dir) {
            Err(error) => {
                // Not being able to tell is no proof that it is somebody else's; its log stays offline.
                unreadable.insert(uid, error);
                continue;
            }
            Ok(stamp) => stamp,
        };
        let owner = match owner {
            Some(owner) if owner.cluster_id != cluster_id => "another server".to_owned(),
            Some(owner) if owner.uid != uid => format!("the partition {:016x}", owner.uid.get()),
            _ => continue,
        };
        return Err(OpenError::NotOurs { dir, owner });
    }
    Ok(unreadable)
}
