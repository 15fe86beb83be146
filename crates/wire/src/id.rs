//! Ids, offsets and times: numbers that cannot be mistaken for each other.

use crate::error_code::ErrorCode;
use crate::primitive::{Payload, Reader};
use serde::Serialize;
use std::fmt;
use twox_hash::XxHash32;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ident);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
        )]
        #[cfg_attr(feature = "json", derive(serde::Deserialize))]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// Returns the number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Payload for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
                $inner::decode(reader).map(Self)
            }
        }

        crate::json::as_inner! { $name, $inner }

        #[cfg(test)]
        impl crate::sample::Sample for $name {
            fn sample(source: &mut crate::sample::Draws) -> Self {
                Self(crate::sample::Sample::sample(source))
            }
        }
    )*};
}

numbers! {
    /// A stream, unique in the server; reused after deletion.
    StreamId(u32);
    /// A topic, unique in its stream; reused after deletion.
    TopicId(u32);
    /// A partition of a topic, counted from 0 without gaps.
    PartitionId(u32);
    /// A user; the root user is 0.
    UserId(u32);
    /// A connection, never 0.
    ClientId(u32);
    /// A consumer group, unique in its topic.
    GroupId(u32);
    /// A plain consumer as the server stores its offsets.
    ConsumerId(u32);
    /// The position of a message in its partition, from 0 without gaps.
    Offset(u64);
    /// The internal number of a partition's data, never used twice.
    PartitionUid(u64);
    /// A life of a partition, from its making to its purge or deletion, as clients see it: a number that no
    /// other life has. 0 is none that is known.
    Life(u64);
    /// A term of ownership of a shard: whoever opens it gets a higher one. 0 is of before they were written down.
    Epoch(u64);
    /// A shard: partitions that share a journal.
    ShardId(u32);
    /// Microseconds since the Unix epoch.
    Timestamp(u64);
}

impl ShardId {
    /// The shard that is there from the first start, and the only one on a single node.
    pub const FIRST: Self = Self(0);
}

impl UserId {
    /// The user that exists from the first start and cannot be deleted.
    pub const ROOT: Self = Self(0);
    /// What the wire says for a connection without a user.
    pub const NONE: Self = Self(u32::MAX);
}

const _: () = assert!(
    UserId::ROOT.get() != UserId::NONE.get(),
    "a connection of root is not told as one without a user"
);

impl Life {
    /// No life that is known.
    pub const UNKNOWN: Self = Self(0);

    /// Whether it is a life that is known.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 != Self::UNKNOWN.0
    }

    /// Whether both are known and not the same.
    #[must_use]
    pub const fn differs_from(self, other: Self) -> bool {
        self.is_known() && other.is_known() && self.0 != other.0
    }
}

impl ClientId {
    /// The id of the connection from `address`, `ip:port`: XXH32 of the text with seed 0, or 1 where
    /// that is 0, which is no id.
    #[must_use]
    pub fn from_address(address: &str) -> Self {
        Self(XxHash32::oneshot(0, address.as_bytes()).max(1))
    }
}

impl ConsumerId {
    /// The id of a consumer known by name: XXH32 of the name with seed 0.
    ///
    /// A consumer that calls itself by that number shares its offsets; the protocol wants it so.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self(XxHash32::oneshot(0, name.as_bytes()))
    }
}

impl Offset {
    /// The first offset of a partition.
    pub const ZERO: Self = Self(0);

    /// The offset `count` messages later, or `None` at the end of the range.
    #[must_use]
    pub fn plus(self, count: u32) -> Option<Self> {
        self.0.checked_add(u64::from(count)).map(Self)
    }
}

impl Timestamp {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_stops_at_the_end_of_its_range() {
        assert_eq!(Offset::new(5).plus(3), Some(Offset::new(8)));
        assert_eq!(Offset::new(u64::MAX).plus(0), Some(Offset::new(u64::MAX)));
        assert_eq!(Offset::new(u64::MAX).plus(1), None);
    }

    #[test]
    fn a_named_consumer_is_the_xxh32_of_its_name() {
        assert_eq!(ConsumerId::from_name("abc"), ConsumerId::new(852_579_327));
        assert_eq!(ConsumerId::from_name("user-42"), ConsumerId::new(1_635_883_646));
    }
}
