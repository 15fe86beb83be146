//! Bytes of the journal's files. All numbers are little-endian.
//!
//! A file, `NNNN.jnl`, is made once in its full length, filled with zeros, and then overwritten again
//! and again. It starts with a header that never changes, in a sector of its own:
//! ```text
//! 0          8         12       16           24           28      32        512
//! | "GALGOJNL" | version | number | file bytes | salt check | crc32 | zeros ... |
//! ```
//! `salt check` is the CRC-32 of the salt; `crc32` covers the 28 bytes before it.
//!
//! Frames follow, each at a multiple of 512 bytes, so that no two share a sector and a torn write never
//! reaches an older frame:
//! ```text
//! 0             8            16    24          32           40            44
//! | "galgofrm"  | generation | lsn | first lsn | synced lsn | payload len | payload crc32 |
//!
//! 48      56      60             64                64 + len
//! | epoch | zeros | header crc32 | payload ...     | zeros to a multiple of 512 |
//! ```
//! `generation` grows by one each time a file is taken into use; `first lsn` is that of the first frame
//! of the generation. A frame of generation `g` is void when a frame of a later generation exists whose
//! `first lsn` is not above its lsn. `synced lsn` is the last frame known to be durable when this one
//! was written. `epoch` tells whose frame it is, 0 in those of programs that did not write it. Both CRCs start with the salt and the generation; the header's covers the 60 bytes
//! before it.

use galgo_wire::id::Epoch;

use crate::{COUNTER_MAX, EPOCH_MAX};

/// First bytes of a file.
pub const FILE_MAGIC: [u8; 8] = *b"GALGOJNL";
/// First bytes of a frame.
pub const FRAME_MAGIC: [u8; 8] = *b"galgofrm";
/// Version of the files this program writes.
pub const VERSION: u32 = 1;
/// Bytes of the file header, and what frames are aligned to.
pub const SECTOR_BYTES: u64 = 512;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 64;

const _: () = assert!(
    FRAME_HEADER_BYTES < SECTOR_BYTES as usize && FRAME_HEADER_CRC_AT + 4 == FRAME_HEADER_BYTES,
    "a frame's header is in its first sector, the checksum at its end"
);

const FILE_HEADER_CRC_AT: usize = 28;
const FRAME_HEADER_CRC_AT: usize = 60;
const _: () = assert!(
    FILE_HEADER_CRC_AT + 4 <= SECTOR_BYTES as usize,
    "the header of a file is in a sector that no frame shares"
);

/// The header of a journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// Version of the format.
    pub version: u32,
    /// Number in the file's name.
    pub number: u32,
    /// Length the file was made with.
    pub file_bytes: u64,
    /// Tells whether the file belongs to the salt, without giving it away.
    pub salt_check: u32,
}

impl FileHeader {
    /// The first sector of a file.
    pub fn encode(&self) -> [u8; SECTOR_BYTES as usize] {
        let mut fields = Vec::with_capacity(32);
        fields.extend_from_slice(&FILE_MAGIC);
        fields.extend_from_slice(&self.version.to_le_bytes());
        fields.extend_from_slice(&self.number.to_le_bytes());
        fields.extend_from_slice(&self.file_bytes.to_le_bytes());
        fields.extend_from_slice(&self.salt_check.to_le_bytes());
        fields.extend_from_slice(&crc32fast::hash(&fields).to_le_bytes());
        // In a sector of its own: it is written once, and no torn frame reaches it.
        let mut sector = [0; SECTOR_BYTES as usize];
        for (to, from) in sector.iter_mut().zip(fields) {
            *to = from;
        }
        sector
    }

    /// Reads the start of a file; `None` when it is not a sound header.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_at_checked(FILE_HEADER_CRC_AT)?;
        if u32_at(rest, 0)? != crc32fast::hash(fields) || !fields.starts_with(&FILE_MAGIC) {
            return None;
        }
        Some(Self {
            version: u32_at(fields, 8)?,
            number: u32_at(fields, 12)?,
            file_bytes: u64_at(fields, 16)?,
            salt_check: u32_at(fields, 24)?,
        })
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Which use of which file the frame belongs to.
    pub generation: u64,
    /// Number of the frame.
    pub lsn: u64,
    /// Number of the first frame of the generation.
    pub first_lsn: u64,
    /// The last frame known to be durable when this one was written.
    pub synced_lsn: u64,
    /// Of the owner that wrote it; 0 when that was not written down.
    pub epoch: Epoch,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// [`payload_crc`] of the payload.
    pub payload_crc: u32,
}

impl FrameHeader {
    /// The bytes before the payload.
    pub fn encode(&self, salt: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let words = [
            u64::from_le_bytes(FRAME_MAGIC),
            self.generation,
            self.lsn,
            self.first_lsn,
            self.synced_lsn,
            u64::from(self.payload_len) | u64::from(self.payload_crc) << 32,
            self.epoch.get(),
        ];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        if let Some((fields, crc)) = bytes.split_at_mut_checked(FRAME_HEADER_CRC_AT) {
            crc.copy_from_slice(&salted_crc(salt, self.generation, fields).to_le_bytes());
        }
        bytes
    }

    /// Reads a frame header; `None` when it is not a sound one.
    pub fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        if !bytes.starts_with(&FRAME_MAGIC) {
            return None;
        }
        let (fields, rest) = bytes.split_at_checked(FRAME_HEADER_CRC_AT)?;
        let header = Self {
            generation: u64_at(fields, 8)?,
            lsn: u64_at(fields, 16)?,
            first_lsn: u64_at(fields, 24)?,
            synced_lsn: u64_at(fields, 32)?,
            payload_len: u32_at(fields, 40)?,
            payload_crc: u32_at(fields, 44)?,
            epoch: Epoch::new(u64_at(fields, 48)?),
        };
        // The limits too: a checksum is 32 bits, and a search looks at millions of sectors. A number that nobody can have
        // reached would have no next one.
        let sound = u32_at(rest, 0)? == salted_crc(salt, header.generation, fields)
            && header.generation <= COUNTER_MAX
            && header.lsn <= COUNTER_MAX
            && header.epoch.get() < EPOCH_MAX
            && (1..=header.lsn).contains(&header.first_lsn)
            && header.synced_lsn < header.lsn;
        sound.then_some(header)
    }

    /// Bytes the frame takes in its file.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.payload_len))
    }
}

/// Bytes a frame with such a payload takes in its file.
pub fn frame_bytes(payload_len: u64) -> u64 {
    (FRAME_HEADER_BYTES as u64 + payload_len).next_multiple_of(SECTOR_BYTES)
}

/// The checksum of a payload.
pub fn payload_crc(salt: u64, generation: u64, payload: &[u8]) -> u32 {
    salted_crc(salt, generation, payload)
}

/// What a file header says about the salt.
pub fn salt_check(salt: u64) -> u32 {
    crc32fast::hash(&salt.to_le_bytes())
}

fn salted_crc(salt: u64, generation: u64, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(&generation.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
