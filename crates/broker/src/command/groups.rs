//! Consumer groups: get, list, create, delete, join, leave; and what a member may poll and store.

use std::sync::Arc;

use galgo_wire::command::Command;
use galgo_wire::command::{
    ConsumerGroup, ConsumerGroupDetails, CreateConsumerGroup, DeleteConsumerGroup,
    GetConsumerGroup, GetConsumerGroups, JoinConsumerGroup, JoinGroupWith, LeaveConsumerGroup,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{GroupId, PartitionId};
use galgo_wire::identifier::Identifier;
use galgo_wire::index::to_u32;
use galgo_wire::name::GroupName;

use super::{authorize_existing, change, payload};
use crate::broker::Broker;
use crate::catalog::FoundTopic;
use crate::catalog::groups::{MemberTurn, OpenGroup};
use crate::clients::Registration;
use crate::group::{Group, GroupRefusal};
use crate::metadata::TopicPlace;
use crate::outcome::{Outcome, Reply};
use crate::session::Session;

/// One group with its members; empty when anything named is missing.
pub(super) fn get(broker: &Broker, session: &Session, command: &GetConsumerGroup) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.find_topic(command.stream.borrowed(), command.topic.borrowed()).ok();
        let group = found.and_then(|found| {
            let (id, stored) = found.topic.group(command.group.borrowed())?;
            let open = found.group(command.group.borrowed()).ok()?;
            let at = broker.clients.moment();
            // What is due is done first: whoever looks at a group expects the hand-over that has taken too long to be over.
            let mut group = open.lock(at);
            group.expire(at);
            let group_info = group_info(id, &stored.name, &found, &group);
            Some(ConsumerGroupDetails { group: group_info, members: group.members() })
        });
        Ok(payload(&group))
    };
    answer().into()
}

/// The groups of a topic by id; none when the topic is missing.
pub(super) fn list(broker: &Broker, session: &Session, command: &GetConsumerGroups) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.find_topic(command.stream.borrowed(), command.topic.borrowed()).ok();
        let at = broker.clients.moment();
        let groups = found.iter().flat_map(|found| {
            found.topic.groups.iter().filter_map(|(id, stored)| {
                let open = found.group(Identifier::Numeric(id.get()).borrowed()).ok()?;
                Some(group_info(*id, &stored.name, found, &open.lock(at)))
            })
        });
        Ok(payload(&groups.collect::<Vec<_>>()))
    };
    answer().into()
}

/// Creates a group without members.
pub(super) fn create(broker: &Broker, session: &Session, command: CreateConsumerGroup) -> Outcome {
    change(broker, session, command, |broker, command| {
        let (place, partitions_count) = broker.change(|state| {
            let (stream, topic) = (&command.stream, &command.topic);
            let (place, record) = state.prepare_create_group(stream, topic, &command.name)?;
            // Asked under the lock of the change: behind it the topic may have more.
            let topic = state.topic_at(TopicPlace::new(place.stream_id, place.topic_id))?;
            Ok(((place, topic.partitions.len()), record))
        })?;
        let group = ConsumerGroup {
            id: place.group_id,
            partitions_count: to_u32(partitions_count),
            members_count: 0,
            name: command.name.clone(),
        };
        Ok(payload(&ConsumerGroupDetails { group, members: Vec::new() }))
    })
}

/// Deletes a group with its offsets; its members leave.
pub(super) fn delete(broker: &Broker, session: &Session, command: DeleteConsumerGroup) -> Outcome {
    change(broker, session, command, |broker, command| {
        broker.change(|state| {
            let (stream, topic) = (&command.stream, &command.topic);
            Ok(((), state.prepare_delete_group(stream, topic, &command.group)?))
        })?;
        Ok(Reply::Empty)
    })
}

/// Makes the caller a member; nothing changes when it is one.
pub(super) fn join(broker: &Broker, session: &Session, command: &JoinConsumerGroup) -> Outcome {
    membership(broker, session, command, &command.group, |caller, group| {
        caller.join(group).map(|()| Reply::Empty)
    })
}

/// Makes the caller a member that is one no longer when it falls silent, and tells what it holds.
pub(super) fn join_with(broker: &Broker, session: &Session, command: &JoinGroupWith) -> Outcome {
    membership(broker, session, command, &command.group, |caller, group| {
        caller.join_with(group, command.session).map(|holds| payload(&holds))
    })
}

