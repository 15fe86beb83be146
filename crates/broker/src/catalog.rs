//! The metadata as it stands, together with the open partitions it names.
//!
//! Read by every command under a shared lock that is never held across a system call of the hot
//! path; changed by one command at a time, after its record is durable.
//!
//! INV-CATALOG: the open partitions of a topic are those its metadata names, in the same order.

pub(crate) mod groups;
mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use galgo_storage::log::PartitionName;
use galgo_wire::command::{Deduplication, StoredOffset};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionId, PartitionUid, StreamId, TopicId};
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::index::to_u32;
use galgo_wire::permission::Action;

use crate::group::Moment;
use crate::metadata::{
    self, Consequence, State, StreamMetadata, TopicMetadata, TopicPlace, UserMark,
};
use crate::offset_book::{Hold, Position};
use crate::partition::{Partition, StoredBy};
use crate::session::Principal;
use crate::shard::OffsetOwner;
use crate::trail::Trail;
use groups::{OpenGroup, OpenGroups};

/// Metadata and open partitions.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) state: State,
    /// Where refused requests are told of.
    pub(crate) trail: Option<Arc<Trail>>,
    topics: HashMap<TopicPlace, Arc<OpenTopic>>,
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
    pub(crate) place: TopicPlace,
    pub(crate) topic: &'a TopicMetadata,
    pub(crate) open: &'a Arc<OpenTopic>,
}

impl Catalog {
    /// # Errors
    /// 1009 when there is no such stream.
    pub(crate) fn find_stream(
        &self,
        stream: IdentifierRef<'_>,
    ) -> Result<(StreamId, &StreamMetadata), ErrorCode> {
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
        let open = self.open_topic(stream_id, topic_id);
        let place = TopicPlace { stream: stream_id, topic: topic_id };
        Ok(FoundTopic { place, topic, open })
    }

