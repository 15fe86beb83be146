//! Sending with more said, and more answered, than the classic send: Galgo's own command 10100.
//!
//! ```text
//! request  | flags u16 | with flag 16: lane u32, position u64 | as SEND_MESSAGES |
//! reply    | outcome u8 | partition u32 | first offset u64 | stored u32 | timestamp u64 | end u64
//!          | throttle u32 | 3 reserved bytes, 0 |
//! ```
//!
//! A client that keeps several batches in flight cannot take back what is on its way when one of them is
//! refused. A *chain* lets the server do it: the batches of a lane have positions that count up, and one
//! whose predecessor was not taken is not taken either, with an outcome that says so.
//!
//! Flags 1 (producer), 2 (condition), 4 (deliver at) and 8 (codec) are reserved. A flag the server does not
//! know is refused, because its part of the request has an unknown length.

use crate::error_code::ErrorCode;
use crate::id::{Offset, PartitionId, Timestamp};
use crate::layout::{byte_enum, shown};
use crate::primitive::{Payload, Reader};

/// Flag: the batch has a place in a chain.
const CHAINED: u16 = 16;
/// Flag: the chain begins with this batch, whatever was before.
const BEGINS: u16 = 32;

/// Bytes of the flags.
const FLAGS_BYTES: usize = 2;
/// Bytes of the place in a chain.
const CHAIN_BYTES: usize = 12;

const _: () = assert!(CHAINED & BEGINS == 0, "each flag has a bit of its own");
const _: () =
    assert!((CHAINED | BEGINS) & 15 == 0, "flags 1, 2, 4 and 8 are kept for what may come");
const _: () = assert!(CHAIN_BYTES == size_of::<u32>() + size_of::<u64>(), "lane and position");

/// Most bytes a SEND_WITH request has in front of what it shares with SEND_MESSAGES.
pub const SEND_WITH_HEAD_BYTES_MAX: usize = FLAGS_BYTES + CHAIN_BYTES;

/// The place of a batch among those of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Which chain of the connection; the client chooses the numbers.
    pub lane: u32,
    /// Its place, one more than that of the batch before it.
    pub position: u64,
    /// Whether the chain begins here, with whatever position.
    pub begins: bool,
}

/// The front of a SEND_WITH payload.
pub struct SendWithHeader;

/// A SEND_WITH payload, taken apart in place.
#[derive(Debug, PartialEq, Eq)]
pub struct SendWithParts<'a> {
    /// Its place in a chain, if it has one.
    pub chain: Option<ChainLink>,
    /// The rest: the payload of a SEND_MESSAGES request.
    pub send: &'a mut [u8],
}

