//! When requests are due in an open loop. Pure.
//!
//! The n-th request is due at a multiple of the interval from the start, never at an interval
//! from the request before, so that a late request delays nothing that follows.

use std::time::Duration;

/// A schedule of one worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Schedule {
    first_nanos: f64,
    interval_nanos: f64,
}

impl Schedule {
    /// The share of worker `number` of `workers` in a total rate: all at the same interval, and evenly
    /// spread inside it.
    pub(crate) fn shared(requests_per_second: f64, number: u32, workers: u32) -> Self {
        assert!(number < workers, "a schedule is that of one of its workers");
        let apart = 1e9 / requests_per_second;
        Self {
            first_nanos: apart * f64::from(number),
            interval_nanos: apart * f64::from(workers.max(1)),
        }
    }

    /// From the start of the run until request `number` is due.
    pub(crate) fn due(self, number: u64) -> Duration {
        Duration::from_nanos((self.first_nanos + self.interval_nanos * number as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_rate_evenly() {
        let mut due: Vec<Duration> = (0..4)
            .flat_map(|worker| {
                let pace = Schedule::shared(1000.0, worker, 4);
                (0..25).map(move |number| pace.due(number))
            })
            .collect();
        due.sort();
        for (index, due) in (0u64..).zip(due) {
            assert_eq!(due, Duration::from_millis(index));
        }
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let pace = Schedule::shared(3.0, 0, 1);
        let (hour, second) = (pace.due(3 * 3600), Duration::from_secs(3600));
        assert!(hour.abs_diff(second) < Duration::from_micros(1), "{hour:?}");
    }
}
