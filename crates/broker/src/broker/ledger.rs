//! The ledger: the metadata as they stand, the log they are durable in, and the one road by which they change:
//! prepare, make durable, apply, bring the open partitions in line.
//!
//! Part of INV-META-ORDER: a record is applied only after it is durable, and no other change comes between its
//! preparation and its application.
//! Part of INV-META-REMOVAL: files go only while their removal is on record, and it is recorded that they are gone only
//! when they are.

use std::ops::Range;
use std::sync::Arc;

use galgo_storage::data_dir::DataDir;
use galgo_storage::data_dir::anchors::Anchors;
use galgo_storage::disk::Disk;
use galgo_storage::file_cache::FileCache;
use galgo_storage::lock::{Ranked, RankedRw, rank};
use galgo_storage::log::{IndexCache, Log, LogOptions};
use galgo_storage::metadata_log::MetadataLog;
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, UserId};

use super::{LogBounds, Shards};
use crate::catalog::Catalog;
use crate::causes::Causes;
use crate::clients::{Clients, Registration};
use crate::metadata::act::Act;
use crate::metadata::record::Record;
use crate::metadata::{self, Consequence, State};
use crate::offset_book::OffsetBook;
use crate::partition::Partition;
use crate::session::Session;
use crate::shard::Removals;
use crate::vault::Vault;
use crate::vault::record::{self, SealedKind};

/// Bytes of metadata records after which the next change writes a snapshot.
const SNAPSHOT_EVERY_BYTES: u64 = 1 << 20;

/// The metadata and what keeps them: see the module.
pub(crate) struct Ledger {
    pub(super) catalog: RankedRw<{ rank::CATALOG }, Catalog>,
    /// One metadata command at a time; held from the preparation of a record to its application.
    pub(super) log: Ranked<{ rank::METADATA_LOG }, MetadataLog>,
    /// What seals and opens the metadata.
    pub(super) vault: Option<Arc<Vault>>,
    /// Whose logins and memberships end with what they were of.
    pub(super) clients: Arc<Clients>,
    pub(super) shards: Shards,
    /// Asked where there are files to be removed.
    pub(super) removals: Arc<Removals>,
    /// Held while files of deleted partitions are removed.
    pub(super) removing: Ranked<{ rank::REMOVING }, ()>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) data_dir: DataDir,
    /// The directories that must stay where they are.
    pub(super) anchors: Anchors,
    /// What the logs of new partitions are made with.
    pub(super) files: Arc<FileCache>,
    pub(super) indexes: Arc<IndexCache>,
    pub(super) bounds: LogBounds,
}

impl Ledger {
    /// Makes one change of the server's own. Blocks on the disk.
    ///
    /// `prepare` checks the command against the state of this moment and decides the record; no
    /// other change comes between that and the application.
    ///
    /// # Errors
    /// Those of `prepare`; 10005 when the record could not be made durable. Nothing changed then; if
    /// it is not known whether a record that removes messages is durable, nothing is acknowledged until
    /// the next start.
    pub(crate) fn change<T>(
        &self,
        prepare: impl FnOnce(&State) -> Result<(T, Record), ErrorCode>,
    ) -> Result<T, ErrorCode> {
        self.change_for(None, prepare)
    }

