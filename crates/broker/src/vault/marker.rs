//! The file `encryption` in the data directory: which keys it needs, and for what.
//!
//! ```text
//! 0            8         12      16
//! | "GALGOENC" | version | count | entries ... | XXH3-64 of everything before it |
//! |            | u32     | u32   |             | u64                             |
//! ```
//! An entry is `key id u32 | uses u32 | check, 8 bytes`; uses are 1 for messages, 2 for metadata, 3 for
//! both; the check is the beginning of an HMAC-SHA-256 with the key. There is no file while nothing was
//! ever sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use galgo_storage::disk::Disk;
use galgo_storage::replace_file::{read_file, replace_file};
use galgo_wire::primitive::Reader;
use twox_hash::XxHash3_64;

use super::keys::{KeyCheck, Keys};

const NAME: &str = "encryption";
const MAGIC: &[u8; 8] = b"GALGOENC";
const VERSION: u32 = 1;
const USE_MESSAGES: u32 = 1;
const USE_METADATA: u32 = 2;
/// Most bytes of the file.
const BYTES_MAX: u64 = 1 << 20;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// It is not what a server wrote.
    #[error("{} is damaged or newer than this program", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk's.
    #[error("{}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// Which keys a data directory needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marker {
    /// Keys that messages may be sealed with.
    pub(super) messages: BTreeSet<u32>,
    /// Keys that metadata may be sealed with.
    pub(super) metadata: BTreeSet<u32>,
    /// What tells each of those keys from others of the same id.
    pub(super) checks: BTreeMap<u32, KeyCheck>,
    /// Whether metadata is to be written anew; not kept.
    pub(super) rewrite_metadata: bool,
    /// Whether a key was noted since the file was written; not kept.
    pub(super) unwritten: bool,
}

impl Marker {
    pub(super) fn read(disk: &dyn Disk, data_dir: &Path) -> Result<Self, MarkerError> {
        let path = data_dir.join(NAME);
        match read_file(disk, &path, BYTES_MAX) {
            Ok(None) => Ok(Self::default()),
            Ok(Some(bytes)) => Self::decode(&bytes).ok_or(MarkerError::Damaged { path }),
            Err(source) => Err(MarkerError::Disk { path, source }),
        }
    }

    /// The id of a key that is not the one it was.
    pub(super) fn replaced(&self, keys: &Keys) -> Option<u32> {
        let given = self.checks.iter().map(|(id, check)| (id, check, keys.check(*id)));
        let mut other = given.filter(|(_, check, given)| given.is_some_and(|it| it != **check));
        other.next().map(|(id, ..)| *id)
    }

    /// Notes a key for messages and metadata.
    pub(super) fn note(&mut self, id: u32, check: KeyCheck) {
        let new = [self.messages.insert(id), self.metadata.insert(id)];
        self.checks.insert(id, check);
        self.rewrite_metadata = new[1] || self.metadata.len() > 1;
        self.unwritten = new.contains(&true);
    }

    pub(super) fn write(&self, disk: &dyn Disk, data_dir: &Path) -> Result<(), MarkerError> {
        let path = data_dir.join(NAME);
        replace_file(disk, &path, &self.encode())
            .map_err(|source| MarkerError::Disk { path, source })
    }

    fn encode(&self) -> Vec<u8> {
        let ids: BTreeSet<u32> = self.messages.union(&self.metadata).copied().collect();
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&u32::try_from(ids.len()).unwrap_or(u32::MAX).to_le_bytes());
        for id in ids {
            let messages = if self.messages.contains(&id) { USE_MESSAGES } else { 0 };
            let metadata = if self.metadata.contains(&id) { USE_METADATA } else { 0 };
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&(messages | metadata).to_le_bytes());
            out.extend_from_slice(&self.checks.get(&id).copied().unwrap_or_default());
        }
        let check = XxHash3_64::oneshot(&out);
        out.extend_from_slice(&check.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if XxHash3_64::oneshot(body).to_le_bytes() != *check {
            return None;
        }
        let mut reader = Reader::new(body);
        if reader.bytes(MAGIC.len()).ok()? != MAGIC || reader.u32().ok()? != VERSION {
            return None;
        }
        let mut marker = Self::default();
        for _ in 0..reader.u32().ok()? {
            let (id, uses) = (reader.u32().ok()?, reader.u32().ok()?);
            marker.checks.insert(id, *reader.bytes(8).ok()?.first_chunk()?);
            if uses & USE_MESSAGES != 0 {
                marker.messages.insert(id);
            }
            if uses & USE_METADATA != 0 {
                marker.metadata.insert(id);
            }
        }
        reader.is_empty().then_some(marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_and_a_damaged_one_does_not() {
        let (messages, metadata) = (BTreeSet::from([1, 7]), BTreeSet::from([7]));
        let checks = BTreeMap::from([(1, [3; 8]), (7, [4; 8])]);
        let marker = Marker { messages, metadata, checks, ..Marker::default() };
        let bytes = marker.encode();
        assert_eq!(Marker::decode(&bytes), Some(marker));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Marker::decode(&damaged), None, "byte {at}");
            assert_eq!(Marker::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
