//! What the operating system lets this process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files assumed when the system names no limit.
const OPEN_FILES_UNLIMITED: u64 = 1 << 20;

/// Raises the number of files the process may open as far as it may do so itself, and returns it.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the open file limit stays as it is");
            limit.current = before;
        }
    }
    limit.current.unwrap_or(OPEN_FILES_UNLIMITED)
}