impl SendWithHeader {
    /// Takes `payload` apart without copying; the rest is for [`super::SendHeader::parse`].
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCommand`] when the front is cut off or has flags this version does not know.
    pub fn parse(payload: &mut [u8]) -> Result<SendWithParts<'_>, ErrorCode> {
        let cut_off = ErrorCode::InvalidCommand;
        let (flags, rest) = payload.split_first_chunk_mut::<FLAGS_BYTES>().ok_or(cut_off)?;
        let (is_chained, begins) = match u16::from_le_bytes(*flags) {
            0 => (false, false),
            CHAINED => (true, false),
            flags if flags == CHAINED | BEGINS => (true, true),
            _ => return Err(ErrorCode::InvalidCommand),
        };
        if !is_chained {
            return Ok(SendWithParts { chain: None, send: rest });
        }
        let (link, send) = rest.split_first_chunk_mut::<CHAIN_BYTES>().ok_or(cut_off)?;
        let mut reader = Reader::new(link);
        let (lane, position) = (reader.u32()?, reader.u64()?);
        Ok(SendWithParts { chain: Some(ChainLink { lane, position, begins }), send })
    }

    /// Appends the front to `out`; what [`crate::batch::BatchBuilder::encode_send`] makes follows it.
    pub fn encode(chain: Option<ChainLink>, out: &mut Vec<u8>) {
        let flags = match chain {
            None => 0,
            Some(ChainLink { begins: false, .. }) => CHAINED,
            Some(ChainLink { begins: true, .. }) => CHAINED | BEGINS,
        };
        out.extend_from_slice(&flags.to_le_bytes());
        if let Some(ChainLink { lane, position, .. }) = chain {
            out.extend_from_slice(&lane.to_le_bytes());
            out.extend_from_slice(&position.to_le_bytes());
        }
    }

    /// Lets the chain begin with a batch that was encoded as one in its middle; `payload` begins with its front.
    pub fn begin(payload: &mut [u8]) {
        // In place, as the batch lies encoded in a queue when the one before it is refused.
        if let Some(flags) = payload.first_chunk_mut::<FLAGS_BYTES>() {
            *flags = (u16::from_le_bytes(*flags) | BEGINS).to_le_bytes();
        }
    }
}

byte_enum! {
    /// What became of the messages of a batch. 2 to 5 are reserved.
    pub enum SendOutcome {
        /// They are stored; those among them that the topic knew by their ids had been stored before.
        Stored = 0 "stored",
        /// All of them had been stored before.
        StoredBefore = 1 "stored_before",
        /// None is stored: the batch before this one in its chain was not taken.
        EarlierMissing = 6 "earlier_missing",
    }
}

shown! {
    /// What became of a batch, and where it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SendReply {
        /// What became of the messages.
        outcome: SendOutcome,
        /// The partition they are in; 0 when none was looked for.
        partition_id: PartitionId,
        /// The offset of the first one that was stored, now or before.
        first_offset: Offset,
        /// How many were stored now, one behind the other; the others had been stored before.
        stored: u32,
        /// The time the server gave them; 0 when none was stored now.
        timestamp: Timestamp,
        /// The offset that the next message of the partition gets, as far as this batch knows.
        end: Offset,
        /// For how long the client is asked to send less, in microseconds; 0 for now.
        throttle_us: u32,
    }
    json;
}

impl SendReply {
    /// Bytes of the answer.
    pub const BYTES: usize = 1 + 4 + 8 + 4 + 8 + 8 + 4 + 3;

    /// The answer to a batch whose predecessor was not taken.
    pub const EARLIER_MISSING: Self = Self {
        outcome: SendOutcome::EarlierMissing,
        partition_id: PartitionId::new(0),
        first_offset: Offset::ZERO,
        stored: 0,
        timestamp: Timestamp::ZERO,
        end: Offset::ZERO,
        throttle_us: 0,
    };

    /// The bytes of the answer.
    #[must_use]
    pub fn to_array(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = self.outcome.as_u8();
        bytes[1..5].copy_from_slice(&self.partition_id.get().to_le_bytes());
        bytes[5..13].copy_from_slice(&self.first_offset.get().to_le_bytes());
        bytes[13..17].copy_from_slice(&self.stored.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.timestamp.get().to_le_bytes());
        bytes[25..33].copy_from_slice(&self.end.get().to_le_bytes());
        bytes[33..37].copy_from_slice(&self.throttle_us.to_le_bytes());
        bytes
    }
}

const _: () =
    assert!(SendReply::BYTES == 40, "its fields and 3 reserved bytes, as clients count them");

impl Payload for SendReply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_array());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let reply = Self {
            outcome: SendOutcome::decode(reader)?,
            partition_id: PartitionId::decode(reader)?,
            first_offset: Offset::decode(reader)?,
            stored: reader.u32()?,
            timestamp: Timestamp::decode(reader)?,
            end: Offset::decode(reader)?,
            throttle_us: reader.u32()?,
        };
        // Reserved bytes may mean something to a later version.
        reader.array::<3>()?;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: ChainLink = ChainLink { lane: 7, position: u64::MAX, begins: false };

    fn front(chain: Option<ChainLink>) -> Vec<u8> {
        let mut bytes = Vec::new();
        SendWithHeader::encode(chain, &mut bytes);
        bytes
    }

    #[test]
    fn fronts_come_back_and_leave_the_rest_where_it_is() {
        for chain in [None, Some(LINK), Some(ChainLink { begins: true, ..LINK })] {
            let mut bytes = front(chain);
            assert!(bytes.len() <= SEND_WITH_HEAD_BYTES_MAX);
            bytes.extend(b"rest");
            let parts = SendWithHeader::parse(&mut bytes).unwrap();
            assert_eq!((parts.chain, &*parts.send), (chain, &b"rest"[..]));
        }
        let mut bytes = front(Some(LINK));
        SendWithHeader::begin(&mut bytes);
        assert_eq!(bytes, front(Some(ChainLink { begins: true, ..LINK })));
        SendWithHeader::begin(&mut []);
    }

    #[test]
    fn a_front_that_is_cut_off_or_has_unknown_flags_is_refused() {
        let whole = front(Some(LINK));
        for len in 0..whole.len() {
            let parsed = SendWithHeader::parse(&mut whole[..len].to_vec()).err();
            assert_eq!(parsed, Some(ErrorCode::InvalidCommand), "{len} bytes");
        }
        // 32 alone: a chain that begins and is none.
        for flags in [1_u16, 2, 4, 8, 32, 17, 64, 0x8000, u16::MAX] {
            let mut bytes = whole.clone();
            bytes[..2].copy_from_slice(&flags.to_le_bytes());
            let parsed = SendWithHeader::parse(&mut bytes).err();
            assert_eq!(parsed, Some(ErrorCode::InvalidCommand), "{flags}");
        }
    }

    #[test]
    fn replies_come_back_whatever_is_in_the_reserved_bytes() {
        for outcome in SendOutcome::ALL {
            let reply = SendReply {
                outcome: *outcome,
                partition_id: PartitionId::new(1),
                first_offset: Offset::new(2),
                stored: 3,
                timestamp: Timestamp::new(4),
                end: Offset::new(5),
                throttle_us: 6,
            };
            let mut bytes = reply.to_bytes();
            assert_eq!(bytes, reply.to_array());
            bytes[39] = 9;
            assert_eq!(SendReply::from_bytes(&bytes), Ok(reply));
            for len in 0..bytes.len() {
                assert!(SendReply::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
            }
            bytes[0] = 5;
            assert!(SendReply::from_bytes(&bytes).is_err(), "an outcome of a later version");
        }
    }
}