/// Ends the caller's membership.
pub(super) fn leave(broker: &Broker, session: &Session, command: &LeaveConsumerGroup) -> Outcome {
    membership(broker, session, command, &command.group, |caller, group| {
        caller.leave(group).map(|()| Reply::Empty)
    })
}

fn membership<C: Command>(
    broker: &Broker,
    session: &Session,
    command: &C,
    group: &Identifier,
    work: impl FnOnce(&Registration, &Arc<OpenGroup>) -> Result<Reply, ErrorCode>,
) -> Outcome {
    let done = || {
        // Held to the end: whoever deletes the group then finds the member.
        let catalog = broker.catalog();
        let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
        let group = found.group(group.borrowed())?;
        work(session.registration().ok_or(ErrorCode::StaleClient)?, group)
    };
    Outcome::done(done().unwrap_or_else(refusal))
}

/// The turn of the caller's poll; `None` when there is nothing it may poll.
///
/// # Errors
/// 5000, 5006, 3007; 30 and the end of the connection when it is not in the table of clients.
pub(super) fn turn(
    broker: &Broker,
    session: &Session,
    found: &FoundTopic<'_>,
    group: &Identifier,
    wanted: Option<PartitionId>,
) -> Result<Option<MemberTurn>, Box<Reply>> {
    let refused = |code| Box::new(Reply::Error(code));
    let group = found.group(group.borrowed()).map_err(refused)?;
    let Some(caller) = session.registration() else {
        return Err(Box::new(refusal(ErrorCode::StaleClient)));
    };
    let (key, at) = (caller.key(), broker.clients.moment());
    let turn = group.lock_for_turn(at).turn(key, wanted, at);
    let Ok(turn) = turn else {
        // A member that was taken out of the table cannot join again on this connection, so it is told to make another.
        let listed = caller.entry().is_some();
        let code = [ErrorCode::StaleClient, ErrorCode::ConsumerGroupMemberNotFound];
        return Err(Box::new(refusal(code[usize::from(listed)])));
    };
    // Behind the turn, as on the classic server: who is no member is told that first.
    if let Some(wanted) = wanted {
        found.open.partition(wanted).map_err(refused)?;
    }
    Ok(turn.map(|turn| MemberTurn { group: Arc::clone(group), key, turn, at }))
}

/// The partition the caller may store or delete the offset of.
///
/// # Errors
/// 5000, 5006, 3007, 3022.
pub(super) fn target(
    broker: &Broker,
    session: &Session,
    found: &FoundTopic<'_>,
    group: &Identifier,
    wanted: Option<PartitionId>,
) -> Result<MemberTurn, ErrorCode> {
    let group = found.group(group.borrowed())?;
    let caller = session.registration().ok_or(ErrorCode::ConsumerGroupMemberNotFound)?;
    let (key, at) = (caller.key(), broker.clients.moment());
    let target = group.lock_for_turn(at).target(key, wanted, at);
    match target {
        Ok(turn) => Ok(MemberTurn { group: Arc::clone(group), key, turn, at }),
        Err(GroupRefusal::NotMember) => Err(ErrorCode::ConsumerGroupMemberNotFound),
        Err(GroupRefusal::NotOwner) => {
            // A partition that is not there is told before one that is somebody else's.
            let exists = wanted.is_none_or(|wanted| found.open.partition(wanted).is_ok());
            Err(if exists { ErrorCode::NotResolvedConsumer } else { ErrorCode::PartitionNotFound })
        }
    }
}

/// A client that is not in the table has to connect again before it can be in a group.
fn refusal(code: ErrorCode) -> Reply {
    match code {
        ErrorCode::StaleClient => Reply::Close(code),
        code => Reply::Error(code),
    }
}

fn group_info(
    id: GroupId,
    name: &GroupName,
    found: &FoundTopic<'_>,
    group: &Group,
) -> ConsumerGroup {
    ConsumerGroup {
        id,
        partitions_count: to_u32(found.open.partitions.len()),
        members_count: to_u32(group.members_count()),
        name: name.clone(),
    }
}
