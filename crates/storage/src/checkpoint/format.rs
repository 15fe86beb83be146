//! The bytes of a checkpoint file.
//!
//! ```text
//! 0       8         12      16         24    32               40        44       48
//! | magic | version | epoch | sequence | lsn | payload length | crc32 of payload | crc32 of 0..44 |
//! ```
//! The epoch is that of the owner of the journal, 0 in those of programs that did not write it down.
//!
//! Then the payload, counts as u32 and all other numbers as u64, little-endian. In version 1:
//!
//! ```text
//! logs:    count, then for each | uid | start | sealed count | sealed ... | has active u8 | active |
//!   sealed: | base | end | bytes | checksum | last timestamp |
//!   active: | base | durable bytes | durable end | last timestamp | has checksum u8 | checksum |
//! offsets: count, then for each | uid | consumer kind u8 | consumer id u32 | offset |
//! ```
//! In version 2 it is sections, `| tag u16 | flags u16 | length u32 | bytes |`, in any order. A section
//! that a program does not know it skips, unless flag 1 is set: then the checkpoint is not for it.
//!
//! ```text
//! 1 logs:    count, then for each | uid | start | next generation u32 | sealed count | sealed ... |
//!            | has active u8 | active, as in version 1 |
//!   sealed:  | base | end | generation u32 | kind u8 | place u8 | flags u16 | file bytes | bytes of messages |
//!            | messages | checksum | first timestamp | last timestamp |
//! 2 offsets: as in version 1
//! 9 notes:   count, then for each offset of section 2, in its order, | stored at | active at | mark of the user |
//! ```
//! Of what section 1 has room for this program writes: generations 0, kind 0 (a `.log`), place 1 (here),
//! no flags, first timestamp 0 (not written down). Anything else is from a later one.
//!
//! The lowest version is written that says what there is to say: 1 without notes.

use galgo_wire::id::{Epoch, Offset, PartitionUid, Timestamp};
use galgo_wire::index::{part_mut, to_u32};
use galgo_wire::primitive::{DecodeError, Reader};

use super::store::FILE_BYTES_MAX;
use super::{
    ActiveSegment, CheckpointedOffset, LogCheckpoint, OffsetNote, SealedSegment, ShardCheckpoint,
};
use crate::features::Feature;
use crate::journal::Lsn;
use crate::{COUNTER_MAX, EPOCH_MAX};

const MAGIC: [u8; 8] = *b"GALGOCKP";
/// The version without sections.
const PLAIN: u32 = 1;
/// The version with sections.
const SECTIONS: u32 = 2;
const HEADER_BYTES: usize = 48;

/// Bytes of a log without segments, of a sealed segment and of an offset, in the version that takes the fewest.
const LOG_BYTES_MIN: u64 = 8 + 8 + 4 + 1;
const SEALED_BYTES_MIN: u64 = 5 * 8;
const OFFSET_BYTES_MIN: u64 = 8 + 1 + 4 + 8;
/// How many times as much any of them takes in the version that takes the most, an active segment counted.
const GROWTH_MAX: u64 = 4;

const _: () = assert!(
    FILE_BYTES_MAX * GROWTH_MAX < u32::MAX as u64,
    "a section of a checkpoint that may fit into a file has a length of four bytes"
);

const LOGS: u16 = 1;
const OFFSETS: u16 = 2;
const NOTES: u16 = 9;
/// Whoever does not know the section may not use the checkpoint.
const NEEDED: u16 = 1;
/// A sealed segment is a `.log` in its partition's directory, of the first generation, without flags.
const LOG_HERE: (u32, u8, u8, u16) = (0, 0, 1, 0);

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Of a version this program does not know.
    Newer(u32),
    /// It has a section, or a segment, that this program does not know and may not skip.
    Unknown,
    Damaged,
}

impl From<DecodeError> for Invalid {
    fn from(_: DecodeError) -> Self {
        Self::Damaged
    }
}

/// What a program has to know to read the file [`encode`] makes.
pub(super) fn needs(checkpoint: &ShardCheckpoint) -> Option<Feature> {
    let noted = checkpoint.offsets.iter().any(|stored| stored.note.is_some());
    noted.then_some(Feature::Checkpoint2)
}

