//! In which run of the system a shard was last opened.
//!
//! While the system runs on, the page cache outlives every process: what was written is there, in the
//! order of the writes, and only the very last write can be cut short. After a restart nothing that was
//! not synced is certain. A recovery has to know which of the two it looks at.
//!
//! ```text
//! 0            8         12      16     32      36
//! | "GALGOBOT" | version | zeros | boot | crc32 |
//! ```
//! All numbers little-endian; `boot` is a u128 that no two runs of the system share; `crc32` covers
//! the 32 bytes before it.
//!
//! INV-BOOT: a boot is on record only once everything of an earlier one was recovered and made
//! durable; a record that is missing or damaged stands for no boot.

use crate::disk::Disk;
use crate::replace_file::{read_hint, replace_file};
use std::io;
use std::path::Path;

const MAGIC: [u8; 8] = *b"GALGOBOT";
/// Version of the format this program writes.
const VERSION: u32 = 1;
const BOOT_AT: usize = 16;
const CRC_AT: usize = 32;
const FILE_BYTES: usize = CRC_AT + 4;
const _: () = assert!(
    MAGIC.len() + 2 * size_of::<u32>() == BOOT_AT && BOOT_AT + size_of::<u128>() == CRC_AT,
    "the checksum covers the boot and all before it"
);

/// The boot on record; `None` when there is none that can be read. It is a hint that a recovery does
/// without, so neither damage nor a newer version refuses a start.
///
/// # Errors
/// Those of the disk.
pub fn recorded(disk: &dyn Disk, path: &Path) -> io::Result<Option<u128>> {
    read_hint(disk, path, FILE_BYTES as u64, "the last boot", decode)
}

/// Puts `boot` on record, durable on return.
///
/// # Errors
/// Those of the disk; the one before may stay.
pub fn record(disk: &dyn Disk, path: &Path, boot: u128) -> io::Result<()> {
    // At the end of a start (INV-BOOT): put on record at its beginning, a start that is stopped half-way would have the
    // next one take what a power cut left for what a living page cache holds, and fence it as damage.
    replace_file(disk, path, &encode(boot))
}

fn encode(boot: u128) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&boot.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    assert!(bytes.len() == FILE_BYTES, "a longer record would be refused when it is read");
    bytes
}

fn decode(bytes: &[u8]) -> Option<u128> {
    let (covered, crc) = bytes.split_at_checked(CRC_AT)?;
    let boot = u128::from_le_bytes(*covered.get(BOOT_AT..)?.first_chunk()?);
    // The whole file is known from its one number.
    (covered.starts_with(&MAGIC) && encode(boot) == bytes && crc.len() == 4).then_some(boot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::disk::{OpenMode, create_dir_synced};

    /// INV-BOOT.
    #[test]
    fn a_record_survives_a_power_cut_and_no_damaged_one_is_believed() {
        let disk = SimDisk::new(1);
        let dir = Path::new("/data");
        create_dir_synced(&disk, dir).unwrap();
        let path = dir.join("boot");
        assert_eq!(recorded(&disk, &path).unwrap(), None);
        record(&disk, &path, 7 << 100).unwrap();
        let after = disk.power_cut_image(3);
        assert_ne!(after.boot(), disk.boot(), "the page cache was another one");
        assert_eq!(disk.kill_image().boot(), disk.boot());
        assert_eq!(recorded(&after, &path).unwrap(), Some(7 << 100));
        for bit in 0..FILE_BYTES * 8 {
            let other = after.kill_image();
            other.flip_bit(&path, (bit / 8) as u64, (bit % 8) as u8).unwrap();
            assert_eq!(recorded(&other, &path).unwrap(), None, "bit {bit}");
        }
        let file = after.open(&path, OpenMode::ReadWrite).unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(recorded(&after, &path).unwrap(), None);
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut expected = b"GALGOBOT\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(&0x0102_u128.to_le_bytes());
        expected.extend_from_slice(&crc32fast::hash(&expected).to_le_bytes());
        assert_eq!(encode(0x0102), expected);
    }
}
