//! The bytes of a checkpoint file.
//!
//! ```text
//! 0       8         12         16         24    32               40        44       48
//! | magic | version | reserved | sequence | lsn | payload length | crc32 of payload | crc32 of 0..44 |
//! ```
//! Then the payload, counts as u32 and all other numbers as u64, little-endian:
//!
//! ```text
//! logs:    count, then for each | uid | start | sealed count | sealed ... | has active u8 | active |
//!   sealed: | base | end | bytes | checksum | last timestamp |
//!   active: | base | durable bytes | durable end | last timestamp | has checksum u8 | checksum |
//! offsets: count, then for each | uid | consumer kind u8 | consumer id u32 | offset |
//! ```

use galgo_wire::id::{Offset, PartitionUid, Timestamp};
use galgo_wire::primitive::{DecodeError, Reader};

use super::{ActiveSegment, LogCheckpoint, SealedSegment, ShardCheckpoint};
use crate::journal::Lsn;

const MAGIC: [u8; 8] = *b"GALGOCKP";
/// Version of the format this program writes.
pub(super) const VERSION: u32 = 1;
const HEADER_BYTES: usize = 48;

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
    Newer(u32),
    Damaged,
}

/// Encodes a checkpoint file.
pub(super) fn encode(sequence: u64, checkpoint: &ShardCheckpoint) -> Vec<u8> {
    let payload = encode_payload(checkpoint);
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    put(&mut out, sequence);
    put(&mut out, checkpoint.lsn.get());
    put(&mut out, payload.len() as u64);
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    let header_crc = crc32fast::hash(&out);
    out.extend_from_slice(&header_crc.to_le_bytes());
    out.extend_from_slice(&payload);
    out
}

/// Decodes a checkpoint file into its sequence number and content.
pub(super) fn decode(bytes: &[u8]) -> Result<(u64, ShardCheckpoint), Invalid> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(Invalid::Damaged)?;
    let (covered, header_crc) =
        header.split_at_checked(HEADER_BYTES - 4).ok_or(Invalid::Damaged)?;
    if crc32fast::hash(covered).to_le_bytes() != header_crc {
        return Err(Invalid::Damaged);
    }
    let mut reader = Reader::new(covered);
    let mut read = || {
        let magic = reader.array::<8>()?;
        let version = reader.u32()?;
        reader.u32()?;
        Ok::<_, DecodeError>((
            magic,
            version,
            reader.u64()?,
            reader.u64()?,
            reader.u64()?,
            reader.u32()?,
        ))
    };
    let (magic, version, sequence, lsn, len, crc) = read().map_err(|_| Invalid::Damaged)?;
    if magic != MAGIC || len != payload.len() as u64 {
        return Err(Invalid::Damaged);
    }
    if version != VERSION {
        return Err(Invalid::Newer(version));
    }
    if crc32fast::hash(payload) != crc {
        return Err(Invalid::Damaged);
    }
    let mut checkpoint = decode_payload(payload).map_err(|_| Invalid::Damaged)?;
    checkpoint.lsn = Lsn::new(lsn);
    Ok((sequence, checkpoint))
}

fn encode_payload(checkpoint: &ShardCheckpoint) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, checkpoint.logs.len());
    for (uid, log) in &checkpoint.logs {
        put(&mut out, uid.get());
        encode_log(&mut out, log);
    }
    put_count(&mut out, checkpoint.offsets.len());
    for (uid, kind, id, offset) in &checkpoint.offsets {
        put(&mut out, uid.get());
        out.push(*kind);
        out.extend_from_slice(&id.to_le_bytes());
        put(&mut out, offset.get());
    }
    out
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
    out.push(u8::from(log.active.is_some()));
    if let Some(active) = &log.active {
        put(out, active.base.get());
        put(out, active.durable_bytes);
        put(out, active.durable_end.get());
        put(out, active.last_timestamp.get());
        out.push(u8::from(active.running_checksum.is_some()));
        put(out, active.running_checksum.unwrap_or_default());
    }
}

fn decode_payload(payload: &[u8]) -> Result<ShardCheckpoint, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut checkpoint = ShardCheckpoint::default();
    for _ in 0..reader.u32()? {
        let uid = PartitionUid::new(reader.u64()?);
        checkpoint.logs.insert(uid, decode_log(&mut reader)?);
    }
    for _ in 0..reader.u32()? {
        let uid = PartitionUid::new(reader.u64()?);
        let (kind, id) = (reader.u8()?, reader.u32()?);
        checkpoint.offsets.push((uid, kind, id, Offset::new(reader.u64()?)));
    }
    Ok(checkpoint)
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
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}
