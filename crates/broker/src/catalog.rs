//! The metadata as it stands, together with the open partitions it names.
//!
//! Read by every command under a shared lock that is never held across a system call of the hot
//! path; changed by one command at a time, after its record is durable.
//!
//! INV-CATALOG: the open partitions of a topic are those its metadata names, in the same order.

pub(crate) mod groups;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use galgo_storage::log::PartitionName;
use galgo_wire::command::{Deduplication, Membership};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{GroupId, PartitionId, PartitionUid, StreamId, TopicId};
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::index::to_u32;

use crate::group::Moment;
use crate::metadata::{self, Effect, State, Stream, Topic};
use crate::partition::Partition;
use crate::trail::Trail;
use groups::{OpenGroup, OpenGroups};

/// Metadata and open partitions.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) state: State,
    /// Where refused requests are told of.
    pub(crate) trail: Option<Arc<Trail>>,
    topics: HashMap<(StreamId, TopicId), Arc<OpenTopic>>,
}

/// The open partitions of a topic.
#[derive(Debug, Default)]
pub(crate) struct OpenTopic {
    pub(crate) partitions: Vec<Arc<Partition>>,
    groups: OpenGroups,
    /// Where the next balanced batch goes; starts at 0 with the server.
    next_balanced: AtomicU32,
}

/// What a change left behind, to be closed once the catalog is free.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    pub(crate) partitions: Vec<Arc<Partition>>,
    /// Groups that are gone, with the partitions whose offsets of theirs are to be forgotten.
    pub(crate) groups: Vec<(Arc<OpenGroup>, Arc<OpenTopic>)>,
}

/// A topic that a command named, found.
#[derive(Clone, Copy)]
pub(crate) struct FoundTopic<'a> {
    pub(crate) stream_id: StreamId,
    pub(crate) topic_id: TopicId,
    pub(crate) topic: &'a Topic,
    pub(crate) open: &'a Arc<OpenTopic>,
}

impl Catalog {
    /// # Errors
    /// 1009 when there is no such stream.
    pub(crate) fn find_stream(
        &self,
        stream: IdentifierRef<'_>,
    ) -> Result<(StreamId, &Stream), ErrorCode> {
        self.state.stream(stream).ok_or(ErrorCode::StreamIdNotFound)
    }

