//! What a pipeline is doing, for people and for metrics. No value of a message is in it (INV-MUTE).
//!
//! Progress is measured, not announced: a lane that has something to deliver and does not move is stalled, whatever it
//! says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::lane::RowCounts;
use crate::place::LaneName;

/// What a lane does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneActivity {
    /// It looks where to go on.
    #[default]
    Beginning,
    /// It delivers, or has nothing to deliver.
    Running,
    /// The target or the server is away; it is tried again by itself.
    Waiting,
    /// It stands in front of a message or a gap until somebody does something.
    Paused,
    /// Another process has the partition, or the pipeline has ended.
    Ended,
}

/// What is known of a lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneReport {
    /// The stream.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// What it does.
    pub activity: LaneActivity,
    /// The offset of the next message to be delivered.
    pub next: u64,
    /// The offset behind the last message of the partition, when it was looked at last.
    pub end: u64,
    /// How many messages are to be delivered.
    pub lag_messages: u64,
    /// How old the message is that was delivered last while there are others behind it, in seconds.
    pub lag_seconds: f64,
    /// For how long there was something to deliver and nothing was, in seconds.
    pub stalled_seconds: f64,
    /// Why it did not go on when it did not last.
    pub last_failure: Option<String>,
    /// What became of rows and tries.
    #[serde(flatten)]
    pub counts: RowCounts,
    /// Messages of which no row was made.
    pub filtered: u64,
    /// Messages that were gone before they were delivered.
    pub gone: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Batches delivered, and how long they took together, in seconds.
    pub batches: u64,
    /// See `batches`.
    pub batch_seconds: f64,
}

/// A pipeline and its lanes.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineReport {
    /// Its name.
    pub pipeline: String,
    /// The kinds of its ends.
    pub from: &'static str,
    /// See `from`.
    pub to: &'static str,
    /// Whether the other system answered when it was asked last.
    pub is_there: bool,
    /// Why it ended or does not begin, if so.
    pub trouble: Option<String>,
    /// Bytes read and not yet delivered.
    pub in_flight_bytes: u64,
    /// Bytes a replication slot keeps in the origin, if there is one.
    pub slot_retained_bytes: Option<u64>,
    /// Its lanes.
    pub lanes: Vec<LaneReport>,
}

#[derive(Debug)]
struct LaneState {
    activity: LaneActivity,
    next: u64,
    end: u64,
    last_time: u64,
    moved: Instant,
    last_failure: Option<String>,
    counts: RowCounts,
    filtered: u64,
    gone: u64,
    bytes: u64,
    batches: u64,
    batch_time: Duration,
}

/// What a lane tells of itself.
#[derive(Debug)]
pub struct LaneStatus {
    name: LaneName,
    state: Mutex<LaneState>,
}

/// What became of a batch that was delivered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    /// The offset behind it.
    pub next: u64,
    /// When its last message was stored, in microseconds since the Unix epoch.
    pub last_time: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its messages of which no row was made.
    pub filtered: u64,
    /// How long it took.
    pub took: Duration,
}

impl LaneStatus {
    /// Of a lane that begins.
    #[must_use]
    pub fn new(name: LaneName) -> Self {
        let state = LaneState {
            activity: LaneActivity::Beginning,
            next: 0,
            end: 0,
            last_time: 0,
            moved: Instant::now(),
            last_failure: None,
            counts: RowCounts::default(),
            filtered: 0,
            gone: 0,
            bytes: 0,
            batches: 0,
            batch_time: Duration::ZERO,
        };
        Self { name, state: Mutex::new(state) }
    }

    /// It goes on from there; the partition ends there.
    pub fn begins(&self, next: u64, end: u64, gone: u64) {
        let mut state = self.state.lock();
        state.activity = LaneActivity::Running;
        (state.next, state.end) = (next, end.max(next));
        state.gone += gone;
        state.moved = Instant::now();
    }

    /// The partition ends there now.
    pub fn ends_at(&self, end: u64) {
        let mut state = self.state.lock();
        // What was caught up until now has stalled from now on only.
        if state.end <= state.next && end > state.next {
            state.moved = Instant::now();
        }
        state.end = state.end.max(end);
    }

    /// It delivered something.
    pub fn delivered(&self, delivered: Delivered) {
        let mut state = self.state.lock();
        state.activity = LaneActivity::Running;
        state.next = delivered.next;
        state.end = state.end.max(delivered.next);
        state.last_time = delivered.last_time;
        state.moved = Instant::now();
        state.filtered += delivered.filtered;
        state.bytes += delivered.bytes;
        state.batches += 1;
        state.batch_time += delivered.took;
    }

    /// What became of rows since it was told last.
    pub fn count(&self, counts: RowCounts) {
        self.state.lock().counts += counts;
    }

    /// It does not go on; the reason holds no value of a message.
    pub fn holds(&self, activity: LaneActivity, reason: impl Into<String>) {
        let mut state = self.state.lock();
        state.activity = activity;
        state.last_failure = Some(reason.into());
    }

    /// It is over.
    pub fn ends(&self) {
        self.state.lock().activity = LaneActivity::Ended;
    }

