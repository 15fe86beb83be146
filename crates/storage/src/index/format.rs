//! Bytes of an `.index` file, version 1.
//!
//! ```text
//! 0       8         12         16     24      28         32
//! | magic | version | interval | base | crc32 | reserved | entries ...
//!
//! 0                 4          8           16      20
//! | relative offset | position | timestamp | crc32 |
//! ```
//! All numbers little-endian. The header's checksum covers bytes 0 to 24; an entry's covers the base
//! (8 bytes) and bytes 0 to 16 of the entry, so an entry of another segment is not mistaken for one
//! of this. Each entry stands alone: a bad one costs only itself.

use super::IndexEntry;
use galgo_wire::id::{Offset, Timestamp};

/// First bytes of every index file.
const MAGIC: [u8; 8] = *b"GALGOIDX";
/// Version written.
const VERSION: u32 = 1;
/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 20;
/// Bytes of an entry that its checksum covers, besides the base.
const ENTRY_COVERED_BYTES: usize = 16;

const _: () = assert!(ENTRY_BYTES == ENTRY_COVERED_BYTES + 4, "an entry ends with its checksum");

/// The header of the index of the segment that starts at `base`.
pub(crate) fn encode_header(base: Offset, interval_bytes: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&interval_bytes.to_le_bytes());
    out.extend_from_slice(&base.get().to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    assert!(out.len() == HEADER_BYTES, "entries begin where the header ends");
    out
}

/// Whether `bytes` start with the header of an index of the segment at `base`, of our version.
pub(crate) fn is_header_of(bytes: &[u8], base: Offset) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    let Some((interval, _)) = header.get(12..).and_then(|rest| rest.split_first_chunk()) else {
        return false;
    };
    *header == *encode_header(base, u32::from_le_bytes(*interval))
}

/// Appends an entry to `out`.
pub(crate) fn encode_entry(base: Offset, entry: &IndexEntry, out: &mut Vec<u8>) {
    let mut covered = [0_u8; ENTRY_COVERED_BYTES];
    let (offset, rest) = covered.split_at_mut(4);
    let (position, timestamp) = rest.split_at_mut(4);
    offset.copy_from_slice(&entry.relative_offset.to_le_bytes());
    position.copy_from_slice(&entry.position.to_le_bytes());
    timestamp.copy_from_slice(&entry.timestamp.get().to_le_bytes());
    out.extend_from_slice(&covered);
    out.extend_from_slice(&entry_crc(base, &covered).to_le_bytes());
}

/// The entry in `bytes`; `None` when it is short or its checksum is wrong.
pub(crate) fn decode_entry(base: Offset, bytes: &[u8]) -> Option<IndexEntry> {
    let (covered, rest) = bytes.split_first_chunk::<ENTRY_COVERED_BYTES>()?;
    let crc = u32::from_le_bytes(*rest.first_chunk()?);
    if crc != entry_crc(base, covered) {
        return None;
    }
    let (offset, rest) = covered.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let timestamp = rest.first_chunk()?;
    Some(IndexEntry {
        relative_offset: u32::from_le_bytes(*offset),
        position: u32::from_le_bytes(*position),
        timestamp: Timestamp::new(u64::from_le_bytes(*timestamp)),
    })
}

fn entry_crc(base: Offset, covered: &[u8; ENTRY_COVERED_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // The base is in no entry, and covered all the same: one of another segment, in a file that was put in the place of
    // this one, would be as sound.
    hasher.update(&base.get().to_le_bytes());
    hasher.update(covered);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_and_no_damaged_one_is() {
        let base = Offset::new(77);
        let entry =
            IndexEntry { relative_offset: 3, position: 999, timestamp: Timestamp::new(1 << 50) };
        let mut bytes = Vec::new();
        encode_entry(base, &entry, &mut bytes);
        assert_eq!(bytes.len(), ENTRY_BYTES);
        assert_eq!(decode_entry(base, &bytes), Some(entry));
        assert_eq!(decode_entry(Offset::new(78), &bytes), None);
        for len in 0..bytes.len() {
            assert_eq!(decode_entry(base, &bytes[..len]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_entry(base, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_is_known_by_every_byte() {
        let bytes = encode_header(Offset::new(5), 16_384);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert!(is_header_of(&bytes, Offset::new(5)));
        assert!(!is_header_of(&bytes, Offset::new(6)));
        assert!(!is_header_of(&bytes[..HEADER_BYTES - 1], Offset::new(5)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_header_of(&flipped, Offset::new(5)), "bit {bit}");
        }
    }
}
