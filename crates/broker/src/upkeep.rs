//! Retention: what every topic may give up by its own rules, looked for once in an interval.
//!
//! A pass looks at the topics that have a limit, and at their segments only where the oldest of them
//! is old enough or the topic is nearly full; it holds no lock over more than that look. Nothing is
//! removed here: the moves of the starts are staged like any record (see [`crate::partition`]), and
//! the files go at a later tick. Message ids that deduplication need not know any more are let go of, too.
//!
//! INV-UNEXPIRED: a segment goes by its age only when its newest message is old enough, and never while
//! it is written; so the newest segment of a topic with little traffic stays, however old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_storage::checkpoint::SealedSegment;
use galgo_storage::retention::{PartitionSegments, Rules, Surrender, plan};
use galgo_wire::command::{
    MaxTopicSize, MessageExpiry, PlannedSegment, RetentionPlan, RetentionReason,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionId, StreamId, Timestamp, TopicId};

use crate::broker::Broker;
use crate::catalog::OpenTopic;
use crate::metadata::TopicSettings;
use crate::partition::{DropNote, DropReason, Droppable, Partition, Wanted};

/// Most segments one plan tells of.
pub const PLANNED_SEGMENTS_MAX: usize = 50_000;

/// Whether and how often retention looks for what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Whether anything is removed without being asked for.
    pub enabled: bool,
    /// Microseconds between two looks; the first comes that long after the start.
    pub interval_us: u64,
}

/// The options, and when the next look is due.
#[derive(Debug)]
pub(crate) struct Retention {
    pub(crate) options: RetentionOptions,
    due_us: AtomicU64,
}

/// A topic with a limit.
struct Limited {
    place: (StreamId, TopicId),
    rules: Rules,
    open: Arc<OpenTopic>,
}

impl Retention {
    pub(crate) fn new(options: RetentionOptions, now_us: u64) -> Self {
        let due_us = now_us.saturating_add(options.interval_us);
        Self { options, due_us: AtomicU64::new(due_us) }
    }

    fn is_due(&self, now_us: u64) -> bool {
        self.options.enabled && now_us >= self.due_us.load(Ordering::Relaxed)
    }

    fn done(&self, now_us: u64) {
        self.due_us.store(now_us.saturating_add(self.options.interval_us), Ordering::Relaxed);
    }
}

impl Broker {
    /// Stages what retention gives up, when it is time to look.
    pub(crate) fn retain(&self) {
        let now_us = self.clock.monotonic_us();
        if !self.retention.is_due(now_us) {
            return;
        }
        let limited: Vec<Limited> = {
            let catalog = self.catalog.read();
            let streams = catalog.state.streams.iter();
            let topics = streams.flat_map(|(s, st)| st.topics.iter().map(|(t, tp)| (*s, *t, tp)));
            let limited = topics.filter_map(|(stream, topic, stored)| {
                let rules = rules_of(&stored.settings);
                let open = catalog.open_topic(stream, topic).filter(|_| rules != Rules::default());
                open.map(|open| Limited { place: (stream, topic), rules, open: Arc::clone(open) })
            });
            limited.collect()
        };
        let now = self.clock.now();
        let mut complete = true;
        for topic in limited.iter().filter(|topic| topic.has_due(now)) {
            complete &= self.retain_topic(now, topic);
        }
        // What the journal had no room for is tried again at the next tick.
        if complete {
            self.retention.done(now_us);
        }
    }

    /// Lets go of the message ids that partitions need not know any more.
    pub(crate) fn forget_message_ids(&self) {
        let now = self.clock.now();
        let topics: Vec<Arc<OpenTopic>> = self.catalog.read().open_topics().cloned().collect();
        for partition in topics.iter().flat_map(|topic| &topic.partitions) {
            partition.expire_window(now, &self.deduplication);
        }
    }

    /// `false` when something was refused that may be taken a little later.
    fn retain_topic(&self, now: Timestamp, topic: &Limited) -> bool {
        let droppable: Vec<Droppable> =
            topic.open.partitions.iter().map(|partition| partition.droppable()).collect();
        let segments = segments_of(&droppable, Droppable::barrier);
        let plans = plan(now, topic.rules, &segments);
        let mut complete = true;
        for (number, (partition, (plan, segments))) in
            (0..).zip(topic.open.partitions.iter().zip(plans.iter().zip(&segments)))
        {
            let Some(last) = plan.of(segments).last() else { continue };
            let number = PartitionId::new(number);
            let Some(mut note) = self.drop_note(topic.place, number) else { break };
            (note.reason, note.expired) = (DropReason::Retention, plan.expired);
            match partition.drop_oldest(Wanted::Below(last.end), note) {
                Ok(_) => {}
                Err(ErrorCode::TaskTimeout) => complete = false,
                Err(code) => {
                    tracing::debug!(partition = partition.uid().get(), %code, "nothing removed");
                }
            }
        }
        complete
    }