    pub(super) fn change_for<T>(
        &self,
        by: Option<&Session>,
        prepare: impl FnOnce(&State) -> Result<(T, Record), ErrorCode>,
    ) -> Result<T, ErrorCode> {
        // Held to the end of the application: whoever prepares next has to see what this change did (INV-META-ORDER).
        let mut log = self.log.lock();
        // Changes are rare, so that none is lost in the time between two looks.
        if !self.is_in_place() {
            return Err(ErrorCode::CannotAppendToFile);
        }
        // Under the shared lock of the catalog only: whoever polls or sends goes on while a change is prepared, and the lock
        // of the log keeps all other changes out.
        let (value, record, act, given) = {
            let catalog = self.catalog.read();
            // Asked here and not when the command came: the login may have ended while it waited for its turn.
            let user = by.map(|session| catalog.user_of(session.caller()?)).transpose()?;
            let (value, record) = prepare(&catalog.state)?;
            // In words before it is done: what is deleted has its name until then.
            let act = user.map(|user| (user.name.clone(), Act::of(&record, &catalog.state)));
            let given = catalog.state.uids_given(&record);
            assert!(
                given.is_empty() || given.start >= catalog.state.next_uid,
                "INV-META-UID: a uid is given once"
            );
            (value, record, act, given)
        };
        // Before the record is durable: afterwards every start would meet the directory again.
        let given_until = if given.is_empty() { 0 } else { given.end };
        self.check_untaken(given)?;
        // Sealed before the log is touched: without a key nothing has happened yet.
        let bytes = self.sealed(SealedKind::Record, record.to_bytes())?;
        log.append(&bytes).map_err(|error| {
            tracing::error!(error = %Causes(&error), "metadata record not written");
            if log.is_fenced() && record.removes_messages() {
                // The record may be durable; the next start would then remove what is acknowledged
                // from now on.
                self.shards.halt();
            }
            ErrorCode::CannotAppendToFile
        })?;
        // Only now, as nobody may see what a loss of power could take back (INV-META-ORDER).
        self.apply(&record, by)?;
        assert!(
            self.catalog.read().state.next_uid >= given_until,
            "INV-META-UID: what was given is behind the next to be given"
        );
        // Behind the record: the remover looks at what is on record, and would find nothing before.
        if !self.catalog.read().state.removals.is_empty() {
            self.removals.ask();
        }
        if let (Some((user, act)), Some(session)) = (act, by) {
            // Only what is done is told: the log of the server is what an operator believes.
            act.tell(user.as_str(), session.peer().address);
        }
        // By size and not by time, so that a start never has more than that to replay. A snapshot that fails is no
        // failure of the change, whose record is durable: the next change tries again.
        if log.bytes_since_snapshot() > SNAPSHOT_EVERY_BYTES {
            let snapshot = self.catalog.read().state.to_snapshot();
            let snapshot = self.sealed(SealedKind::Snapshot, snapshot)?;
            if let Err(error) = log.snapshot(&snapshot) {
                tracing::error!(error = %Causes(&error), "metadata snapshot not written");
            }
        }
        Ok(value)
    }

