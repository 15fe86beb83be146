//! Changes of the metadata: prepare, make durable, apply, bring the open partitions in line.
//!
//! What a session asked for is changed only while its login is good, also when the change had to
//! wait for others.

use std::ops::{Deref, Range};
use std::sync::Arc;

use galgo_storage::log::{Log, LogOptions};
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, UserId};

use super::Broker;
use crate::causes::Causes;
use crate::clients::Registration;
use crate::metadata::act::Act;
use crate::metadata::record::Record;
use crate::metadata::{self, Effect, State};
use crate::offset_book::OffsetBook;
use crate::partition::Partition;
use crate::session::Session;
use crate::vault::record::{self, SealedKind};

/// Bytes of metadata records after which the next change writes a snapshot.
const SNAPSHOT_EVERY_BYTES: u64 = 1 << 20;

/// The broker on behalf of a session.
pub(crate) struct Acting<'a> {
    broker: &'a Broker,
    session: &'a Session,
}

impl<'a> Acting<'a> {
    pub(crate) fn new(broker: &'a Broker, session: &'a Session) -> Self {
        Self { broker, session }
    }

    /// As [`Broker::change`], for what the session asked for.
    ///
    /// # Errors
    /// Those of [`Broker::change`]; 40 or 41 when the login of the session ended meanwhile.
    pub(crate) fn change<T>(
        &self,
        prepare: impl FnOnce(&State) -> Result<(T, Record), ErrorCode>,
    ) -> Result<T, ErrorCode> {
        self.broker.change_for(Some(self.session), prepare)
    }
}

impl Deref for Acting<'_> {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        self.broker
    }
}

impl Broker {
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

    fn change_for<T>(
        &self,
        by: Option<&Session>,
        prepare: impl FnOnce(&State) -> Result<(T, Record), ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let mut log = self.metadata_log.lock();
        // Changes are rare, so that none is lost in the time between two looks.
        if !self.is_in_place() {
            return Err(ErrorCode::CannotAppendToFile);
        }
        let (value, record, act, given) = {
            let catalog = self.catalog.read();
            let user = by.map(|session| catalog.user_of(session.caller()?)).transpose()?;
            let (value, record) = prepare(&catalog.state)?;
            // In words before it is done: what is deleted has its name until then.
            let act = user.map(|user| (user.name.clone(), Act::of(&record, &catalog.state)));
            let given = catalog.state.uids_given(&record);
            (value, record, act, given)
        };
        self.check_untaken(given)?;
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
        self.apply(&record, by)?;
        if !self.catalog.read().state.removals.is_empty() {
            self.removals.ask();
        }
        if let (Some((user, act)), Some(session)) = (act, by) {
            act.tell(user.as_str(), session.peer().address);
        }
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
            let effects = catalog.state.apply(record).map_err(|error| {
                tracing::error!(%error, "a prepared metadata record does not fit the state");
                ErrorCode::Error
            })?;
            let closed =
                catalog.perform(&effects, self.clients.moment(), &mut |new| self.open_empty(new));
            drop(catalog);
            for effect in &effects {
                match effect {
                    // Nobody has the id again before this change is done, so these are its own.
                    Effect::UserGone(user) => {
                        self.catalog.read().disown_offsets();
                        drop(self.clients.remove_user(*user));
                    }
                    Effect::LoginsEnded(user) => self.end_logins(*user, record, by),
                    Effect::TopicChanged(..) | Effect::TopicGone(..) => {}
                }
            }
            if let Some(user) = record.user_changed() {
                self.clients.rights_changed(user);
            }
            closed
        };
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
        let own = by.filter(|session| session.user() == Some(user));
        let but = match record {
            Record::ReplacePassword { .. } => own.and_then(Session::registration),
            _ => None,
        };
        self.clients.end_logins(user, serial, but.map(Registration::key));
    }

    /// Opens a partition that has never been written. Touches no disk.
    fn open_empty(&self, new: &metadata::Partition) -> Arc<Partition> {
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

    /// Removes the files of partitions whose removal is on record, then records that they are gone.
    /// A crash in between repeats the removal.
    pub(super) fn remove_files(&self) {
        // One at a time: two would record the same removal twice.
        let _removing = self.removing.lock();
        // While no change is under way: once it is done, what it removed is closed, so that no append
        // makes a file where the files are already removed.
        let uids: Vec<_> = {
            let _no_change = self.metadata_log.lock();
            self.catalog.read().state.removals.iter().copied().collect()
        };
        if uids.is_empty() {
            return;
        }
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
