//! What the clocks said when a server last looked at them, and what it made of it.
//!
//! A clock that is set forward is not believed before it has held for a while. A start must not shorten
//! that: a server that is killed and comes back beside a wrong clock would find messages with the wrong time
//! and take it for the right one.
//!
//! ```text
//! 0            8         12      16     32           40     48       56      64
//! | "GALGOCLK" | version | zeros | boot | running_us | wall | lead_us | since | crc32 |
//! ```
//! All numbers little-endian, `boot` 16 bytes, `crc32` 4 bytes over all before it, the others as in
//! [`ClockRecord`].

use std::io;
use std::path::Path;

use galgo_wire::id::Timestamp;

use crate::disk::Disk;
use crate::replace_file::{read_hint, replace_file};

const MAGIC: [u8; 8] = *b"GALGOCLK";
/// Version of the format this program writes.
const VERSION: u32 = 1;
const CRC_AT: usize = 64;
const FILE_BYTES: usize = CRC_AT + 4;
const _: () = assert!(
    MAGIC.len() + 2 * size_of::<u32>() + size_of::<u128>() + 4 * size_of::<u64>() == CRC_AT,
    "the checksum covers the run of the system and the four numbers"
);

/// What was known of the clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRecord {
    /// The run of the system, 0 when it was not known: `running_us` and `since_us` are of it.
    pub boot: u128,
    /// For how long the system had been running, in microseconds.
    pub running_us: u64,
    /// What the wall clock said.
    pub wall: Timestamp,
    /// How far it was ahead of what was believed, in microseconds.
    pub lead_us: u64,
    /// Where `lead_us` is not 0, for how long the system had been running when the clock was set forward
    /// last.
    pub since_us: u64,
}

/// The record there is; `None` when there is none that can be read. It is a hint that a start does without,
/// so neither damage nor a newer version refuses it.
///
/// # Errors
/// Those of the disk.
pub fn recorded(disk: &dyn Disk, path: &Path) -> io::Result<Option<ClockRecord>> {
    read_hint(disk, path, FILE_BYTES as u64, "what the clocks said", decode)
}

/// Puts `now` on record, durable on return.
///
/// # Errors
/// Those of the disk; the record before may stay.
pub fn record(disk: &dyn Disk, path: &Path, now: &ClockRecord) -> io::Result<()> {
    replace_file(disk, path, &encode(now))
}

fn encode(record: &ClockRecord) -> Vec<u8> {
    let ClockRecord { boot, running_us, wall, lead_us, since_us } = record;
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&boot.to_le_bytes());
    for number in [*running_us, wall.get(), *lead_us, *since_us] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    assert!(bytes.len() == FILE_BYTES, "a longer record would be refused when it is read");
    bytes
}

fn decode(bytes: &[u8]) -> Option<ClockRecord> {
    let (_, numbers) = bytes.split_at_checked(16)?;
    let (boot, numbers) = numbers.split_first_chunk()?;
    let (numbers, _) = numbers.as_chunks();
    let &[running_us, wall, lead_us, since_us] = numbers else { return None };
    let record = ClockRecord {
        boot: u128::from_le_bytes(*boot),
        running_us: u64::from_le_bytes(running_us),
        wall: Timestamp::new(u64::from_le_bytes(wall)),
        lead_us: u64::from_le_bytes(lead_us),
        since_us: u64::from_le_bytes(since_us),
    };
    // The whole file is known from its numbers.
    (encode(&record) == bytes).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{OpenMode, SimDisk, create_dir_synced};

    const RECORD: ClockRecord = ClockRecord {
        boot: 0x0102,
        running_us: 3,
        wall: Timestamp::new(4),
        lead_us: 5,
        since_us: 6,
    };

    #[test]
    fn a_record_survives_a_power_cut_and_no_damaged_one_is_believed() {
        let disk = SimDisk::new(1);
        let dir = Path::new("/data");
        create_dir_synced(&disk, dir).unwrap();
        let path = dir.join("clock");
        assert_eq!(recorded(&disk, &path).unwrap(), None);
        record(&disk, &path, &RECORD).unwrap();
        let after = disk.power_cut_image(3);
        assert_eq!(recorded(&after, &path).unwrap(), Some(RECORD));
        for bit in 0..FILE_BYTES * 8 {
            let other = after.kill_image();
            other.flip_bit(&path, (bit / 8) as u64, (bit % 8) as u8).unwrap();
            assert_eq!(recorded(&other, &path).unwrap(), None, "bit {bit}");
        }
        for length in [0, CRC_AT as u64, 1 << 20] {
            let other = after.kill_image();
            other.open(&path, OpenMode::ReadWrite).unwrap().set_len(length).unwrap();
            assert_eq!(recorded(&other, &path).unwrap(), None, "{length} bytes");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut expected = b"GALGOCLK\x01\0\0\0\0\0\0\0\x02\x01".to_vec();
        expected.resize(32, 0);
        for number in 3..7_u64 {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        expected.extend_from_slice(&crc32fast::hash(&expected).to_le_bytes());
        assert_eq!(encode(&RECORD), expected);
    }
}
