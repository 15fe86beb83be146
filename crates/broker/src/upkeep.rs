//! Retention: what every topic may give up by its own rules, looked for once in an interval.
//!
//! A pass looks at the topics that have a limit, and at their segments only where the oldest of them
//! is old enough or the topic is nearly full; it holds no lock over more than that look. Nothing is
//! removed here: the moves of the starts are staged like any record (see [`crate::partition`]), and
//! the files go at a later tick. Message ids that deduplication need not know any more are let go of, too.
//!
//! Ages are told by a clock that does not leap, see [`clock`]; and a segment whose times are ahead of the
//! clock, because the clock was, is as old as those after it.
//!
//! INV-UNEXPIRED: a segment goes by its age only when its newest message is old enough, and never while
//! it is written. One that is written gets as old as its topic says; then another is begun, so that all of a topic
//! with little traffic goes in the end.

mod clock;
mod offsets;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_storage::clock as clock_record;
use galgo_storage::data_dir::DataDir;
use galgo_storage::disk::Disk;
use galgo_storage::lock::{Ranked, rank};
use galgo_storage::retention::{KeptSegment, PartitionSegments, RetentionLimits, Surrender, plan};
use galgo_wire::command::{
    MaxTopicSize, MessageExpiry, PlannedSegment, RetentionPlan, RetentionReason,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionId, Timestamp};

use self::clock::{ClockNews, ClockPast, ClockReading, SteadyClock};
pub(crate) use self::offsets::follow_leap;
pub use self::state::HeldBack;
use self::state::HeldNotes;
pub(crate) use self::state::retention_state;
use crate::broker::Broker;
use crate::catalog::{Catalog, OpenTopic};
use crate::environment::Clock;
use crate::metadata::prepare::TopicDefaults;
use crate::metadata::{ResolvedSettings, TopicPlace};
use crate::offset_book::Hold;
use crate::partition::{DropNote, DropReason, Droppable, Partition, Wanted, drop_oldest};

/// Most segments one plan tells of.
pub const PLANNED_SEGMENTS_MAX: usize = 50_000;

/// Most segments one look begins because of the age of those before: each is a file to make and to sync.
const ROLLS_MAX: u32 = 64;
/// Partitions whose messages are ahead of the clock that one look tells of by name.
const AHEAD_LINES_MAX: u32 = 10;
const SECOND_US: u64 = 1_000_000;

/// Whether and how often retention looks for what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Whether anything is removed without being asked for.
    pub enabled: bool,
    /// Microseconds between two looks; the first comes that long after the start.
    pub interval_us: u64,
    /// Microseconds for which a clock that was set forward has to hold before anything goes because of
    /// its age by that; 0 to believe it at once.
    pub clock_wait_us: u64,
    /// Microseconds after which what a consumer that reads for itself has stored is forgotten, unless it
    /// stores or polls; `u64::MAX` never.
    pub offsets_expire_after_us: u64,
}

/// The options, the clock to go by, and when the next look is due.
#[derive(Debug)]
pub(crate) struct Retention {
    pub(crate) options: RetentionOptions,
    clock: Ranked<{ rank::CLOCK }, SteadyClock>,
    /// When stored offsets that have followed a leap are to be saved like that, by the monotonic clock; all
    /// ones when they are.
    leap_saved_us: AtomicU64,
    /// Who holds what back, as of the last look.
    held: Ranked<{ rank::HELD_BACK }, Vec<HeldBack>>,
    due_us: AtomicU64,
}

/// What the clocks say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The wall clock: what is behind it is ahead of the clock.
    pub(crate) wall: Timestamp,
    /// What ages are told by.
    pub(crate) steady: Timestamp,
}

/// What retention makes of a partition.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    /// What goes now.
    going: Surrender,
    /// What would, if nobody held it back.
    due: Surrender,
}

/// A topic with a limit.
struct Limited {
    place: TopicPlace,
    rules: RetentionLimits,
    hold: Hold,
    /// How old a segment gets that is written, in microseconds.
    segment_age_us: u64,
    open: Arc<OpenTopic>,
}

