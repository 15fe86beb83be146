//! Consumer offsets: how far a consumer or group has come in a partition.

use crate::consumer::{ConsumerIdentity, PartitionChoice};
use crate::id::{Offset, PartitionId};
use crate::identifier::Identifier;
use crate::layout::{command, layout};
use crate::permission::{Action, Right};
use serde::Serialize;

command! {
    /// Asks for a stored offset.
    pub struct GetConsumerOffset -> Option<ConsumerOffset> {
        /// Whose.
        consumer: ConsumerIdentity,
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition; none is 0.
        partition_id: Option<PartitionId> as PartitionChoice,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

command! {
    /// Stores the offset of the last message that was processed.
    pub struct StoreConsumerOffset -> () {
        /// Whose.
        consumer: ConsumerIdentity,
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition; none is 0 for a consumer, and for a group the member's current one.
        partition_id: Option<PartitionId> as PartitionChoice,
        /// The offset.
        offset: Offset,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

command! {
    /// Forgets a stored offset.
    pub struct DeleteConsumerOffset -> () {
        /// Whose.
        consumer: ConsumerIdentity,
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition; none is 0 for a consumer, and for a group the member's current one.
        partition_id: Option<PartitionId> as PartitionChoice,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

layout! {
    /// A stored offset.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub struct ConsumerOffset {
        /// The partition.
        partition_id: PartitionId,
        /// The offset of the partition's last message.
        current_offset: Offset,
        /// The offset that was stored.
        stored_offset: Offset,
    }
    json;
}
