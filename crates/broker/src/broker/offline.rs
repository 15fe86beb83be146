//! Work on a data directory while no server runs on it: repairing it, and giving root a new password.
//!
//! INV-REPAIR: the lock of the directory is held, so no server runs, and what is given up is given up only
//! when that was accepted, and is moved aside or kept beside, never deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_storage::checkpoint::{CheckpointStore, LogCheckpoint, ShardCheckpoint};
use galgo_storage::data_dir::DataDir;
use galgo_storage::disk::{Disk, create_dir_synced};
use galgo_storage::journal::LocalJournal;
use galgo_storage::log::first_base;
use galgo_storage::metadata_log::Doubt;
use galgo_storage::replace_file::free_path;
use galgo_wire::command::UserStatus;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid, UserId};
use galgo_wire::name::Password;

use super::OpenError;
use super::evidence::{Incomplete, check_owners, uid_of};
use super::open::{JournalBounds, prepare};
use super::stored::{ReadOptions, StoredMetadata, append, settle};
use crate::access::password::hash_password;
use crate::environment::Random;
use crate::metadata::State;
use crate::metadata::record::Record;
use crate::shard::{Spoken, spoken_of};
use crate::vault::{KeyRing, MARKER_NAME, marker_is_copy};

/// What is needed to work on a data directory.
pub struct OfflineOptions {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Gives random numbers.
    pub random: Arc<dyn Random>,
    /// The data directory; must be there.
    pub data_dir: PathBuf,
    /// The keys for encryption at rest; the default has none.
    pub encryption: KeyRing,
    /// Sizes of the journal.
    pub journal: JournalBounds,
}

/// What a repair may give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Nothing: only what has a second copy is restored.
    Nothing,
    /// What the metadata has provably lost.
    Loss,
}

/// A file or directory that was restored, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedFile {
    /// Which.
    pub path: PathBuf,
    /// From what, for people.
    pub from: &'static str,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// What had a second copy.
    pub restored: Vec<RepairedFile>,
    /// What is lost for good, one sentence each. Unless it was accepted, it stands in the way of a start.
    pub lost: Vec<String>,
    /// Directories of partitions nobody knows, and where they are now.
    pub moved_aside: Vec<(PathBuf, PathBuf)>,
    /// Whether the directory is ready for a server, as far as these things go.
    pub is_whole: bool,
}

/// The root user after its password was reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootReset {
    /// Its name.
    pub username: String,
    /// Whether it had been deactivated.
    pub was_inactive: bool,
    /// How many personal access tokens it had, which are gone.
    pub tokens: usize,
}

/// A locked data directory without a server.
pub struct Offline {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    data_dir: DataDir,
    keys: KeyRing,
    journal: JournalBounds,
}

impl Offline {
    /// Locks the directory.
    ///
    /// # Errors
    /// [`OpenError::DataDir`] when it is in use, is not a data directory, or has lost its identity.
    pub fn open(options: OfflineOptions) -> Result<Self, OpenError> {
        let OfflineOptions { disk, random, data_dir, encryption, journal } = options;
        let data_dir = DataDir::examine(&*disk, &data_dir)?;
        Ok(Self { disk, random, data_dir, keys: encryption, journal })
    }