impl Retention {
    /// Begins now with what `clocks` of the machine say, what is on record of them on `disk`, and `newest`, when the
    /// data was last written, as far as known.
    pub(crate) fn new(
        options: RetentionOptions,
        clocks: &dyn Clock,
        disk: &dyn Disk,
        data_dir: &DataDir,
        newest: Option<Timestamp>,
    ) -> Self {
        let now_us = clocks.monotonic_us();
        let due_us = AtomicU64::new(now_us.saturating_add(options.interval_us));
        let record = clock_record::recorded(disk, &data_dir.clock_path()).unwrap_or_else(|error| {
            tracing::warn!(%error, "record of the clocks not read");
            None
        });
        let (now, past) = (ClockReading::of(clocks), ClockPast { record, newest });
        let clock = SteadyClock::new(disk.boot(), now, past, options.clock_wait_us);
        if let Some(waits_us) = clock.waits_us() {
            tracing::warn!(
                ahead_s = clock.lead_us() / SECOND_US,
                waits_s = waits_us / SECOND_US,
                "the clock is ahead of what it should say: it was set forward, or the machine was off for more \
                 than a day; nothing is removed because of its age by that before the clock has held"
            );
        }
        let (clock, leap_saved_us) = (Ranked::new(clock), AtomicU64::new(u64::MAX));
        Self { options, clock, leap_saved_us, held: Ranked::default(), due_us }
    }

    /// The time to go by, as of the last look.
    pub(crate) fn steady(&self, clocks: &dyn Clock) -> Timestamp {
        self.clock.lock().steady_at(clocks.running_us())
    }

    /// What the clocks say, and what was made of them at the last look.
    pub(crate) fn times(&self, clocks: &dyn Clock) -> Times {
        Times { wall: clocks.now(), steady: self.steady(clocks) }
    }

    /// Looks at the clocks, and tells what has become of them. For the tick alone, which lets stored offsets
    /// follow what a look finds before anything goes by it.
    pub(crate) fn look_at(&self, clocks: &dyn Clock) -> Times {
        let mut clock = self.clock.lock();
        let now = ClockReading::of(clocks);
        let (steady, told) = clock.look(now);
        let waits_s = clock.waits_us().unwrap_or(0) / SECOND_US;
        match told {
            None => {}
            Some(ClockNews::Forward(by_us)) => tracing::warn!(
                by_s = by_us / SECOND_US,
                waits_s,
                "the clock was set forward; nothing is removed because of its age by that before the \
                 clock has held"
            ),
            Some(ClockNews::Back(by_us)) => {
                tracing::warn!(by_s = by_us / SECOND_US, "the clock was set back");
            }
            Some(ClockNews::Held) => {
                tracing::info!("the clock has held; ages are told by it again");
            }
        }
        Times { wall: now.wall, steady }
    }

    /// Puts on record on `disk` what the clocks say, when that is due.
    pub(crate) fn record_clocks(&self, disk: &dyn Disk, data_dir: &DataDir) {
        // A start that finds a leap behind it lets no stored offset follow it any more.
        if self.leap_saved_us.load(Ordering::Relaxed) != u64::MAX {
            return;
        }
        let Some(record) = self.clock.lock().to_record() else { return };
        // Without the lock of the clock; `recorded` looks whether more was found meanwhile.
        match clock_record::record(disk, &data_dir.clock_path(), &record) {
            Ok(()) => self.clock.lock().recorded(&record),
            // Without it the next start knows less of the clock, and waits rather.
            Err(error) => tracing::debug!(%error, "clocks not put on record"),
        }
    }

    /// Segments that are due and stay, as of the last look.
    pub(crate) fn held_back(&self) -> Vec<HeldBack> {
        self.held.lock().clone()
    }

    fn take_leap(&self) -> u64 {
        self.clock.lock().take_leap()
    }

    fn is_due(&self, now_us: u64) -> bool {
        now_us >= self.due_us.load(Ordering::Relaxed)
    }

    fn done(&self, now_us: u64) {
        self.due_us.store(now_us.saturating_add(self.options.interval_us), Ordering::Relaxed);
    }
}

impl ClockReading {
    fn of(clocks: &dyn Clock) -> Self {
        Self { wall: clocks.now(), running_us: clocks.running_us() }
    }
}

