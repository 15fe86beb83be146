//! Why a server could not start or stop, by kind, and the exit code that tells it to scripts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use galgo_broker::Causes;

use crate::config::ConfigError;
use crate::transport::tls::TlsError;

/// Why a server could not start, or could not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration or the command line asks for something impossible.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The encryption keys cannot be used. The message has nothing of a key in it.
    #[error("encryption keys: {0}; see encryption.keys_file and encryption.keys")]
    Keys(galgo_broker::vault::KeyRingError),
    /// The data directory needs keys that were not given, or others than were given.
    #[error(
        "data directory {}: {reason}; give the key with encryption.keys_file or encryption.keys; \
         nothing was changed",
        path.display()
    )]
    KeyNeeded {
        /// The directory.
        path: PathBuf,
        /// Which key.
        reason: String,
    },
    /// The new password has an impossible length.
    #[error("the new password: {0}")]
    Password(galgo_wire::NameError),
    /// Another program listens on the address.
    #[error(
        "cannot listen on {address}: the address is in use; stop the other program, choose another \
         with {variable}, or use port 0 for any free port"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// The variable that chooses another.
        variable: &'static str,
    },
    /// The address can't be listened on for another reason.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener has no certificate.
    #[error("[{section}]: {source}")]
    Tls {
        /// The section of the configuration.
        section: &'static str,
        /// What is in the way.
        source: TlsError,
    },
    /// The configured keys do not make tokens of the HTTP API.
    #[error("{reason}")]
    TokenKey {
        /// Which key, and what is wrong with it.
        reason: String,
    },
    /// Another server uses the data directory.
    #[error(
        "data directory {} is in use by {}; stop that one, or give this one a directory of its own with \
         --data-dir or GALGO_DATA_DIR",
        path.display(),
        holder(*pid)
    )]
    DataDirLocked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, when known.
        pid: Option<u32>,
    },
    /// The data directory belongs to a newer version, or is not a data directory of Galgo.
    #[error("data directory {} is refused and left as it is: {reason}", path.display())]
    DataDirRefused {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The process may not read or write something it needs.
    #[error("{}: permission denied ({source}); check owner and mode, or whether it is mounted read-only", path.display())]
    Permission {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be one.
    #[error(
        "data directory {}: {source}; name a directory that exists or can be made with --data-dir or \
         GALGO_DATA_DIR",
        path.display()
    )]
    DataDirUnusable {
        /// The directory, or the file in it that is in the way.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of encryption keys cannot be read.
    #[error(
        "the file {} that encryption.keys_file names cannot be read: {source}; check its path, owner and mode",
        path.display()
    )]
    KeysFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read or write the file of encryption keys.
    #[error(
        "the file {} that encryption.keys_file names is open to others than its owner (mode {mode:03o}): run \
         chmod 600 {}",
        path.display(),
        path.display()
    )]
    KeysFileOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The volume has no room for what a start has to write.
    #[error(
        "data directory {}: {reason}; make room on that volume and start again: nothing \
         acknowledged is lost",
        path.display()
    )]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What could not be written, and what the system said.
        reason: String,
    },
    /// The process may not write files as large as it has to.
    #[error(
        "files may have {limit} bytes at most, and the files of the journal have {journal_file}: raise the \
         limit of the file size (ulimit -f, LimitFSIZE), or lower storage.journal_file_bytes"
    )]
    FileSizeLimit {
        /// The limit.
        limit: u64,
        /// The size of a file of the journal.
        journal_file: u64,
    },
    /// What is stored can't be used as it is.
    #[error("data directory {}: {reason}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The last sync of an orderly stop failed; the next start recovers what was acknowledged.
    #[error("data directory {}: not closed in order: {}", path.display(), Causes(&**source))]
    NotSynced {
        /// The directory.
        path: PathBuf,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The threads the server runs on could not be started.
    #[error(
        "cannot start the server's threads: {0}; see the limits of threads (ulimit -u, LimitNPROC, TasksMax), \
         of open files (ulimit -n, LimitNOFILE) and of memory (ulimit -v, LimitAS)"
    )]
    Threads(io::Error),
}

impl ServeError {
    /// The exit code for a process that ends with this error.
    ///
    /// 1 files and the system, 2 the configuration, 3 the network, 4 a refused data directory.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Keys(_)
            | Self::KeyNeeded { .. }
            | Self::KeysFileOpen { .. }
            | Self::Password(_)
            | Self::TokenKey { .. }
            | Self::Tls { .. } => 2,
            Self::AddressInUse { .. } | Self::Listen { .. } => 3,
            Self::DataDirLocked { .. } | Self::DataDirRefused { .. } => 4,
            Self::Permission { .. }
            | Self::Io { .. }
            | Self::DiskFull { .. }
            | Self::FileSizeLimit { .. }
            | Self::DataDirUnusable { .. }
            | Self::KeysFile { .. }
            | Self::Damaged { .. }
            | Self::NotSynced { .. }
            | Self::Threads(_) => 1,
        }
    }

    /// Sorts a failed file operation on `path` into [`Permission`](Self::Permission) or [`Io`](Self::Io).
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another server".to_owned(), |pid| format!("the server with pid {pid}"))
}
