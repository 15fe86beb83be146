//! Consumer groups: consumers that share the partitions of a topic.

use crate::error_code::ErrorCode;
use crate::id::{GroupId, PartitionId};
use crate::identifier::Identifier;
use crate::index::to_u32;
use crate::layout::{command, layout, shown};
use crate::name::GroupName;
use crate::permission::{Action, Right};
use crate::primitive::{Payload, Reader, put_length32};
use serde::Serialize;

command! {
    /// Asks for one group.
    pub struct GetConsumerGroup -> Option<ConsumerGroupDetails> {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The group.
        group: Identifier,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

command! {
    /// Asks for the groups of a topic.
    pub struct GetConsumerGroups -> Vec<ConsumerGroup> {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

command! {
    /// Creates a group.
    pub struct CreateConsumerGroup -> ConsumerGroupDetails {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The name, unique in the topic.
        name: GroupName,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

command! {
    /// Deletes a consumer group with its offsets.
    pub struct DeleteConsumerGroup -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The group.
        group: Identifier,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Makes the caller a member of a group.
    pub struct JoinConsumerGroup -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The group.
        group: Identifier,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

command! {
    /// Ends the caller's membership of a group.
    pub struct LeaveConsumerGroup -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The group.
        group: Identifier,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

layout! {
    /// A consumer group.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ConsumerGroup {
        /// Its id.
        id: GroupId,
        /// How many partitions the topic has.
        partitions_count: u32,
        /// How many members it has.
        members_count: u32,
        /// Its name.
        name: GroupName,
    }
    json: id name partitions_count members_count;
}

shown! {
    /// A consumer group with its members.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ConsumerGroupDetails {
        /// The group.
        #[serde(flatten)]
        group: ConsumerGroup,
        /// Its members.
        members: Vec<GroupMember>,
    }
    json;
}

impl Payload for ConsumerGroupDetails {
    fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        self.members.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let group = ConsumerGroup::decode(reader)?;
        let members = Vec::<GroupMember>::decode(reader)?;
        if u32::try_from(members.len()) != Ok(group.members_count) {
            return Err(ErrorCode::InvalidFormat);
        }
        Ok(Self { group, members })
    }
}

shown! {
    /// A member of a consumer group.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct GroupMember {
        /// Its number in the group; not the id of its connection.
        id: u32,
        /// How many partitions it reads.
        partitions_count: u32,
        /// The partitions it reads, in its order.
        partitions: Vec<PartitionId>,
    }
    json;
}

impl GroupMember {
    /// A member that reads these partitions.
    #[must_use]
    pub fn new(id: u32, partitions: Vec<PartitionId>) -> Self {
        let partitions_count = to_u32(partitions.len());
        Self { id, partitions_count, partitions }
    }
}

impl Payload for GroupMember {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        put_length32(out, self.partitions.len());
        self.partitions.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let id = reader.u32()?;
        let count = reader.u32()?;
        let mut partitions = Vec::with_capacity(reader.capacity(count, 4));
        for _ in 0..count {
            partitions.push(PartitionId::decode(reader)?);
        }
        Ok(Self::new(id, partitions))
    }
}
