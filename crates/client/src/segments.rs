//! Segments: one method per command.

use galgo_wire::command::topics::DeleteSegments;
use galgo_wire::id::PartitionId;

use crate::topics::path;
use crate::{CallError, Client, Identifier};

impl Client {
    /// Deletes the oldest sealed segments of a partition with their messages, at most `count` of
    /// them; the segment that is written to always stays.
    ///
    /// # Errors
    /// [`CallError`]; code `PartitionNotFound` when there is no such partition.
    pub async fn delete_segments(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        partition: u32,
        count: u32,
    ) -> Result<(), CallError> {
        let command = DeleteSegments {
            stream: stream.clone(),
            topic: topic.clone(),
            partition_id: PartitionId::new(partition),
            segments_count: count,
        };
        let target = || format!("of partition {partition} of topic {}", path(stream, topic));
        self.call(&command, "delete segments", target).await
    }
}
