//! Topics and partitions in the metadata: lookup, creation, change, deletion, purge.

use std::collections::BTreeMap;

use galgo_wire::id::{PartitionUid, ShardId, StreamId, Timestamp, TopicId};
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::name::{StreamName, TopicName};

use super::record::{CreatedTopic, NewPartitions};
use super::{ApplyError, Effect, Partition, State, Stream, Topic, TopicSettings, missing};

impl Stream {
    pub(super) fn new(name: StreamName, created_at: Timestamp) -> Self {
        Self { name, created_at, topics: BTreeMap::new(), topic_names: BTreeMap::new() }
    }

    /// The topic that `identifier` names, with its id.
    #[must_use]
    pub fn topic(&self, identifier: IdentifierRef<'_>) -> Option<(TopicId, &Topic)> {
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

    pub(super) fn insert_topic(&mut self, id: TopicId, topic: Topic) {
        self.topic_names.insert(topic.settings.name.as_str().into(), id);
        self.topics.insert(id, topic);
    }
}

impl Topic {
    pub(super) fn new(
        created_at: Timestamp,
        settings: TopicSettings,
        partitions: Vec<Partition>,
    ) -> Self {
        let (groups, group_names) = (BTreeMap::new(), BTreeMap::new());
        Self { created_at, settings, partitions, groups, group_names }
    }
}

impl State {
    pub(super) fn create_topic(
        &mut self,
        created: &CreatedTopic,
    ) -> Result<Vec<Effect>, ApplyError> {
        let CreatedTopic { stream, id, settings, created_at, partitions } = created;
        let stored = self.stream_mut(*stream)?;
        if stored.topics.contains_key(id) || stored.topic_names.contains_key(settings.name.as_str())
        {
            return missing("topic", id.get());
        }
        let made = partitions.made_at(*created_at).collect();
        stored.insert_topic(*id, Topic::new(*created_at, settings.clone(), made));
        self.take_uids(partitions.first_uid, u64::from(partitions.count));
        Ok(vec![Effect::TopicChanged(*stream, *id)])
    }

    pub(super) fn update_topic(
        &mut self,
        stream: StreamId,
        id: TopicId,
        settings: &TopicSettings,
    ) -> Result<Vec<Effect>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        if stored.topic_name_taken(&settings.name, Some(id)) {
            return missing("topic", id.get());
        }
        let Some(topic) = stored.topics.get_mut(&id) else { return missing("topic", id.get()) };
        stored.topic_names.remove(topic.settings.name.as_str());
        stored.topic_names.insert(settings.name.as_str().into(), id);
        topic.settings = settings.clone();
        Ok(vec![Effect::TopicChanged(stream, id)])
    }

    pub(super) fn delete_topic(
        &mut self,
        stream: StreamId,
        id: TopicId,
    ) -> Result<Vec<Effect>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        let Some(topic) = stored.topics.remove(&id) else { return missing("topic", id.get()) };
        stored.topic_names.remove(topic.settings.name.as_str());
        self.removals.extend(topic.partitions.iter().map(|partition| partition.uid));
        self.forget_permissions(stream, Some(id));
        Ok(vec![Effect::TopicGone(stream, id)])
    }

    /// Gives every partition of the topics a new, empty log; the old ones are to be removed. One
    /// record does it, so a crash leaves either all of the old messages or none.
    pub(super) fn purge_topics(
        &mut self,
        stream: StreamId,
        topics: &[TopicId],
        first_uid: PartitionUid,
    ) -> Result<Vec<Effect>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        if let Some(id) = topics.iter().find(|id| !stored.topics.contains_key(id)) {
            return missing("topic", id.get());
        }
        let mut next = first_uid.get();
        let mut removed = Vec::new();
        for id in topics {
            let Some(topic) = stored.topics.get_mut(id) else { continue };
            for partition in &mut topic.partitions {
                removed.push(partition.uid);
                partition.uid = PartitionUid::new(next);
                next = next.saturating_add(1);
            }
        }
        self.take_uids(first_uid, removed.len() as u64);
        self.removals.extend(removed);
        Ok(topics.iter().map(|id| Effect::TopicChanged(stream, *id)).collect())
    }

    pub(super) fn add_partitions(
        &mut self,
        stream: StreamId,
        id: TopicId,
        partitions: &NewPartitions,
        created_at: Timestamp,
    ) -> Result<Vec<Effect>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        let Some(topic) = stored.topics.get_mut(&id) else { return missing("topic", id.get()) };
        topic.partitions.extend(partitions.made_at(created_at));
        self.take_uids(partitions.first_uid, u64::from(partitions.count));
        Ok(vec![Effect::TopicChanged(stream, id)])
    }

    /// Removes the partitions with the highest ids.
    pub(super) fn remove_partitions(
        &mut self,
        stream: StreamId,
        id: TopicId,
        count: u32,
    ) -> Result<Vec<Effect>, ApplyError> {
        let stored = self.stream_mut(stream)?;
        let Some(topic) = stored.topics.get_mut(&id) else { return missing("topic", id.get()) };
        let Some(keep) = topic.partitions.len().checked_sub(count as usize) else {
            return missing("partition", count);
        };
        let removed = topic.partitions.split_off(keep);
        self.removals.extend(removed.iter().map(|partition| partition.uid));
        Ok(vec![Effect::TopicChanged(stream, id)])
    }

    fn stream_mut(&mut self, id: StreamId) -> Result<&mut Stream, ApplyError> {
        self.streams.get_mut(&id).map_or_else(|| missing("stream", id.get()), Ok)
    }
}

impl NewPartitions {
    /// Partitions on the first shard.
    pub(super) fn on_first_shard(count: u32, first_uid: PartitionUid) -> Self {
        Self { count, first_uid, shards: Vec::new() }
    }

    fn made_at(&self, created_at: Timestamp) -> impl Iterator<Item = Partition> {
        let shards = self.shards.iter().copied().chain(std::iter::repeat(ShardId::FIRST));
        (0..u64::from(self.count)).zip(shards).map(move |(number, shard)| {
            let uid = PartitionUid::new(self.first_uid.get().saturating_add(number));
            Partition { uid, created_at, shard }
        })
    }
}
