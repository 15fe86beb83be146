//! Who reads, from where, and to which partition a batch goes.

use crate::error_code::ErrorCode;
use crate::id::{Offset, PartitionId, Timestamp};
use crate::identifier::Identifier;
use crate::index::to_u8;
use crate::layout::{byte_enum, layout};
use crate::limits::MESSAGES_KEY_BYTES_MAX;
use crate::primitive::{DecodeError, Payload, Reader};
use std::fmt;
use twox_hash::XxHash32;

byte_enum! {
    /// Whether a consumer reads for itself or as a member of a group.
    pub enum ConsumerKind {
        /// For itself.
        Consumer = 1 "consumer",
        /// As a member of a group.
        Group = 2 "group",
    }
}

layout! {
    /// A consumer, or the group a consumer reads for.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct ConsumerIdentity {
        /// Which of the two it is.
        kind: ConsumerKind,
        /// Its number or name.
        id: Identifier,
    }
}

impl ConsumerIdentity {
    /// A consumer that reads for itself.
    #[must_use]
    pub fn new(id: Identifier) -> Self {
        Self { kind: ConsumerKind::Consumer, id }
    }

    /// A consumer group.
    #[must_use]
    pub fn group(id: Identifier) -> Self {
        Self { kind: ConsumerKind::Group, id }
    }
}

/// A partition, or the server's choice: five bytes, a flag that has to be exactly 1, and the id.
pub(crate) struct PartitionChoice;

impl PartitionChoice {
    pub(crate) fn encode(value: &Option<PartitionId>, out: &mut Vec<u8>) {
        out.push(u8::from(value.is_some()));
        // The id is there without the flag, too, so that the field is five bytes either way.
        value.unwrap_or_default().encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Option<PartitionId>, ErrorCode> {
        let flag = reader.u8()?;
        let partition = PartitionId::decode(reader)?;
        Ok((flag == 1).then_some(partition))
    }
}

/// Where a poll starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PollingStrategy {
    /// At an offset.
    Offset(Offset),
    /// At the first message that is not older.
    Timestamp(Timestamp),
    /// At the oldest message.
    First,
    /// With the newest messages, as many as are asked for.
    Last,
    /// Behind the stored offset of the consumer.
    Next,
}

impl Payload for PollingStrategy {
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, value): (u8, u64) = match self {
            Self::Offset(offset) => (1, offset.get()),
            Self::Timestamp(timestamp) => (2, timestamp.get()),
            Self::First => (3, 0),
            Self::Last => (4, 0),
            Self::Next => (5, 0),
        };
        out.push(kind);
        value.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let kind = reader.u8()?;
        let value = reader.u64()?;
        Ok(match kind {
            1 => Self::Offset(Offset::new(value)),
            2 => Self::Timestamp(Timestamp::new(value)),
            3 => Self::First,
            4 => Self::Last,
            5 => Self::Next,
            _ => return Err(DecodeError::Unknown(kind).into()),
        })
    }
}

impl fmt::Display for PollingStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Timestamp(timestamp) => write!(f, "timestamp {timestamp}"),
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Next => f.write_str("next"),
        }
    }
}

/// How the partition of a batch is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Partitioning {
    /// The server takes the partitions in turn, batch by batch.
    Balanced,
    /// The caller names it.
    PartitionId(PartitionId),
    /// By the hash of a key of 1 to 255 bytes.
    Key(MessagesKey),
}

const _: () =
    assert!(MESSAGES_KEY_BYTES_MAX <= u8::MAX as usize, "a key's length is one byte on the wire");

/// A key that chooses a partition: 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessagesKey(Box<[u8]>);

impl MessagesKey {
    /// Makes a key; `None` when `bytes` are not 1 to 255.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=MESSAGES_KEY_BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Partitioning {
    /// Partitioning by a key; `None` when `key` is not 1 to 255 bytes.
    #[must_use]
    pub fn key(key: &[u8]) -> Option<Self> {
        MessagesKey::new(key).map(Self::Key)
    }

    /// Borrows the partitioning.
    #[must_use]
    pub fn borrowed(&self) -> PartitioningRef<'_> {
        match self {
            Self::Balanced => PartitioningRef::Balanced,
            Self::PartitionId(partition) => PartitioningRef::PartitionId(*partition),
            Self::Key(key) => PartitioningRef::Key(key.as_bytes()),
        }
    }

    /// The partition of a key; `None` when there are no partitions. As [`key_partition`].
    #[must_use]
    pub fn key_partition(key: &[u8], partitions_count: u32) -> Option<PartitionId> {
        key_partition(key, partitions_count)
    }
}

