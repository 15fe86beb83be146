//! Walks over message headers and checks of whole messages.
//!
//! A walk goes from header to header only while each has the offset that follows, so it
//! never lands inside a message.

use super::Boundary;
use super::format::MessageFrame;
use crate::disk::DiskFile;
use galgo_wire::id::Offset;
use galgo_wire::index::to_usize;
use galgo_wire::limits::MESSAGE_HEADER_BYTES;
use std::io;

/// Why a walk did not arrive.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// There is no message with this offset at this place.
    Damaged(Boundary),
    /// The disk did not give the bytes.
    Disk(io::Error),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// How far a search goes for what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It reads what the disk has.
    Disk,
    /// It gives up with [`WalkError::is_cold`] where the disk would have to be waited for.
    Cache,
}

impl WalkError {
    /// The end of a search that would have had to wait for the disk.
    pub(crate) fn cold() -> Self {
        Self::Disk(io::ErrorKind::WouldBlock.into())
    }

    /// Whether the search would have had to wait for the disk.
    pub(crate) fn is_cold(&self) -> bool {
        matches!(self, Self::Disk(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Reads headers of one segment through a small buffer.
pub(crate) struct SegmentWalk<'a> {
    file: &'a dyn DiskFile,
    /// Bytes of the segment; nothing behind them is looked at.
    limit: u64,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    buffer_at: u64,
    effort: Effort,
}

impl<'a> SegmentWalk<'a> {
    /// A walk over the first `limit` bytes of `file`, reading `chunk_bytes` at a time.
    pub(crate) fn new(file: &'a dyn DiskFile, limit: u64, chunk_bytes: usize) -> Self {
        let chunk_bytes = chunk_bytes.max(MESSAGE_HEADER_BYTES);
        let effort = Effort::Disk;
        Self { file, limit, chunk_bytes, buffer: Vec::new(), buffer_at: 0, effort }
    }

    /// The same with this effort.
    pub(crate) fn with(self, effort: Effort) -> Self {
        Self { effort, ..self }
    }

    /// How far it goes.
    pub(crate) fn effort(&self) -> Effort {
        self.effort
    }

    /// The header at `place`, when the message belongs there and fits into the segment.
    pub(crate) fn frame(&mut self, place: Boundary) -> Result<MessageFrame, WalkError> {
        let damaged = WalkError::Damaged(place);
        if !self.holds_header(place.position) {
            self.fill(place.position)?;
        }
        let start = place.position.checked_sub(self.buffer_at);
        let start = start.and_then(|start| usize::try_from(start).ok());
        let Some(bytes) = start.and_then(|start| self.buffer.get(start..)) else {
            return Err(damaged);
        };
        match MessageFrame::parse(bytes) {
            // The offset is what a walk believes: without it, bytes inside of a payload could be taken for a header.
            Some(frame)
                if frame.offset == place.offset && place.position + frame.len <= self.limit =>
            {
                Ok(frame)
            }
            _ => Err(damaged),
        }
    }

    /// Walks from `from` to the first message for which `stop` holds, or to `upto`.
    pub(crate) fn find(
        &mut self,
        from: Boundary,
        upto: Offset,
        mut stop: impl FnMut(&MessageFrame, Boundary) -> bool,
    ) -> Result<Boundary, WalkError> {
        let mut place = from;
        while place.offset < upto {
            let frame = self.frame(place)?;
            if stop(&frame, place) {
                break;
            }
            place = after(place, &frame);
        }
        Ok(place)
    }

    /// Walks from `from` to the message `to`.
    pub(crate) fn reach(&mut self, from: Boundary, to: Offset) -> Result<Boundary, WalkError> {
        self.find(from, to, |_, _| false)
    }

    fn holds_header(&self, position: u64) -> bool {
        let end = self.buffer_at + self.buffer.len() as u64;
        position >= self.buffer_at && position + MESSAGE_HEADER_BYTES as u64 <= end
    }

    fn fill(&mut self, position: u64) -> io::Result<()> {
        // Not past the limit: what is behind it is being written, or was never part of the log.
        let left = self.limit.saturating_sub(position);
        let len = to_usize(left).min(self.chunk_bytes);
        self.buffer.resize(len, 0);
        self.buffer_at = position;
        let read = match self.effort {
            Effort::Disk => self.file.read_at(&mut self.buffer, position),
            Effort::Cache => self.file.read_cached_at(&mut self.buffer, position),
        };
        // What was there before is not what is at this position.
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| ())
    }
}

/// The place of the message after the one at `place`.
pub(crate) fn after(place: Boundary, frame: &MessageFrame) -> Boundary {
    Boundary {
        offset: Offset::new(place.offset.get().saturating_add(1)),
        position: place.position + frame.len,
    }
}

/// Checks that `bytes` are exactly the `count` messages from `first` on, each with its checksum.
///
/// # Errors
/// The first message that is not, with its position in `bytes`.
pub(crate) fn check_messages(bytes: &[u8], first: Offset, count: u32) -> Result<(), Boundary> {
    // All of them, before a byte is served: a message in the middle may be damaged, and the length of one decides where
    // the next begins.
    let mut place = Boundary { offset: first, position: 0 };
    for _ in 0..count {
        let rest = usize::try_from(place.position).ok().and_then(|at| bytes.get(at..));
        match rest.and_then(MessageFrame::parse_verified) {
            Some(frame) if frame.offset == place.offset => place = after(place, &frame),
            _ => return Err(place),
        }
    }
    if place.position == bytes.len() as u64 { Ok(()) } else { Err(place) }
}
