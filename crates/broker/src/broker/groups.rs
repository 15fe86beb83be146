//! What time does to groups: silent members are dropped, hand-overs that took too long are ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Broker;

/// The longest time between two ticks.
const TICK_US_MAX: u64 = 1_000_000;
/// The shortest; more often would be of no use to anyone.
const TICK_US_MIN: u64 = 10_000;

/// How long groups wait for their members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// How long a member that has to give up a partition may take to commit what it read, in
    /// microseconds.
    pub rebalancing_timeout_us: u64,
    /// Microseconds between two looks for members that took longer.
    pub rebalancing_check_interval_us: u64,
    /// Microseconds in which every client has to send a ping, if it has to. One that is late by more
    /// than a fifth leaves the table of clients and its groups.
    pub heartbeat_interval_us: Option<u64>,
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

/// The options, and when the next look at the hand-overs is due.
#[derive(Debug)]
pub(crate) struct GroupTimes {
    options: GroupOptions,
    due_us: AtomicU64,
}

impl GroupTimes {
    pub(super) fn new(options: GroupOptions) -> Self {
        Self { options, due_us: AtomicU64::new(0) }
    }
}

impl Broker {
    /// How often [`Broker::tick`] is to be called.
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        let GroupOptions { rebalancing_check_interval_us, heartbeat_interval_us, .. } =
            self.groups.options;
        // Silence is noticed within the fifth of the interval it is measured by.
        let heartbeat = heartbeat_interval_us.map_or(u64::MAX, |interval| interval / 5);
        let shortest = rebalancing_check_interval_us.min(heartbeat);
        Duration::from_micros(shortest.clamp(TICK_US_MIN, TICK_US_MAX))
    }

    /// Drops clients that sent no ping for too long, and ends the hand-overs that are due.
    pub(super) fn keep_groups_going(&self) {
        if let Some(interval) = self.groups.options.heartbeat_interval_us {
            let silent = self.clients.remove_silent(interval.saturating_add(interval / 5));
            for client in silent {
                tracing::warn!(
                    client = client.get(),
                    "client sends no pings; it leaves its groups"
                );
            }
        }
        let at = self.clients.moment();
        let due = at.now_us >= self.groups.due_us.load(Ordering::Relaxed);
        if due {
            let next = at.now_us.saturating_add(self.groups.options.rebalancing_check_interval_us);
            self.groups.due_us.store(next, Ordering::Relaxed);
        }
        for group in self.catalog.read().groups() {
            // Taken each time: it notes which commits have become durable, and a member may wait for the
            // partition whose hand-over that ends.
            let mut group = group.lock(at);
            if due {
                group.expire(at);
            }
        }
    }
}