    /// Restores what has a second copy. What is lost for good is given up if `acceptance` says so; else it
    /// is only told. With `dry_run` nothing is changed, and the journal is not looked into.
    ///
    /// # Errors
    /// [`OpenError`]: what can be neither restored nor given up, as a wrong key or a failing disk.
    pub fn repair(
        mut self,
        acceptance: Acceptance,
        dry_run: bool,
    ) -> Result<RepairReport, OpenError> {
        let mut report = RepairReport::default();
        let from = "its second copy";
        // Only looked for: nothing is mended before it is known that the rest can be read, so that a wrong key leaves the
        // directory as it was.
        let files = self.data_dir.to_mend(&*self.disk)?;
        let marker = self.data_dir.twin(MARKER_NAME);
        let marker = marker_is_copy(&*self.disk, &marker)?.then_some(marker.path);
        report
            .restored
            .extend(files.into_iter().chain(marker).map(|path| RepairedFile { path, from }));
        // What a crash can leave is cut by any start. What it cannot leave is damage, and is given up only if that was
        // accepted.
        let doubt = match acceptance {
            Acceptance::Nothing => Doubt::Refuse,
            Acceptance::Loss => Doubt::GiveUp,
        };
        let stored = self.read(doubt)?;
        let dirs = self.data_dir.metadata_dirs();
        if stored.log.is_copy_only() {
            report.restored.push(RepairedFile { path: dirs.first.clone(), from });
        }
        let repaired = stored.log.recovered().repaired.iter().cloned();
        report.restored.extend(repaired.map(|path| RepairedFile { path, from }));
        for (path, position) in &stored.log.recovered().given_up {
            let path = path.display();
            report.lost.push(format!("changes of the metadata in {path} from byte {position} on"));
        }
        let no_metadata = stored.log.is_new();
        let no_shards = !stored.has_shards(&*self.disk, &self.data_dir)?;
        // Told as lost, with what follows from it: the next start would make a new root user in a directory full of
        // somebody's messages.
        if no_metadata && (!stored.dirs.is_empty() || !no_shards) {
            report.lost.push(
                "all of the metadata: streams, topics, users, groups; the next start makes a new root user"
                    .to_owned(),
            );
        } else if no_shards && !stored.state.users.is_empty() {
            report.lost.push(
                "the journal and the checkpoints: stored offsets, and messages that were in the journal only"
                    .to_owned(),
            );
        }
        // A directory of another server is not ours to move aside.
        let unreadable = check_owners(&*self.disk, &self.data_dir, &stored.dirs)?;
        if let Some((_, error)) = unreadable.into_iter().next() {
            return Err(prepare("the directory of a partition", error));
        }
        let spoken = if no_shards { Spoken::default() } else { self.spoken(dry_run)? };
        let incomplete = self.incomplete(&stored, &spoken);
        report.lost.extend(incomplete.iter().map(|found| format!("what created {found}")));
        report.is_whole = report.lost.is_empty() || acceptance == Acceptance::Loss;
        if dry_run || !report.is_whole {
            return Ok(report);
        }
        self.carry_out(stored, incomplete, no_shards, &mut report)?;
        Ok(report)
    }

    fn carry_out(
        &self,
        stored: StoredMetadata,
        incomplete: Option<Incomplete>,
        no_shards: bool,
        report: &mut RepairReport,
    ) -> Result<(), OpenError> {
        let StoredMetadata { vault, log, mut state, dirs, .. } = stored;
        // From here on the directory changes; everything that could refuse has been asked.
        self.data_dir.mend(&*self.disk)?;
        let (mut log, _) = settle(&*self.disk, log, vault.as_deref(), &state)?;
        if let Some(incomplete) = incomplete {
            // First: once a directory is moved, nothing else may say that its number was given.
            let (next_uid, next_group_serial) = incomplete.next();
            let record = Record::SkipGiven { next_uid, next_group_serial };
            append(&mut log, vault.as_deref(), &mut state, &record)?;
            assert!(
                state.next_uid >= next_uid && state.next_group_serial >= next_group_serial,
                "INV-META-UID, INV-META-GROUP: what was found is not given again"
            );
            for dir in &incomplete.dirs {
                report.moved_aside.push((dir.clone(), self.move_aside(dir)?));
            }
        }
        // Last: a checkpoint says that the directory has shards, and a repair that was cut short before is to find it
        // as it was.
        if no_shards && !state.users.is_empty() {
            self.note_starts(&state, &dirs)?;
        }
        Ok(())
    }

    /// Gives the root user a new password and makes it active again. As with any reset, its logins and its
    /// personal access tokens end.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed, or the change is known only after the next start.
    pub fn reset_root(mut self, password: &Password) -> Result<RootReset, OpenError> {
        let stored = self.read(Doubt::Refuse)?;
        // Refused where a start would be: a new password is no reason to write to a directory that
        // has lost something.
        stored.check(&*self.disk, &self.data_dir)?;
        let partitions_dir = self.data_dir.partitions_dir();
        Incomplete::refuse(&stored.state, &stored.dirs, &partitions_dir, &Spoken::default())?;
        let StoredMetadata { vault, log, mut state, .. } = stored;
        let root = state.users.get(&UserId::ROOT).cloned();
        let root = root.ok_or(OpenError::Root(ErrorCode::ResourceNotFound))?;
        let hash = hash_password(password.as_str(), self.random.next_u128())
            .map_err(|_| OpenError::Root(ErrorCode::InvalidPassword))?;
        // Only now, when nothing can refuse any more.
        self.data_dir.mend(&*self.disk)?;
        let (mut log, _) = settle(&*self.disk, log, vault.as_deref(), &state)?;
        // Whoever resets the password of root wants to get in; root that is deactivated could not.
        let was_inactive = root.status != UserStatus::Active;
        let id = UserId::ROOT;
        let tokens = state.tokens_of(id).count();
        // One record: no stop may leave a new password with old logins.
        let mut records = vec![state.prepare_password(id, hash, true).1];
        if was_inactive {
            let (name, status) = (root.name.clone(), UserStatus::Active);
            records.push(Record::UpdateUser { id, name, status });
        }
        for record in &records {
            append(&mut log, vault.as_deref(), &mut state, record)?;
        }
        let after = state.users.get(&UserId::ROOT);
        assert!(
            after.is_some_and(
                |after| after.status == UserStatus::Active && after.serial != root.serial
            ),
            "INV-META-SERIAL: root can log in, and nobody is logged in as it was before"
        );
        Ok(RootReset { username: root.name.as_str().to_owned(), was_inactive, tokens })
    }

