//! Consumer groups under random commands: names, ids, and serials that are never given again.

use std::collections::{BTreeMap, BTreeSet};

use galgo_wire::command::Membership;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::GroupId;
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::name::GroupName;
use proptest::prelude::*;

use super::world::{Step, number};
use crate::metadata::record::Record;
use crate::metadata::{GroupSerial, State, TopicPlace};

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..3, 0u8..4, 0u8..5)
            .prop_map(|(stream, topic, name)| Step::CreateGroup { stream, topic, name }),
        1 => (0u8..3, 0u8..4, 0u8..4)
            .prop_map(|(stream, topic, id)| Step::DeleteGroup { stream, topic, id }),
    ]
}

pub(super) fn prepare(state: &State, step: &Step) -> Result<Record, ErrorCode> {
    match *step {
        Step::CreateGroup { stream, topic, name } => {
            let (stream, topic) = (number(stream), number(topic));
            let name = GroupName::parse(&format!("group {name}")).unwrap();
            let prepared = state.prepare_create_group(&stream, &topic, &name);
            let TopicPlace { stream, topic } = state.existing_topic(&stream, &topic)?;
            let groups = &state.streams[&stream].topics[&topic].groups;
            let taken = groups.values().any(|group| group.name == name);
            assert_eq!(taken, prepared == Err(ErrorCode::ConsumerGroupNameAlreadyExists));
            let (made, record) = prepared?;
            let free = (0..).map(GroupId::new).find(|id| !groups.contains_key(id)).unwrap();
            let expected = Membership { stream_id: stream, topic_id: topic, group_id: free };
            assert_eq!(made, expected, "the lowest free id is given");
            Ok(record)
        }
        Step::DeleteGroup { stream, topic, id } => {
            state.prepare_delete_group(&number(stream), &number(topic), &number(id))
        }
        ref step => panic!("{step:?} is not about groups"),
    }
}

/// INV-META-GROUP, and that every group is found by its name and its id.
pub(super) fn check(before: &State, state: &State, ever: &mut BTreeSet<GroupSerial>) {
    let known: BTreeSet<_> = serials(before).collect();
    let now: Vec<_> = serials(state).collect();
    let distinct: BTreeSet<_> = now.iter().copied().collect();
    assert_eq!(distinct.len(), now.len(), "INV-META-GROUP: two groups share a serial");
    for serial in distinct.difference(&known) {
        assert!(ever.insert(*serial), "INV-META-GROUP: {serial:?} was given again");
    }
    assert!(ever.iter().all(|serial| serial.get() < state.next_group_serial));
    for topic in state.streams.values().flat_map(|stream| stream.topics.values()) {
        let groups = topic.groups.iter();
        let names: BTreeMap<_, _> = groups.map(|(id, group)| (group.name.as_str(), id)).collect();
        assert_eq!(names.len(), topic.groups.len(), "two groups share a name");
        assert_eq!(names.len(), topic.group_names.len(), "an old name is still known");
        for (name, id) in names {
            let found = topic.group(IdentifierRef::Named(name));
            assert_eq!(found, Some((*id, &topic.groups[id])));
            assert_eq!(found, topic.group(IdentifierRef::Numeric(id.get())));
        }
    }
}

fn serials(state: &State) -> impl Iterator<Item = GroupSerial> {
    let topics = state.streams.values().flat_map(|stream| stream.topics.values());
    topics.flat_map(|topic| topic.groups.values().map(|group| group.serial))
}
