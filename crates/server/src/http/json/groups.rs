//! Consumer groups and consumer offsets.

use galgo_wire::command;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::NumberOrName;

/// The name of a new group.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct GroupName {
    /// 1 to 255 bytes, unique in the topic.
    #[schema(min_length = 1, max_length = 255, example = "billing")]
    pub(in super::super) name: String,
}

/// A consumer group.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct ConsumerGroup {
    /// Its id.
    id: u32,
    /// Its name.
    name: String,
    /// How many partitions the topic has.
    partitions_count: u32,
    /// How many members it has.
    members_count: u32,
}

/// A member of a consumer group.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct GroupMember {
    /// Its number in the group.
    id: u32,
    /// How many partitions it reads.
    partitions_count: u32,
    /// The partitions it reads.
    partitions: Vec<u32>,
}

/// A consumer group with its members.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct ConsumerGroupDetails {
    #[serde(flatten)]
    group: ConsumerGroup,
    /// Its members.
    members: Vec<GroupMember>,
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

/// A stored offset.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct ConsumerOffset {
    /// The partition.
    partition_id: u32,
    /// The offset of the partition's last message.
    current_offset: u64,
    /// The offset that was stored.
    stored_offset: u64,
}

impl From<command::ConsumerGroup> for ConsumerGroup {
    fn from(group: command::ConsumerGroup) -> Self {
        Self {
            id: group.id.get(),
            name: group.name.as_str().to_owned(),
            partitions_count: group.partitions_count,
            members_count: group.members_count,
        }
    }
}

impl From<command::ConsumerGroupDetails> for ConsumerGroupDetails {
    fn from(details: command::ConsumerGroupDetails) -> Self {
        let members = details.members.into_iter().map(|member| GroupMember {
            id: member.id,
            partitions_count: member.partitions_count,
            partitions: member.partitions.into_iter().map(u32::from).collect(),
        });
        Self { group: details.group.into(), members: members.collect() }
    }
}

impl From<command::ConsumerOffset> for ConsumerOffset {
    fn from(offset: command::ConsumerOffset) -> Self {
        Self {
            partition_id: offset.partition_id.get(),
            current_offset: offset.current_offset.get(),
            stored_offset: offset.stored_offset.get(),
        }
    }
}
