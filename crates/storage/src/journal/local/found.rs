//! What opening a journal found, and what is said of it.

use std::io;
use std::path::{Path, PathBuf};

use super::OpenJournalError;
use crate::COUNTER_MAX;
use crate::journal::error::LocalError;
use crate::journal::files::{Files, JournalFile};
use crate::journal::list::FileList;
use crate::journal::recovery::Recovery;

/// More generations than files that are missing can have been taken into use.
const GENERATIONS_UNSEEN: u64 = 1 << 32;
const _: () = assert!(
    COUNTER_MAX + GENERATIONS_UNSEEN < u64::MAX,
    "whatever generation was read, there is one for the next file"
);

pub(super) fn disk_error_of(
    files: &[JournalFile],
    index: usize,
    dir: &Path,
    source: io::Error,
) -> OpenJournalError {
    let path = files.get(index).map_or(dir, |file| &file.path).to_owned();
    LocalError::Disk { path, source }.into()
}

/// What opening found.
pub(super) struct FoundJournal {
    pub(super) opened: Vec<JournalFile>,
    pub(super) recovery: Recovery,
    pub(super) missing: Vec<PathBuf>,
    pub(super) number_next: u32,
}

/// The files on record that are not there; the directory itself when there is neither a file nor a record,
/// although frames were written.
pub(super) fn missing(files: &Files, list: &FileList, is_empty: bool) -> Vec<PathBuf> {
    // Of a version without a list nothing tells which file is gone; that all of them are is seen all the same.
    if is_empty && !list.is_noted() {
        return vec![files.dir.clone()];
    }
    list.missing().into_iter().map(|number| files.path_of(number)).collect()
}

/// The generation of the next file that is taken into use.
pub(super) fn next_generation(recovery: &Recovery, missing: &[PathBuf]) -> u64 {
    // Frames of a file that is put back later must not count beside those that took their numbers.
    let unseen = if missing.is_empty() { 0 } else { GENERATIONS_UNSEEN };
    // Higher than any that was ever taken, a file of its own for the first commit: what a torn write left behind the last
    // frame is of a lower one, and void once its number comes again.
    recovery.generation_max + unseen + 1
}

pub(super) fn report(dir: &Path, recovery: &Recovery, missing: &[PathBuf]) {
    for path in missing {
        tracing::error!(
            path = %path.display(),
            next = "if you have it, stop the server at once and restore the directory as it was before this start",
            "a part of the journal is missing: it was removed or lost, and with it what no checkpoint covers"
        );
    }
    for range in &recovery.damaged {
        tracing::error!(
            dir = %dir.display(),
            from = range.start(),
            to = range.end(),
            "journal frames damaged"
        );
    }
    if recovery.torn_tail {
        tracing::warn!(dir = %dir.display(), last = recovery.last, "journal cut after last frame");
    }
}
