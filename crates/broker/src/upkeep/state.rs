//! What keeps retention from removing what is due: who holds it, and the clock.

use std::sync::Arc;

use galgo_wire::command::RetentionState;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::PartitionId;

use super::{Limited, Outlook, SECOND_US, Times, drop_note};
use crate::broker::Broker;
use crate::catalog::{Catalog, FoundTopic, OpenTopic};
use crate::offset_book::{Hold, Position, StoredPosition};
use crate::partition::Droppable;
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

/// A stored offset that holds messages, and of which partition.
pub(crate) type PartitionHolder = (PartitionId, StoredPosition);

impl HeldNotes {
    pub(super) fn new(before: Vec<HeldBack>) -> Self {
        Self { before, now: Vec::new() }
    }

    pub(super) fn into_now(self) -> Vec<HeldBack> {
        self.now
    }

    /// Notes who holds what back in a topic, and tells it when it is somebody else than before.
    pub(super) fn tell_held(
        &mut self,
        broker: &Broker,
        topic: &Limited,
        now: Times,
        outlooks: impl Iterator<Item = Outlook>,
    ) {
        for (number, (partition, Outlook { going, due })) in
            (0..).zip(topic.open.partitions.iter().zip(outlooks))
        {
            let segments = due.segments().saturating_sub(going.segments());
            if segments == 0 {
                continue;
            }
            let holder = partition.positions().furthest_behind(topic.hold, now.steady);
            let Some(StoredPosition { owner, position }) = holder else { continue };
            let catalog = broker.catalog();
            let Some(note) = drop_note(&catalog, topic.place, PartitionId::new(number)) else {
                continue;
            };
            let holder = holder_name(&catalog, topic, owner);
            drop(catalog);
            let told = HeldBack {
                stream: note.stream,
                topic: note.topic,
                partition: number,
                holder,
                segments: segments as u64,
                owner,
            };
            self.note(told, &position, topic.hold, now);
        }
    }

    fn note(&mut self, held: HeldBack, position: &Position, hold: Hold, now: Times) {
        let before = self.before.iter().find(|known| {
            known.stream == held.stream
                && known.topic == held.topic
                && known.partition == held.partition
        });
        // Once for each holder: every look finds the same segments again.
        if before.is_none_or(|before| before.owner != held.owner) {
            let until = hold.until(held.owner, position);
            tracing::info!(
                stream = &*held.stream,
                topic = &*held.topic,
                partition = held.partition,
                holder = held.holder,
                offset = position.offset.get(),
                segments = held.segments,
                since_s = now.steady.get().saturating_sub(position.stored_at.get()) / SECOND_US,
                until_s = until.get() / SECOND_US,
                "segments that are due are held back"
            );
        }
        if self.now.len() < HELD_MAX {
            self.now.push(held);
        }
    }
}

fn holder_name(catalog: &Catalog, topic: &Limited, owner: OffsetOwner) -> String {
    let place = topic.place;
    let stored = catalog.state.streams.get(&place.stream).and_then(|s| s.topics.get(&place.topic));
    let found = stored.map(|stored| FoundTopic { place, topic: stored, open: &topic.open });
    let (id, name) = found.map_or((owner.id.get(), String::new()), |found| found.owner_name(owner));
    match owner.kind {
        ConsumerKind::Consumer => format!("consumer {id}"),
        ConsumerKind::Group => format!("group {name}"),
    }
}

/// What keeps retention from removing what is due in a topic, and the positions among it, at most
/// [`HOLDERS_MAX`]: their owners have names in the catalog alone, which is not to wait for a look at all
/// segments and positions.
pub(crate) fn retention_state(
    broker: &Broker,
    hold: Hold,
    open: &OpenTopic,
) -> (RetentionState, Vec<PartitionHolder>) {
    let now = broker.retention.times(&*broker.clock);
    let clock = broker.retention.clock.lock();
    let (clock_lead, clock_waits) = (clock.lead_us(), clock.waits_us().unwrap_or(0));
    // Before the partitions are looked at, whose locks come before this one (INV-LOCK-ORDER).
    drop(clock);
    let mut positions = Vec::new();
    for (number, partition) in (0..).map(PartitionId::new).zip(&open.partitions) {
        assert!(positions.len() <= HOLDERS_MAX, "no more holders are told than there is room for");
        let room = HOLDERS_MAX - positions.len();
        if room == 0 {
            break;
        }
        let droppable = Droppable::of(partition, now, hold);
        let Some(newest) = droppable.sealed.last() else { continue };
        let held = partition.positions().holders_below(newest.segment.end, hold, now.steady, room);
        positions.extend(held.into_iter().map(|held| (number, held)));
    }
    let newest = open.partitions.iter().map(|partition| partition.newest_time());
    let ahead = newest.map(|newest| newest.get().saturating_sub(now.wall.get()));
    let (ahead, holders) = (ahead.max().unwrap_or(0), Vec::new());
    (RetentionState { clock_lead, clock_waits, ahead, holders }, positions)
}
