//! Why a bundle was not committed, in the words of every journal, and what a local one says to it.

use std::io;
use std::path::PathBuf;

use galgo_wire::error_code::ErrorCode;

use super::JournalError;

/// What the storage beneath a journal said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something was not committed, and what that means for whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else writes by now. Nothing was written, nor will be: to be sent to the owner.
    #[error("somebody else owns the journal by now")]
    NotOwner,
    /// Writes have stopped since one failed whose outcome is not known. Nothing of this one was written.
    #[error("nothing is committed since a sync failed, until it is opened again")]
    Fenced,
    /// The storage did not take it, as when it is full. It does not count, and may be sent again; if the process ends
    /// before another bundle is written, it may be read back all the same.
    #[error("the storage did not take it")]
    Unavailable,
    /// There is more on its way than there is room for. It does not count, and may be sent again; as for
    /// [`CommitError::Unavailable`], where the storage had failed before.
    #[error("there is no room for it now")]
    Overloaded,
    /// It was written, and whether it is durable is known only after the next start. Nothing later is taken.
    #[error("it was written, and whether it is durable is not known")]
    Disk,
}

impl CommitError {
    /// Whether it does not count, and the journal goes on.
    #[must_use]
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Unavailable | Self::Overloaded)
    }
}

/// The classic numbers: whoever gets the first two knows that another try may help.
impl From<CommitError> for ErrorCode {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotOwner => Self::ShardNotFound,
            CommitError::Unavailable | CommitError::Overloaded => Self::TaskTimeout,
            CommitError::Fenced | CommitError::Disk => Self::CannotSyncFile,
        }
    }
}

/// Why a bundle was not committed, with what the storage said.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct CommitFailure {
    /// What it means.
    pub error: CommitError,
    /// Why, where there is more to say.
    pub source: Option<Cause>,
}

impl From<CommitError> for CommitFailure {
    fn from(error: CommitError) -> Self {
        Self { error, source: None }
    }
}

/// What a journal in local files says.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    /// INV-EPOCH: it is another owner's bundle.
    #[error("the journal was claimed by another owner")]
    NotOwner,
    /// INV-FENCE: an earlier sync failed.
    #[error("the journal takes no writes since a sync failed; reopen it to learn what is durable")]
    Fenced,
    /// Caller's mistake: split the bundle.
    #[error("bundle has {len} bytes, over the journal's limit of {max}")]
    TooLarge { len: u64, max: u64 },
    /// Every file holds frames after the last checkpoint; a checkpoint makes room.
    #[error("all {files} journal files are in use until the next checkpoint")]
    Full { files: u32 },
    /// No file took the bundle, as when the disk is full or has bad places. If the process ends before another
    /// bundle is written, it may be read back.
    #[error("journal file {} did not take a write", path.display())]
    NotWritten { path: PathBuf, source: io::Error },
    /// A new file could not be made, as when the disk is full: nothing was written.
    #[error("journal file {} could not be made", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    /// The disk's.
    #[error("journal file {}", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl LocalError {
    fn meaning(&self) -> CommitError {
        match self {
            Self::NotOwner => CommitError::NotOwner,
            Self::Fenced => CommitError::Fenced,
            Self::TooLarge { .. } | Self::Full { .. } => CommitError::Overloaded,
            Self::NotWritten { .. } | Self::Prepare { .. } => CommitError::Unavailable,
            Self::Disk { .. } => CommitError::Disk,
        }
    }
}

impl From<LocalError> for CommitFailure {
    fn from(error: LocalError) -> Self {
        Self { error: error.meaning(), source: Some(Box::new(error)) }
    }
}

impl From<LocalError> for JournalError {
    fn from(error: LocalError) -> Self {
        Self::Storage(Box::new(error))
    }
}
