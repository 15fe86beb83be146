//! What a data directory holds besides messages and offsets, read and not changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_storage::data_dir::DataDir;
use galgo_storage::data_dir::anchors::Anchors;
use galgo_storage::disk::Disk;
use galgo_storage::metadata_log::{
    Doubt, FoundLog, MetadataLog, RecoveredMetadata as FoundMetadata,
};
use galgo_wire::error_code::ErrorCode;

use super::OpenError;
use super::evidence::{Unreadable, check_owners};
use super::open::prepare;
use crate::environment::Random;
use crate::metadata::State;
use crate::metadata::record::Record;
use crate::vault::record::{self, SealedKind};
use crate::vault::{KeyRing, MARKER_NAME, Vault};

/// The metadata and what it is read with.
pub(super) struct StoredMetadata {
    pub(super) vault: Option<Arc<Vault>>,
    pub(super) log: FoundLog,
    pub(super) state: State,
    /// The names in the directory of partitions.
    pub(super) dirs: Vec<String>,
    /// Those of them of which it could not be read whose they are; known once they were checked.
    pub(super) unreadable: Unreadable,
}

/// What becomes of the keys and of doubtful metadata.
pub(super) struct ReadOptions<'a> {
    pub(super) keys: KeyRing,
    pub(super) random: &'a dyn Random,
    pub(super) doubt: Doubt,
}

impl StoredMetadata {
    /// Reads the metadata, and looks which partitions have directories.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed.
    pub(super) fn read(
        disk: &Arc<dyn Disk>,
        data_dir: &DataDir,
        options: ReadOptions<'_>,
    ) -> Result<Self, OpenError> {
        let ReadOptions { keys, random, doubt } = options;
        // The keys come first: without the right ones nothing of what follows can be told from damage.
        let vault = Vault::open(&**disk, data_dir.twin(MARKER_NAME), keys, random)?.map(Arc::new);
        // Read and not settled: what is found may still refuse the start (INV-REPEAT).
        let log = FoundLog::read(Arc::clone(disk), &data_dir.metadata_dirs(), doubt)?;
        let state = restore(vault.as_deref(), log.recovered())?;
        let dirs = names_in(&**disk, &data_dir.partitions_dir())
            .map_err(|source| prepare("the directory of partitions", source))?;
        let unreadable = Unreadable::new();
        Ok(Self { vault, log, state, dirs, unreadable })
    }

    /// Reads it, refuses what does not fit together, and makes the files of a directory that is new.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed.
    pub(super) fn read_for_server(
        disk: &Arc<dyn Disk>,
        data_dir: &DataDir,
        options: ReadOptions<'_>,
    ) -> Result<Self, OpenError> {
        let mut stored = Self::read(disk, data_dir, options)?;
        stored.unreadable = stored.check(&**disk, data_dir)?;
        if stored.log.is_new() {
            // Before anything else is made: what has shards and no metadata has lost it.
            drop(stored.log.settle()?);
            let dirs = data_dir.metadata_dirs();
            stored.log = FoundLog::read(Arc::clone(disk), &dirs, Doubt::Refuse)?;
        }
        Ok(stored)
    }

    /// Refuses a directory of which a part is missing as a whole, or belongs to another.
    ///
    /// # Errors
    /// [`OpenError::Gone`], [`OpenError::NotOurs`]; nothing was changed.
    pub(super) fn check(
        &self,
        disk: &dyn Disk,
        data_dir: &DataDir,
    ) -> Result<Unreadable, OpenError> {
        let dirs = data_dir.metadata_dirs();
        if self.log.is_copy_only() {
            // The copy alone could be an old one that was put back by hand; which it is, an operator has to say, with
            // `galgo repair`.
            return Err(OpenError::Gone { path: dirs.first, copy: Some(dirs.copy) });
        }
        let has_shards = self.has_shards(disk, data_dir)?;
        // A start that took this for a new directory would give the numbers of what lies here to others.
        if self.log.is_new() && (has_shards || !self.dirs.is_empty()) {
            return Err(OpenError::Gone { path: dirs.first, copy: None });
        }
        // The first checkpoint is older than the first user.
        if !self.state.users.is_empty() && !has_shards {
            return Err(OpenError::Gone { path: shards_dir(data_dir), copy: None });
        }
        check_owners(disk, data_dir, &self.dirs)
    }

