//! Topics, their partitions and segments.

use crate::error_code::ErrorCode;
use crate::id::{Offset, PartitionId, Timestamp, TopicId};
use crate::identifier::Identifier;
#[cfg(feature = "json")]
use crate::json::Size;
use crate::layout::{byte_enum, command, layout, shown};
use crate::name::TopicName;
use crate::permission::{Action, Right};
use crate::primitive::{Payload, Reader};
use serde::Serialize;
use std::fmt;

command! {
    /// Shows one topic.
    pub struct GetTopic -> Option<TopicDetails> {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

command! {
    /// Lists the topics of a stream.
    pub struct GetTopics -> Vec<Topic> {
        /// The stream.
        stream: Identifier,
    }
    right: |this| Right::stream(Action::ListTopics, &this.stream);
}

command! {
    /// Creates a topic.
    pub struct CreateTopic -> TopicDetails {
        /// The stream.
        stream: Identifier,
        /// How many partitions it starts with, 0 to 1,000.
        partitions_count: u32,
        /// What producers do to payloads; for information.
        compression: Compression,
        /// How long messages are kept.
        message_expiry: MessageExpiry,
        /// How large it may grow.
        max_topic_size: MaxTopicSize,
        /// Stored and returned, without effect; 0 means 1.
        replication_factor: u8,
        /// The name, unique in the stream.
        name: TopicName,
    }
    right: |this| Right::stream(Action::CreateTopic, &this.stream);
}

command! {
    /// Replaces all settings of a topic.
    pub struct UpdateTopic -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// What producers do to payloads; for information.
        compression: Compression,
        /// How long messages are kept.
        message_expiry: MessageExpiry,
        /// How large it may grow.
        max_topic_size: MaxTopicSize,
        /// Stored and returned, without effect; 0 means 1.
        replication_factor: u8,
        /// The new name.
        name: TopicName,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Deletes a topic with all that is in it.
    pub struct DeleteTopic -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Deletes all messages and consumer offsets of a topic.
    pub struct PurgeTopic -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Adds partitions behind the existing ones.
    pub struct CreatePartitions -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// How many, 1 to 1,000.
        partitions_count: u32,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Deletes the partitions with the highest ids.
    pub struct DeletePartitions -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// How many, at least 1.
        partitions_count: u32,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Deletes the oldest sealed segments of a partition.
    pub struct DeleteSegments -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition.
        partition_id: PartitionId,
        /// At most how many.
        segments_count: u32,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

byte_enum! {
    /// What producers do to payloads; neither server nor client compresses anything.
    pub enum Compression {
        /// Nothing.
        None = 1 "none",
        /// gzip.
        Gzip = 2 "gzip",
    }
    json "CompressionAlgorithm";
}

/// A number with two values that mean something else.
macro_rules! sentinels {
    ($($(#[$doc:meta])* $name:ident { $(#[$max_doc:meta])* $max:ident $word:literal })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// As the server is configured; only in requests.
            pub const SERVER_DEFAULT: Self = Self(0);
            $(#[$max_doc])*
            pub const $max: Self = Self(u64::MAX);

            /// Wraps the number of the wire.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number of the wire.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The limit, if this is one.
            #[must_use]
            pub fn limit(self) -> Option<u64> {
                (self != Self::SERVER_DEFAULT && self != Self::$max).then_some(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    Self::SERVER_DEFAULT => f.pad("server default"),
                    Self::$max => f.pad($word),
                    Self(value) => value.fmt(f),
                }
            }
        }

        impl Payload for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
                u64::decode(reader).map(Self)
            }
        }

        crate::json::as_inner! { $name, u64 }

        #[cfg(test)]
        impl crate::sample::Sample for $name {
            fn sample(source: &mut crate::sample::Draws) -> Self {
                Self(crate::sample::Sample::sample(source))
            }
        }
    )*};
}

sentinels! {
    /// How long messages are kept, in microseconds.
    MessageExpiry {
        /// For ever.
        NEVER "never"
    }
    /// How large a topic may grow, in bytes.
    MaxTopicSize {
        /// Without a limit.
        UNLIMITED "unlimited"
    }
}

layout! {
    /// A topic.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Topic {
        /// Its id.
        id: TopicId,
        /// When it was created, in microseconds since the Unix epoch.
        created_at: Timestamp,
        /// How many partitions it has.
        partitions_count: u32,
        /// Microseconds messages are kept; 2^64-1 for ever.
        message_expiry: MessageExpiry,
        /// What producers do to payloads; for information.
        #[serde(rename = "compression_algorithm")]
        compression: Compression,
        /// Bytes it may grow to; 2^64-1 without limit.
        max_topic_size: MaxTopicSize,
        /// As it was set.
        replication_factor: u8,
        /// Bytes of its messages.
        size: u64 => Size,
        /// How many messages it has.
        messages_count: u64,
        /// Its name.
        name: TopicName,
    }
    json: id created_at name size message_expiry compression max_topic_size replication_factor messages_count partitions_count;
}

layout! {
    /// A partition.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub struct Partition {
        /// Its id.
        id: PartitionId,
        /// When it was created, in microseconds since the Unix epoch.
        created_at: Timestamp,
        /// How many segments it has.
        segments_count: u32,
        /// The offset of its last message; 0 also when it is empty.
        current_offset: Offset,
        /// Bytes of its messages.
        size: u64 => Size,
        /// How many messages it has.
        messages_count: u64,
    }
    json;
}

shown! {
    /// A topic with its partitions.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct TopicDetails {
        /// The topic.
        #[serde(flatten)]
        topic: Topic,
        /// Its partitions by id.
        partitions: Vec<Partition>,
    }
    json;
}

impl Payload for TopicDetails {
    fn encode(&self, out: &mut Vec<u8>) {
        self.topic.encode(out);
        self.partitions.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let topic = Topic::decode(reader)?;
        let partitions = Vec::<Partition>::decode(reader)?;
        // Classic clients refuse a reply that does not agree with itself; so do we.
        if u32::try_from(partitions.len()) != Ok(topic.partitions_count) {
            return Err(ErrorCode::InvalidFormat);
        }
        Ok(Self { topic, partitions })
    }
}