    /// Refuses to make partitions whose directories are there already: they are somebody else's, and their
    /// messages would be shown as those of the new partitions (INV-META-UID).
    fn check_untaken(&self, uids: Range<u64>) -> Result<(), ErrorCode> {
        for uid in uids {
            let dir = self.data_dir.partition_dir(PartitionUid::new(uid));
            match self.disk.exists(&dir) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::error!(
                        dir = %dir.display(),
                        "nothing created: the directory that a new partition would get is there already; \
                         stop the server and move it out of the data directory"
                    );
                    return Err(ErrorCode::CannotAppendToFile);
                }
                // Whether it is there is not known, so it is treated as if it were.
                Err(error) => {
                    tracing::error!(dir = %dir.display(), %error, "nothing created");
                    return Err(ErrorCode::CannotAppendToFile);
                }
            }
        }
        Ok(())
    }

    /// Whether the data directory is still the one that was opened. If not, what is written is lost with
    /// the files that are still open, so from then on nothing is acknowledged and nothing is written: by
    /// name it could go to another server's files.
    pub(super) fn is_in_place(&self) -> bool {
        let Some(path) = self.anchors.lost(&*self.disk) else { return true };
        if !self.shards.is_abandoned() {
            tracing::error!(
                path = %path.display(),
                "the data directory was removed or replaced under the running server: nothing is taken or \
                 acknowledged any more; put it back and start the server again"
            );
            self.shards.abandon();
        }
        false
    }

    /// Metadata as it goes to the disk.
    fn sealed(&self, kind: SealedKind, plain: Vec<u8>) -> Result<Vec<u8>, ErrorCode> {
        record::seal(self.vault.as_deref(), kind, plain).ok_or(ErrorCode::CannotEncryptData)
    }

    fn apply(&self, record: &Record, by: Option<&Session>) -> Result<(), ErrorCode> {
        let closed = {
            let mut catalog = self.catalog.write();
            // Both under one lock (INV-CATALOG): whoever finds a topic in the metadata finds it open.
            let effects = catalog.state.apply(record).map_err(|error| {
                tracing::error!(%error, "a prepared metadata record does not fit the state");
                ErrorCode::Error
            })?;
            let closed =
                catalog.perform(&effects, self.clients.moment(), &mut |new| self.open_empty(new));
            // Logins and positions have locks of their own, and there may be very many of them.
            drop(catalog);
            for effect in &effects {
                match effect {
                    // Nobody has the id again before this change is done, so these are its own.
                    Consequence::UserGone(user) => {
                        self.catalog.read().disown_offsets();
                        drop(self.clients.remove_user(*user));
                    }
                    Consequence::LoginsEnded(user) => self.end_logins(*user, record, by),
                    Consequence::TopicChanged(..) | Consequence::TopicGone(..) => {}
                }
            }
            // Polls that wait were allowed when they began; they look again, and find what they may do now.
            if let Some(user) = record.user_changed() {
                self.clients.rights_changed(user);
            }
            closed
        };
        // First the state is changed, then this: an append that found the partition before is refused by it.
        // Outside of the catalog's lock: closing waits for an append that is under way.
        for partition in closed.partitions {
            partition.close();
        }
        for (group, topic) in closed.groups {
            self.clients.dissolve(&group);
            // Nobody stores for the group any more. What a crash brings back goes at the next start.
            for partition in &topic.partitions {
                partition.forget_offset(group.owner());
            }
        }
        Ok(())
    }

    /// Ends the logins that a record made void. Whoever changed its own password with the current one goes
    /// on over the connection it did so on.
    fn end_logins(&self, user: UserId, record: &Record, by: Option<&Session>) {
        let Some(serial) = self.catalog.read().state.users.get(&user).map(|user| user.serial)
        else {
            return;
        };
        // It has proven the current password a moment ago, so that ending its login would only make it log in again.
        let own = by.filter(|session| session.user() == Some(user));
        let but = match record {
            Record::ReplacePassword { .. } => own.and_then(Session::registration),
            _ => None,
        };
        self.clients.end_logins(user, serial, but.map(Registration::key));
    }

    /// Opens a partition that has never been written. Touches no disk.
    fn open_empty(&self, new: &metadata::PartitionMetadata) -> Arc<Partition> {
        let options = LogOptions {
            dir: self.data_dir.partition_dir(new.uid),
            segment_bytes: self.bounds.segment_bytes,
            index_interval_bytes: self.bounds.index_interval_bytes,
            indexes: Arc::clone(&self.indexes),
            // The catalog gives it the name it goes by.
            name: Arc::default(),
        };
        let log = Log::create(Arc::clone(&self.disk), Arc::clone(&self.files), options);
        let shard = Arc::clone(self.shards.of(new.shard));
        Arc::new(Partition::new(new.uid, shard, log, OffsetBook::default(), Durability::Fsync))
    }

    /// The remover's loop: space is to be free soon after the answer that gave it up.
    pub(super) fn run_remover(&self) {
        while self.removals.wait() {
            self.remove_files();
            self.shards.remove_dropped();
        }
    }

    /// Ends the remover's loop.
    pub(super) fn stop_remover(&self) {
        self.removals.stop();
    }

    /// Removes the files of partitions whose removal is on record, then records that they are gone.
    /// A crash in between repeats the removal.
    pub(super) fn remove_files(&self) {
        // One at a time: two would record the same removal twice.
        let _removing = self.removing.lock();
        // While no change is under way: once it is done, what it removed is closed, so that no append
        // makes a file where the files are already removed.
        let uids: Vec<_> = {
            let _no_change = self.log.lock();
            self.catalog.read().state.removals.iter().copied().collect()
        };
        if uids.is_empty() {
            return;
        }
        // Before the files: a checkpoint that is taken meanwhile is not to name a partition whose files are going.
        self.shards.forget(&uids);
        let mut removed_uids = Vec::with_capacity(uids.len());
        for uid in uids {
            let dir = self.data_dir.partition_dir(uid);
            let removed = match self.disk.exists(&dir) {
                Ok(true) => self.disk.remove_dir_all(&dir),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => removed_uids.push(uid),
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "files of a deleted partition remain");
                }
            }
        }
        if removed_uids.is_empty() {
            return;
        }
        // A directory whose removal is not synced is back after a loss of power, and nothing would remove it again once
        // its removal is off the record (INV-META-REMOVAL).
        if let Err(error) = self.disk.sync_dir(&self.data_dir.partitions_dir()) {
            tracing::warn!(%error, "directory of partitions not synced");
            return;
        }
        let recorded = self.change(|_| Ok(((), Record::FilesRemoved { uids: removed_uids })));
        if let Err(code) = recorded {
            tracing::warn!(%code, "removal of files not recorded; it will be repeated");
        }
    }
}