    /// The names for the log; `None` when the topic is gone.
    pub(crate) fn drop_note(
        &self,
        (stream, topic): (StreamId, TopicId),
        partition: PartitionId,
    ) -> Option<DropNote> {
        let catalog = self.catalog.read();
        let stream = catalog.state.streams.get(&stream)?;
        let topic = stream.topics.get(&topic)?;
        Some(DropNote {
            stream: stream.name.as_str().into(),
            topic: topic.settings.name.as_str().into(),
            partition,
            reason: DropReason::Asked,
            expired: 0,
        })
    }

    /// What retention would remove now from a topic with `settings`, and what it would if nobody held it back.
    pub(crate) fn plan_retention(
        &self,
        settings: &TopicSettings,
        open: &OpenTopic,
    ) -> RetentionPlan {
        let now = self.clock.now();
        let rules = rules_of(settings);
        let droppable: Vec<Droppable> =
            open.partitions.iter().map(|partition| partition.droppable()).collect();
        let segments = segments_of(&droppable, Droppable::barrier);
        let going = plan(now, rules, &segments);
        let due = plan(now, rules, &segments_of(&droppable, |_| None));
        let planned = (0..).zip(droppable.iter().zip(going.iter().zip(&due)));
        let planned = planned.flat_map(|(number, (droppable, (going, due)))| {
            planned_segments(PartitionId::new(number), droppable, (*going, *due))
        });
        RetentionPlan {
            enabled: self.retention.options.enabled,
            interval: self.retention.options.interval_us,
            message_expiry: MessageExpiry::new(settings.message_expiry_us),
            max_topic_size: MaxTopicSize::new(settings.size_bytes_max),
            size: open.partitions.iter().map(|partition| partition.bytes()).sum(),
            segments: planned.take(PLANNED_SEGMENTS_MAX).collect(),
        }
    }
}

impl Limited {
    /// Whether a closer look may find something.
    fn has_due(&self, now: Timestamp) -> bool {
        let old = |partition: &Arc<Partition>| {
            let newest = partition.oldest_droppable();
            newest.is_some_and(|newest| self.rules.is_expired(now, newest))
        };
        let partitions = &self.open.partitions;
        let expires = self.rules.expiry_micros.is_some();
        (expires && partitions.iter().any(old))
            || (self.rules.bytes_max.is_some()
                && self.rules.is_full(partitions.iter().map(|partition| partition.bytes()).sum()))
    }
}

/// Sentinels were resolved when the topic was made; 0 would mean "remove all" and is taken for no limit.
pub(crate) fn rules_of(settings: &TopicSettings) -> Rules {
    let limit = |value: u64| (value != 0 && value != u64::MAX).then_some(value);
    Rules {
        expiry_micros: limit(settings.message_expiry_us),
        bytes_max: limit(settings.size_bytes_max),
    }
}

fn segments_of(
    droppable: &[Droppable],
    barrier: impl Fn(&Droppable) -> Option<Offset>,
) -> Vec<PartitionSegments<'_>> {
    let segments = droppable.iter().map(|droppable| PartitionSegments {
        sealed: &droppable.sealed,
        active_bytes: droppable.other_bytes,
        barrier: barrier(droppable),
    });
    segments.collect()
}

/// The segments of a partition that go, and behind them those that are held.
fn planned_segments(
    partition_id: PartitionId,
    droppable: &Droppable,
    (going, due): (Surrender, Surrender),
) -> Vec<PlannedSegment> {
    let shown = going.segments().max(due.segments());
    let planned = |(at, known): (usize, &SealedSegment)| {
        let held = at >= going.segments();
        let by_age = if held { due.expired } else { going.expired };
        PlannedSegment {
            partition_id,
            base_offset: known.base,
            end_offset: Offset::new(known.end.get().saturating_sub(1)),
            messages: known.end.get().saturating_sub(known.base.get()),
            bytes: known.bytes,
            newest_timestamp: known.last_timestamp,
            reason: if at < by_age { RetentionReason::Expired } else { RetentionReason::Size },
            held,
            barrier: droppable.committed.map_or(u64::MAX, Offset::get),
        }
    };
    droppable.sealed.iter().take(shown).enumerate().map(planned).collect()
}
