//! Which operation of the simulated disk goes wrong, and how.

use std::io;

/// Faults to come. Numbers count from 1 since the plan was made; each happens once.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    /// The power goes, or the process dies, in this operation: it may be done in part, and every
    /// call after it fails.
    pub stop_at: Option<u64>,
    /// This operation fails with an I/O error, maybe done in part.
    pub fail_operation: Option<u64>,
    /// This write fails with an I/O error, maybe done in part.
    pub fail_write: Option<u64>,
    /// This sync of a file fails with an I/O error.
    pub fail_sync: Option<u64>,
    /// Bytes all files together may have; a write over it is done in part (`StorageFull`).
    pub bytes_max: Option<u64>,
    /// Reads of files whose path contains this fail with an I/O error.
    pub fail_reads_of: Option<String>,
    /// Nothing can be changed (`ReadOnlyFilesystem`).
    pub read_only: bool,
}

/// What an operation that changes something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationKind {
    Write,
    Sync,
    /// Names and lengths.
    Other,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationFate {
    Done,
    /// Fails, and the disk goes on.
    Fails,
    /// Is the last one.
    Stops,
}

impl OperationFate {
    /// The error of an operation that is not done.
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Stops => stopped_error(),
            Self::Done | Self::Fails => io::Error::from_raw_os_error(libc::EIO),
        }
    }
}

/// The plan and the counts it is measured by.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    plan: FaultPlan,
    operations: u64,
    writes: u64,
    syncs: u64,
    stopped: bool,
}

impl Faults {
    pub(super) fn plan(&mut self, plan: FaultPlan) {
        *self = Self { plan, ..Self::default() };
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn bytes_max(&self) -> Option<u64> {
        self.plan.bytes_max
    }

    /// Counts an operation and tells its fate.
    pub(super) fn count(&mut self, kind: OperationKind) -> io::Result<OperationFate> {
        self.check_running()?;
        self.check_writable()?;
        self.operations += 1;
        self.writes += u64::from(kind == OperationKind::Write);
        self.syncs += u64::from(kind == OperationKind::Sync);
        // Counted first, so that the number of a fault is that of the operation it happens in, on every run of one seed.
        if self.plan.stop_at == Some(self.operations) {
            self.stopped = true;
            return Ok(OperationFate::Stops);
        }
        let fails = self.plan.fail_operation == Some(self.operations)
            || (kind == OperationKind::Write && self.plan.fail_write == Some(self.writes))
            || (kind == OperationKind::Sync && self.plan.fail_sync == Some(self.syncs));
        Ok(if fails { OperationFate::Fails } else { OperationFate::Done })
    }

    pub(super) fn check_read(&self, path: &std::path::Path) -> io::Result<()> {
        self.check_running()?;
        match &self.plan.fail_reads_of {
            Some(part) if path.to_string_lossy().contains(part.as_str()) => {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_writable(&self) -> io::Result<()> {
        if self.plan.read_only {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        Ok(())
    }

    pub(super) fn check_running(&self) -> io::Result<()> {
        if self.stopped { Err(stopped_error()) } else { Ok(()) }
    }
}

fn stopped_error() -> io::Error {
    io::Error::other("simulated disk has stopped")
}