    /// # Errors
    /// 1009 when there is no such stream, 2010 when it has no such topic.
    pub(crate) fn find_topic(
        &self,
        stream: IdentifierRef<'_>,
        topic: IdentifierRef<'_>,
    ) -> Result<FoundTopic<'_>, ErrorCode> {
        let (stream_id, stream) = self.find_stream(stream)?;
        let (topic_id, topic) = stream.topic(topic).ok_or(ErrorCode::TopicIdNotFound)?;
        let open = self.topics.get(&(stream_id, topic_id)).ok_or(ErrorCode::TopicIdNotFound)?;
        Ok(FoundTopic { stream_id, topic_id, topic, open })
    }

    /// The open partitions of a topic, by id.
    pub(crate) fn open_topic(&self, stream: StreamId, topic: TopicId) -> Option<&Arc<OpenTopic>> {
        self.topics.get(&(stream, topic))
    }

    /// All open partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.topics.values().flat_map(|topic| &topic.partitions)
    }

    /// All open topics.
    pub(crate) fn open_topics(&self) -> impl Iterator<Item = &Arc<OpenTopic>> {
        self.topics.values()
    }

    /// All open groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<OpenGroup>> {
        self.topics.values().flat_map(|topic| topic.groups.values())
    }

    /// Brings the open partitions and groups in line with the state; returns those that are to be
    /// closed.
    ///
    /// `open` makes a partition that was not open before.
    pub(crate) fn perform(
        &mut self,
        effects: &[Effect],
        at: Moment,
        open: &mut dyn FnMut(&metadata::Partition) -> Arc<Partition>,
    ) -> Closed {
        let mut closed = Closed::default();
        for effect in effects {
            match *effect {
                Effect::TopicGone(stream, topic) => {
                    let Some(gone) = self.topics.remove(&(stream, topic)) else { continue };
                    closed.partitions.extend(gone.partitions.iter().cloned());
                    let groups = gone.groups.values();
                    closed
                        .groups
                        .extend(groups.map(|group| (Arc::clone(group), Arc::clone(&gone))));
                }
                // Users have nothing open.
                Effect::UserGone(_) | Effect::LoginsEnded(_) => {}
                Effect::TopicChanged(stream, topic) => {
                    self.reopen((stream, topic), at, open, &mut closed);
                }
            }
        }
        closed
    }

    fn reopen(
        &mut self,
        (stream, topic): (StreamId, TopicId),
        at: Moment,
        open: &mut dyn FnMut(&metadata::Partition) -> Arc<Partition>,
        closed: &mut Closed,
    ) {
        let stored = self.state.streams.get(&stream);
        let stored = stored.and_then(|found| Some((&found.name, found.topics.get(&topic)?)));
        let Some((stream_name, stored)) = stored else {
            return;
        };
        let before = self.topics.get(&(stream, topic));
        let next = before.map_or(0, |topic| topic.next_balanced.load(Ordering::Relaxed));
        let mut kept: BTreeMap<PartitionUid, Arc<Partition>> = before
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| (partition.uid(), Arc::clone(partition)))
            .collect();
        let known = stored.partitions.iter();
        let partitions: Vec<_> =
            known.map(|known| kept.remove(&known.uid).unwrap_or_else(|| open(known))).collect();
        for (number, partition) in (0..).zip(&partitions) {
            partition.set_name(PartitionName {
                stream: stream_name.to_string(),
                topic: stored.settings.name.to_string(),
                partition: number,
            });
            partition.set_durability(stored.settings.durability);
            partition.set_deduplication(stored.settings.deduplication == Deduplication::On);
        }
        let place = Membership { stream_id: stream, topic_id: topic, group_id: GroupId::default() };
        let before_groups = before.map(|topic| topic.groups.clone()).unwrap_or_default();
        let (groups, gone) = groups::reopen(place, stored, before_groups, at);
        let emptied = before.map(|before| replaced(&before.partitions, &partitions));
        groups::reset(&groups, &emptied.unwrap_or_default(), at);
        let next_balanced = AtomicU32::new(next);
        let open_topic = Arc::new(OpenTopic { partitions, groups, next_balanced });
        closed.partitions.extend(kept.into_values());
        closed.groups.extend(gone.into_iter().map(|group| (group, Arc::clone(&open_topic))));
        self.topics.insert((stream, topic), open_topic);
    }
}

/// The ids at which another partition stands now.
fn replaced(before: &[Arc<Partition>], now: &[Arc<Partition>]) -> Vec<PartitionId> {
    let pairs = (0..).zip(before.iter().zip(now));
    let replaced = pairs.filter(|(_, (before, now))| before.uid() != now.uid());
    replaced.map(|(number, _)| PartitionId::new(number)).collect()
}

impl FoundTopic<'_> {
    /// # Errors
    /// 5000 when the topic has no such group.
    pub(crate) fn group(&self, group: IdentifierRef<'_>) -> Result<&Arc<OpenGroup>, ErrorCode> {
        let found = self.topic.group(group).and_then(|(id, _)| self.open.groups.get(&id));
        found.ok_or(ErrorCode::ConsumerGroupIdNotFound)
    }
}

impl OpenTopic {
    /// # Errors
    /// 3007 when there is no such partition.
    pub(crate) fn partition(&self, id: PartitionId) -> Result<&Arc<Partition>, ErrorCode> {
        self.partitions.get(id.get() as usize).ok_or(ErrorCode::PartitionNotFound)
    }

    /// The next partition in turn; the counter moves with every batch.
    ///
    /// # Errors
    /// 2010 when the topic has no partitions, as the protocol has it.
    pub(crate) fn next_balanced(&self) -> Result<PartitionId, ErrorCode> {
        let count = to_u32(self.partitions.len());
        let turn = self.next_balanced.fetch_add(1, Ordering::Relaxed);
        let chosen = turn.checked_rem(count).ok_or(ErrorCode::TopicIdNotFound)?;
        Ok(PartitionId::new(chosen))
    }
}
