//! Consumer offsets: get, store, delete.

use galgo_wire::command::{
    Command, ConsumerOffset, DeleteConsumerOffset, GetConsumerOffset, StoreConsumerOffset,
};
use galgo_wire::consumer::Consumer;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::PartitionId;
use std::sync::Arc;

use super::messages::offset_owner;
use super::payload;
use crate::broker::Broker;
use crate::outcome::{Outcome, Reply};
use crate::partition::Partition;
use crate::session::Session;
use crate::shard::OffsetOwner;

/// Whose offset of which partition a command is about.
struct Target {
    partition: Arc<Partition>,
    partition_id: PartitionId,
    owner: OffsetOwner,
}

/// Empty when nothing is stored, or anything named is missing.
pub(super) fn get(broker: &Broker, session: &Session, command: &GetConsumerOffset) -> Outcome {
    let answer = || {
        let target = match find(broker, session, (command, command.partition_id, &command.consumer))
        {
            Ok(target) => target,
            Err(code @ (ErrorCode::Unauthenticated | ErrorCode::Unauthorized)) => return Err(code),
            Err(_) => return Ok(Reply::Empty),
        };
        let stored = target.partition.stored_offset(target.owner);
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
        let target = find(broker, session, (command, command.partition_id, &command.consumer))?;
        target.partition.store_offset(target.owner, command.offset).map_err(|e| e.code())
    };
    staged().map_or_else(|code| Outcome::Done(Reply::Error(code)), Outcome::Commit)
}

/// Deletes a stored offset; acknowledged like a store.
pub(super) fn delete(
    broker: &Broker,
    session: &Session,
    command: &DeleteConsumerOffset,
) -> Outcome {
    let staged = || {
        let target = find(broker, session, (command, command.partition_id, &command.consumer))?;
        target.partition.delete_offset(target.owner).map_err(|e| e.code())
    };
    staged().map_or_else(|code| Outcome::Done(Reply::Error(code)), Outcome::Commit)
}

/// Looks up what `command` is about, once its right has been checked.
///
/// # Errors
/// 40, 1009, 2010, 41, 3007, 5000.
fn find<C: Command>(
    broker: &Broker,
    session: &Session,
    (command, partition, consumer): (&C, Option<PartitionId>, &Consumer),
) -> Result<Target, ErrorCode> {
    let catalog = broker.catalog.read();
    let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
    let partition_id = partition.unwrap_or_default();
    Ok(Target {
        partition: Arc::clone(found.open.partition(partition_id)?),
        partition_id,
        owner: offset_owner(consumer)?,
    })
}
