//! Streams in the metadata: lookup, creation, renaming, deletion.

use galgo_wire::id::{StreamId, Timestamp};
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::name::StreamName;

use super::{ApplyError, Consequence, State, StreamMetadata, TopicPlace, missing};

impl State {
    /// The stream that `identifier` names, with its id.
    #[must_use]
    pub fn stream(&self, identifier: IdentifierRef<'_>) -> Option<(StreamId, &StreamMetadata)> {
        let id = match identifier {
            IdentifierRef::Numeric(id) => StreamId::new(id),
            IdentifierRef::Named(name) => *self.stream_names.get(name)?,
        };
        self.streams.get(&id).map(|stream| (id, stream))
    }

    /// Whether another stream than `except` has this name.
    #[must_use]
    pub fn stream_name_taken(&self, name: &StreamName, except: Option<StreamId>) -> bool {
        self.stream_names.get(name.as_str()).is_some_and(|id| Some(*id) != except)
    }

    pub(super) fn create_stream(
        &mut self,
        id: StreamId,
        name: &StreamName,
        created_at: Timestamp,
    ) -> Result<Vec<Consequence>, ApplyError> {
        if self.streams.contains_key(&id) || self.stream_names.contains_key(name.as_str()) {
            return missing("stream", id.get());
        }
        self.stream_names.insert(name.as_str().into(), id);
        self.streams.insert(id, StreamMetadata::new(name.clone(), created_at));
        Ok(Vec::new())
    }

    pub(super) fn rename_stream(
        &mut self,
        id: StreamId,
        name: &StreamName,
    ) -> Result<Vec<Consequence>, ApplyError> {
        if self.stream_name_taken(name, Some(id)) {
            return missing("stream", id.get());
        }
        let Some(stream) = self.streams.get_mut(&id) else { return missing("stream", id.get()) };
        // The old name first: a stream that keeps its name must not lose it.
        self.stream_names.remove(stream.name.as_str());
        self.stream_names.insert(name.as_str().into(), id);
        stream.name = name.clone();
        // What is open goes by the new name.
        Ok(stream
            .topics
            .keys()
            .map(|topic| Consequence::TopicChanged(TopicPlace::new(id, *topic)))
            .collect())
    }

    pub(super) fn delete_stream(&mut self, id: StreamId) -> Result<Vec<Consequence>, ApplyError> {
        let Some(stream) = self.streams.remove(&id) else { return missing("stream", id.get()) };
        self.stream_names.remove(stream.name.as_str());
        // Ids are given again, and the next stream with this one is not what was allowed.
        self.forget_permissions(id, None);
        let mut effects = Vec::with_capacity(stream.topics.len());
        for (topic_id, topic) in &stream.topics {
            // INV-META-REMOVAL: by the same record, so that no crash leaves files that nobody
            // removes.
            self.removals.extend(topic.partitions.iter().map(|partition| partition.uid));
            effects.push(Consequence::TopicGone(TopicPlace::new(id, *topic_id)));
        }
        Ok(effects)
    }
}