    /// What is known of it; `now` in microseconds since the Unix epoch.
    #[must_use]
    pub fn report(&self, now: u64) -> LaneReport {
        let state = self.state.lock();
        assert!(state.next <= state.end, "what is delivered is there");
        let lag = state.end - state.next;
        let behind = lag > 0 && state.activity != LaneActivity::Ended;
        let age = Duration::from_micros(now.saturating_sub(state.last_time));
        let stalled = if behind { state.moved.elapsed() } else { Duration::ZERO };
        LaneReport {
            stream: self.name.stream.clone(),
            topic: self.name.topic.clone(),
            partition: self.name.partition,
            activity: state.activity,
            next: state.next,
            end: state.end,
            lag_messages: lag,
            lag_seconds: if behind && state.last_time > 0 { age.as_secs_f64() } else { 0.0 },
            stalled_seconds: stalled.as_secs_f64(),
            last_failure: state.last_failure.clone(),
            counts: state.counts,
            filtered: state.filtered,
            gone: state.gone,
            bytes: state.bytes,
            batches: state.batches,
            batch_seconds: state.batch_time.as_secs_f64(),
        }
    }
}

/// What a pipeline tells of itself.
#[derive(Debug)]
pub struct PipelineStatus {
    name: String,
    from: &'static str,
    to: &'static str,
    state: Mutex<PipelineState>,
}

#[derive(Debug, Default)]
struct PipelineState {
    lanes: BTreeMap<LaneName, Arc<LaneStatus>>,
    is_there: bool,
    trouble: Option<String>,
    in_flight_bytes: u64,
    slot_retained_bytes: Option<u64>,
}

impl PipelineStatus {
    /// Of a pipeline between these kinds.
    #[must_use]
    pub fn new(name: impl Into<String>, from: &'static str, to: &'static str) -> Self {
        Self { name: name.into(), from, to, state: Mutex::default() }
    }

    /// A lane that begins; what is counted goes on where this process had the partition before.
    pub fn lane(&self, name: &LaneName) -> Arc<LaneStatus> {
        let mut state = self.state.lock();
        let lane = state.lanes.entry(name.clone());
        Arc::clone(lane.or_insert_with(|| Arc::new(LaneStatus::new(name.clone()))))
    }

    /// Whether the other system answers.
    pub fn set_there(&self, is_there: bool) {
        self.state.lock().is_there = is_there;
    }

    /// Why it ended or does not begin.
    pub fn set_trouble(&self, trouble: Option<String>) {
        self.state.lock().trouble = trouble;
    }

    /// Bytes read and not yet delivered.
    pub fn set_in_flight(&self, bytes: u64) {
        self.state.lock().in_flight_bytes = bytes;
    }

    /// Bytes a replication slot keeps in the origin.
    pub fn set_slot_retained(&self, bytes: Option<u64>) {
        self.state.lock().slot_retained_bytes = bytes;
    }

    /// What is known of it; `now` in microseconds since the Unix epoch.
    #[must_use]
    pub fn report(&self, now: u64) -> PipelineReport {
        let state = self.state.lock();
        PipelineReport {
            pipeline: self.name.clone(),
            from: self.from,
            to: self.to,
            is_there: state.is_there,
            trouble: state.trouble.clone(),
            in_flight_bytes: state.in_flight_bytes,
            slot_retained_bytes: state.slot_retained_bytes,
            lanes: state.lanes.values().map(|lane| lane.report(now)).collect(),
        }
    }
}

impl PipelineReport {
    /// Why it is not ready, if so: it has ended, a lane is paused, or one stood still for so long with something to deliver.
    #[must_use]
    pub fn trouble(&self, stalled_after: Duration) -> Option<String> {
        let lane = |lane: &LaneReport| {
            let place = format!("{}/{}/{}", lane.stream, lane.topic, lane.partition);
            let said = lane.last_failure.as_deref().unwrap_or("no reason is known");
            match lane.activity {
                LaneActivity::Paused => Some(format!("{place} is paused: {said}")),
                LaneActivity::Ended => None,
                _ if lane.stalled_seconds > stalled_after.as_secs_f64() => {
                    Some(format!("{place} stands still for {:.0} s: {said}", lane.stalled_seconds))
                }
                _ => None,
            }
        };
        let lanes = || self.lanes.iter().find_map(lane);
        self.trouble.clone().or_else(lanes).map(|what| format!("{}: {what}", self.pipeline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> LaneName {
        LaneName {
            pipeline: "p".to_owned(),
            stream: "shop".to_owned(),
            topic: "orders".to_owned(),
            partition: 3,
        }
    }

    #[test]
    fn a_lane_is_stalled_by_what_it_does_not_deliver() {
        let pipeline = PipelineStatus::new("p", "galgo", "memory");
        let status = pipeline.lane(&lane());
        status.begins(10, 10, 0);
        std::thread::sleep(Duration::from_millis(20));
        let patience = Duration::from_millis(5);
        assert_eq!(pipeline.report(0).trouble(patience), None, "there is nothing to deliver");
        status.ends_at(12);
        std::thread::sleep(Duration::from_millis(20));
        let trouble = pipeline.report(0).trouble(patience).unwrap();
        assert!(trouble.starts_with("p: shop/orders/3 stands still"), "{trouble}");
        status.delivered(Delivered { next: 12, ..Delivered::default() });
        assert_eq!(pipeline.report(0).trouble(patience), None);
        status.holds(LaneActivity::Paused, "message 12 is not taken");
        let trouble = pipeline.report(0).trouble(Duration::MAX).unwrap();
        assert_eq!(trouble, "p: shop/orders/3 is paused: message 12 is not taken");
    }
}
