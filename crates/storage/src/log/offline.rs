//! A log that could not be opened.
//!
//! INV-OFFLINE: it stands in for what is on the disk and on record, and changes neither: it takes no writes, gives no
//! message, and no checkpoint is made of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_wire::id::{Offset, Timestamp};

use super::recover::{Evidence, JournaledLog, RecoverError, RecoveryReport, unverified};
use super::state::{Fence, LogState};
use super::{Log, LogOptions, LogReader};
use crate::checkpoint::{LogCheckpoint, SealedSegment};
use crate::disk::Disk;
use crate::file_cache::FileCache;
use crate::segment::CHECKSUM_UNKNOWN;
use crate::segment::format::log_name;

impl Log {
    /// A log of which is known that it has the offsets from `start` to `end`, and nothing else: whoever reads it is
    /// told that all of them are damaged. Touches no disk.
    #[must_use]
    pub fn offline(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        (start, end): (Offset, Offset),
    ) -> Self {
        let mut state = LogState { start, end: end.max(start), ..LogState::default() };
        if start < end {
            state.fences.push(Fence { base: start, from: start, to: end, resume: None });
            state.sealed.push(unverified(SealedSegment {
                base: start,
                end,
                bytes: 0,
                checksum: CHECKSUM_UNKNOWN,
                last_timestamp: Timestamp::ZERO,
            }));
        }
        let mut log = Self::of_reader(LogReader::new(disk, files, options, state));
        log.end = end.max(start);
        log.checkpointed = AtomicU64::new(log.end.get());
        log.is_offline = true;
        log.fenced.store(true, Ordering::Release);
        log
    }

    /// Whether all that the checkpoint knows is there, as far as names and lengths tell: while somebody puts files
    /// back, a log would be opened without those that are still to come.
    ///
    /// # Errors
    /// Those of the disk; `NotFound` and `UnexpectedEof` name what is missing.
    pub fn check_files(reader: &LogReader, known: &LogCheckpoint) -> io::Result<()> {
        let entries = reader.disk.read_dir(&reader.options.dir)?;
        let sealed = known.sealed.iter().filter(|sealed| sealed.end > known.start);
        let sealed = sealed.map(|sealed| (sealed.base, sealed.bytes));
        let active = known.active.iter().map(|active| (active.base, active.durable_bytes));
        for (base, bytes) in sealed.chain(active).filter(|(_, bytes)| *bytes > 0) {
            let name = log_name(base);
            let kind = match entries.iter().find(|entry| entry.name == name && !entry.is_dir) {
                None => io::ErrorKind::NotFound,
                Some(entry) if entry.len < bytes => io::ErrorKind::UnexpectedEof,
                Some(_) => continue,
            };
            return Err(io::Error::new(kind, format!("{name} is missing or too short")));
        }
        Ok(())
    }

    /// Tries to open what this one stands in for, as [`Log::recover`] does at a start.
    ///
    /// # Errors
    /// Those of [`Log::recover`]; this one stays as it is.
    pub fn recover_offline(
        reader: &LogReader,
        known: LogCheckpoint,
        journaled: JournaledLog<'_>,
        evidence: Evidence,
    ) -> Result<(Self, RecoveryReport), RecoverError> {
        let (disk, files) = (Arc::clone(&reader.disk), Arc::clone(&reader.files));
        Self::recover(disk, files, reader.options.clone(), known, journaled, evidence)
    }

    /// Takes the log that could be opened after all; whoever has the reader of this one reads it.
    ///
    /// # Panics
    /// When this one is open, or `recovered` is not.
    pub fn come_online(&mut self, recovered: Self) {
        assert!(self.is_offline && !recovered.is_offline, "INV-OFFLINE: a log is opened once");
        let mut state = std::mem::take(&mut *recovered.reader.state.write());
        {
            let mut own = self.reader.state.write();
            state.retired = own.retired;
            *own = state;
        }
        let (reader, generation) = (Arc::clone(&self.reader), self.generation + 1);
        *self = Self { reader, generation, ..recovered };
    }

    /// Whether it only stands in for one that could not be opened.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }
}
