//! Taking back what was appended and not acknowledged.
//!
//! INV-CHECKPOINTED: what a checkpoint called durable is never taken back: a recovery trusts those
//! bytes without looking at them.

use super::Log;
use super::landing::LandingTarget;
use super::name::tell;
use super::state::{ActiveView, SegmentView};
use super::sync::Unsynced;
use crate::disk::OpenMode;
use crate::index::{Index, IndexMarker};
use crate::lock::Ranked;
use crate::segment::reader::{SegmentWalk, WalkError};
use crate::segment::writer::{SegmentWriter, Tip};
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::sync::atomic::Ordering;

impl Log {
    /// Takes back every message from `to` on. Only what readers cannot see yet may be taken back:
    /// `to` is the high watermark or higher.
    ///
    /// When that fails, or a checkpoint called some of these messages durable already, they stay in
    /// the log and it takes no more writes.
    ///
    /// If the journal may hold some of them, append nothing more until the log was recovered: a
    /// recovery takes batches of the journal for what they were when they were staged.
    pub fn rewind(&mut self, to: Offset) {
        if to >= self.end {
            return;
        }
        self.generation += 1;
        let taken =
            if to.get() < self.checkpointed.load(Ordering::Acquire) || to < self.reader.start() {
                Err(io::Error::from(io::ErrorKind::InvalidInput))
            } else {
                self.take_back(to)
            };
        if let Err(error) = taken {
            let dir = self.reader.options.dir.display();
            tell!(
                error,
                self.reader,
                %dir,
                to = to.get(),
                %error,
                "messages not taken back; the partition takes no writes until the next start"
            );
            self.fenced.store(true, Ordering::Release);
        }
    }

    fn take_back(&mut self, to: Offset) -> io::Result<()> {
        while self.writer.as_ref().is_none_or(|writer| writer.base > to) {
            self.remove_newest()?;
            self.unseal()?;
        }
        let Some(writer) = &self.writer else { return Ok(()) };
        let base = writer.base;
        let tip = self.tip_at(SegmentView { base, end: writer.tip.place() }, writer.tip, to)?;
        let handle = writer.handle.clone();
        {
            let mut state = self.reader.state.write();
            state.end = to;
            state.fences.retain(|fence| fence.from < to);
            if let Some(active) = &mut state.active {
                active.truncate(tip);
            }
        }
        self.reader.options.indexes.forget(self.reader.log, base);
        let file = handle.get()?;
        file.set_len(tip.bytes)?;
        handle.mark_dirty();
        self.end = to;
        self.last_timestamp = tip.last_timestamp;
        self.note_rewound(tip);
        Ok(())
    }

    /// Where the segment ends without the messages from `to` on.
    fn tip_at(&self, view: SegmentView, tip: Tip, to: Offset) -> io::Result<Tip> {
        let file = self.reader.open(view.base)?;
        let mut walk = SegmentWalk::new(&*file, view.end.position, 1 << 16);
        let mut rewound = Tip { end: to, ..tip };
        rewound.last_timestamp = self.last_timestamp_before(view.base);
        let before = Offset::new(to.get().saturating_sub(1).max(view.base.get()));
        let landed = self.reader.land(view, &mut walk, LandingTarget::Offset(before), None);
        let from = landed.map_err(walk_error)?;
        walk.find(from, view.end.offset, |frame, place| {
            if place.offset < to {
                rewound.last_timestamp = frame.timestamp;
            } else {
                rewound.checksum = rewound.checksum.map(|sum| sum.wrapping_sub(frame.checksum));
            }
            if place.offset == to {
                rewound.bytes = place.position;
            }
            false
        })
        .map_err(walk_error)?;
        Ok(rewound)
    }

    /// Timestamp of the last message before the segment at `base`.
    fn last_timestamp_before(&self, base: Offset) -> Timestamp {
        let state = self.reader.state.read();
        let before = state.sealed.iter().rev().find(|sealed| sealed.known.end <= base);
        before.map_or(Timestamp::ZERO, |sealed| sealed.known.last_timestamp)
    }

    /// Removes the segment being written, files and all.
    fn remove_newest(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let base = writer.base;
        {
            let mut state = self.reader.state.write();
            state.active = None;
            state.end = base;
            state.fences.retain(|fence| fence.base != base);
        }
        self.end = base;
        self.unsynced.retain(|unsynced| unsynced.base != base);
        self.remove_files(base)
    }

    /// Opens the newest sealed segment for writing again.
    fn unseal(&mut self) -> io::Result<()> {
        let mut state = self.reader.state.write();
        let missing = io::Error::from(io::ErrorKind::InvalidInput);
        let sealed = state.sealed.pop().ok_or(missing)?;
        let known = sealed.known;
        let unsynced = self.unsynced.iter_mut().find(|unsynced| unsynced.base == known.base);
        let handle = match unsynced {
            Some(unsynced) => {
                unsynced.sealed_at = None;
                unsynced.handle.clone()
            }
            None => {
                let path = self.reader.log_path(known.base);
                self.reader.files.handle(path, OpenMode::ReadWrite)
            }
        };
        let tip = Tip {
            bytes: known.bytes,
            end: known.end,
            last_timestamp: known.last_timestamp,
            checksum: Some(known.checksum).filter(|checksum| *checksum != CHECKSUM_UNKNOWN),
        };
        state.active = Some(ActiveView {
            base: known.base,
            since: None,
            handle: handle.clone(),
            end: tip.place(),
            last_timestamp: tip.last_timestamp,
            verified: sealed.verified,
            live_from: tip.place(),
            live: Index::default(),
        });
        let marker = IndexMarker::new(self.reader.options.index_interval_bytes, None);
        let index = Ranked::default();
        self.writer = Some(SegmentWriter { base: known.base, handle, tip, index, marker });
        Ok(())
    }

    /// Sets the writer and the bookkeeping of syncs to the new end of the segment being written.
    fn note_rewound(&mut self, tip: Tip) {
        let interval = self.reader.options.index_interval_bytes;
        let last = {
            let state = self.reader.state.read();
            let entries = state.active.as_ref().map(|active| active.live.entries());
            entries.and_then(<[_]>::last).map(|entry| u64::from(entry.position))
        };
        let Some(writer) = &mut self.writer else { return };
        writer.tip = tip;
        writer.marker = IndexMarker::new(interval, last);
        writer.index.get_mut().reset();
        let base = writer.base;
        match self.unsynced.iter_mut().find(|unsynced| unsynced.base == base) {
            Some(unsynced) => {
                let shorter = unsynced.durable.filter(|durable| durable.bytes <= tip.bytes);
                unsynced.durable = unsynced.durable.and(shorter.or(Some(tip)));
            }
            None => {
                let handle = writer.handle.clone();
                let durable = Some(tip);
                self.unsynced.push(Unsynced { base, handle, durable, sealed_at: None });
            }
        }
    }
}

impl ActiveView {
    /// Forgets everything behind `tip`.
    fn truncate(&mut self, tip: Tip) {
        self.end = tip.place();
        self.last_timestamp = tip.last_timestamp;
        self.verified.truncate(tip.bytes);
        self.live.truncate(tip.bytes);
        if tip.bytes < self.live_from.position {
            self.live_from = Boundary { offset: tip.end, position: tip.bytes };
        }
    }
}

fn walk_error(error: WalkError) -> io::Error {
    match error {
        WalkError::Disk(error) => error,
        WalkError::Damaged(_) => io::Error::from(io::ErrorKind::InvalidData),
    }
}