/// A [`Partitioning`] whose key lies in the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitioningRef<'a> {
    /// The server takes the partitions in turn, batch by batch.
    Balanced,
    /// The caller names it.
    PartitionId(PartitionId),
    /// By the hash of a key.
    Key(&'a [u8]),
}

impl<'a> PartitioningRef<'a> {
    /// Appends the partitioning to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Balanced => out.extend_from_slice(&[1, 0]),
            Self::PartitionId(partition) => {
                out.extend_from_slice(&[2, 4]);
                partition.encode(out);
            }
            Self::Key(key) => {
                // A longer one is none that the types of this crate make; its front chooses a partition as well.
                let key = key.get(..MESSAGES_KEY_BYTES_MAX).unwrap_or(key);
                out.extend_from_slice(&[3, to_u8(key.len())]);
                out.extend_from_slice(key);
            }
        }
    }

    /// Reads a partitioning without copying its key.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCommand`] for every malformed one, as the protocol asks.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorCode> {
        let kind = reader.u8()?;
        let len = reader.u8()?;
        match (kind, len) {
            (1, 0) => Ok(Self::Balanced),
            (2, 4) => Ok(Self::PartitionId(PartitionId::decode(reader)?)),
            (3, 1..) => Ok(Self::Key(reader.bytes(usize::from(len))?)),
            _ => Err(ErrorCode::InvalidCommand),
        }
    }
}

/// The partition of a key: XXH32 with seed 0, modulo the number of partitions; `None` when there
/// are none.
#[must_use]
pub fn key_partition(key: &[u8], partitions_count: u32) -> Option<PartitionId> {
    XxHash32::oneshot(0, key).checked_rem(partitions_count).map(PartitionId::new)
}

#[cfg(test)]
impl crate::sample::Sample for PollingStrategy {
    fn sample(source: &mut crate::sample::Draws) -> Self {
        match source.below(5) {
            0 => Self::Offset(Offset::sample(source)),
            1 => Self::Timestamp(Timestamp::sample(source)),
            2 => Self::First,
            3 => Self::Last,
            _ => Self::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hashed_with_xxh32() {
        let cases: [(&str, u32); 4] = [
            ("abc", 852_579_327),
            ("a", 1_426_945_110),
            ("key1", 133_378_825),
            ("user-42", 1_635_883_646),
        ];
        for (key, hash) in cases {
            assert_eq!(key_partition(key.as_bytes(), u32::MAX), Some(PartitionId::new(hash)));
            assert_eq!(key_partition(key.as_bytes(), 7), Some(PartitionId::new(hash % 7)));
        }
    }

    #[test]
    fn a_key_has_no_partition_where_there_are_none() {
        assert_eq!(key_partition(b"abc", 0), None);
    }

    #[test]
    fn malformed_partitionings_are_invalid_commands() {
        let cases: [&[u8]; 9] = [
            &[],
            &[1],
            &[1, 1, 0],
            &[2, 3, 0, 0, 0],
            &[2, 4, 0, 0, 0],
            &[3, 0],
            &[3, 2, 1],
            &[0, 0],
            &[4, 0],
        ];
        for bytes in cases {
            let read = PartitioningRef::read(&mut Reader::new(bytes));
            assert_eq!(read, Err(ErrorCode::InvalidCommand), "{bytes:?}");
        }
    }

    #[test]
    fn only_the_flag_one_names_a_partition() {
        for flag in [0, 2, 255] {
            let read = PartitionChoice::decode(&mut Reader::new(&[flag, 7, 0, 0, 0]));
            assert_eq!(read, Ok(None));
        }
        let read = PartitionChoice::decode(&mut Reader::new(&[1, 7, 0, 0, 0]));
        assert_eq!(read, Ok(Some(PartitionId::new(7))));
    }

    #[test]
    fn partitionings_round_trip() {
        let key = [9; 255];
        for partitioning in [
            Partitioning::Balanced,
            Partitioning::PartitionId(PartitionId::new(3)),
            Partitioning::key(&key).unwrap(),
        ] {
            let mut out = Vec::new();
            partitioning.borrowed().encode(&mut out);
            let read = PartitioningRef::read(&mut Reader::new(&out)).unwrap();
            assert_eq!(read, partitioning.borrowed());
        }
        assert!(Partitioning::key(&[]).is_none() && Partitioning::key(&[0; 256]).is_none());
    }
}
