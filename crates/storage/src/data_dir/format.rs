//! Bytes of the identity file, `identity`. All numbers are little-endian.
//!
//! ```text
//! 0          8                16           32        48      52
//! | "GALGODIR" | layout version | cluster id | node id | crc32 |
//!              | u32 | zeros    |
//! ```
//! `crc32` covers the 48 bytes before it, in every layout: a later one may make the file longer, but its
//! version and this checksum stay in their places, so that damage is never taken for a newer layout.

use super::{Identity, LAYOUT_VERSION};
use crate::twin::Unsound;

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"GALGODIR";
/// Bytes of the file in this layout.
pub const IDENTITY_BYTES: usize = 52;
/// Most bytes an identity file of any layout has.
pub(super) const IDENTITY_BYTES_MAX: u64 = 64 << 10;

const CRC_AT: usize = 48;
const _: () = assert!(
    CRC_AT + 4 == IDENTITY_BYTES && IDENTITY_BYTES as u64 <= IDENTITY_BYTES_MAX,
    "an identity ends with its checksum, and is read whole"
);

impl Identity {
    /// The whole identity file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&LAYOUT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.cluster_id.to_le_bytes());
        bytes.extend_from_slice(&self.node_id.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        assert!(
            bytes.len() == IDENTITY_BYTES,
            "an identity of another length would pass for damage"
        );
        bytes
    }

    /// Reads a whole identity file.
    ///
    /// # Errors
    /// See [`Unsound`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unsound> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(Unsound::Damaged)?;
        let (version, rest) = rest.split_first_chunk().ok_or(Unsound::Damaged)?;
        let version = u32::from_le_bytes(*version);
        let (fields, crc) = bytes.split_at_checked(CRC_AT).ok_or(Unsound::Damaged)?;
        if !crc.starts_with(&crc32fast::hash(fields).to_le_bytes()) {
            return Err(Unsound::Damaged);
        }
        if version > LAYOUT_VERSION {
            return Err(Unsound::Newer(version));
        }
        if bytes.len() != IDENTITY_BYTES {
            return Err(Unsound::Damaged);
        }
        let identity = || {
            let (_, rest) = rest.split_at_checked(4)?;
            let (cluster_id, rest) = rest.split_first_chunk()?;
            let (node_id, _) = rest.split_first_chunk()?;
            Some(Self {
                cluster_id: u128::from_le_bytes(*cluster_id),
                node_id: u128::from_le_bytes(*node_id),
            })
        };
        identity().ok_or(Unsound::Damaged)
    }
}
