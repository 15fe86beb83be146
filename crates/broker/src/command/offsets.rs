//! Consumer offsets: get, store, delete.

use galgo_wire::command::{
    ConsumerOffset, DeleteConsumerOffset, GetConsumerOffset, StoreConsumerOffset,
};
use galgo_wire::consumer::Consumer;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::PartitionId;
use galgo_wire::identifier::Identifier;
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
        if !broker.authorize_existing(session, command)? {
            return Ok(Reply::Empty);
        }
        let place = (&command.stream, &command.topic, command.partition_id);
        let Ok(target) = find(broker, place, &command.consumer) else { return Ok(Reply::Empty) };
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
        broker.authorize(session, command)?;
        let place = (&command.stream, &command.topic, command.partition_id);
        let target = find(broker, place, &command.consumer)?;
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
        broker.authorize(session, command)?;
        let place = (&command.stream, &command.topic, command.partition_id);
        let target = find(broker, place, &command.consumer)?;
        target.partition.delete_offset(target.owner).map_err(|e| e.code())
    };
    staged().map_or_else(|code| Outcome::Done(Reply::Error(code)), Outcome::Commit)
}

/// # Errors
/// 1009, 2010, 3007, 5000.
fn find(
    broker: &Broker,
    (stream, topic, partition): (&Identifier, &Identifier, Option<PartitionId>),
    consumer: &Consumer,
) -> Result<Target, ErrorCode> {
    let catalog = broker.catalog.read();
    let found = catalog.find_topic(stream.borrowed(), topic.borrowed())?;
    let partition_id = partition.unwrap_or_default();
    Ok(Target {
        partition: Arc::clone(found.open.partition(partition_id)?),
        partition_id,
        owner: offset_owner(consumer)?,
    })
}