    /// Whether there are a journal or checkpoints.
    pub(super) fn has_shards(
        &self,
        disk: &dyn Disk,
        data_dir: &DataDir,
    ) -> Result<bool, OpenError> {
        for dir in [data_dir.checkpoint_dir(0), data_dir.journal_dir(0)] {
            let names = names_in(disk, &dir).map_err(|source| prepare("the journal", source))?;
            // A file that a crash left behind before it had its name says nothing.
            if names.iter().any(|name| !name.ends_with(".tmp")) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Makes what was read durable and gets the metadata ready for changes, in the form it is to have now.
///
/// # Errors
/// [`OpenError`]; nothing was lost.
pub(super) fn settle(
    disk: &dyn Disk,
    log: FoundLog,
    vault: Option<&Vault>,
    state: &State,
) -> Result<(MetadataLog, FoundMetadata), OpenError> {
    let (mut log, found) = log.settle()?;
    let Some(vault) = vault else { return Ok((log, found)) };
    // Before anything is sealed with it: a key that is in use and in no marker would be missed only when it is too
    // late to find it.
    vault.note_active(disk)?;
    // What the marker says is noted before the metadata is rewritten, so it is looked at as well.
    let mut stored = found.snapshot.iter().chain(&found.records);
    let remains = log.covered_remain() || stored.any(|bytes| record::is_plain(bytes));
    if !vault.rewrite_due(remains) {
        return Ok((log, found));
    }
    if found.snapshot.is_some() || !found.records.is_empty() {
        let sealed = record::seal(Some(vault), SealedKind::Snapshot, state.to_snapshot());
        log.snapshot(&sealed.ok_or(OpenError::Root(ErrorCode::CannotEncryptData))?)?;
    }
    // A snapshot in the new form is durable. What it covers is still there in the old one, and encryption is worth
    // nothing while the same is readable beside it.
    if log.covered_remain() {
        // Not noted as done, so the next start rewrites it again and tries to remove them again.
        tracing::error!(
            "files of the metadata as it was before its encryption changed could not be removed; \
             the next start tries again"
        );
    } else {
        vault.rewritten(disk)?;
    }
    Ok((log, found))
}

/// Makes a record durable, and applies it. For when no broker runs.
///
/// # Errors
/// [`OpenError`]; the change is made by the next start, or not at all.
pub(super) fn append(
    log: &mut MetadataLog,
    vault: Option<&Vault>,
    state: &mut State,
    record: &Record,
) -> Result<(), OpenError> {
    let bytes = record::seal(vault, SealedKind::Record, record.to_bytes());
    log.append(&bytes.ok_or(OpenError::Root(ErrorCode::CannotEncryptData))?)?;
    // INV-META-ORDER, also where no broker runs.
    let applied = state.apply(record);
    applied.map(|_| ()).map_err(|error| OpenError::Record { index: 0, why: error.to_string() })
}

pub(super) fn shards_dir(data_dir: &DataDir) -> PathBuf {
    data_dir.path().join("shards")
}

/// The names in a directory that may be missing.
pub(super) fn names_in(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    match disk.read_dir(dir) {
        Ok(entries) => Ok(entries.into_iter().map(|entry| entry.name).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn restore(vault: Option<&Vault>, found: &FoundMetadata) -> Result<State, OpenError> {
    let refuse = |index: usize, why: String| OpenError::Record { index, why };
    let mut state = match &found.snapshot {
        Some(stored) => {
            let bytes = record::open(vault, SealedKind::Snapshot, stored)?;
            State::from_snapshot(&bytes).map_err(|e| refuse(0, e.to_string()))?
        }
        None => State::default(),
    };
    // INV-META-ORDER: in the order of the log, each on what those before it left. One that does not fit ends the start:
    // going on without it would make another state than the one that was acknowledged.
    for (index, stored) in found.records.iter().enumerate() {
        let bytes = record::open(vault, SealedKind::Record, stored)?;
        let record = Record::from_bytes(&bytes).map_err(|e| refuse(index, e.to_string()))?;
        state.apply(&record).map_err(|e| refuse(index, e.to_string()))?;
    }
    Ok(state)
}

/// What must stay where it is while the server runs.
pub(super) fn anchor(disk: &dyn Disk, data_dir: &DataDir) -> Result<Anchors, OpenError> {
    let paths = [
        data_dir.lock_path(),
        data_dir.path().to_owned(),
        data_dir.metadata_dirs().first,
        data_dir.metadata_dirs().copy,
        data_dir.partitions_dir(),
        data_dir.journal_dir(0),
        data_dir.checkpoint_dir(0),
    ];
    Anchors::new(disk, &paths).map_err(|error| prepare("the data directory", error))
}

/// Whether any partition has a directory, as only the first append makes it.
pub(super) fn has_logs(disk: &dyn Disk, data_dir: &DataDir) -> Result<bool, OpenError> {
    let dir = data_dir.partitions_dir();
    let entries = if disk.exists(&dir).map_err(|e| prepare("the directory of partitions", e))? {
        disk.read_dir(&dir).map_err(|e| prepare("the directory of partitions", e))?
    } else {
        Vec::new()
    };
    Ok(!entries.is_empty())
}
