//! What time does to groups: silent members are dropped, hand-overs that took too long are ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galgo_storage::lock::{RankedRw, rank};

use crate::catalog::Catalog;
use crate::clients::Clients;
use crate::metadata::TopicPlace;

/// The longest time between two ticks.
const TICK_US_MAX: u64 = 1_000_000;
/// The shortest; more often would be of no use to anyone.
const TICK_US_MIN: u64 = 10_000;

const _: () =
    assert!(0 < TICK_US_MIN && TICK_US_MIN <= TICK_US_MAX, "there is a time between ticks");

/// How long groups wait for their members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// How long a member that has to give up a partition may take to commit what it read, in
    /// microseconds.
    pub rebalancing_timeout_us: u64,
    /// Microseconds between two looks for members that took longer.
    pub rebalancing_check_interval_us: u64,
    /// Microseconds in which every client has to send a ping, if it has to; also those between two looks for
    /// clients that did not. One that is found late by more than a fifth leaves the table of clients and its
    /// groups, so 1.2 to 2.2 intervals after its last ping, as on the classic server.
    pub heartbeat_interval_us: Option<u64>,
}

impl GroupOptions {
    /// How long a client may go without a ping before it leaves its groups, in microseconds.
    pub(crate) fn silence_us(&self) -> u64 {
        self.heartbeat_interval_us.map_or(u64::MAX, |us| us.saturating_add(us / 5))
    }
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            rebalancing_timeout_us: 30_000_000,
            rebalancing_check_interval_us: 5_000_000,
            heartbeat_interval_us: None,
        }
    }
}

/// The options, and when the next looks are due.
#[derive(Debug)]
pub(crate) struct GroupTimes {
    options: GroupOptions,
    /// The next look at the hand-overs.
    handovers: IntervalSchedule,
    /// The next look for silent clients.
    silence: IntervalSchedule,
}

/// When something is due that comes at an interval.
#[derive(Debug, Default)]
struct IntervalSchedule(AtomicU64);

impl IntervalSchedule {
    /// Whether it is due now; if so, it is due again an interval later.
    fn is_due(&self, now_us: u64, interval_us: u64) -> bool {
        let is_due = now_us >= self.0.load(Ordering::Relaxed);
        if is_due {
            self.0.store(now_us.saturating_add(interval_us), Ordering::Relaxed);
        }
        is_due
    }
}

impl GroupTimes {
    pub(super) fn new(options: GroupOptions) -> Self {
        Self {
            options,
            handovers: IntervalSchedule::default(),
            silence: IntervalSchedule::default(),
        }
    }

    /// How often to look.
    pub(super) fn tick_interval(&self) -> Duration {
        let GroupOptions {
            rebalancing_check_interval_us: handovers_us, heartbeat_interval_us, ..
        } = self.options;
        let shortest = heartbeat_interval_us.map_or(handovers_us, |us| us.min(handovers_us));
        Duration::from_micros(shortest.clamp(TICK_US_MIN, TICK_US_MAX))
    }

    /// Drops clients that sent no ping for too long, and ends the hand-overs that are due.
    pub(super) fn keep_going(
        &self,
        clients: &Clients,
        catalog: &RankedRw<{ rank::CATALOG }, Catalog>,
    ) {
        let GroupOptions { rebalancing_check_interval_us, heartbeat_interval_us, .. } =
            self.options;
        // One moment for all groups: what is due at it is due in each.
        let at = clients.moment();
        // Once in an interval, and not as soon as one is late: programs for the classic server rely
        // on being dropped no sooner.
        let looks = |interval: &u64| self.silence.is_due(at.now_us, *interval);
        if heartbeat_interval_us.is_some_and(|interval| looks(&interval)) {
            for client in clients.remove_silent() {
                tracing::warn!(
                    client = client.get(),
                    "client sends no pings; it leaves its groups"
                );
            }
        }
        // By every tick: what these may be silent for is their own choice, and may be less than
        // that.
        end_hung_memberships(clients, catalog);
        let due = self.handovers.is_due(at.now_us, rebalancing_check_interval_us);
        for group in catalog.read().groups() {
            // Taken each time: it notes which commits have become durable, and a member may wait for the
            // partition whose hand-over that ends.
            let mut group = group.lock(at);
            if due {
                group.expire(at);
            }
        }
    }
}

/// Ends memberships whose members fell silent for as long as they said when they joined.
fn end_hung_memberships(clients: &Clients, catalog: &RankedRw<{ rank::CATALOG }, Catalog>) {
    // Told only once they are ended: the table of clients comes behind the catalog in the order of locks.
    let ended = clients.remove_hung();
    if ended.is_empty() {
        return;
    }
    let catalog = catalog.read();
    for (client, place) in ended {
        // What was deleted meanwhile is nobody's loss.
        let Ok(topic) = catalog.state.topic_at(TopicPlace::new(place.stream_id, place.topic_id))
        else {
            continue;
        };
        let stream = catalog.state.streams.get(&place.stream_id);
        let group = topic.groups.get(&place.group_id);
        tracing::warn!(
            client = client.get(),
            stream = stream.map(|stream| stream.name.as_str()),
            topic = topic.settings.name.as_str(),
            group = group.map(|group| group.name.as_str()),
            "member of a group gives no sign of life; its partitions go to others"
        );
    }
}
