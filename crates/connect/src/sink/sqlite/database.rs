//! The file: opened when it is first used, by one process only.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;
use crate::table::Layout;
use crate::table::positions::FreshLanes;

/// The locks that this process holds: its pipelines share them.
static LOCKS: LazyLock<Mutex<HashMap<PathBuf, Weak<File>>>> = LazyLock::new(Mutex::default);

/// A file, its table, and the connection to it.
pub(super) struct Database {
    pub(super) file: PathBuf,
    pub(super) layout: Layout,
    /// Whether tables are made that are not there.
    pub(super) create: bool,
    pub(super) fresh: FreshLanes,
    timeout: Duration,
    open: Mutex<Option<OpenDatabase>>,
}

struct OpenDatabase {
    connection: Connection,
    _lock: Arc<File>,
}

impl Database {
    pub(super) fn new(file: PathBuf, layout: Layout, create: bool, timeout: Duration) -> Self {
        Self { file, layout, create, fresh: FreshLanes::default(), timeout, open: Mutex::new(None) }
    }

    /// Does something with the connection, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        what: impl FnOnce(&Self, &mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let database = Arc::clone(self);
        blocking(move || {
            let mut open = database.open.lock();
            if open.is_none() {
                *open = Some(database.open()?);
            }
            let Some(OpenDatabase { connection, .. }) = open.as_mut() else {
                unreachable!("it was opened")
            };
            let done = what(&database, connection);
            if matches!(
                done,
                Err(Failure::Away { .. } | Failure::Refused { .. } | Failure::Unknown { .. })
            ) {
                *open = None;
            }
            done
        })
        .await
    }

    fn open(&self) -> Result<OpenDatabase, Failure> {
        let lock = self.lock()?;
        let connection = Connection::open(&self.file).map_err(|error| self.failure(&error))?;
        let set = || -> rusqlite::Result<()> {
            connection.busy_timeout(self.timeout)?;
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            connection.pragma_update(None, "synchronous", "full")
        };
        set().map_err(|error| self.failure(&error))?;
        Ok(OpenDatabase { connection, _lock: lock })
    }

    /// A connection that makes no file and changes nothing in how it is written.
    pub(super) fn open_to_look(&self) -> Result<Connection, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags);
        let connection = connection.map_err(|error| self.failure(&error))?;
        connection.busy_timeout(self.timeout).map_err(|error| self.failure(&error))?;
        Ok(connection)
    }

    /// Whether another process writes to the file.
    pub(super) fn is_taken(&self) -> bool {
        let lock = OpenOptions::new().read(true).open(self.lock_path());
        let free = |lock: &File| flock(lock, FlockOperation::NonBlockingLockShared).is_ok();
        self.held().is_none() && lock.is_ok_and(|lock| !free(&lock))
    }

    fn lock_path(&self) -> PathBuf {
        let mut path = self.file.clone().into_os_string();
        path.push("-galgo");
        PathBuf::from(path)
    }

    fn held(&self) -> Option<Arc<File>> {
        LOCKS.lock().get(&self.lock_path()).and_then(Weak::upgrade)
    }

    fn lock(&self) -> Result<Arc<File>, Failure> {
        let path = self.lock_path();
        let mut locks = LOCKS.lock();
        if let Some(held) = locks.get(&path).and_then(Weak::upgrade) {
            return Ok(held);
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| {
            Failure::refused(
                format!("{} cannot be written: {error}", path.display()),
                "look at the folder and the rights in it",
            )
        })?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::refused(
                format!("another process writes to {}", self.file.display()),
                "one process writes to a file; stop the other one, or give this pipeline a file of its own",
            )
        })?;
        let file = Arc::new(file);
        locks.insert(path, Arc::downgrade(&file));
        Ok(file)
    }

    /// What an error means that is of no row.
    pub(super) fn failure(&self, error: &rusqlite::Error) -> Failure {
        failure(&self.file, error)
    }
}

/// Does something that may block.
pub(super) async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(what).await {
        Ok(done) => done,
        Err(error) => Err(Failure::away(format!("the thread of the database ended: {error}"))),
    }
}

fn failure(file: &Path, error: &rusqlite::Error) -> Failure {
    let file = file.display();
    let Some(code) = error.sqlite_error_code() else {
        return Failure::refused(format!("{file}: {error}"), "look at its tables");
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Failure::away(format!("{file}: another program writes to it"))
        }
        ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::FileLockingProtocolFailed => Failure::away(format!("{file}: {error}")),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            Failure::refused(
                format!("{file} cannot be opened or written"),
                "look whether its folder is there, and at the rights of this process",
            )
        }
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Failure::refused(
            format!("{file} is no database, or damaged"),
            "look at it with: sqlite3 FILE 'PRAGMA integrity_check'",
        ),
        _ => Failure::refused(
            format!("{file}: {error}"),
            "look at its tables: galgo connect check FILE",
        ),
    }
}
