//! What the operating system lets this process have.

mod give_back;
pub(crate) mod memory;

pub(crate) use give_back::{Storms, give_back};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::ServeError;
use crate::config::Loaded;

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

/// Makes segments small enough for the limit of the file size.
///
/// # Errors
/// [`ServeError::FileSizeLimit`] when not even the journal's files fit: nothing could be acknowledged.
pub(crate) fn fit_file_size(loaded: &mut Loaded) -> Result<(), ServeError> {
    let Some(limit) = getrlimit(Resource::Fsize).current else { return Ok(()) };
    let request = loaded.config.limits.request_bytes.0;
    let storage = &mut loaded.config.storage;
    let journal_file = storage.journal_file_bytes.0;
    if limit < journal_file {
        return Err(ServeError::FileSizeLimit { limit, journal_file });
    }
    let segment = segment_bytes(limit, storage.segment_bytes.0, request);
    if segment < storage.segment_bytes.0 {
        storage.segment_bytes.0 = segment;
        tracing::warn!(
            limit,
            segment_bytes = segment,
            next = "raise it (ulimit -f, LimitFSIZE), or set storage.segment_bytes below it",
            "segments made smaller to stay below the limit of the file size"
        );
    }
    Ok(())
}

/// The size of segments that stay below `limit`: a segment may exceed its size by one request.
fn segment_bytes(limit: u64, configured: u64, request: u64) -> u64 {
    if configured.saturating_add(request) <= limit {
        return configured;
    }
    // A request that is larger than half of it finds no segment, and is refused.
    configured.min(limit.saturating_sub(request).max(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::segment_bytes;

    #[test]
    fn segments_stay_below_the_limit_of_the_file_size() {
        assert_eq!(segment_bytes(1000, 700, 300), 700);
        assert_eq!(segment_bytes(999, 700, 300), 699);
        assert_eq!(segment_bytes(999, 700, 900), 499);
        assert_eq!(segment_bytes(999, 100, 950), 100);
    }
}