/// Tells of partitions whose newest message is ahead of the clock, and of those that were and go on
/// with the right time.
fn tell_ahead(catalog: &Catalog, wall: Timestamp) {
    let streams = catalog.state.streams.iter();
    let topics = streams.flat_map(|(s, st)| st.topics.iter().map(move |(t, tp)| (*s, st, *t, tp)));
    let mut told = 0_u32;
    for (stream_id, stream, topic_id, topic) in topics {
        let open = catalog.open_topic(stream_id, topic_id);
        for (number, partition) in (0_u32..).zip(&open.partitions) {
            let (ahead_us, phrase) =
                match (partition.newly_ahead(wall), partition.take_started_over()) {
                    (None, None) => continue,
                    (Some(ahead_us), _) => (ahead_us, "the newest message is ahead of the clock"),
                    (None, Some(ahead_us)) => (
                        ahead_us,
                        "messages are ahead of the clock; later ones have the right time",
                    ),
                };
            told += 1;
            if told <= AHEAD_LINES_MAX {
                let (stream, topic) = (stream.name.as_str(), topic.settings.name.as_str());
                let ahead_s = ahead_us / SECOND_US;
                tracing::warn!(stream, topic, partition = number, ahead_s, "{phrase}");
            }
        }
    }
    if let Some(more) = told.checked_sub(AHEAD_LINES_MAX).filter(|more| *more > 0) {
        tracing::warn!(partitions = more, "more partitions have messages ahead of the clock");
    }
}

/// Looks at stored offsets, and stages what retention gives up, when it is time to.
pub(crate) fn retain(broker: &Broker, now: Times) {
    let (retention, now_us) = (&broker.retention, broker.clock.monotonic_us());
    if !retention.is_due(now_us) {
        return;
    }
    tell_ahead(&broker.catalog(), now.wall);
    // Before any segment is looked at: what expires now holds nothing back in this look.
    offsets::expire(broker, now.steady);
    if !retention.options.enabled {
        return retention.done(now_us);
    }
    // Taken out of the catalog first: whoever changes that is not to wait for looks at all
    // segments.
    let limited = limited_topics(&broker.catalog(), &broker.defaults);
    let mut notes = HeldNotes::new(retention.held_back());
    let mut rolls_left = ROLLS_MAX;
    // INV-UNEXPIRED: nothing goes while it is written, so what is old enough is sealed before
    // anything is looked at.
    for topic in &limited {
        topic.roll_old(now, &mut rolls_left);
    }
    let mut complete = rolls_left > 0;
    for topic in limited.iter().filter(|topic| topic.has_due(now)) {
        complete &= retain_topic(broker, now, topic, &mut notes);
    }
    // As a whole: whoever holds nothing back any more is not among them.
    *retention.held.lock() = notes.into_now();
    // What the journal had no room for, and what was too much for one look, is tried again at the next tick.
    if complete {
        retention.done(now_us);
    }
}

/// The topics that may have to give something up.
fn limited_topics(catalog: &Catalog, defaults: &TopicDefaults) -> Vec<Limited> {
    let streams = catalog.state.streams.iter();
    let topics = streams.flat_map(|(s, st)| st.topics.iter().map(|(t, tp)| (*s, *t, tp)));
    let limited = topics.filter_map(|(stream, topic, stored)| {
        let rules = rules_of(&stored.settings);
        if rules == RetentionLimits::default() {
            return None;
        }
        let open = Arc::clone(catalog.open_topic(stream, topic));
        let segment_age_us = stored.settings.effective(&defaults.options).segment_max_age.us();
        let (place, hold) = (TopicPlace::new(stream, topic), hold_of(&stored.settings, defaults));
        Some(Limited { place, rules, hold, segment_age_us, open })
    });
    limited.collect()
}

/// Lets go of the message ids that partitions need not know any more.
pub(crate) fn forget_message_ids(broker: &Broker) {
    let running_us = broker.clock.running_us();
    // Out of the catalog first: whoever changes that is not to wait for a look at all
    // partitions.
    let topics: Vec<Arc<OpenTopic>> = broker.catalog().open_topics().cloned().collect();
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        partition.expire_window(running_us, &broker.deduplication);
    }
}

