//! Names the lives of partitions for clients.
//!
//! A [`PartitionUid`] is given once and never again (INV-META-UID), so each life of a partition has its own.
//! Clients are told a keyed hash of it: the same after every start, since the key comes from the identity of
//! the data directory, and nothing of how many partitions there were before.

use aws_lc_rs::hmac;
use galgo_wire::id::{Life, PartitionUid};

/// What the key is for, so that no other use of the identity gives the same one.
const PURPOSE: &[u8] = b"galgo life of a partition";

/// Gives lives their names.
#[derive(Debug)]
pub struct Lives {
    key: hmac::Key,
}

impl Lives {
    /// The names given by this cluster.
    #[must_use]
    pub fn new(cluster_id: u128) -> Self {
        let secret = [PURPOSE, &cluster_id.to_le_bytes()].concat();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret) }
    }

    /// The name of the life with this uid.
    #[must_use]
    pub fn of(&self, uid: PartitionUid) -> Life {
        let tag = hmac::sign(&self.key, &uid.get().to_le_bytes());
        let Some(number) = tag.as_ref().first_chunk() else {
            unreachable!("an HMAC-SHA-256 has 32 bytes")
        };
        let number = u64::from_le_bytes(*number);
        // 0 is no life that is known.
        Life::new(number.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_with_its_life_and_its_cluster() {
        let (here, elsewhere) = (Lives::new(7), Lives::new(8));
        let uid = PartitionUid::new;
        assert_eq!(here.of(uid(1)), Lives::new(7).of(uid(1)), "the same after a restart");
        assert!(here.of(uid(1)).differs_from(here.of(uid(2))));
        assert!(here.of(uid(1)).differs_from(elsewhere.of(uid(1))));
        assert!(here.of(uid(0)).is_known());
        assert!(!here.of(uid(1)).differs_from(Life::UNKNOWN));
        // Kept by readers over an update of the server, so it is not to change with a version.
        assert_eq!(here.of(uid(1)).get(), GOLDEN);
    }

    /// The name of uid 1 in cluster 7.
    const GOLDEN: u64 = 0x48D8_AA12_B861_3099;
}
