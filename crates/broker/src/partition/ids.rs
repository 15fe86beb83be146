//! Ids of messages that were sent without one.
//!
//! An id is derived from what makes a message unique, its partition's uid, its offset and its time, so that
//! it need not be stored where these are. The key makes ids of two clusters different.

use galgo_wire::id::{Offset, PartitionUid, Timestamp};
use twox_hash::XxHash3_128;

/// The key of a cluster: all its nodes, and what is restored from a backup of it, give the same ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdKey(u128);

impl IdKey {
    /// The key with these bits.
    #[must_use]
    pub fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub fn get(self) -> u128 {
        self.0
    }

    /// The id of a message: XXH3-128 of the key, the uid, the offset and the time in microseconds, all
    /// little-endian. Never 0, which stands for none.
    #[must_use]
    pub fn id_of(self, uid: PartitionUid, offset: Offset, timestamp: Timestamp) -> u128 {
        let mut bytes = [0; 40];
        let (key, rest) = bytes.split_at_mut(16);
        key.copy_from_slice(&self.0.to_le_bytes());
        let numbers = [uid.get(), offset.get(), timestamp.get()];
        for (place, number) in rest.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        XxHash3_128::oneshot(&bytes).max(1)
    }
}

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_format_and_differ_in_every_part() {
        let id = |key, uid, offset, time| {
            let (uid, offset) = (PartitionUid::new(uid), Offset::new(offset));
            IdKey::new(key).id_of(uid, offset, Timestamp::new(time))
        };
        let mut bytes = 1_u128.to_le_bytes().to_vec();
        [2_u64, 3, 4].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        assert_eq!(id(1, 2, 3, 4), XxHash3_128::oneshot(&bytes));
        let others = [id(9, 2, 3, 4), id(1, 9, 3, 4), id(1, 2, 9, 4), id(1, 2, 3, 9)];
        assert!(others.iter().all(|other| *other != id(1, 2, 3, 4)));
    }
}
