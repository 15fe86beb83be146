//! Topics and partitions.

use std::collections::BTreeMap;

use galgo_wire::command::Compression;
use serde::Deserialize;
use utoipa::ToSchema;

/// The settings of a topic.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct TopicSettings {
    /// 1 to 255 bytes, unique in the stream.
    #[schema(min_length = 1, max_length = 255, example = "placed")]
    pub(in super::super) name: String,
    /// What producers do to payloads; for information.
    pub(in super::super) compression_algorithm: Compression,
    /// Microseconds messages are kept; 0 for the server's default, 2^64-1 for ever.
    #[schema(example = 0, maximum = 18446744073709551615u64)]
    pub(in super::super) message_expiry: u64,
    /// Bytes the topic may grow to; 0 for the server's default, 2^64-1 without limit.
    #[schema(example = 0, maximum = 18446744073709551615u64)]
    pub(in super::super) max_topic_size: u64,
    /// Stored and returned, without effect.
    #[schema(minimum = 1, example = 1)]
    pub(in super::super) replication_factor: Option<u8>,
    /// Options by name, such as `"durability": "os"`; of a topic that is there, those that are not named stay as they
    /// are.
    #[serde(default)]
    #[schema(example = json!({}))]
    pub(in super::super) options: BTreeMap<String, String>,
}

/// A new topic.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct CreateTopic {
    /// How many partitions it starts with.
    #[schema(maximum = 1000, example = 1)]
    pub(in super::super) partitions_count: u32,
    #[serde(flatten)]
    pub(in super::super) settings: TopicSettings,
}

/// Values of options by name; an empty one is the server's default.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"segment.max_age": "1h"}))]
pub(in super::super) struct OptionValues(pub(in super::super) BTreeMap<String, String>);

/// How many partitions.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct PartitionsCount {
    /// How many, 1 to 1,000.
    #[schema(minimum = 1, maximum = 1000, example = 1)]
    pub(in super::super) partitions_count: u32,
}
