//! Consumer offsets: get, store, delete.

use galgo_wire::command::{
    Command, ConsumerOffset, DeleteConsumerOffset, GetConsumerOffset, ListConsumerOffsets,
    StoreConsumerOffset, StoreOffsetInLife, StoredInLife, StoredOffsets,
};
use galgo_wire::consumer::{ConsumerIdentity, ConsumerKind};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ConsumerId, Offset, PartitionId};
use std::sync::Arc;

use super::messages::consumer_owner;
use super::{groups, payload};
use crate::broker::Broker;
use crate::catalog::FoundTopic;
use crate::catalog::groups::{MemberTurn, Undone};
use crate::outcome::{Outcome, Reply};
use crate::partition::{Partition, StoredBy};
use crate::session::Session;
use crate::shard::OffsetOwner;
use crate::ticket::Ticket;
use crate::upkeep::hold_of;

/// Stored offsets in one answer.
const OFFSETS_PER_PAGE: usize = 1_000;

const _: () = assert!(OFFSETS_PER_PAGE > 0, "whoever asks for page after page comes to an end");

/// Whose offset of which partition a command is about.
struct OffsetTarget {
    partition: Arc<Partition>,
    partition_id: PartitionId,
    owner: OffsetOwner,
    by: StoredBy,
    /// Where a member of a group stores or deletes.
    member: Option<MemberTurn>,
}

/// Whether a group's offset is asked for by anyone, or changed by a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Change,
}

/// Empty when nothing is stored, or anything named is missing.
pub(super) fn get(broker: &Broker, session: &Session, command: &GetConsumerOffset) -> Outcome {
    let answer = || {
        let (partition, consumer) = (command.partition_id, &command.consumer);
        let target = match find(broker, session, command, partition, consumer, Access::Read) {
            Ok(target) => target,
            // All else is a thing that is missing, for which classic clients expect an empty answer.
            Err(code @ (ErrorCode::Unauthenticated | ErrorCode::Unauthorized)) => return Err(code),
            Err(_) => return Ok(Reply::Empty),
        };
        let stored = target.partition.positions().get(target.owner);
        Ok(payload(&stored.map(|stored_offset| ConsumerOffset {
            partition_id: target.partition_id,
            current_offset: target.partition.current_offset(),
            stored_offset,
        })))
    };
    answer().into()
}

/// Stores the last processed offset; acknowledged when it is as durable as the topic's messages.
pub(super) fn store(broker: &Broker, session: &Session, command: &StoreConsumerOffset) -> Outcome {
    let staged = || {
        let (partition, consumer) = (command.partition_id, &command.consumer);
        let target = find(broker, session, command, partition, consumer, Access::Change)?;
        target.store(command.offset)
    };
    staged().map_or_else(|code| Outcome::done(Reply::Error(code)), Outcome::commit)
}

/// Stores the last processed offset, unless it is one of another life of the partition; the answer tells.
pub(super) fn store_in_life(
    broker: &Broker,
    session: &Session,
    command: &StoreOffsetInLife,
) -> Outcome {
    let StoreOffsetInLife { store, life } = command;
    let staged = || {
        let (partition, consumer) = (store.partition_id, &store.consumer);
        let target = find(broker, session, store, partition, consumer, Access::Change)?;
        let now = target.partition.life();
        // INV-LIFE: looked at in the very partition that is stored in, so that a purge in between does
        // no harm: what is stored then goes with the life it belongs to.
        if life.differs_from(now) {
            return Ok(Outcome::done(payload(&StoredInLife { life: now, stored: false })));
        }
        let ticket = target.store(store.offset)?;
        Ok(Outcome::after(ticket, payload(&StoredInLife { life: now, stored: true })))
    };
    staged().unwrap_or_else(|code| Outcome::done(Reply::Error(code)))
}

impl OffsetTarget {
    fn store(&self, offset: Offset) -> Result<Ticket, ErrorCode> {
        let stored = match &self.member {
            Some(member) => member.store(&self.partition, offset),
            None => self.partition.store_offset(self.owner, self.by, offset).map_err(Undone::from),
        };
        stored.map_err(code)
    }
}

