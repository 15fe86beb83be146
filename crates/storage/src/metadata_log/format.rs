//! Bytes of the metadata log. All numbers are little-endian; all checksums are CRC-32.
//!
//! A log file is named by the sequence number of its first record, `<20 digits>.log`:
//! ```text
//! 0          8         12      16               24      28      32
//! | "GALGOMTL" | version | zeros | first sequence | crc32 | zeros | records ...
//! ```
//! `crc32` covers the 24 bytes before it. Records follow, each at a multiple of 8 bytes:
//! ```text
//! 0        4     8          16              20             24        24 + len
//! | "grec" | len | sequence | payload crc32 | header crc32 | payload | zeros to a multiple of 8 |
//! ```
//! `header crc32` covers the 20 bytes before it. Sequence numbers start at 1 and are consecutive.
//!
//! The file `snapshot` holds the state after the record `sequence`:
//! ```text
//! 0            8         12      16         24    32              36             40
//! | "GALGOMTS" | version | zeros | sequence | len | payload crc32 | header crc32 | payload |
//! ```

use galgo_wire::index::to_u32;

use crate::COUNTER_MAX;
/// First bytes of a log file.
pub const LOG_MAGIC: [u8; 8] = *b"GALGOMTL";
/// First bytes of a snapshot.
pub const SNAPSHOT_MAGIC: [u8; 8] = *b"GALGOMTS";
/// First bytes of a record.
pub const RECORD_MAGIC: [u8; 4] = *b"grec";
/// Version of the files this program writes.
pub const VERSION: u32 = 1;
/// Bytes of a log file before its first record.
pub const LOG_HEADER_BYTES: usize = 32;
/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 24;
/// Bytes of a snapshot before its payload.
pub const SNAPSHOT_HEADER_BYTES: usize = 40;
/// What records are aligned to.
pub const RECORD_ALIGN: usize = 8;

const _: () = assert!(
    LOG_HEADER_BYTES.is_multiple_of(RECORD_ALIGN),
    "the first record is as aligned as any other"
);

const LOG_CRC_AT: usize = 24;
const _: () = assert!(
    LOG_CRC_AT + 4 <= LOG_HEADER_BYTES,
    "the checksum of a log file is in front of its records"
);
const RECORD_CRC_AT: usize = 20;
const SNAPSHOT_CRC_AT: usize = 36;
const _: () = assert!(
    RECORD_CRC_AT + 4 == RECORD_HEADER_BYTES && SNAPSHOT_CRC_AT + 4 == SNAPSHOT_HEADER_BYTES,
    "the checksum of a header covers all of it"
);

/// Why the start of a file is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileHeaderError {
    /// Not a sound header.
    Damaged,
    /// Of a newer version.
    Newer(u32),
}

/// The start of a log file whose first record has the number `first`.
pub fn encode_log_header(first: u64) -> [u8; LOG_HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(LOG_HEADER_BYTES);
    bytes.extend_from_slice(&LOG_MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    padded(&bytes)
}

/// Reads the start of a log file: the number of its first record.
///
/// # Errors
/// See [`FileHeaderError`].
pub fn decode_log_header(bytes: &[u8]) -> Result<u64, FileHeaderError> {
    let bytes = bytes.get(..LOG_HEADER_BYTES).ok_or(FileHeaderError::Damaged)?;
    let fields = checked_fields(bytes, LOG_MAGIC, LOG_CRC_AT)?;
    u64_at(fields, 16).filter(|first| *first <= COUNTER_MAX).ok_or(FileHeaderError::Damaged)
}

/// A record with its header and padding.
pub fn encode_record(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(record_bytes(payload.len()));
    bytes.extend_from_slice(&RECORD_MAGIC);
    bytes.extend_from_slice(&to_u32(payload.len()).to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    assert!(bytes.len() == RECORD_HEADER_BYTES, "the payload begins where the header ends");
    bytes.extend_from_slice(payload);
    bytes.resize(record_bytes(payload.len()), 0);
    bytes
}

/// A sound record found in a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataRecord<'a> {
    /// Its number.
    pub sequence: u64,
    /// What it carries.
    pub payload: &'a [u8],
}

impl MetadataRecord<'_> {
    /// Bytes it takes in its file.
    pub fn bytes(&self) -> usize {
        record_bytes(self.payload.len())
    }
}

/// Reads the record at the start of `bytes`; `None` when there is no sound one.
pub fn decode_record(bytes: &[u8]) -> Option<MetadataRecord<'_>> {
    let (fields, _) = bytes.split_at_checked(RECORD_CRC_AT)?;
    if !fields.starts_with(&RECORD_MAGIC)
        || u32_at(bytes, RECORD_CRC_AT)? != crc32fast::hash(fields)
    {
        return None;
    }
    // Behind the header's checksum: a length that is damaged would have all behind it looked at as a payload.
    let len = usize::try_from(u32_at(fields, 4)?).ok()?;
    let payload = bytes.get(RECORD_HEADER_BYTES..)?.get(..len)?;
    let whole = bytes.len() >= record_bytes(len) && u32_at(fields, 16)? == crc32fast::hash(payload);
    // Each number has a next one, which the next record gets.
    let sequence = u64_at(fields, 8)?;
    (whole && sequence <= COUNTER_MAX).then_some(MetadataRecord { sequence, payload })
}

/// Bytes a record with such a payload takes in its file.
pub fn record_bytes(payload_len: usize) -> usize {
    (RECORD_HEADER_BYTES + payload_len).next_multiple_of(RECORD_ALIGN)
}

/// The whole snapshot file.
pub fn encode_snapshot(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SNAPSHOT_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&SNAPSHOT_MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    assert!(bytes.len() == SNAPSHOT_HEADER_BYTES, "the state begins where the header ends");
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads a whole snapshot file: the number of the last record it covers, and the state.
///
/// # Errors
/// See [`FileHeaderError`].
pub fn decode_snapshot(bytes: &[u8]) -> Result<(u64, &[u8]), FileHeaderError> {
    let fields = checked_fields(bytes, SNAPSHOT_MAGIC, SNAPSHOT_CRC_AT)?;
    let payload = bytes.get(SNAPSHOT_HEADER_BYTES..).ok_or(FileHeaderError::Damaged)?;
    let sound = u64_at(fields, 24) == Some(payload.len() as u64)
        && u32_at(fields, 32) == Some(crc32fast::hash(payload));
    match u64_at(fields, 16) {
        Some(sequence) if sound && sequence <= COUNTER_MAX => Ok((sequence, payload)),
        _ => Err(FileHeaderError::Damaged),
    }
}

/// The fields of a file header, once its magic, checksum and version are right.
fn checked_fields(bytes: &[u8], magic: [u8; 8], crc_at: usize) -> Result<&[u8], FileHeaderError> {
    let (fields, _) = bytes.split_at_checked(crc_at).ok_or(FileHeaderError::Damaged)?;
    // The checksum before the version: a flipped bit must not pass for a newer program, which nobody has.
    if !fields.starts_with(&magic) || u32_at(bytes, crc_at) != Some(crc32fast::hash(fields)) {
        return Err(FileHeaderError::Damaged);
    }
    match u32_at(fields, 8) {
        Some(version) if version <= VERSION => Ok(fields),
        Some(version) => Err(FileHeaderError::Newer(version)),
        None => Err(FileHeaderError::Damaged),
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