    /// The open partitions of a topic of the metadata, by id.
    pub(crate) fn open_topic(&self, stream: StreamId, topic: TopicId) -> &Arc<OpenTopic> {
        let Some(open) = self.topics.get(&TopicPlace { stream, topic }) else {
            unreachable!("INV-CATALOG: a topic of the metadata is open under the same lock")
        };
        open
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

    /// On whose behalf `caller` changes stored offsets of a topic.
    pub(crate) fn stored_by(&self, caller: Principal, found: &FoundTopic<'_>) -> StoredBy {
        // A look, not a demand: whoever does not manage the topic is refused nothing, and no trace of it is left.
        let manages = self
            .user_of(caller)
            .is_ok_and(|user| user.may(Action::ManageTopic, found.place.scope()));
        let user = self.state.users.get(&caller.user).map(|user| user.mark(caller.user));
        StoredBy { user, manages }
    }

    /// A stored offset with its names.
    pub(crate) fn tell_offset(
        &self,
        found: &FoundTopic<'_>,
        partition_id: PartitionId,
        hold: Hold,
        owner: OffsetOwner,
        position: &Position,
    ) -> StoredOffset {
        let (consumer_id, name) = found.owner_name(owner);
        let user = position.user.and_then(|mark| {
            let user = self.state.users.get(&mark.id())?;
            // Its id may be another user's by now; that one has not stored it.
            (user.mark(mark.id()) == mark).then(|| user.name.as_str().to_owned())
        });
        StoredOffset {
            partition_id,
            kind: owner.kind,
            consumer_id,
            cursor_id: owner.id.get(),
            name,
            offset: position.offset,
            stored_at: position.stored_at,
            active_at: position.active_at,
            holds_until: hold.until(owner, position),
            user: user.unwrap_or_default(),
        }
    }

    /// Lets go of who stored what, where the user is gone: what nobody owns may be changed by whoever polls.
    pub(crate) fn disown_offsets(&self) {
        // By mark and not by serial: a new password makes no other owner.
        let users: BTreeSet<UserMark> =
            self.state.users.iter().map(|(id, user)| user.mark(*id)).collect();
        for partition in self.partitions() {
            partition.positions().disown(&|user| users.contains(&user));
        }
    }

    /// Brings the open partitions and groups in line with the state; returns those that are to be
    /// closed.
    ///
    /// `open` makes a partition that was not open before.
    pub(crate) fn perform(
        &mut self,
        effects: &[Consequence],
        at: Moment,
        open: &mut dyn FnMut(&metadata::PartitionMetadata) -> Arc<Partition>,
    ) -> Closed {
        let mut closed = Closed::default();
        for effect in effects {
            match *effect {
                Consequence::TopicGone(place) => {
                    let Some(gone) = self.topics.remove(&place) else {
                        unreachable!("INV-CATALOG: a topic that goes was open until now")
                    };
                    closed.partitions.extend(gone.partitions.iter().cloned());
                    let groups = gone.groups.values();
                    closed
                        .groups
                        .extend(groups.map(|group| (Arc::clone(group), Arc::clone(&gone))));
                }
                // Users have nothing open.
                Consequence::UserGone(_) | Consequence::LoginsEnded(_) => {}
                Consequence::TopicChanged(place) => {
                    self.reopen(place, at, open, &mut closed);
                }
            }
        }
        closed
    }

    fn reopen(
        &mut self,
        place: TopicPlace,
        at: Moment,
        open: &mut dyn FnMut(&metadata::PartitionMetadata) -> Arc<Partition>,
        closed: &mut Closed,
    ) {
        let TopicPlace { stream, topic } = place;
        let stored = self.state.streams.get(&stream);
        let stored = stored.and_then(|found| Some((&found.name, found.topics.get(&topic)?)));
        let Some((stream_name, stored)) = stored else {
            unreachable!("INV-CATALOG: what changed a topic left it in the metadata")
        };
        let before = self.topics.get(&place);
        // A new list of partitions takes the place of the old one, whole: a send that found the old one goes on with it,
        // and is refused by the partition it finds closed.
        let next = before.map_or(0, |topic| topic.next_balanced.load(Ordering::Relaxed));
        // By uid and not by place (INV-META-UID): a purge keeps the ids and changes the uids, and what has another uid is
        // another partition.
        let mut kept: BTreeMap<PartitionUid, Arc<Partition>> = before
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| (partition.uid(), Arc::clone(partition)))
            .collect();
        let known = stored.partitions.iter();
        let partitions: Vec<_> =
            known.map(|known| kept.remove(&known.uid).unwrap_or_else(|| open(known))).collect();
        for (number, partition) in (0..).zip(&partitions) {
            // Also for those that were open before: a rename or a change of settings reaches them without a new log.
            partition.set_name(PartitionName {
                stream: stream_name.to_string(),
                topic: stored.settings.name.to_string(),
                partition: number,
            });
            partition.set_durability(stored.settings.durability);
            partition.set_deduplication(stored.settings.deduplication == Deduplication::On);
        }
        // A topic that is new has no groups yet, and had no partitions that could have been emptied.
        let before_groups = before.map_or_else(OpenGroups::new, |topic| topic.groups.clone());
        let (groups, gone) = groups::reopen(place, stored, before_groups, at);
        if let Some(before) = before {
            groups::reset(&groups, &replaced(&before.partitions, &partitions), at);
        }
        assert!(
            partitions.len() == stored.partitions.len(),
            "INV-CATALOG: a partition is open for each that the metadata names"
        );
        let next_balanced = AtomicU32::new(next);
        let open_topic = Arc::new(OpenTopic { partitions, groups, next_balanced });
        // What nobody took over was deleted, or purged. It is closed by the caller, behind
        // this lock: closing waits for appends, which may wait for the disk, and everybody needs this lock.
        closed.partitions.extend(kept.into_values());
        closed.groups.extend(gone.into_iter().map(|group| (group, Arc::clone(&open_topic))));
        self.topics.insert(place, open_topic);
    }
}

/// The ids at which another partition stands now.
fn replaced(before: &[Arc<Partition>], now: &[Arc<Partition>]) -> Vec<PartitionId> {
    // Those that were added or removed have no pair: only a purge puts another in the same place.
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
        // Relaxed: two sends that come together may have either order.
        let turn = self.next_balanced.fetch_add(1, Ordering::Relaxed);
        let chosen = turn.checked_rem(count).ok_or(ErrorCode::TopicIdNotFound)?;
        Ok(PartitionId::new(chosen))
    }
}
