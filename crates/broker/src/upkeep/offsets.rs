//! Stored offsets of consumers that never come back: they are forgotten in time, and where there is no place
//! for more, that is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_wire::id::{PartitionId, Timestamp};

use super::{SECOND_US, drop_note};
use crate::broker::Broker;
use crate::causes::Causes;
use crate::metadata::TopicPlace;
use crate::offset_book::{ACTIVITY_US, OFFSET_OWNERS_MAX, StoredPosition};
use crate::partition::DropNote;

/// Consumers whose offsets expired that a line names.
const NAMED_MAX: usize = 5;
/// After this a checkpoint that failed is tried again, in microseconds.
const SAVE_AGAIN_US: u64 = 60 * SECOND_US;
/// After a start nothing expires for this long, in microseconds: whoever is there polls in that time.
const GRACE_US: u64 = 3_600_000_000;
const _: () = assert!(
    GRACE_US >= ACTIVITY_US,
    "a start waits for as long as times that polls moved may not have been written down"
);

/// Lets stored offsets follow where the time they are noted by has leapt: nobody was silent for that long,
/// and what was committed a minute ago holds as if it were. To be called behind
/// [`Retention::look_at`](super::Retention::look_at), and before anything goes by what it found.
pub(crate) fn follow_leap(broker: &Broker, now: Timestamp) {
    let leapt_us = broker.retention.take_leap();
    let (now_us, saved_us) = (broker.clock.monotonic_us(), &broker.retention.leap_saved_us);
    if leapt_us > 0 {
        let partitions: Vec<_> = broker.catalog().partitions().cloned().collect();
        partitions.iter().for_each(|partition| partition.leap_offsets(leapt_us, now));
        // Not at once: what is staged was noted before, and is in a checkpoint only when it has settled.
        saved_us.store(now_us.saturating_add(SECOND_US), Ordering::Relaxed);
        return;
    }
    // Only once they are saved like that may the next start believe the clock.
    if now_us >= saved_us.load(Ordering::Relaxed) {
        let next_us = match broker.shards().checkpoint() {
            Ok(()) => u64::MAX,
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "stored offsets not saved after the clock has held");
                now_us.saturating_add(SAVE_AGAIN_US)
            }
        };
        saved_us.store(next_us, Ordering::Relaxed);
    }
}

/// Forgets what consumers that read for themselves have stored and that were not seen for too long,
/// and tells of partitions that keep no more.
pub(super) fn expire(broker: &Broker, now: Timestamp) {
    let expire_after_us = broker.retention.options.offsets_expire_after_us;
    let up_us = broker.clock.monotonic_us().saturating_sub(broker.started_us.monotonic_us);
    let may_expire = up_us >= expire_after_us.min(GRACE_US);
    // With no limit the look is taken all the same: it brings times back that are ahead of the
    // clock.
    let limit_us = if may_expire { expire_after_us } else { u64::MAX };
    // Books can be large, and whoever changes the catalog is not to wait for them.
    let topics: Vec<_> = {
        let catalog = broker.catalog();
        let streams = catalog.state.streams.iter();
        let places =
            streams.flat_map(|(id, stream)| stream.topics.keys().map(|t| TopicPlace::new(*id, *t)));
        let open =
            |place: TopicPlace| (place, Arc::clone(catalog.open_topic(place.stream, place.topic)));
        places.map(open).collect()
    };
    for (place, open) in topics {
        for (number, partition) in (0..).map(PartitionId::new).zip(&open.partitions) {
            let expired = partition.expire_offsets(now, limit_us);
            let refused = partition.positions().take_no_place();
            if expired.is_empty() && refused == 0 {
                continue;
            }
            broker.counters.offsets_expired(expired.len() as u64);
            broker.counters.offsets_refused(refused);
            let Some(note) = drop_note(&broker.catalog(), place, number) else { break };
            tell_expired(&note, &expired, expire_after_us);
            tell_refused(&note, refused);
        }
    }
}

fn tell_expired(note: &DropNote, expired: &[StoredPosition], after_us: u64) {
    if expired.is_empty() {
        return;
    }
    tracing::info!(
        stream = &*note.stream,
        topic = &*note.topic,
        partition = note.partition.get(),
        offsets = expired.len(),
        consumers = named(expired),
        after_s = after_us / SECOND_US,
        "stored offsets of consumers that were not seen any more are forgotten"
    );
}

fn tell_refused(note: &DropNote, refused: u64) {
    if refused == 0 {
        return;
    }
    tracing::warn!(
        stream = &*note.stream,
        topic = &*note.topic,
        partition = note.partition.get(),
        refused,
        kept = OFFSET_OWNERS_MAX,
        "no more consumers can store an offset in this partition; galgo offset list shows those there are, \
         galgo offset delete makes room, and so does a smaller retention.offsets_expire_after"
    );
}

fn named(expired: &[StoredPosition]) -> String {
    let first = expired.iter().take(NAMED_MAX);
    let mut named: Vec<String> = first.map(|stored| stored.owner.id.get().to_string()).collect();
    if expired.len() > NAMED_MAX {
        named.push("...".to_owned());
    }
    named.join(" ")
}
