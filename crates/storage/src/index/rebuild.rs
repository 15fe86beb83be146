//! Loads the index of a segment and makes up from the log's headers what the file lacks.
//!
//! INV-INDEX holds whatever the file says: entries past the end are left out, bad ones are made
//! again, and the reader confirms each entry it lands on.

use super::format::{
    ENTRY_BYTES, HEADER_BYTES, decode_entry, encode_entry, encode_header, is_header_of,
};
use super::{Index, IndexEntry, IndexMarker, follows};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::segment::Boundary;
use crate::segment::format::MessageFrame;
use crate::segment::reader::{SegmentWalk, WalkError, after};
use crate::segment::recovery::SegmentBytes;
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::path::Path;

use galgo_wire::index::{part, to_usize};

/// The part of a segment that an index describes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexSpan {
    /// Offset of the first message.
    pub(crate) base: Offset,
    /// The place after the last message described.
    pub(crate) end: Boundary,
    /// Least distance between entries.
    pub(crate) interval_bytes: u32,
}

/// The slots of an index file that describe `span`; `None` for a slot that is bad. A file that is
/// missing, unreadable or of another segment has none.
pub(crate) fn load(disk: &dyn Disk, path: &Path, span: IndexSpan) -> Vec<Option<IndexEntry>> {
    // Whatever the reason: the log has all that was in it.
    let Ok(bytes) = read_whole(disk, path) else { return Vec::new() };
    if !is_header_of(&bytes, span.base) {
        return Vec::new();
    }
    let mut last: Option<IndexEntry> = None;
    let mut slots = Vec::new();
    let entries = part(&bytes, HEADER_BYTES.., "a file with a sound header has one");
    for slot in entries.chunks(ENTRY_BYTES) {
        let entry = decode_entry(span.base, slot);
        let entry = entry.filter(|entry| last.is_none_or(|last| follows(&last, entry)));
        if let Some(entry) = entry {
            let place = entry.place(span.base);
            // INV-INDEX: of messages that were taken back, or of what a crash cut off. Those behind it are so, too.
            if place.position >= span.end.position || place.offset >= span.end.offset {
                break;
            }
            last = Some(entry);
        }
        slots.push(entry);
    }
    slots
}

/// Fills bad slots, a missing start and a missing end from the headers in `log`.
pub(crate) fn complete(
    log: &dyn DiskFile,
    span: IndexSpan,
    slots: Vec<Option<IndexEntry>>,
) -> io::Result<Index> {
    let mut index = Index::default();
    let mut hole = slots.first().is_none_or(|slot| slot.is_none_or(|entry| entry.position != 0));
    for slot in slots {
        let Some(entry) = slot else {
            hole = true;
            continue;
        };
        // A bad slot costs a walk up to the next good one, not the whole segment.
        if std::mem::take(&mut hole) {
            fill(log, span, entry.place(span.base), &mut index)?;
        }
        index.push(entry);
    }
    fill(log, span, span.end, &mut index)?;
    Ok(index)
}

/// Replaces an index file. A hint: neither synced nor atomic.
pub(crate) fn store(
    disk: &dyn Disk,
    path: &Path,
    span: IndexSpan,
    index: &Index,
) -> io::Result<()> {
    let mut bytes = encode_header(span.base, span.interval_bytes);
    for entry in index.entries() {
        encode_entry(span.base, entry, &mut bytes);
    }
    // Written over and cut afterwards: whoever reads it in between finds entries that are good by themselves, or none.
    let file = disk.open(path, OpenMode::Create)?;
    file.write_at(&bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

/// Adds entries for the messages between the last entry and `to`. Damage is stepped over: the first
/// good message after it gets an entry.
fn fill(log: &dyn DiskFile, span: IndexSpan, to: Boundary, index: &mut Index) -> io::Result<()> {
    let last = index.entries().last().map(|entry| entry.place(span.base));
    let mut marker = IndexMarker::new(span.interval_bytes, last.map(|last| last.position));
    let mut from = last.unwrap_or(Boundary { offset: span.base, position: 0 });
    let chunk_bytes = to_usize(span.interval_bytes);
    let mut walk = SegmentWalk::new(log, span.end.position, chunk_bytes);
    loop {
        let walked = walk.find(from, to.offset, |frame, place| {
            // Where offsets and bytes disagree, behind damage, the nearer of the two ends it.
            if place.position >= to.position {
                return true;
            }
            if marker.wants(place.position) && is_whole(log, place, frame) {
                marker.marked(place.position);
                mark(index, span.base, place, frame.timestamp);
            }
            false
        });
        let damaged = match walked {
            Ok(_) => return Ok(()),
            Err(WalkError::Damaged(place)) => place,
            Err(WalkError::Disk(error)) => return Err(error),
        };
        let Some(good) = resume(log, damaged, to)? else { return Ok(()) };
        if let Ok(frame) = walk.frame(good) {
            marker = IndexMarker::new(span.interval_bytes, Some(good.position));
            mark(index, span.base, good, frame.timestamp);
            from = after(good, &frame);
        } else {
            return Ok(());
        }
    }
}

/// Whether the message is what its checksum says: a wrong timestamp would mislead every search.
fn is_whole(log: &dyn DiskFile, place: Boundary, frame: &MessageFrame) -> bool {
    let mut message = vec![0; usize::try_from(frame.len).unwrap_or(0)];
    log.read_exact_at(&mut message, place.position).is_ok()
        && MessageFrame::parse_verified(&message).as_ref() == Some(frame)
}

/// The first good message behind the damage at `bad`, if messages go on there.
fn resume(log: &dyn DiskFile, bad: Boundary, to: Boundary) -> io::Result<Option<Boundary>> {
    let behind = SegmentBytes::new(log, to.position).look_behind(bad, Timestamp::ZERO)?;
    Ok(behind.resume.filter(|resume| resume.offset < to.offset))
}

fn mark(index: &mut Index, base: Offset, place: Boundary, timestamp: Timestamp) {
    if let Some(entry) = IndexEntry::of(base, place, timestamp) {
        index.push(entry);
    }
}

fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
