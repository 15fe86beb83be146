//! Latencies, kept to three digits.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::course::ANSWER_WAIT_MAX;
use crate::error::{BenchError, Outcome};
use crate::frames::nanos;

/// Longest latency told apart; slower ones count as this long.
const LATENCY_MAX: Duration = Duration::from_secs(60);
const _: () = assert!(
    LATENCY_MAX.as_secs() > ANSWER_WAIT_MAX.as_secs(),
    "every answer that was waited for has its latency told apart"
);

/// Digits kept of each latency.
const DIGITS: u8 = 3;
const _: () = assert!(1 <= DIGITS && DIGITS <= 5, "as many as a histogram can keep");

/// How long requests took.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Outcome<Self> {
        let nanos = LATENCY_MAX.as_nanos() as u64;
        Histogram::new_with_bounds(1_000, nanos, DIGITS)
            .map(Self)
            .map_err(|error| BenchError::machine(format!("cannot make a histogram: {error}")))
    }

    /// Counts one request.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(nanos(latency));
    }

    /// Adds all requests of `other`.
    pub(crate) fn merge(&mut self, other: &Self) -> Outcome {
        self.0
            .add(&other.0)
            .map_err(|error| BenchError::machine(format!("cannot add up latencies: {error}")))
    }

    /// Number of requests.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the given part of the requests, 0.0 to 1.0, did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(part))
    }

    /// The longest latency.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The mean of all.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_merged_latencies() {
        let (mut low, mut high) = (Latencies::new().unwrap(), Latencies::new().unwrap());
        for millis in 1..=50 {
            low.record(Duration::from_millis(millis));
            high.record(Duration::from_millis(50 + millis));
        }
        low.merge(&high).unwrap();
        assert_eq!(low.count(), 100);
        let close = |part: f64, millis: u64| {
            let ratio = low.quantile(part).as_secs_f64() / (millis as f64 / 1e3);
            assert!((0.999..1.002).contains(&ratio), "{part}: {ratio}");
        };
        close(0.5, 50);
        close(0.99, 99);
        close(1.0, 100);
    }

    #[test]
    fn absurd_latencies_saturate() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::MAX);
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.count(), 2);
    }
}
