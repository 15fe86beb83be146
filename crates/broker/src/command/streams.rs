//! Streams: get, list, create, update, delete, purge.

use galgo_wire::command::{
    CreateStream, DeleteStream, GetStream, GetStreams, PurgeStream, Stream, StreamDetails,
    UpdateStream,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::StreamId;
use galgo_wire::index::to_u32;

use super::{authorize, authorize_existing, change, payload, topics};
use crate::broker::Broker;
use crate::catalog::Catalog;
use crate::metadata::record::Record;
use crate::metadata::{self, TopicPlace};
use crate::outcome::{Outcome, Reply};
use crate::session::Session;

/// The stream with its topics; empty when it is missing.
pub(super) fn get(broker: &Broker, session: &Session, command: &GetStream) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.state.stream(command.stream.borrowed());
        Ok(payload(&found.map(|(id, stream)| stream_details(&catalog, id, stream))))
    };
    answer().into()
}

/// All streams, ordered by id.
pub(super) fn list(broker: &Broker, session: &Session, command: &GetStreams) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        let catalog = broker.catalog();
        let streams = catalog.state.streams.iter();
        let streams: Vec<Stream> =
            streams.map(|(id, stream)| stream_details(&catalog, *id, stream).stream).collect();
        Ok(payload(&streams))
    };
    answer().into()
}

/// Creates a stream; the answer is the stream.
pub(super) fn create(broker: &Broker, session: &Session, command: CreateStream) -> Outcome {
    change(broker, session, command, move |broker, command| {
        let now = broker.clock.now();
        let id = broker.change(|state| state.prepare_create_stream(&command.name, now))?;
        let catalog = broker.catalog();
        let created = catalog.state.streams.get(&id);
        Ok(payload(&created.map(|stream| stream_details(&catalog, id, stream))))
    })
}

/// Renames a stream.
pub(super) fn update(broker: &Broker, session: &Session, command: UpdateStream) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            let id = state.existing_stream(&command.stream)?;
            Ok(((), state.prepare_rename_stream(id, &command.name)?))
        })?;
        Ok(Reply::Empty)
    })
}

/// Deletes a stream with everything in it.
pub(super) fn delete(broker: &Broker, session: &Session, command: DeleteStream) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            let id = state.existing_stream(&command.stream)?;
            // One record for all that is in it: a crash leaves the whole stream or nothing of it.
            Ok(((), Record::DeleteStream { id }))
        })?;
        Ok(Reply::Empty)
    })
}

/// Removes all messages and offsets of all topics, in one step.
pub(super) fn purge(broker: &Broker, session: &Session, command: PurgeStream) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            let id = state.existing_stream(&command.stream)?;
            // All of its topics in one record: a crash leaves all of the messages or none.
            let stored = state.streams.get(&id).ok_or(ErrorCode::StreamIdNotFound)?;
            Ok(((), state.prepare_purge(id, stored.topics.keys().copied().collect())))
        })?;
        Ok(Reply::Empty)
    })
}

fn stream_details(
    catalog: &Catalog,
    id: StreamId,
    stream: &metadata::StreamMetadata,
) -> StreamDetails {
    let topics: Vec<_> = stream
        .topics
        .iter()
        .map(|(topic_id, topic)| {
            topics::topic_details(catalog, TopicPlace::new(id, *topic_id), topic).topic
        })
        .collect();
    let stream = Stream {
        id,
        created_at: stream.created_at,
        topics_count: to_u32(topics.len()),
        size: topics.iter().map(|topic| topic.size).sum(),
        messages_count: topics.iter().map(|topic| topic.messages_count).sum(),
        name: stream.name.clone(),
    };
    StreamDetails { stream, topics }
}
