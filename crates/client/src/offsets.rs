//! Consumer offsets: one method per command.
//!
//! A stored offset is the one of the last message a consumer has processed, not of the next.

use galgo_wire::command::lives::StoreOffsetInLife;
use galgo_wire::command::offsets::{
    ConsumerOffset, DeleteConsumerOffset, GetConsumerOffset, StoreConsumerOffset,
};
use galgo_wire::command::retention::{ListConsumerOffsets, OffsetCursor, StoredOffset};
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::{Life, Offset, PartitionId};

use crate::extensions::{LIVES, STORED_OFFSETS};
use crate::topics::path;
use crate::{CallError, Client, ConsumerIdentity, Identifier};

/// A partition and the consumer whose offset in it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetOf {
    /// The stream.
    pub stream: Identifier,
    /// The topic.
    pub topic: Identifier,
    /// The partition.
    pub partition: u32,
    /// The consumer, or the group whose offset it is.
    pub consumer: ConsumerIdentity,
}

impl OffsetOf {
    fn store(&self, offset: u64) -> StoreConsumerOffset {
        StoreConsumerOffset {
            consumer: self.consumer.clone(),
            stream: self.stream.clone(),
            topic: self.topic.clone(),
            partition_id: Some(PartitionId::new(self.partition)),
            offset: Offset::new(offset),
        }
    }

    fn target(&self) -> String {
        let kind = match self.consumer.kind {
            ConsumerKind::Consumer => "consumer",
            ConsumerKind::Group => "group",
        };
        format!(
            "of {kind} {} in partition {} of topic {}",
            self.consumer.id,
            self.partition,
            path(&self.stream, &self.topic)
        )
    }
}

impl Client {
    /// Returns the offset a consumer has stored, or `None` when it has stored none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_offset(&self, of: &OffsetOf) -> Result<Option<ConsumerOffset>, CallError> {
        let command = GetConsumerOffset {
            consumer: of.consumer.clone(),
            stream: of.stream.clone(),
            topic: of.topic.clone(),
            partition_id: Some(PartitionId::new(of.partition)),
        };
        self.call(&command, "get offset", || of.target()).await
    }

    /// Stores `offset` as the last one a consumer has processed.
    ///
    /// # Errors
    /// [`CallError`]; code `InvalidOffset` when the offset is beyond the end of the partition.
    pub async fn store_offset(&self, of: &OffsetOf, offset: u64) -> Result<(), CallError> {
        self.call(&of.store(offset), "store offset", || of.target()).await
    }

    /// As [`Client::store_offset`], if the partition is still in `life`, that of the message with the offset
    /// ([`ReceivedMessage::life`](crate::ReceivedMessage::life)); `false` when it is in another one, after a
    /// purge or because the topic was made again: nothing is stored then.
    ///
    /// With an unknown life, or a server without the extension, it is stored in any case.
    ///
    /// # Errors
    /// Those of [`Client::store_offset`].
    pub async fn store_offset_in(
        &self,
        of: &OffsetOf,
        offset: u64,
        life: Life,
    ) -> Result<bool, CallError> {
        if !life.is_known() || !self.has(&LIVES).await? {
            return self.store_offset(of, offset).await.map(|()| true);
        }
        let store = of.store(offset);
        let command = StoreOffsetInLife { store, life };
        let stored = self.call(&command, "store offset", || of.target()).await?;
        Ok(stored.stored)
    }

    /// Forgets the offset a consumer has stored.
    ///
    /// # Errors
    /// [`CallError`]; code `ConsumerOffsetNotFound` when it has stored none.
    pub async fn delete_offset(&self, of: &OffsetOf) -> Result<(), CallError> {
        let command = DeleteConsumerOffset {
            consumer: of.consumer.clone(),
            stream: of.stream.clone(),
            topic: of.topic.clone(),
            partition_id: Some(PartitionId::new(of.partition)),
        };
        self.call(&command, "delete offset", || of.target()).await
    }

    /// Returns the offsets stored in a topic, or in one of its partitions, by whomever: by partition, those
    /// of consumers before those of groups, each in the order of their numbers.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Unsupported`] when the server is a classic one.
    pub async fn stored_offsets(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        partition: Option<u32>,
    ) -> Result<Vec<StoredOffset>, CallError> {
        let mut command = ListConsumerOffsets {
            stream: stream.clone(),
            topic: topic.clone(),
            partition_id: partition.map(PartitionId::new),
            after: OffsetCursor::default(),
        };
        command.after.partition_id = command.partition_id.unwrap_or_default();
        let mut stored: Vec<StoredOffset> = Vec::new();
        loop {
            let target = || format!("of topic {}", path(stream, topic));
            let page =
                self.call_extension(STORED_OFFSETS, &command, "list offsets", target).await?;
            stored.extend(page.offsets);
            let Some(last) = stored.last().filter(|_| page.more) else { return Ok(stored) };
            let (kind, cursor_id) = (last.kind.as_u8(), last.cursor_id);
            command.after = OffsetCursor { partition_id: last.partition_id, kind, cursor_id };
        }
    }
}
