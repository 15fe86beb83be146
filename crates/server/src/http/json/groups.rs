//! Consumer groups and consumer offsets.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::NumberOrName;

/// The name of a new group.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct GroupName {
    /// 1 to 255 bytes, unique in the topic.
    #[schema(min_length = 1, max_length = 255, example = "billing")]
    pub(in super::super) name: String,
}

/// Whose offset, of which partition.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct OffsetOf {
    /// The consumer, by number or name; 1 when left out.
    #[param(min_length = 1, max_length = 255, example = "1")]
    pub(in super::super) consumer_id: Option<String>,
    /// The partition; 0 when left out.
    #[param(example = 0)]
    pub(in super::super) partition_id: Option<u32>,
}

/// Which partition.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PartitionOf {
    /// The partition; 0 when left out.
    #[param(example = 0)]
    pub(in super::super) partition_id: Option<u32>,
}

/// The offset of the last message that was processed.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct StoreOffset {
    /// The offset.
    #[schema(maximum = 18446744073709551615u64)]
    pub(in super::super) offset: u64,
    /// The consumer; 1 when left out.
    pub(in super::super) consumer_id: Option<NumberOrName>,
    /// The partition; 0 when left out.
    pub(in super::super) partition_id: Option<u32>,
}

/// The offset of the last message that was processed, and the life of the partition it was read in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct StoreInLife {
    /// The offset.
    #[schema(maximum = 18446744073709551615u64)]
    pub(in super::super) offset: u64,
    /// The partition; 0 when left out.
    pub(in super::super) partition_id: Option<u32>,
    /// The life, as a poll told it; left out, whichever the partition is in.
    #[schema(example = "8127463598172634519")]
    pub(in super::super) life: Option<String>,
}
