//! Partitions: one method per command.

use galgo_wire::command::topics::{CreatePartitions, DeletePartitions};

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
}