/// `false` when something was refused that may be taken a little later.
fn retain_topic(broker: &Broker, now: Times, topic: &Limited, notes: &mut HeldNotes) -> bool {
    let partitions = topic.open.partitions.iter();
    let droppable: Vec<Droppable> =
        partitions.map(|partition| Droppable::of(partition, now, topic.hold)).collect();
    let segments = segments_of(&droppable, Droppable::barrier);
    let plans = plan(now.steady, topic.rules, &segments);
    // What would go if nobody held anything: how much more that is, is what is told as held
    // back.
    let due = plan(now.steady, topic.rules, &segments_of(&droppable, |_| None));
    assert!(
        plans.len() == droppable.len() && due.len() == droppable.len(),
        "each partition has a plan of its own, at its place"
    );
    let outlooks = plans.iter().zip(&due).map(|(going, due)| Outlook { going: *going, due: *due });
    notes.tell_held(broker, topic, now, outlooks);
    let mut complete = true;
    for (number, (partition, (plan, segments))) in
        (0..).zip(topic.open.partitions.iter().zip(plans.iter().zip(&segments)))
    {
        let Some(last) = plan.of(segments).last() else { continue };
        let number = PartitionId::new(number);
        let Some(mut note) = drop_note(&broker.catalog(), topic.place, number) else {
            // The topic was deleted meanwhile, and all of its partitions with it.
            break;
        };
        (note.reason, note.expired) = (DropReason::Retention, plan.expired);
        // By offset and not by number: some of what was planned may have been given up
        // meanwhile.
        match drop_oldest(partition, Wanted::Below(last.segment.end), topic.hold, note) {
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
    catalog: &Catalog,
    place: TopicPlace,
    partition: PartitionId,
) -> Option<DropNote> {
    let stream = catalog.state.streams.get(&place.stream)?;
    let topic = stream.topics.get(&place.topic)?;
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
    broker: &Broker,
    settings: &ResolvedSettings,
    open: &OpenTopic,
) -> RetentionPlan {
    let now = broker.retention.times(&*broker.clock);
    let hold = hold_of(settings, &broker.defaults);
    let rules = rules_of(settings);
    let partitions = open.partitions.iter();
    let droppable: Vec<Droppable> =
        partitions.map(|partition| Droppable::of(partition, now, hold)).collect();
    let segments = segments_of(&droppable, Droppable::barrier);
    let going = plan(now.steady, rules, &segments);
    let due = plan(now.steady, rules, &segments_of(&droppable, |_| None));
    let planned = (0..).zip(droppable.iter().zip(going.iter().zip(&due)));
    let planned = planned.flat_map(|(number, (droppable, (going, due)))| {
        let outlook = Outlook { going: *going, due: *due };
        planned_segments(PartitionId::new(number), droppable, outlook)
    });
    RetentionPlan {
        enabled: broker.retention.options.enabled,
        interval: broker.retention.options.interval_us,
        message_expiry: MessageExpiry::new(settings.message_expiry_us),
        max_topic_size: MaxTopicSize::new(settings.size_bytes_max),
        size: open.partitions.iter().map(|partition| partition.bytes()).sum(),
        segments: planned.take(PLANNED_SEGMENTS_MAX).collect(),
    }
}

impl Limited {
    /// Begins another segment where one has been written for too long, or is ahead of the clock.
    fn roll_old(&self, now: Times, rolls_left: &mut u32) {
        if self.segment_age_us == u64::MAX {
            return;
        }
        for partition in &self.open.partitions {
            if *rolls_left == 0 {
                return;
            }
            if partition.roll_if_old(now, self.segment_age_us) {
                *rolls_left -= 1;
            }
        }
    }

    /// Whether a closer look may find something.
    fn has_due(&self, now: Times) -> bool {
        let old = |partition: &Arc<Partition>| {
            let stored_by = partition.oldest_droppable(now.wall);
            stored_by.is_some_and(|stored_by| self.rules.is_expired(now.steady, stored_by))
        };
        let partitions = &self.open.partitions;
        let expires = self.rules.expiry_micros.is_some();
        (expires && partitions.iter().any(old))
            || (self.rules.bytes_max.is_some()
                && self.rules.is_full(partitions.iter().map(|partition| partition.bytes()).sum()))
    }
}

/// Sentinels were resolved when the topic was made; 0 would mean "remove all" and is taken for no limit.
pub(crate) fn rules_of(settings: &ResolvedSettings) -> RetentionLimits {
    let limit = |value: u64| (value != 0 && value != u64::MAX).then_some(value);
    RetentionLimits {
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
    Outlook { going, due }: Outlook,
) -> Vec<PlannedSegment> {
    let shown = going.segments().max(due.segments());
    let planned = |(at, KeptSegment { segment: known, .. }): (usize, &KeptSegment)| {
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

/// Whose stored offsets hold messages of a topic, and how long.
pub(crate) fn hold_of(settings: &ResolvedSettings, defaults: &TopicDefaults) -> Hold {
    let options = settings.effective(&defaults.options);
    let hold_for_us = options.retention_hold_for.us();
    Hold { hold_for_us, consumers: options.retention_hold_consumers }
}
