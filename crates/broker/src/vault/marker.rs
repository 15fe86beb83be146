//! The file `encryption` in the data directory: which keys it needs, and for what.
//!
//! ```text
//! 0            8         12      16
//! | "GALGOENC" | version | count | entries ... | XXH3-64 of everything before it |
//! |            | u32     | u32   |             | u64                             |
//! ```
//! An entry is `key id u32 | uses u32 | check, 8 bytes`; uses are 1 for messages, 2 for metadata, 3 for
//! both; the check is the beginning of an HMAC-SHA-256 with the key. There is no file while nothing was
//! ever sealed. It is kept twice (see [`galgo_storage::twin`]): without it nobody knows which keys are
//! missing.

use galgo_storage::disk::Disk;
use galgo_storage::twin::{Kept, Twin, TwinError, Unsound};
use galgo_wire::index::to_u32;
use galgo_wire::primitive::Reader;
use std::collections::{BTreeMap, BTreeSet};
use twox_hash::XxHash3_64;

use super::keys::{KeyCheck, KeyRing};

/// Name of the file in the data directory.
pub(crate) const NAME: &str = "encryption";
const MAGIC: &[u8; 8] = b"GALGOENC";
const VERSION: u32 = 1;
const USE_MESSAGES: u32 = 1;
const USE_METADATA: u32 = 2;
/// Most bytes of the file.
const BYTES_MAX: u64 = 1 << 20;
const _: () = assert!(USE_MESSAGES & USE_METADATA == 0, "each use has a bit of its own");

/// Which keys a data directory needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyMarker {
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

impl KeyMarker {
    /// What is kept in `twin`, if anything is.
    pub(super) fn read(disk: &dyn Disk, twin: &Twin) -> Result<Option<Kept<Self>>, TwinError> {
        twin.read(disk, BYTES_MAX, Self::decode)
    }

    /// The id of a key that is not the one it was.
    pub(super) fn replaced(&self, keys: &KeyRing) -> Option<u32> {
        let given = self.checks.iter().map(|(id, check)| (id, check, keys.check(*id)));
        let mut other = given.filter(|(_, check, given)| given.is_some_and(|it| it != **check));
        other.next().map(|(id, ..)| *id)
    }

    /// Notes a key for messages and metadata.
    pub(super) fn note(&mut self, id: u32, check: KeyCheck) {
        let new_to_messages = self.messages.insert(id);
        let new_to_metadata = self.metadata.insert(id);
        self.checks.insert(id, check);
        // With a second key on record some of the metadata is sealed with another one; once all of it was written anew,
        // the older key can be taken away.
        self.rewrite_metadata = new_to_metadata || self.metadata.len() > 1;
        self.unwritten |= new_to_messages || new_to_metadata;
    }

    pub(super) fn write(&self, disk: &dyn Disk, twin: &Twin) -> Result<(), TwinError> {
        twin.write(disk, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let ids: BTreeSet<u32> = self.messages.union(&self.metadata).copied().collect();
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&to_u32(ids.len()).to_le_bytes());
        for id in ids {
            let messages = if self.messages.contains(&id) { USE_MESSAGES } else { 0 };
            let metadata = if self.metadata.contains(&id) { USE_METADATA } else { 0 };
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&(messages | metadata).to_le_bytes());
            let Some(check) = self.checks.get(&id) else {
                unreachable!(
                    "a key that is noted for a use is noted with what tells it from others"
                )
            };
            out.extend_from_slice(check);
        }
        let check = XxHash3_64::oneshot(&out);
        out.extend_from_slice(&check.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unsound> {
        // In every version the checksum is at the end, so that damage is not taken for a newer one.
        let (body, check) = bytes.split_last_chunk::<8>().ok_or(Unsound::Damaged)?;
        if XxHash3_64::oneshot(body).to_le_bytes() != *check {
            return Err(Unsound::Damaged);
        }
        let fields = body.strip_prefix(MAGIC).ok_or(Unsound::Damaged)?;
        let mut reader = Reader::new(fields);
        match reader.u32() {
            Ok(VERSION) => Self::decode_entries(reader).ok_or(Unsound::Damaged),
            Ok(newer) if newer > VERSION => Err(Unsound::Newer(newer)),
            _ => Err(Unsound::Damaged),
        }
    }

    fn decode_entries(mut reader: Reader<'_>) -> Option<Self> {
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
        let marker = KeyMarker { messages, metadata, checks, ..KeyMarker::default() };
        let bytes = marker.encode();
        assert_eq!(KeyMarker::decode(&bytes), Ok(marker));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(KeyMarker::decode(&damaged), Err(Unsound::Damaged), "byte {at}");
            assert_eq!(KeyMarker::decode(&bytes[..at]), Err(Unsound::Damaged), "cut at {at}");
        }
    }
}
