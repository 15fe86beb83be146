//! Whose a partition's directory is: `partitions/<uid>/partition.id`.
//!
//! A directory that was copied here, from another server or from another partition, has messages that pass
//! every checksum. The file tells it from the one that belongs here. All numbers are little-endian.
//! ```text
//! 0          8         12      16           32    40      44
//! | "GALGOPID" | version | zeros | cluster id | uid | crc32 |
//! |            | u32     | u32   | u128       | u64 | u32   |
//! ```
//! `crc32` covers the 40 bytes before it. The file is never synced, and nothing depends on it being there:
//! one that is missing or unsound says nothing and is written again.

use std::io;
use std::path::Path;

use galgo_wire::id::PartitionUid;

use crate::disk::{Disk, OpenMode};
use crate::replace_file::read_file;

/// Name of the file.
pub const OWNER_NAME: &str = "partition.id";

const MAGIC: [u8; 8] = *b"GALGOPID";
const VERSION: u32 = 1;
const BYTES: usize = 44;
const CRC_AT: usize = 40;
const _: () = assert!(
    CRC_AT + 4 == BYTES
        && CRC_AT == MAGIC.len() + 2 * size_of::<u32>() + size_of::<u128>() + size_of::<u64>(),
    "the checksum covers whose it is, and ends the file"
);

/// Whose a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The cluster whose server made it.
    pub cluster_id: u128,
    /// The partition it was made for.
    pub uid: PartitionUid,
}

impl Owner {
    /// Reads what the directory `dir` says of itself; `None` when it says nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        match read_file(disk, &dir.join(OWNER_NAME), BYTES as u64) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| Self::decode(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it into the directory `dir`, unless it is there. Not durable, and need not be.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn stamp(self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        if Self::read(disk, dir)? == Some(self) {
            return Ok(());
        }
        // In place and never synced: a stamp that is torn says nothing, and is written again. One for each partition,
        // synced, would be thousands of syncs at a start.
        let file = disk.open(&dir.join(OWNER_NAME), OpenMode::Create)?;
        file.set_len(BYTES as u64)?;
        file.write_at(&self.encode(), 0)
    }

    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.cluster_id.to_le_bytes());
        bytes.extend_from_slice(&self.uid.get().to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a whole file; `None` when it is not sound or of another version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, crc) = bytes.split_at_checked(CRC_AT)?;
        if crc != crc32fast::hash(fields).to_le_bytes() {
            return None;
        }
        let rest = fields.strip_prefix(&MAGIC)?;
        let (version, rest) = rest.split_first_chunk()?;
        if u32::from_le_bytes(*version) != VERSION {
            return None;
        }
        let (_, rest) = rest.split_at_checked(4)?;
        let (cluster_id, rest) = rest.split_first_chunk()?;
        let (uid, _) = rest.split_first_chunk()?;
        let uid = PartitionUid::new(u64::from_le_bytes(*uid));
        Some(Self { cluster_id: u128::from_le_bytes(*cluster_id), uid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    const OWNER: Owner = Owner { cluster_id: 0x11, uid: PartitionUid::new(7) };

    /// Written by version 1; a reader of today must read it for ever.
    #[test]
    fn version_1_is_golden_and_damage_says_nothing() {
        let bytes = OWNER.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../fixtures/v1/partition_id.hex").trim());
        assert_eq!(Owner::decode(&bytes), Some(OWNER));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Owner::decode(&damaged), None, "byte {at}");
            assert_eq!(Owner::decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_directory_without_a_sound_stamp_gets_one() {
        let (disk, dir) = (SimDisk::new(1), Path::new("/partitions/0000000000000007"));
        disk.create_dir_all(dir).unwrap();
        assert_eq!(Owner::read(&disk, dir).unwrap(), None);
        OWNER.stamp(&disk, dir).unwrap();
        assert_eq!(Owner::read(&disk, dir).unwrap(), Some(OWNER));
        disk.flip_bit(&dir.join(OWNER_NAME), 20, 0).unwrap();
        assert_eq!(Owner::read(&disk, dir).unwrap(), None);
        OWNER.stamp(&disk, dir).unwrap();
        assert_eq!(Owner::read(&disk, dir).unwrap(), Some(OWNER));
    }
}