/// Bytes that a checkpoint takes at least, in whatever version: told without encoding it.
pub(super) fn least_bytes(checkpoint: &ShardCheckpoint) -> u64 {
    let segments: usize = checkpoint.logs.values().map(|log| log.sealed.len()).sum();
    let (logs, offsets) = (checkpoint.logs.len() as u64, checkpoint.offsets.len() as u64);
    logs * LOG_BYTES_MIN + segments as u64 * SEALED_BYTES_MIN + offsets * OFFSET_BYTES_MIN
}

/// Encodes a checkpoint file.
///
/// # Panics
/// When a section has 4 GiB or more, which one whose [`least_bytes`] fit into a file has not.
pub(crate) fn encode(sequence: u64, checkpoint: &ShardCheckpoint) -> Vec<u8> {
    // The lowest version that can say it: a directory in which nothing new was used stays open to older programs.
    let (version, payload) = match needs(checkpoint) {
        Some(Feature::Checkpoint2) => (SECTIONS, encode_sections(checkpoint)),
        None => (PLAIN, encode_plain(checkpoint)),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&version.to_le_bytes());
    let epoch = u32::try_from(checkpoint.epoch.get()).ok();
    let Some(epoch) = epoch else {
        unreachable!("INV-EPOCH: a journal has fewer than 2^32 owners")
    };
    out.extend_from_slice(&epoch.to_le_bytes());
    put(&mut out, sequence);
    put(&mut out, checkpoint.lsn.get());
    put(&mut out, payload.len() as u64);
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    let header_crc = crc32fast::hash(&out);
    out.extend_from_slice(&header_crc.to_le_bytes());
    assert!(out.len() == HEADER_BYTES, "the payload begins where the header ends");
    out.extend_from_slice(&payload);
    out
}

/// Decodes a checkpoint file into its sequence number and content.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, ShardCheckpoint), Invalid> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(Invalid::Damaged)?;
    let (covered, header_crc) =
        header.split_at_checked(HEADER_BYTES - 4).ok_or(Invalid::Damaged)?;
    if crc32fast::hash(covered).to_le_bytes() != header_crc {
        return Err(Invalid::Damaged);
    }
    let mut reader = Reader::new(covered);
    let mut read = || {
        let magic = reader.array::<8>()?;
        let (version, epoch) = (reader.u32()?, reader.u32()?);
        Ok::<_, DecodeError>((
            magic,
            version,
            epoch,
            reader.u64()?,
            reader.u64()?,
            reader.u64()?,
            reader.u32()?,
        ))
    };
    let (magic, version, epoch, sequence, lsn, len, crc) = read().map_err(|_| Invalid::Damaged)?;
    let counts = sequence <= COUNTER_MAX && lsn <= COUNTER_MAX && u64::from(epoch) < EPOCH_MAX;
    if magic != MAGIC || len != payload.len() as u64 || !counts {
        return Err(Invalid::Damaged);
    }
    // Before the payload is looked at, which a later version may check in another way. The header's own checksum was
    // right, so that damage is not taken for a newer program.
    if !(PLAIN..=SECTIONS).contains(&version) {
        return Err(Invalid::Newer(version));
    }
    if crc32fast::hash(payload) != crc {
        return Err(Invalid::Damaged);
    }
    let mut checkpoint = match version {
        PLAIN => decode_plain(payload)?,
        _ => decode_sections(payload)?,
    };
    checkpoint.lsn = Lsn::new(lsn);
    checkpoint.epoch = Epoch::new(u64::from(epoch));
    Ok((sequence, checkpoint))
}

fn encode_plain(checkpoint: &ShardCheckpoint) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, checkpoint.logs.len());
    for (uid, log) in &checkpoint.logs {
        put(&mut out, uid.get());
        encode_log(&mut out, log);
    }
    encode_offsets(&mut out, &checkpoint.offsets);
    out
}

