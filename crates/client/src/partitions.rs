//! Partitions: one method per command.

use galgo_wire::command::rescue::{PartitionRescue, RescuePartition};
use galgo_wire::command::topics::{CreatePartitions, DeletePartitions};
use galgo_wire::id::PartitionId;

use crate::extensions::PARTITION_RESCUE;
use crate::topics::path;
use crate::{CallError, Client, Identifier};

impl Client {
    /// Adds `count` partitions to a topic, after those it has.
    ///
    /// Which partition a key belongs to depends on the number of partitions.
    ///
    /// # Errors
    /// [`CallError`]; code `TooManyPartitions` when `count` is 0 or over 1000.
    pub async fn create_partitions(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        count: u32,
    ) -> Result<(), CallError> {
        let command = CreatePartitions {
            stream: stream.clone(),
            topic: topic.clone(),
            partitions_count: count,
        };
        self.call(&command, "create partitions", || format!("in topic {}", path(stream, topic)))
            .await
    }

    /// Deletes the `count` partitions with the highest numbers, with their messages.
    ///
    /// # Errors
    /// [`CallError`]; code `InvalidPartitionsCount` when the topic has fewer.
    pub async fn delete_partitions(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        count: u32,
    ) -> Result<(), CallError> {
        let command = DeletePartitions {
            stream: stream.clone(),
            topic: topic.clone(),
            partitions_count: count,
        };
        self.call(&command, "delete partitions", || format!("of topic {}", path(stream, topic)))
            .await
    }

    /// Has the server try at once to take writes again in a partition that takes none since a sync failed or its
    /// log could not be opened, and returns what came of it, after 5 seconds at the latest. The server tries by
    /// itself as well, every second at first and every ten later on: this is for whoever has just made room.
    ///
    /// # Errors
    /// [`CallError`]; code `PartitionNotFound` when there is no such partition, [`CallError::Unsupported`] when the
    /// server does not know how.
    pub async fn rescue_partition(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        partition: u32,
    ) -> Result<PartitionRescue, CallError> {
        let command = RescuePartition {
            stream: stream.clone(),
            topic: topic.clone(),
            partition_id: PartitionId::new(partition),
        };
        let target = || format!("{partition} of topic {}", path(stream, topic));
        self.call_extension(PARTITION_RESCUE, &command, "rescue partition", target).await
    }
}
