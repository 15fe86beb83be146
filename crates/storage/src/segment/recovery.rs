//! Telling whole messages from damage in the bytes of a segment file.
//!
//! INV-TAIL: what [`accept`] accepts is a chain of consecutive messages, each with a right checksum.

use super::Place;
use super::format::Frame;
use super::reader::after;
use crate::disk::DiskFile;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::limits::MESSAGE_HEADER_BYTES;
use std::io;

/// Bytes looked at with one read; a larger message is read by itself.
const WINDOW_BYTES: usize = 1 << 20;

/// Walks whole messages from `from` to `upto` (exclusive) or the first bad one; returns the place
/// after the last good one. `each` gets every good message.
///
/// A message is good when its offset follows, its timestamp is not before `last_timestamp` and those
/// before it, it ends within the first `limit` bytes, and its checksum is right.
pub(crate) fn accept(
    file: &dyn DiskFile,
    (from, limit): (Place, u64),
    upto: Option<Offset>,
    mut last_timestamp: Timestamp,
    mut each: impl FnMut(Place, &Frame),
) -> io::Result<Place> {
    let mut window = Window::new(file, limit);
    let mut place = from;
    while upto.is_none_or(|upto| place.offset < upto) {
        let Some(frame) = window.message(place.position)? else { break };
        if frame.offset != place.offset || frame.timestamp < last_timestamp {
            break;
        }
        each(place, &frame);
        last_timestamp = frame.timestamp;
        place = after(place, &frame);
    }
    Ok(place)
}

/// The first whole message at or after byte `from` with an offset in `offsets`.
pub(crate) fn next_valid(
    file: &dyn DiskFile,
    (from, limit): (u64, u64),
    offsets: std::ops::Range<Offset>,
) -> io::Result<Option<Place>> {
    let mut window = Window::new(file, limit);
    let mut position = from;
    while position + MESSAGE_HEADER_BYTES as u64 <= limit {
        let step = window.candidate(position, &offsets)?;
        let Some(found) = step else { return Ok(None) };
        if let Some(frame) = window.message(found)?
            && offsets.contains(&frame.offset)
        {
            return Ok(Some(Place { offset: frame.offset, position: found }));
        }
        position = found + 1;
    }
    Ok(None)
}

/// Whether the messages from `from` chain, header by header, exactly into `to`.
pub(crate) fn chains_into(file: &dyn DiskFile, from: Place, to: Place) -> io::Result<bool> {
    let mut window = Window::new(file, to.position);
    let mut place = from;
    while place.position < to.position && place.offset < to.offset {
        let header = window.bytes(place.position, MESSAGE_HEADER_BYTES)?;
        match header.and_then(Frame::parse) {
            Some(frame) if frame.offset == place.offset => place = after(place, &frame),
            _ => return Ok(false),
        }
    }
    Ok(place == to)
}

/// A moving view of a file.
struct Window<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    at: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn DiskFile, limit: u64) -> Self {
        Self { file, limit, at: 0, buffer: Vec::new() }
    }

    /// The `len` bytes at `position`; `None` when the file or the limit ends before.
    fn bytes(&mut self, position: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let end = position + len as u64;
        if end > self.limit {
            return Ok(None);
        }
        if position < self.at || end > self.at + self.buffer.len() as u64 {
            let most = usize::try_from(self.limit - position).unwrap_or(usize::MAX);
            self.buffer.resize(WINDOW_BYTES.max(len).min(most), 0);
            self.at = position;
            let read = self.file.read_at(&mut self.buffer, position)?;
            self.buffer.truncate(read);
        }
        let start = usize::try_from(position - self.at).unwrap_or(usize::MAX);
        Ok(self.buffer.get(start..).and_then(|rest| rest.get(..len)))
    }

    /// The frame of the message at `position`, when all of it is there and verifies.
    fn message(&mut self, position: u64) -> io::Result<Option<Frame>> {
        let header = self.bytes(position, MESSAGE_HEADER_BYTES)?;
        let Some(frame) = header.and_then(Frame::parse) else { return Ok(None) };
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
        Ok(self.bytes(position, len)?.and_then(Frame::parse_verified))
    }

    /// The first position from `from` on whose next bytes look like a header of these offsets.
    fn candidate(
        &mut self,
        from: u64,
        offsets: &std::ops::Range<Offset>,
    ) -> io::Result<Option<u64>> {
        let mut position = from;
        while let Some(_header) = self.bytes(position, MESSAGE_HEADER_BYTES)? {
            let start = usize::try_from(position - self.at).unwrap_or(usize::MAX);
            let rest = self.buffer.get(start..).unwrap_or_default();
            for (ahead, header) in rest.windows(MESSAGE_HEADER_BYTES).enumerate() {
                let looks_right = Frame::parse(header).is_some_and(|frame| {
                    offsets.contains(&frame.offset)
                        && position + ahead as u64 + frame.len <= self.limit
                });
                if looks_right {
                    return Ok(Some(position + ahead as u64));
                }
            }
            position += (rest.len() - MESSAGE_HEADER_BYTES + 1) as u64;
        }
        Ok(None)
    }
}
