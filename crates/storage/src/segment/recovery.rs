//! Telling whole messages from damage in the bytes of a segment file.
//!
//! Part of INV-TAIL: what [`SegmentBytes::accept`] accepts is a chain of consecutive messages, each with a right checksum.

use super::Boundary;
use super::format::MessageFrame;
use super::reader::after;
use crate::disk::DiskFile;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::{part, to_usize};
use galgo_wire::limits::MESSAGE_HEADER_BYTES;
use std::io;
use std::ops::Range;

/// Bytes looked at with one read; a larger message is read by itself.
const WINDOW_BYTES: usize = 1 << 20;
const _: () = assert!(
    WINDOW_BYTES > MESSAGE_HEADER_BYTES,
    "a window shows at least where its first message ends"
);
/// Places behind damage that look like messages and are looked at more closely.
const CANDIDATES_MAX: usize = 1_000;

/// The bytes of a segment file that are searched: those below a limit.
#[derive(Clone, Copy)]
pub(crate) struct SegmentBytes<'a> {
    /// The file.
    pub(crate) file: &'a dyn DiskFile,
    /// Nothing at or behind this byte is looked at.
    pub(crate) limit: u64,
}

/// What the bytes at and behind an invalid message tell of how it came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Where whole messages of this log go on.
    pub(crate) resume: Option<Boundary>,
    /// The file ends inside of the message, as a write leaves it that was cut short.
    pub(crate) cut_short: bool,
    /// More messages than this do not fit into the bytes from here to the end.
    pub(crate) messages_max: u64,
}

impl<'a> SegmentBytes<'a> {
    /// The first `limit` bytes of `file`.
    pub(crate) fn new(file: &'a dyn DiskFile, limit: u64) -> Self {
        Self { file, limit }
    }

    /// Walks whole messages from `from` to `upto` (exclusive) or the first bad one; returns the place
    /// after the last good one. `each` gets every good message.
    ///
    /// A message is good when its offset follows, its timestamp is not before `last_timestamp` and those
    /// before it, it ends below the limit, and its checksum is right.
    pub(crate) fn accept(
        self,
        from: Boundary,
        upto: Option<Offset>,
        mut last_timestamp: Timestamp,
        mut each: impl FnMut(Boundary, &MessageFrame),
    ) -> io::Result<Boundary> {
        let mut window = FileWindow::new(self);
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
        self,
        from: u64,
        offsets: Range<Offset>,
    ) -> io::Result<Option<Boundary>> {
        let mut window = FileWindow::new(self);
        let mut position = from;
        while position + MESSAGE_HEADER_BYTES as u64 <= self.limit {
            let step = window.candidate(position, &offsets)?;
            let Some(found) = step else { return Ok(None) };
            if let Some(frame) = window.message(found)?
                && offsets.contains(&frame.offset)
            {
                return Ok(Some(Boundary { offset: frame.offset, position: found }));
            }
            // Byte by byte: where damage ends, nothing says that messages begin at a multiple of anything.
            position = found + 1;
        }
        Ok(None)
    }

    /// Looks at the bytes from the invalid message at `bad` to the limit, which is the end of the file.
    ///
    /// Reading may go on only where the messages lead to the end of the file, or to other damage behind
    /// which none of their offsets is found again: messages inside the payload of another lead nowhere, and
    /// what comes behind that one has their offsets.
    pub(crate) fn look_behind(
        self,
        bad: Boundary,
        last_timestamp: Timestamp,
    ) -> io::Result<Behind> {
        let limit = self.limit;
        let mut window = FileWindow::new(self);
        let header = window.bytes(bad.position, MESSAGE_HEADER_BYTES)?;
        let torn_header = header.is_none();
        let frame = header.and_then(MessageFrame::parse);
        let fills = frame.is_some_and(|frame| bad.position + frame.len == limit);
        let own = frame.filter(|frame| frame.offset == bad.offset);
        let next = own.map(|frame| after(bad, &frame));
        let within = next.filter(|next| next.position <= limit);
        let resume = match within {
            // Most often the header is right and only what is behind it is not.
            Some(next) if self.goes_on(next, last_timestamp)?.offset > next.offset => Some(next),
            _ => self.resume_by_search(bad, last_timestamp)?,
        };
        assert!(
            resume
                .is_none_or(|resume| resume.position > bad.position && resume.offset > bad.offset),
            "INV-RESUME: reading goes on behind the damage, never in it"
        );
        Ok(Behind {
            resume,
            // A header of ours that promises more bytes than there are: only the last write of a file ends so.
            cut_short: torn_header || (next.is_some() && within.is_none()),
            messages_max: match within {
                Some(next) => 1 + messages_in(next.position, limit),
                None if fills => 1,
                None => messages_in(bad.position, limit).max(1),
            },
        })
    }