    fn read(&mut self, doubt: Doubt) -> Result<StoredMetadata, OpenError> {
        let keys = std::mem::take(&mut self.keys);
        let options = ReadOptions { keys, random: &*self.random, doubt };
        StoredMetadata::read(&self.disk, &self.data_dir, options)
    }

    fn incomplete(&self, stored: &StoredMetadata, spoken: &Spoken) -> Option<Incomplete> {
        let partitions_dir = self.data_dir.partitions_dir();
        Incomplete::of(&stored.state, &stored.dirs, &partitions_dir, spoken)
    }

    /// What the checkpoint and the journal speak of; with `dry_run` the checkpoint alone, as opening the
    /// journal settles what an unclean stop left in it.
    fn spoken(&self, dry_run: bool) -> Result<Spoken, OpenError> {
        let disk = Arc::clone(&self.disk);
        let (_, found) =
            CheckpointStore::open(disk, &self.data_dir.checkpoint_dir(0), self.data_dir.features())
                .map_err(|error| prepare("the checkpoint", error))?;
        let checkpoint = found.checkpoint.unwrap_or_default();
        if dry_run {
            return Ok(spoken_of(&checkpoint, None)?);
        }
        let options = self.journal.options(&self.data_dir, checkpoint.lsn);
        let disk = Arc::clone(&self.disk);
        let journal = LocalJournal::open(disk, &self.data_dir.journal_dir(0), options)
            .map_err(|error| prepare("the journal", error))?;
        Ok(spoken_of(&checkpoint, Some(&journal))?)
    }

    /// Moves the directory of a partition out of the way of all partitions.
    fn move_aside(&self, dir: &Path) -> Result<PathBuf, OpenError> {
        let failed = |error| prepare("a directory that is moved aside", error);
        let aside = self.data_dir.aside_dir();
        create_dir_synced(&*self.disk, &aside).map_err(failed)?;
        let Some(name) = dir.file_name() else {
            unreachable!("INV-REPAIR: what is moved aside is a folder in that of the partitions")
        };
        let to = aside.join(name);
        // INV-REPAIR: a name that is taken there is that of an earlier repair, whose finds are kept as well.
        let to = free_path(&*self.disk, &to).map_err(failed)?;
        self.disk.rename(dir, &to).map_err(failed)?;
        // The new name first: a loss of power in between leaves both names or the new one, never none.
        self.disk.sync_dir(&aside).map_err(failed)?;
        self.disk.sync_dir(&self.data_dir.partitions_dir()).map_err(failed)?;
        Ok(to)
    }

    /// Notes where the logs start, in the place of a checkpoint that is lost: retention may have removed
    /// their oldest segments, and these must not be missed.
    fn note_starts(&self, state: &State, dirs: &[String]) -> Result<(), OpenError> {
        // What is not live is on its way to be removed, and nobody asks for its start.
        let live = state.live_uids();
        let mut logs = BTreeMap::new();
        let uids = dirs.iter().filter_map(|name| uid_of(name));
        for uid in uids.filter(|uid| live.contains(uid)) {
            let start = self.start_of(uid)?;
            logs.insert(uid, LogCheckpoint { start, ..LogCheckpoint::default() });
        }
        let checkpoint = ShardCheckpoint { logs, ..ShardCheckpoint::default() };
        let (disk, dir) = (Arc::clone(&self.disk), self.data_dir.checkpoint_dir(0));
        let failed = |error| prepare("the checkpoint", error);
        let (mut store, _) =
            CheckpointStore::open(disk, &dir, self.data_dir.features()).map_err(failed)?;
        store.save(&checkpoint).map_err(failed)
    }

    fn start_of(&self, uid: PartitionUid) -> Result<Offset, OpenError> {
        let base = first_base(&*self.disk, &self.data_dir.partition_dir(uid))
            .map_err(|error| prepare("the directory of a partition", error))?;
        Ok(base.unwrap_or_default())
    }
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("data_dir", &self.data_dir.path()).finish_non_exhaustive()
    }
}
