//! Giving up the oldest segments, and the log as a whole.
//!
//! Whoever drops segments has made the move of the start durable before; their files may then
//! go at any later time, and a recovery removes those that are left, which it knows by the start.
//! INV-SPACE: of a file that was removed, nothing is kept open, reads that are under way aside.
//! INV-BOUNDARY: a start that moves is the end of a sealed segment, so a file that begins below it holds
//! nothing that is still to be read.

use super::AHEAD_US_MAX;
use super::reader::LogReader;
use super::state::Sealed;
use crate::checkpoint::SealedSegment;
use crate::disk::Disk;
use crate::retention::KeptSegment;
use crate::segment::format::parse_log_name;
use galgo_wire::batch::MessageHeader;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::limits::MESSAGE_HEADER_BYTES;
use std::io;
use std::path::{Path, PathBuf};

/// How much could be dropped, told without looking at more than the oldest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestSealed {
    /// Offset after its last message.
    pub end: Offset,
    /// By when its messages had all been stored; see [`KeptSegment::stored_by`].
    pub stored_by: Timestamp,
}

impl LogReader {
    /// The sealed segments, oldest first.
    #[must_use]
    pub fn sealed(&self) -> Vec<SealedSegment> {
        self.state.read().sealed.iter().map(|sealed| sealed.known.clone()).collect()
    }

    /// The segments that may be dropped, oldest first: sealed, not the newest of the log, and wholly
    /// below `upto`. `now` tells which of them are ahead of the clock.
    #[must_use]
    pub fn droppable(&self, upto: Offset, now: Timestamp) -> Vec<KeptSegment> {
        let state = self.state.read();
        let newest = usize::from(state.active.is_none());
        let droppable = state.sealed.len().saturating_sub(newest);
        let mut later = now.min(state.newest_time());
        let mut kept: Vec<KeptSegment> = Vec::with_capacity(droppable);
        for (at, sealed) in state.sealed.iter().enumerate().rev() {
            if at < droppable && sealed.known.end <= upto {
                let stored_by = sealed.stored_by(now, later);
                kept.push(KeptSegment { segment: sealed.known.clone(), stored_by });
            }
            later = later.min(sealed.known.last_timestamp);
        }
        kept.reverse();
        kept
    }

    /// The oldest sealed segment, when there are others behind it.
    #[must_use]
    pub fn oldest_sealed(&self, now: Timestamp) -> Option<OldestSealed> {
        let state = self.state.read();
        let newest = usize::from(state.active.is_none());
        let (oldest, rest) = state.sealed.split_first().filter(|(_, rest)| rest.len() >= newest)?;
        let later = || {
            let rest = rest.iter().map(|sealed| sealed.known.last_timestamp);
            rest.chain([now, state.newest_time()]).min().unwrap_or(now)
        };
        let ahead = is_ahead(oldest.known.last_timestamp, now);
        let later = if ahead { later() } else { now };
        let stored_by = oldest.stored_by(now, later);
        Some(OldestSealed { end: oldest.known.end, stored_by })
    }

    /// The time of the first message in the segment being written; `None` when that is empty. May read from
    /// the disk, once.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn written_since(&self) -> io::Result<Option<Timestamp>> {
        let (base, handle, last) = {
            let state = self.state.read();
            match &state.active {
                Some(active) if active.end.position > 0 => match active.since {
                    Some(since) => return Ok(Some(since)),
                    None => (active.base, active.handle.clone(), active.last_timestamp),
                },
                _ => return Ok(None),
            }
        };
        let mut bytes = [0; MESSAGE_HEADER_BYTES];
        handle.get()?.read_exact_at(&mut bytes, 0)?;
        // A damaged header may say anything; the segment is as old as its last message at least.
        let since = MessageHeader::from_bytes(&bytes).timestamp.min(last);
        if let Some(active) = &mut self.state.write().active
            && active.base == base
        {
            active.since = Some(since);
        }
        Ok(Some(since))
    }

    /// The time of the last message; zero without one.
    #[must_use]
    pub fn newest_time(&self) -> Timestamp {
        self.state.read().newest_time()
    }

    /// How far the last message is ahead of the clock, in microseconds, if that is more than
    /// [`AHEAD_US_MAX`]; and takes note of which segments are, so that retention does not wait until
    /// the clock has caught up with them.
    #[must_use]
    pub fn note_ahead(&self, now: Timestamp) -> Option<u64> {
        let (unseen, newest) = {
            let state = self.state.read();
            let unseen = |sealed: &Sealed| {
                sealed.seen_ahead.is_none() && is_ahead(sealed.known.last_timestamp, now)
            };
            (state.sealed.iter().any(unseen), state.newest_time())
        };
        if unseen {
            let mut state = self.state.write();
            for sealed in &mut state.sealed {
                if is_ahead(sealed.known.last_timestamp, now) {
                    sealed.seen_ahead.get_or_insert(now);
                }
            }
        }
        is_ahead(newest, now).then(|| newest.get().saturating_sub(now.get()))
    }

    /// Messages below `start` are no longer read, and the sealed segments wholly below it are no
    /// longer part of the log; returns those. Touches no disk: see [`LogReader::remove_dropped`].
    pub fn drop_before(&self, start: Offset) -> Vec<SealedSegment> {
        let dropped: Vec<_> = {
            let mut state = self.state.write();
            let start = start.min(state.end).max(state.start);
            let gone = state.sealed.partition_point(|sealed| sealed.known.end <= start);
            state.start = start;
            state.fences.retain(|fence| fence.to > start);
            state.sealed.drain(..gone).map(|sealed| sealed.known).collect()
        };
        dropped.iter().for_each(|known| self.forget(known.base));
        dropped
    }

    /// Removes the files of segments that were dropped.
    ///
    /// # Errors
    /// Those of the disk, after all removals were tried; they may be tried again.
    pub fn remove_dropped(&self, dropped: &[SealedSegment]) -> io::Result<()> {
        let mut result = Ok(());
        for known in dropped {
            result = self.remove_files(known.base).and(result);
        }
        result
    }

    /// The log is about to be removed: from here on it reads as empty, and files that are missing are
    /// no damage.
    pub fn retire(&self) {
        self.state.write().retired = true;
    }

    /// Whether [`LogReader::retire`] was called.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.state.read().retired
    }

    pub(super) fn remove_files(&self, base: Offset) -> io::Result<()> {
        let remove = |path: PathBuf| match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let removed = remove(self.index_path(base)).and(remove(self.log_path(base)));
        // Behind the removal: a read that began before the segment was dropped may have opened its file
        // until then, and a removed file that is still open keeps its space.
        self.forget(base);
        removed
    }
}

impl Sealed {
    /// See [`KeptSegment::stored_by`]; `later` is the earliest time after the segment.
    fn stored_by(&self, now: Timestamp, later: Timestamp) -> Timestamp {
        let last = self.known.last_timestamp;
        if is_ahead(last, now) { later.min(self.seen_ahead.unwrap_or(now)) } else { last }
    }
}

fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.get() > now.get().saturating_add(AHEAD_US_MAX)
}

/// The base of the oldest segment file of a directory; for when nothing else knows where a log starts.
///
/// # Errors
/// Those of the disk.
pub fn first_base(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Offset>> {
    if !disk.exists(dir)? {
        return Ok(None);
    }
    let entries = disk.read_dir(dir)?;
    Ok(entries.iter().filter_map(|entry| parse_log_name(&entry.name)).min())
}
