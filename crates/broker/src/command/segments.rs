//! Segments: delete the oldest, and tell what retention would delete.

use std::sync::Arc;

use galgo_wire::command::{Command as _, DeleteSegments, GetRetentionState, PlanRetention};

use super::{authorize, offload, payload};
use crate::broker::Broker;
use crate::offset_book::Hold;
use crate::outcome::{Job, Outcome, Reply};
use crate::partition::{Wanted, drop_oldest};
use crate::session::Session;
use crate::upkeep::{self, hold_of};

/// Deletes the oldest sealed segments that every consumer and group with an offset is done with;
/// acknowledged once that is durable.
pub(super) fn delete(broker: &Broker, session: &Session, command: &DeleteSegments) -> Outcome {
    let staged = || {
        let (partition, place) = {
            let catalog = broker.catalog();
            let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
            let partition = Arc::clone(found.open.partition(command.partition_id)?);
            (partition, found.place)
        };
        // Taken now: when the segments go, the topic may have another name or none.
        let note = upkeep::drop_note(&broker.catalog(), place, command.partition_id);
        let Some(note) = note.filter(|_| command.segments_count > 0) else { return Ok(None) };
        // Whoever asks for it is held back by everybody with a stored offset, as classic servers have it.
        drop_oldest(&partition, Wanted::Oldest(command.segments_count), Hold::ALL, note)
    };
    match staged() {
        Ok(Some(ticket)) => Outcome::commit(ticket),
        Ok(None) => Outcome::done(Reply::Empty),
        Err(code) => Outcome::done(Reply::Error(code)),
    }
}

/// What retention would remove from a topic now, by its own rules or by those of the command.
pub(super) fn plan_retention(
    broker: &Broker,
    session: &Session,
    command: PlanRetention,
) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    // Off the thread: a topic may have very many segments.
    offload(Job::Report, move |broker, session| {
        // The right once more: the request may have waited for a thread while it was taken away.
        let (settings, open) = {
            let catalog = broker.catalog();
            let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
            (found.topic.settings.clone(), Arc::clone(found.open))
        };
        let settings = match command.rules {
            Some(rules) => settings.kept_by(rules, &broker.defaults),
            None => settings,
        };
        Ok(payload(&upkeep::plan_retention(broker, &settings, &open)))
    })
}

/// What keeps retention from removing what is due in a topic.
pub(super) fn retention_state(
    broker: &Broker,
    session: &Session,
    command: GetRetentionState,
) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    // Off the thread, as the plan.
    offload(Job::Report, move |broker, session| {
        let (hold, open) = {
            let catalog = broker.catalog();
            let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
            (hold_of(&found.topic.settings, &broker.defaults), Arc::clone(found.open))
        };
        let (mut state, positions) = upkeep::retention_state(broker, hold, &open);
        let catalog = broker.catalog();
        // Looked up again for the names: the look at the segments was without the catalog, for however long it took.
        let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
        let told = positions.iter();
        let told = told.map(|(number, held)| {
            catalog.tell_offset(&found, *number, hold, held.owner, &held.position)
        });
        state.holders = told.collect();
        Ok(payload(&state))
    })
}