    /// Where the messages from `from` on end that are whole and follow each other.
    fn goes_on(self, from: Boundary, last_timestamp: Timestamp) -> io::Result<Boundary> {
        if from.position >= self.limit {
            return Ok(from);
        }
        self.accept(from, None, last_timestamp, |_, _| {})
    }

    /// The first place behind the damage where messages go on that belong there.
    fn resume_by_search(
        self,
        bad: Boundary,
        last_timestamp: Timestamp,
    ) -> io::Result<Option<Boundary>> {
        let limit = self.limit;
        let first = Offset::new(bad.offset.get().saturating_add(1));
        let last = bad.offset.get().saturating_add(messages_in(bad.position, limit));
        let last = Offset::new(last.saturating_add(1));
        let mut from = bad.position + 1;
        for _ in 0..CANDIDATES_MAX {
            let found = self.next_valid(from, first..last)?;
            let Some(found) = found else { return Ok(None) };
            from = found.position + 1;
            // No message is shorter than its header, so that many have to fit in between.
            let fit = (found.position - bad.position) / MESSAGE_HEADER_BYTES as u64;
            if found.offset.get() - bad.offset.get() > fit {
                continue;
            }
            let end = self.goes_on(found, last_timestamp)?;
            let again = first..end.offset;
            if end.offset > found.offset
                && (end.position == limit || self.next_valid(end.position, again)?.is_none())
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether the messages from `from` chain, header by header, exactly into `to`.
    pub(crate) fn chains_into(
        file: &'a dyn DiskFile,
        from: Boundary,
        to: Boundary,
    ) -> io::Result<bool> {
        let mut window = FileWindow::new(Self::new(file, to.position));
        let mut place = from;
        while place.position < to.position && place.offset < to.offset {
            let header = window.bytes(place.position, MESSAGE_HEADER_BYTES)?;
            match header.and_then(MessageFrame::parse) {
                Some(frame) if frame.offset == place.offset => place = after(place, &frame),
                _ => return Ok(false),
            }
        }
        Ok(place == to)
    }
}

/// How many messages at most begin from `position` on.
fn messages_in(position: u64, limit: u64) -> u64 {
    limit.saturating_sub(position).div_ceil(MESSAGE_HEADER_BYTES as u64)
}

/// A moving view of a file.
struct FileWindow<'a> {
    of: SegmentBytes<'a>,
    at: u64,
    buffer: Vec<u8>,
}

impl<'a> FileWindow<'a> {
    fn new(of: SegmentBytes<'a>) -> Self {
        Self { of, at: 0, buffer: Vec::new() }
    }

    /// The `len` bytes at `position`; `None` when the file or the limit ends before.
    fn bytes(&mut self, position: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let end = position + len as u64;
        if end > self.of.limit {
            return Ok(None);
        }
        if position < self.at || end > self.at + self.buffer.len() as u64 {
            let most = to_usize(self.of.limit - position);
            // A message that is larger than a window is read whole; the length was compared with the limit above.
            self.buffer.resize(WINDOW_BYTES.max(len).min(most), 0);
            self.at = position;
            let read = self.of.file.read_at(&mut self.buffer, position)?;
            self.buffer.truncate(read);
        }
        let start = to_usize(position - self.at);
        Ok(self.buffer.get(start..).and_then(|rest| rest.get(..len)))
    }

    /// The frame of the message at `position`, when all of it is there and verifies.
    fn message(&mut self, position: u64) -> io::Result<Option<MessageFrame>> {
        let header = self.bytes(position, MESSAGE_HEADER_BYTES)?;
        let Some(frame) = header.and_then(MessageFrame::parse) else { return Ok(None) };
        let len = to_usize(frame.len);
        Ok(self.bytes(position, len)?.and_then(MessageFrame::parse_verified))
    }

    /// The first position from `from` on whose next bytes look like a header of these offsets.
    fn candidate(&mut self, from: u64, offsets: &Range<Offset>) -> io::Result<Option<u64>> {
        let mut position = from;
        while let Some(_header) = self.bytes(position, MESSAGE_HEADER_BYTES)? {
            let start = to_usize(position - self.at);
            let rest = part(&self.buffer, start.., "a window holds the header that was just read");
            for (ahead, header) in rest.windows(MESSAGE_HEADER_BYTES).enumerate() {
                // Cheap first: its checksum is taken only of what has an offset that is looked for, and room.
                let looks_right = MessageFrame::parse(header).is_some_and(|frame| {
                    offsets.contains(&frame.offset)
                        && position + ahead as u64 + frame.len <= self.of.limit
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
