//! What keeps retention from removing what is due: who holds it, and the clock.

use std::sync::Arc;

use galgo_wire::command::RetentionState;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::PartitionId;

use super::{Limited, Outlook, SECOND_US, Times};
use crate::broker::Broker;
use crate::catalog::{FoundTopic, OpenTopic};
use crate::metadata::TopicPlace;
use crate::offset_book::{Hold, StoredPosition};
use crate::partition::{DropNote, Droppable};
use crate::shard::OffsetOwner;

/// Most positions of one topic that an answer names.
const HOLDERS_MAX: usize = 100;
/// Most partitions with segments that are held back of which the metrics tell by name.
const HELD_MAX: usize = 1_000;

/// Segments that are due and stay, because somebody has not committed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The stream.
    pub stream: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Who holds them: the one that is furthest behind.
    pub holder: String,
    /// How many they are.
    pub segments: u64,
    owner: OffsetOwner,
}

/// What one look finds held back, and what the look before did.
#[derive(Debug)]
pub(super) struct HeldNotes {
    before: Vec<HeldBack>,
    now: Vec<HeldBack>,
}

impl HeldNotes {
    pub(super) fn new(before: Vec<HeldBack>) -> Self {
        Self { before, now: Vec::new() }
    }

    pub(super) fn into_now(self) -> Vec<HeldBack> {
        self.now
    }
}

/// A stored offset that holds messages, and of which partition.
pub(crate) type PartitionHolder = (PartitionId, StoredPosition);

impl Broker {
    /// Segments that are due and stay, as of the last look.
    #[must_use]
    pub fn held_back(&self) -> Vec<HeldBack> {
        self.retention.held.lock().clone()
    }

    /// Notes who holds what back in a topic, and tells it when it is somebody else than before.
    pub(super) fn tell_held(
        &self,
        topic: &Limited,
        now: Times,
        notes: &mut HeldNotes,
        outlooks: impl Iterator<Item = Outlook>,
    ) {
        for (number, (partition, Outlook { going, due })) in
            (0..).zip(topic.open.partitions.iter().zip(outlooks))
        {
            let segments = due.segments().saturating_sub(going.segments());
            if segments == 0 {
                continue;
            }
            let (stream, topic_id) = topic.place;
            if let Some(holder) = partition.positions().furthest_behind(topic.hold, now.steady)
                && let Some(note) = self.drop_note(stream, topic_id, PartitionId::new(number))
            {
                self.note_held(topic, note, &holder, segments as u64, notes);
            }
        }
    }

    fn note_held(
        &self,
        topic: &Limited,
        note: DropNote,
        StoredPosition { owner, position }: &StoredPosition,
        segments: u64,
        notes: &mut HeldNotes,
    ) {
        let (owner, partition) = (*owner, note.partition);
        let before = notes.before.iter().find(|known| {
            known.stream == note.stream
                && known.topic == note.topic
                && known.partition == partition.get()
        });
        let holder = self.holder_name(topic, owner);
        // Once for each holder: every look finds the same segments again.
        if before.is_none_or(|before| before.owner != owner) {
            let until = topic.hold.until(owner, position);
            tracing::info!(
                stream = &*note.stream,
                topic = &*note.topic,
                partition = partition.get(),
                holder,
                offset = position.offset.get(),
                segments,
                since_s =
                    self.shards().now().get().saturating_sub(position.stored_at.get()) / SECOND_US,
                until_s = until.get() / SECOND_US,
                "segments that are due are held back"
            );
        }
        if notes.now.len() < HELD_MAX {
            let (stream, topic, partition) = (note.stream, note.topic, partition.get());
            notes.now.push(HeldBack { stream, topic, partition, holder, segments, owner });
        }
    }

    fn holder_name(&self, topic: &Limited, owner: OffsetOwner) -> String {
        let catalog = self.catalog();
        let (stream_id, topic_id) = topic.place;
        let stored = catalog.state.streams.get(&stream_id).and_then(|s| s.topics.get(&topic_id));
        let found = stored.map(|topic_stored| FoundTopic {
            place: TopicPlace::new(stream_id, topic_id),
            topic: topic_stored,
            open: &topic.open,
        });
        let (id, name) =
            found.map_or((owner.id.get(), String::new()), |found| found.owner_name(owner));
        match owner.kind {
            ConsumerKind::Consumer => format!("consumer {id}"),
            ConsumerKind::Group => format!("group {name}"),
        }
    }

    /// What keeps retention from removing what is due in a topic, and the positions among it, at most
    /// [`HOLDERS_MAX`]: their owners have names in the catalog alone, which is not to wait for a look at all
    /// segments and positions.
    pub(crate) fn retention_state(
        &self,
        hold: Hold,
        open: &OpenTopic,
    ) -> (RetentionState, Vec<PartitionHolder>) {
        let now = self.times();
        let clock = self.retention.clock.lock();
        let (clock_lead, clock_waits) = (clock.lead_us(), clock.waits_us().unwrap_or(0));
        // Before the partitions are looked at, whose locks come before this one (INV-LOCK-ORDER).
        drop(clock);
        let mut positions = Vec::new();
        for (number, partition) in (0..).map(PartitionId::new).zip(&open.partitions) {
            let room = HOLDERS_MAX.saturating_sub(positions.len());
            if room == 0 {
                break;
            }
            let droppable = Droppable::of(partition, now, hold);
            let Some(newest) = droppable.sealed.last() else { continue };
            let held =
                partition.positions().holders_below(newest.segment.end, hold, now.steady, room);
            positions.extend(held.into_iter().map(|held| (number, held)));
        }
        let newest = open.partitions.iter().map(|partition| partition.newest_time());
        let ahead = newest.map(|newest| newest.get().saturating_sub(now.wall.get()));
        let (ahead, holders) = (ahead.max().unwrap_or(0), Vec::new());
        (RetentionState { clock_lead, clock_waits, ahead, holders }, positions)
    }
}
