//! Bytes of the identity file, `identity`. All numbers are little-endian.
//!
//! ```text
//! 0          8                16           32        48      52
//! | "GALGODIR" | layout version | cluster id | node id | crc32 |
//!              | u32 | zeros    |
//! ```
//! `crc32` covers the 48 bytes before it. A later layout may make the file longer; its version stays
//! in this place.

use super::{Identity, LAYOUT_VERSION};

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"GALGODIR";
/// Bytes of the file in this layout.
pub const IDENTITY_BYTES: usize = 52;
/// Most bytes an identity file of any layout has.
pub(super) const IDENTITY_BYTES_MAX: u64 = 64 << 10;

const CRC_AT: usize = 48;

/// Why an identity file is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityError {
    /// Not a sound identity.
    Damaged,
    /// Of a newer layout.
    Newer(u32),
}

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
        bytes
    }

    /// Reads a whole identity file.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(IdentityError::Damaged)?;
        let (version, rest) = rest.split_first_chunk().ok_or(IdentityError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        // Told before the checksum is looked at: what a newer layout sums up is not known here.
        if version > LAYOUT_VERSION {
            return Err(IdentityError::Newer(version));
        }
        let (fields, crc) = bytes.split_at_checked(CRC_AT).ok_or(IdentityError::Damaged)?;
        if crc != crc32fast::hash(fields).to_le_bytes() {
            return Err(IdentityError::Damaged);
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
        identity().ok_or(IdentityError::Damaged)
    }
}
