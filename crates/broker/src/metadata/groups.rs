//! Consumer groups in the metadata: lookup, creation, deletion.
//!
//! Only that a group exists is metadata. Who is in it ends with the process.

use galgo_wire::command::Membership;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ConsumerId, GroupId};
use galgo_wire::identifier::{Identifier, IdentifierRef};
use galgo_wire::name::GroupName;
use galgo_wire::primitive::{Payload, Reader};

use super::prepare::lowest_free;
use super::record::Record;
use super::{ApplyError, Consequence, State, TopicMetadata, TopicPlace, missing};

/// Tells a group from those that had its id before and will have it later. Its offsets are stored under
/// this number, so that no group ever sees those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupSerial(u32);

const _: () = assert!(
    size_of::<GroupSerial>() == size_of::<ConsumerId>(),
    "INV-META-GROUP: no two serials become one number to store offsets under"
);

/// A consumer group as the metadata knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Tells the group from those that had its id before.
    pub serial: GroupSerial,
    /// Unique in the topic.
    pub name: GroupName,
}

impl GroupSerial {
    /// The serial with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number its offsets are stored under.
    #[must_use]
    pub(crate) fn consumer_id(self) -> ConsumerId {
        ConsumerId::new(self.0)
    }
}

impl Payload for GroupSerial {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        u32::decode(reader).map(Self)
    }
}

impl TopicMetadata {
    /// The group that `identifier` names, with its id.
    #[must_use]
    pub fn group(&self, identifier: IdentifierRef<'_>) -> Option<(GroupId, &GroupMetadata)> {
        let id = match identifier {
            IdentifierRef::Numeric(id) => GroupId::new(id),
            IdentifierRef::Named(name) => *self.group_names.get(name)?,
        };
        self.groups.get(&id).map(|group| (id, group))
    }

    pub(super) fn insert_group(&mut self, id: GroupId, group: GroupMetadata) {
        self.group_names.insert(group.name.as_str().into(), id);
        self.groups.insert(id, group);
    }
}

impl State {
    /// # Errors
    /// 1009, 2010; 5004 when another group of the topic has the name; 1 when no serial is left.
    pub(crate) fn prepare_create_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        name: &GroupName,
    ) -> Result<(Membership, Record), ErrorCode> {
        let at = self.existing_topic(stream, topic)?;
        let stored = self.topic_at(at)?;
        if stored.group_names.contains_key(name.as_str()) {
            return Err(ErrorCode::ConsumerGroupNameAlreadyExists);
        }
        // Offsets are stored under 32 bits; past the last serial another group would read what this one stored.
        if self.next_group_serial == u32::MAX {
            return Err(ErrorCode::Error);
        }
        let group_id = GroupId::new(lowest_free(&stored.groups, GroupId::get));
        assert!(!stored.groups.contains_key(&group_id), "an id that is given is no group's");
        let place = Membership { stream_id: at.stream, topic_id: at.topic, group_id };
        let group =
            GroupMetadata { serial: GroupSerial(self.next_group_serial), name: name.clone() };
        Ok((place, Record::CreateGroup { place, group }))
    }

    /// # Errors
    /// 1009, 2010, 5000.
    pub(crate) fn prepare_delete_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        group: &Identifier,
    ) -> Result<Record, ErrorCode> {
        let at = self.existing_topic(stream, topic)?;
        let found = self.topic_at(at)?.group(group.borrowed());
        let (group_id, _) = found.ok_or(ErrorCode::ConsumerGroupIdNotFound)?;
        let place = Membership { stream_id: at.stream, topic_id: at.topic, group_id };
        Ok(Record::DeleteGroup { place })
    }

    pub(super) fn create_group(
        &mut self,
        place: Membership,
        group: &GroupMetadata,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let id = place.group_id;
        let topic = self.topic_mut(place)?;
        if topic.groups.contains_key(&id) || topic.group_names.contains_key(group.name.as_str()) {
            return missing("group", id.get());
        }
        topic.insert_group(id, group.clone());
        // INV-META-GROUP: also behind a repair that skipped some.
        self.next_group_serial = self.next_group_serial.max(group.serial.0.saturating_add(1));
        Ok(vec![Consequence::TopicChanged(TopicPlace::new(place.stream_id, place.topic_id))])
    }

    pub(super) fn delete_group(
        &mut self,
        place: Membership,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let id = place.group_id;
        let topic = self.topic_mut(place)?;
        let Some(group) = topic.groups.remove(&id) else { return missing("group", id.get()) };
        // Its offsets are forgotten by the partitions, which hear of it as a consequence; what a crash keeps of them is under
        // a serial that nobody has again.
        topic.group_names.remove(group.name.as_str());
        Ok(vec![Consequence::TopicChanged(TopicPlace::new(place.stream_id, place.topic_id))])
    }

    fn topic_mut(&mut self, place: Membership) -> Result<&mut TopicMetadata, ApplyError> {
        let stream = self.streams.get_mut(&place.stream_id);
        let topic = stream.and_then(|stream| stream.topics.get_mut(&place.topic_id));
        topic.map_or_else(|| missing("topic", place.topic_id.get()), Ok)
    }
}
