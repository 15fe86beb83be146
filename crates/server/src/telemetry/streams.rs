//! Standard error, which has the log, and standard output, which has what is said once: the ready line and a
//! generated password.
//!
//! Nothing else in the server writes to either; see [`super::outlet`] for why.

use std::io;
use std::time::Duration;

use super::outlet::{Outlet, StandardStream};

static LOG: Outlet = Outlet::new();
static ANNOUNCEMENTS: Outlet = Outlet::new();

/// Begins to write the log; once is enough.
///
/// # Errors
/// Those of the system when it gives no thread.
pub(super) fn open_log() -> io::Result<()> {
    LOG.open("galgo-log", StandardStream(io::stderr()), |lines| {
        tracing::warn!(lines, "log lines were lost: the log was closed, full or not read");
    })
}

/// Takes a line of the log.
pub(super) fn log(line: &[u8]) {
    LOG.say(line);
}

/// Lines of the log that were lost since the start.
pub(crate) fn lost_log_lines() -> u64 {
    LOG.lost()
}

/// Keeps the log back until the start is over one way or the other.
pub(crate) fn hold_log() {
    LOG.hold();
}

/// Lets the log go again, with what was kept back.
pub(crate) fn release_log() {
    LOG.release();
}

/// Lets the log go again, without what was kept back.
pub(super) fn drop_held_log() {
    LOG.drop_held();
}

/// Puts a line on standard output.
pub(crate) fn announce(line: &str) {
    // Who can have no thread for it can have none to serve with either, and is told so.
    if let Err(error) = ANNOUNCEMENTS.open("galgo-out", StandardStream(io::stdout()), |_| {}) {
        tracing::error!(%error, "nothing can be written to standard output: no thread for it");
        return;
    }
    ANNOUNCEMENTS.say(format!("{line}\n").as_bytes());
}

/// Waits until everything said is written, `patience` at most for each stream.
pub(crate) fn flush(patience: Duration) {
    ANNOUNCEMENTS.flush(patience);
    LOG.flush(patience);
}
