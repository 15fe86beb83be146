//! Topics and partitions in the metadata: lookup, creation, change, deletion, purge.

use std::collections::BTreeMap;

use galgo_wire::id::{PartitionUid, ShardId, StreamId, Timestamp, TopicId};
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::name::{StreamName, TopicName};

use super::record::{CreatedTopic, NewPartitions};
use super::{
    ApplyError, Consequence, PartitionMetadata, ResolvedSettings, State, StreamMetadata,
    TopicMetadata, TopicPlace, missing,
};

impl StreamMetadata {
    pub(super) fn new(name: StreamName, created_at: Timestamp) -> Self {
        Self { name, created_at, topics: BTreeMap::new(), topic_names: BTreeMap::new() }
    }

    /// The topic that `identifier` names, with its id.
    #[must_use]
    pub fn topic(&self, identifier: IdentifierRef<'_>) -> Option<(TopicId, &TopicMetadata)> {
        let id = match identifier {
            IdentifierRef::Numeric(id) => TopicId::new(id),
            IdentifierRef::Named(name) => *self.topic_names.get(name)?,
        };
        self.topics.get(&id).map(|topic| (id, topic))
    }

    /// Whether another topic than `except` has this name.
    #[must_use]
    pub fn topic_name_taken(&self, name: &TopicName, except: Option<TopicId>) -> bool {
        self.topic_names.get(name.as_str()).is_some_and(|id| Some(*id) != except)
    }

    pub(super) fn insert_topic(&mut self, id: TopicId, topic: TopicMetadata) {
        self.topic_names.insert(topic.settings.name.as_str().into(), id);
        self.topics.insert(id, topic);
    }
}

impl TopicMetadata {
    pub(super) fn new(
        created_at: Timestamp,
        settings: ResolvedSettings,
        partitions: Vec<PartitionMetadata>,
    ) -> Self {
        let (groups, group_names) = (BTreeMap::new(), BTreeMap::new());
        Self { created_at, settings, partitions, groups, group_names }
    }
}

impl State {
    pub(super) fn create_topic(
        &mut self,
        created: &CreatedTopic,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let CreatedTopic { stream, id, settings, created_at, partitions } = created;
        let stored = self.stream_mut(*stream)?;
        // Looked for before the first change: a record that does not fit leaves the state as it was.
        if stored.topics.contains_key(id) || stored.topic_names.contains_key(settings.name.as_str())
        {
            return missing("topic", id.get());
        }
        let made = partitions.made_at(*created_at).collect();
        stored.insert_topic(*id, TopicMetadata::new(*created_at, settings.clone(), made));
        self.take_uids(partitions.first_uid, u64::from(partitions.count));
        Ok(vec![Consequence::TopicChanged(TopicPlace::new(*stream, *id))])
    }

    pub(super) fn update_topic(
        &mut self,
        stream: StreamId,
        id: TopicId,
        settings: &ResolvedSettings,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        if stored.topic_name_taken(&settings.name, Some(id)) {
            return missing("topic", id.get());
        }
        let Some(topic) = stored.topics.get_mut(&id) else { return missing("topic", id.get()) };
        // The old name first: a topic that keeps its name must not lose it.
        stored.topic_names.remove(topic.settings.name.as_str());
        stored.topic_names.insert(settings.name.as_str().into(), id);
        topic.settings = settings.clone();
        Ok(vec![Consequence::TopicChanged(TopicPlace::new(stream, id))])
    }

    pub(super) fn delete_topic(
        &mut self,
        stream: StreamId,
        id: TopicId,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        let Some(topic) = stored.topics.remove(&id) else { return missing("topic", id.get()) };
        stored.topic_names.remove(topic.settings.name.as_str());
        // INV-META-REMOVAL: the files go later, when nothing is appended any more; a crash before that finds the uids
        // here.
        self.removals.extend(topic.partitions.iter().map(|partition| partition.uid));
        self.forget_permissions(stream, Some(id));
        Ok(vec![Consequence::TopicGone(TopicPlace::new(stream, id))])
    }

    /// Gives every partition of the topics a new, empty log; the old ones are to be removed. One
    /// record does it, so a crash leaves either all of the old messages or none.
    pub(super) fn purge_topics(
        &mut self,
        stream: StreamId,
        topics: &[TopicId],
        first_uid: PartitionUid,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        // All of them before the first is touched: half a purge would have lost messages of a record that was refused.
        if let Some(id) = topics.iter().find(|id| !stored.topics.contains_key(id)) {
            return missing("topic", id.get());
        }
        // New uids and not emptied logs: whoever reads or appends by the old one is refused, and a crash finds either the
        // old log under the old uid or none under the new.
        let mut next = first_uid.get();
        let mut removed = Vec::new();
        for id in topics {
            let Some(topic) = stored.topics.get_mut(id) else {
                unreachable!(
                    "every topic of the record was looked for before the first was touched"
                )
            };
            for partition in &mut topic.partitions {
                removed.push(partition.uid);
                partition.uid = PartitionUid::new(next);
                next = next.saturating_add(1);
            }
        }
        self.take_uids(first_uid, removed.len() as u64);
        self.removals.extend(removed);
        Ok(topics
            .iter()
            .map(|id| Consequence::TopicChanged(TopicPlace::new(stream, *id)))
            .collect())
    }

    pub(super) fn add_partitions(
        &mut self,
        stream: StreamId,
        id: TopicId,
        partitions: &NewPartitions,
        created_at: Timestamp,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        let Some(topic) = stored.topics.get_mut(&id) else { return missing("topic", id.get()) };
        // At the end: ids of partitions are places in the list, and those that are there keep
        // theirs.
        topic.partitions.extend(partitions.made_at(created_at));
        self.take_uids(partitions.first_uid, u64::from(partitions.count));
        Ok(vec![Consequence::TopicChanged(TopicPlace::new(stream, id))])
    }

    /// Removes the partitions with the highest ids.
    pub(super) fn remove_partitions(
        &mut self,
        stream: StreamId,
        id: TopicId,
        count: u32,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        let Some(topic) = stored.topics.get_mut(&id) else { return missing("topic", id.get()) };
        let Some(keep) = topic.partitions.len().checked_sub(count as usize) else {
            return missing("partition", count);
        };
        // From the end: ids of partitions are places in the list, and those that stay keep theirs.
        let removed = topic.partitions.split_off(keep);
        self.removals.extend(removed.iter().map(|partition| partition.uid));
        Ok(vec![Consequence::TopicChanged(TopicPlace::new(stream, id))])
    }

    fn stream_mut(&mut self, id: StreamId) -> Result<&mut StreamMetadata, ApplyError> {
        self.streams.get_mut(&id).map_or_else(|| missing("stream", id.get()), Ok)
    }
}

impl NewPartitions {
    /// Partitions on the first shard.
    pub(super) fn on_first_shard(count: u32, first_uid: PartitionUid) -> Self {
        Self { count, first_uid, shards: Vec::new() }
    }

    fn made_at(&self, created_at: Timestamp) -> impl Iterator<Item = PartitionMetadata> {
        // Records that are older than shards name none.
        let shards = self.shards.iter().copied().chain(std::iter::repeat(ShardId::FIRST));
        (0..u64::from(self.count)).zip(shards).map(move |(number, shard)| {
            let uid = PartitionUid::new(self.first_uid.get().saturating_add(number));
            PartitionMetadata { uid, created_at, shard }
        })
    }
}
