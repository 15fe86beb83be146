//! The 64 bytes in front of each message.

use crate::id::{Offset, Timestamp};
use crate::index::part as whole_part;
use crate::limits::{
    MESSAGE_PAYLOAD_BYTES_MAX, SEALED_EXTRA_BYTES, SEALED_PAYLOAD_BYTES_MAX, USER_HEADERS_BYTES_MAX,
};
use twox_hash::XxHash3_64;

pub use crate::limits::MESSAGE_HEADER_BYTES;

/// Bytes at the front of a message that its checksum does not cover: the checksum itself.
pub(super) const CHECKSUM_BYTES: usize = 8;

const _: () = assert!(CHECKSUM_BYTES == size_of::<u64>(), "the checksum is XXH3-64");
const _: () = assert!(
    8 + 16 + 3 * 8 + 2 * 4 + 8 == MESSAGE_HEADER_BYTES,
    "the fields of the header are all of it"
);
const _: () = assert!(
    SEALED_PAYLOAD_BYTES_MAX as u64 + MESSAGE_HEADER_BYTES as u64 <= u32::MAX as u64,
    "a position in a batch of one sealed message has 32 bits"
);

/// The header of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MessageHeader {
    /// XXH3-64 of the rest of the message.
    pub checksum: u64,
    /// The message's own id; from a producer 0 asks for one.
    pub id: u128,
    /// The position in the partition.
    pub offset: Offset,
    /// When the server took the batch.
    pub timestamp: Timestamp,
    /// When the producer made the message.
    pub origin_timestamp: Timestamp,
    /// Bytes of the user headers behind the payload.
    pub user_headers_length: u32,
    /// Bytes of the payload.
    pub payload_length: u32,
    /// Always 0 in what a server gives out. In a sealed message on disk, the id of the key (lower
    /// half, not 0) and the length of the original's user headers (upper half).
    pub reserved: u64,
}

impl MessageHeader {
    /// Reads the header at the front of `bytes`; `None` when they are fewer than 64.
    #[must_use]
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(Self::from_bytes)
    }

    /// Reads the header.
    #[must_use]
    #[inline]
    pub fn from_bytes(bytes: &[u8; MESSAGE_HEADER_BYTES]) -> Self {
        Self {
            checksum: u64::from_le_bytes(part::<0, 8>(bytes)),
            id: u128::from_le_bytes(part::<8, 16>(bytes)),
            offset: Offset::new(u64::from_le_bytes(part::<24, 8>(bytes))),
            timestamp: Timestamp::new(u64::from_le_bytes(part::<32, 8>(bytes))),
            origin_timestamp: Timestamp::new(u64::from_le_bytes(part::<40, 8>(bytes))),
            user_headers_length: u32::from_le_bytes(part::<48, 4>(bytes)),
            payload_length: u32::from_le_bytes(part::<52, 4>(bytes)),
            reserved: u64::from_le_bytes(part::<56, 8>(bytes)),
        }
    }

    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; MESSAGE_HEADER_BYTES] {
        let mut bytes = [0; MESSAGE_HEADER_BYTES];
        self.write(&mut bytes);
        bytes
    }

    /// Writes the header over `bytes`.
    pub fn write(&self, bytes: &mut [u8; MESSAGE_HEADER_BYTES]) {
        bytes[0..8].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.timestamp.get().to_le_bytes());
        bytes[40..48].copy_from_slice(&self.origin_timestamp.get().to_le_bytes());
        bytes[48..52].copy_from_slice(&self.user_headers_length.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.payload_length.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.reserved.to_le_bytes());
    }

    /// Whether the lengths are within the limits of a message, sealed or not.
    #[must_use]
    #[inline]
    pub fn lengths_fit(&self) -> bool {
        if self.reserved == 0 {
            self.payload_length <= MESSAGE_PAYLOAD_BYTES_MAX
                && self.user_headers_length <= USER_HEADERS_BYTES_MAX
        } else {
            self.user_headers_length == 0 && self.payload_length <= SEALED_PAYLOAD_BYTES_MAX
        }
    }

    /// Whether the reserved field is one that a server writes to disk: 0, or that of a sealed message.
    #[must_use]
    #[inline]
    pub fn reserved_fits(&self) -> bool {
        let (key, user_headers) = (self.reserved as u32, (self.reserved >> 32) as u32);
        self.reserved == 0
            || (key != 0
                && user_headers <= USER_HEADERS_BYTES_MAX
                && self.payload_length >= SEALED_EXTRA_BYTES.saturating_add(user_headers))
    }

    /// Bytes of the whole message; `None` when no address space holds that many.
    #[must_use]
    pub fn message_bytes(&self) -> Option<usize> {
        let body = u64::from(self.payload_length) + u64::from(self.user_headers_length);
        usize::try_from(body + MESSAGE_HEADER_BYTES as u64).ok()
    }
}

/// The checksum a message should have, over all its bytes but the first eight.
///
/// # Panics
/// When there are fewer, as a message has its header.
#[must_use]
pub fn checksum(message: &[u8]) -> u64 {
    XxHash3_64::oneshot(whole_part(
        message,
        CHECKSUM_BYTES..,
        "INV-NOT-EMPTY: a message has a header",
    ))
}

#[inline]
fn part<const AT: usize, const N: usize>(bytes: &[u8; MESSAGE_HEADER_BYTES]) -> [u8; N] {
    const { assert!(AT + N <= MESSAGE_HEADER_BYTES, "the part lies in the header") };
    let mut part = [0; N];
    // The assertion above holds, so there is always something to copy.
    if let Some(from) = bytes.get(AT..AT + N) {
        part.copy_from_slice(from);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xxh3_agrees_with_its_vector() {
        assert_eq!(XxHash3_64::oneshot(b"abc"), 8_696_274_497_037_089_104);
        assert_eq!(checksum(b"--------abc"), 8_696_274_497_037_089_104);
    }

    #[test]
    fn each_field_has_its_own_place() {
        let header = MessageHeader {
            checksum: 1,
            id: 2 | 3 << 64,
            offset: Offset::new(4),
            timestamp: Timestamp::new(5),
            origin_timestamp: Timestamp::new(6),
            user_headers_length: 7,
            payload_length: 8,
            reserved: 9,
        };
        let bytes = header.to_bytes();
        assert_eq!(MessageHeader::read(&bytes), Some(header));
        let at: Vec<u8> = [0, 8, 16, 24, 32, 40, 48, 52, 56].map(|at: usize| bytes[at]).to_vec();
        assert_eq!(at, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(header.message_bytes(), Some(79));
        assert_eq!(MessageHeader::read(&bytes[..63]), None);
    }
}