/// Deletes a stored offset; acknowledged like a store.
pub(super) fn delete(
    broker: &Broker,
    session: &Session,
    command: &DeleteConsumerOffset,
) -> Outcome {
    let staged = || {
        let (partition, consumer) = (command.partition_id, &command.consumer);
        let target = find(broker, session, command, partition, consumer, Access::Change)?;
        let deleted = match &target.member {
            Some(member) => member.delete(&target.partition),
            None => target.partition.delete_offset(target.owner, target.by).map_err(Undone::from),
        };
        deleted.map_err(code)
    };
    staged().map_or_else(|code| Outcome::done(Reply::Error(code)), Outcome::commit)
}

/// Looks up what `command` is about, once its right has been checked.
///
/// # Errors
/// 40, 1009, 2010, 41, 3007, 5000; 5006, 3022 for a change.
fn find<C: Command>(
    broker: &Broker,
    session: &Session,
    command: &C,
    wanted: Option<PartitionId>,
    consumer: &ConsumerIdentity,
    access: Access,
) -> Result<OffsetTarget, ErrorCode> {
    let catalog = broker.catalog();
    let caller = session.caller()?;
    let found = catalog.topic_of_right(Some(caller), &command.right())?;
    let (partition_id, owner, member) = match (consumer.kind, access) {
        (ConsumerKind::Group, Access::Change) => {
            let member = groups::target(broker, session, &found, &consumer.id, wanted)?;
            (member.turn.partition, member.group.owner(), Some(member))
        }
        _ => (wanted.unwrap_or_default(), owner(&found, consumer)?, None),
    };
    // Behind whose offset it is: a group that is not there is told before a partition that is not.
    let partition = Arc::clone(found.open.partition(partition_id)?);
    // Asked only where the offset is the caller's own to change.
    let by = match (access, &member) {
        (Access::Change, None) => catalog.stored_by(caller, &found),
        _ => StoredBy { user: None, manages: false },
    };
    Ok(OffsetTarget { partition, partition_id, owner, by, member })
}

/// A page of the offsets stored in a topic.
pub(super) fn list(broker: &Broker, session: &Session, command: ListConsumerOffsets) -> Outcome {
    let answer = || {
        let catalog = broker.catalog();
        let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
        let hold = hold_of(&found.topic.settings, &broker.defaults);
        let after = command.after;
        let (first, last) = match command.partition_id {
            Some(partition) => (partition.get(), partition.get()),
            None => (after.partition_id.get(), u32::MAX),
        };
        // One that is not there is told, and not shown as one without offsets.
        command.partition_id.map(|id| found.open.partition(id)).transpose()?;
        let mut page = StoredOffsets { more: false, reserved: 0, offsets: Vec::new() };
        for (number, partition) in (0_u32..).zip(&found.open.partitions) {
            if number < first || number > last {
                continue;
            }
            let behind =
                ConsumerKind::from_u8(after.kind).filter(|_| number == after.partition_id.get());
            let id = ConsumerId::new(after.cursor_id);
            let behind = behind.map(|kind| OffsetOwner { kind, id });
            let room = OFFSETS_PER_PAGE - page.offsets.len();
            // One more than there is room for, so that a full page tells whether it is the last.
            let mut stored = partition.positions().behind(behind, room + 1);
            page.more = stored.len() > room;
            stored.truncate(room);
            let number = PartitionId::new(number);
            let told = stored.iter().map(|stored| {
                catalog.tell_offset(&found, number, hold, stored.owner, &stored.position)
            });
            page.offsets.extend(told);
            if page.more {
                break;
            }
        }
        Ok(payload(&page))
    };
    answer().into()
}

fn owner(found: &FoundTopic<'_>, consumer: &ConsumerIdentity) -> Result<OffsetOwner, ErrorCode> {
    match consumer.kind {
        ConsumerKind::Consumer => Ok(consumer_owner(&consumer.id)),
        ConsumerKind::Group => Ok(found.group(consumer.id.borrowed())?.owner()),
    }
}

fn code(undone: Undone) -> ErrorCode {
    match undone {
        Undone::Void => ErrorCode::NotResolvedConsumer,
        Undone::Refused(code) => code,
    }
}