fn encode_sections(checkpoint: &ShardCheckpoint) -> Vec<u8> {
    let mut out = Vec::new();
    put_section(&mut out, LOGS, NEEDED, |out| {
        put_count(out, checkpoint.logs.len());
        for (uid, log) in &checkpoint.logs {
            put(out, uid.get());
            encode_segments(out, log);
        }
    });
    put_section(&mut out, OFFSETS, NEEDED, |out| encode_offsets(out, &checkpoint.offsets));
    put_section(&mut out, NOTES, 0, |out| {
        put_count(out, checkpoint.offsets.len());
        for stored in &checkpoint.offsets {
            let unknown = OffsetNote {
                stored_at: Timestamp::ZERO,
                active_at: Timestamp::ZERO,
                user: OffsetNote::NOBODY,
            };
            let note = stored.note.unwrap_or(unknown);
            put(out, note.stored_at.get());
            put(out, note.active_at.get());
            put(out, note.user);
        }
    });
    out
}

fn put_section(out: &mut Vec<u8>, tag: u16, flags: u16, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    let length = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    // The store refuses a checkpoint long before it is as large as a length can tell; see `least_bytes`.
    let bytes = to_u32(out.len() - length - 4).to_le_bytes();
    let room = part_mut(out, length..length + 4, "room for the length was made before the section");
    room.copy_from_slice(&bytes);
}

fn encode_offsets(out: &mut Vec<u8>, offsets: &[CheckpointedOffset]) {
    put_count(out, offsets.len());
    for CheckpointedOffset { uid, kind, id, offset, .. } in offsets {
        put(out, uid.get());
        out.push(*kind);
        out.extend_from_slice(&id.to_le_bytes());
        put(out, offset.get());
    }
}

/// A log as section 1 has it.
fn encode_segments(out: &mut Vec<u8>, log: &LogCheckpoint) {
    let (generation, kind, place, flags) = LOG_HERE;
    put(out, log.start.get());
    out.extend_from_slice(&generation.to_le_bytes());
    put_count(out, log.sealed.len());
    for segment in &log.sealed {
        put(out, segment.base.get());
        put(out, segment.end.get());
        out.extend_from_slice(&generation.to_le_bytes());
        out.extend_from_slice(&[kind, place]);
        out.extend_from_slice(&flags.to_le_bytes());
        put(out, segment.bytes);
        put(out, segment.bytes);
        put(out, segment.end.get().saturating_sub(segment.base.get()));
        put(out, segment.checksum);
        put(out, Timestamp::ZERO.get());
        put(out, segment.last_timestamp.get());
    }
    encode_active(out, log.active.as_ref());
}

fn encode_log(out: &mut Vec<u8>, log: &LogCheckpoint) {
    put(out, log.start.get());
    put_count(out, log.sealed.len());
    for segment in &log.sealed {
        put(out, segment.base.get());
        put(out, segment.end.get());
        put(out, segment.bytes);
        put(out, segment.checksum);
        put(out, segment.last_timestamp.get());
    }
    encode_active(out, log.active.as_ref());
}

fn encode_active(out: &mut Vec<u8>, active: Option<&ActiveSegment>) {
    out.push(u8::from(active.is_some()));
    if let Some(active) = active {
        put(out, active.base.get());
        put(out, active.durable_bytes);
        put(out, active.durable_end.get());
        put(out, active.last_timestamp.get());
        out.push(u8::from(active.running_checksum.is_some()));
        put(out, active.running_checksum.unwrap_or_default());
    }
}

fn decode_plain(payload: &[u8]) -> Result<ShardCheckpoint, Invalid> {
    let mut reader = Reader::new(payload);
    let mut checkpoint = ShardCheckpoint::default();
    for _ in 0..reader.u32()? {
        let uid = PartitionUid::new(reader.u64()?);
        checkpoint.logs.insert(uid, decode_log(&mut reader)?);
    }
    checkpoint.offsets = decode_offsets(&mut reader)?;
    Ok(checkpoint)
}

