//! Topics and partitions.

use std::collections::BTreeMap;

use galgo_wire::command;
use galgo_wire::command::Compression;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Size;

/// What producers do to payloads; neither server nor client compresses anything.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum CompressionAlgorithm {
    /// Nothing.
    None,
    /// gzip.
    Gzip,
}

/// The settings of a topic.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct TopicSettings {
    /// 1 to 255 bytes, unique in the stream.
    #[schema(min_length = 1, max_length = 255, example = "placed")]
    pub(in super::super) name: String,
    /// What producers do to payloads; for information.
    pub(in super::super) compression_algorithm: CompressionAlgorithm,
    /// Microseconds messages are kept; 0 for the server's default, 2^64-1 for ever.
    #[schema(example = 0, maximum = 18446744073709551615u64)]
    pub(in super::super) message_expiry: u64,
    /// Bytes the topic may grow to; 0 for the server's default, 2^64-1 without limit.
    #[schema(example = 0, maximum = 18446744073709551615u64)]
    pub(in super::super) max_topic_size: u64,
    /// Stored and returned, without effect.
    #[schema(minimum = 1, example = 1)]
    pub(in super::super) replication_factor: Option<u8>,
}

/// A new topic.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct CreateTopic {
    /// How many partitions it starts with.
    #[schema(maximum = 1000, example = 1)]
    pub(in super::super) partitions_count: u32,
    #[serde(flatten)]
    pub(in super::super) settings: TopicSettings,
    /// Options by name, such as `"durability": "os"`.
    #[serde(default)]
    #[schema(example = json!({}))]
    pub(in super::super) options: BTreeMap<String, String>,
}

/// Values of options by name; an empty one is the server's default.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"segment.max_age": "1h"}))]
pub(in super::super) struct OptionValues(pub(in super::super) BTreeMap<String, String>);

/// An option of a topic as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct TopicOption {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
    /// Whether nothing is set, so that it is the server's default and changes with it. Durability, deduplication, expiry
    /// and size count as set: what holds when a topic is made is written down.
    default: bool,
}

/// How many partitions.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PartitionsCount {
    /// How many, 1 to 1,000 when they are added.
    #[schema(minimum = 1, maximum = 1000, example = 1)]
    #[param(minimum = 1, example = 1)]
    pub(in super::super) partitions_count: u32,
}

/// How many segments.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct SegmentsCount {
    /// At most how many of the oldest sealed segments.
    #[param(example = 1)]
    pub(in super::super) segments_count: u32,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Topic {
    /// Its id.
    id: u32,
    /// When it was created, in microseconds since the Unix epoch.
    created_at: u64,
    /// Its name.
    name: String,
    /// Bytes of its messages.
    size: Size,
    /// Microseconds messages are kept; 2^64-1 for ever.
    message_expiry: u64,
    /// What producers do to payloads; for information.
    compression_algorithm: CompressionAlgorithm,
    /// Bytes it may grow to; 2^64-1 without limit.
    max_topic_size: u64,
    /// As it was set.
    replication_factor: u8,
    /// How many messages it has.
    messages_count: u64,
    /// How many partitions it has.
    partitions_count: u32,
}

/// A partition.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Partition {
    /// Its id.
    id: u32,
    /// When it was created, in microseconds since the Unix epoch.
    created_at: u64,
    /// How many segments it has.
    segments_count: u32,
    /// The offset of its last message; 0 also when it is empty.
    current_offset: u64,
    /// Bytes of its messages.
    size: Size,
    /// How many messages it has.
    messages_count: u64,
}

/// A topic with its partitions.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct TopicDetails {
    #[serde(flatten)]
    topic: Topic,
    /// Its partitions by id.
    partitions: Vec<Partition>,
}

impl From<CompressionAlgorithm> for Compression {
    fn from(algorithm: CompressionAlgorithm) -> Self {
        match algorithm {
            CompressionAlgorithm::None => Self::None,
            CompressionAlgorithm::Gzip => Self::Gzip,
        }
    }
}

impl From<Compression> for CompressionAlgorithm {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
        }
    }
}

impl From<command::ResolvedOption> for TopicOption {
    fn from(option: command::ResolvedOption) -> Self {
        let command::ResolvedOption { name, value, default } = option;
        Self { name, value, default }
    }
}

impl From<command::Topic> for Topic {
    fn from(topic: command::Topic) -> Self {
        Self {
            id: topic.id.get(),
            created_at: topic.created_at.get(),
            name: topic.name.as_str().to_owned(),
            size: Size(topic.size),
            message_expiry: topic.message_expiry.get(),
            compression_algorithm: topic.compression.into(),
            max_topic_size: topic.max_topic_size.get(),
            replication_factor: topic.replication_factor,
            messages_count: topic.messages_count,
            partitions_count: topic.partitions_count,
        }
    }
}

impl From<command::TopicDetails> for TopicDetails {
    fn from(details: command::TopicDetails) -> Self {
        let partitions = details.partitions.into_iter().map(|partition| Partition {
            id: partition.id.get(),
            created_at: partition.created_at.get(),
            segments_count: partition.segments_count,
            current_offset: partition.current_offset.get(),
            size: Size(partition.size),
            messages_count: partition.messages_count,
        });
        Self { topic: details.topic.into(), partitions: partitions.collect() }
    }
}