fn decode_sections(payload: &[u8]) -> Result<ShardCheckpoint, Invalid> {
    let mut reader = Reader::new(payload);
    let mut checkpoint = ShardCheckpoint::default();
    let mut notes = Vec::new();
    while !reader.is_empty() {
        let (tag, flags) = (reader.u16()?, reader.u16()?);
        let len = usize::try_from(reader.u32()?).map_err(|_| Invalid::Damaged)?;
        let mut section = Reader::new(reader.bytes(len)?);
        match tag {
            LOGS => {
                for _ in 0..section.u32()? {
                    let uid = PartitionUid::new(section.u64()?);
                    checkpoint.logs.insert(uid, decode_segments(&mut section)?);
                }
            }
            OFFSETS => checkpoint.offsets = decode_offsets(&mut section)?,
            NOTES => notes = decode_notes(&mut section)?,
            _ if flags & NEEDED != 0 => return Err(Invalid::Unknown),
            // What a later version adds, and says itself can be done without.
            _ => {}
        }
    }
    // Notes belong to offsets by their place alone, whichever section came first.
    if !notes.is_empty() && notes.len() != checkpoint.offsets.len() {
        return Err(Invalid::Damaged);
    }
    for (stored, note) in checkpoint.offsets.iter_mut().zip(notes) {
        stored.note = Some(note).filter(|note| note.stored_at > Timestamp::ZERO);
    }
    Ok(checkpoint)
}

fn decode_offsets(reader: &mut Reader<'_>) -> Result<Vec<CheckpointedOffset>, DecodeError> {
    // Without room for as many as the count says, here and below: a count is believed only as far as there are bytes.
    let mut offsets = Vec::new();
    for _ in 0..reader.u32()? {
        let uid = PartitionUid::new(reader.u64()?);
        let (kind, id, offset) = (reader.u8()?, reader.u32()?, Offset::new(reader.u64()?));
        offsets.push(CheckpointedOffset { uid, kind, id, offset, note: None });
    }
    Ok(offsets)
}

fn decode_notes(reader: &mut Reader<'_>) -> Result<Vec<OffsetNote>, DecodeError> {
    let mut notes = Vec::new();
    for _ in 0..reader.u32()? {
        notes.push(OffsetNote {
            stored_at: Timestamp::new(reader.u64()?),
            active_at: Timestamp::new(reader.u64()?),
            user: reader.u64()?,
        });
    }
    Ok(notes)
}

/// A log as section 1 has it.
fn decode_segments(reader: &mut Reader<'_>) -> Result<LogCheckpoint, Invalid> {
    let start = Offset::new(reader.u64()?);
    // What numbers later files of the log; this program makes none.
    reader.u32()?;
    let mut sealed = Vec::new();
    for _ in 0..reader.u32()? {
        let (base, end) = (Offset::new(reader.u64()?), Offset::new(reader.u64()?));
        let form = (reader.u32()?, reader.u8()?, reader.u8()?, reader.u16()?);
        let (file_bytes, bytes, _messages) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (checksum, _first_timestamp) = (reader.u64()?, reader.u64()?);
        let last_timestamp = Timestamp::new(reader.u64()?);
        // Not damage: a later program puts segments elsewhere. Read as if they were here they would be missing, and
        // fenced.
        if form != LOG_HERE || file_bytes != bytes {
            return Err(Invalid::Unknown);
        }
        sealed.push(SealedSegment { base, end, bytes, checksum, last_timestamp });
    }
    let active = if reader.bool()? { Some(decode_active(reader)?) } else { None };
    Ok(LogCheckpoint { start, sealed, active })
}

fn decode_log(reader: &mut Reader<'_>) -> Result<LogCheckpoint, DecodeError> {
    let start = Offset::new(reader.u64()?);
    let mut sealed = Vec::new();
    for _ in 0..reader.u32()? {
        sealed.push(SealedSegment {
            base: Offset::new(reader.u64()?),
            end: Offset::new(reader.u64()?),
            bytes: reader.u64()?,
            checksum: reader.u64()?,
            last_timestamp: Timestamp::new(reader.u64()?),
        });
    }
    let active = if reader.bool()? { Some(decode_active(reader)?) } else { None };
    Ok(LogCheckpoint { start, sealed, active })
}

fn decode_active(reader: &mut Reader<'_>) -> Result<ActiveSegment, DecodeError> {
    let (base, durable_bytes, durable_end) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let last_timestamp = Timestamp::new(reader.u64()?);
    let has_checksum = reader.bool()?;
    let checksum = reader.u64()?;
    Ok(ActiveSegment {
        base: Offset::new(base),
        durable_bytes,
        durable_end: Offset::new(durable_end),
        last_timestamp,
        running_checksum: has_checksum.then_some(checksum),
    })
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&to_u32(count).to_le_bytes());
}
