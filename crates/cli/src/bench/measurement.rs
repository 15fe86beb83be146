//! What one run gave.

use std::time::Duration;

use serde::Serialize;

use crate::bench::histogram::Latencies;

/// The figures of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measurement {
    /// Requests answered per second.
    pub(crate) requests_per_second: f64,
    /// Bytes of messages per second, headers and framing not counted.
    pub(crate) bytes_per_second: f64,
    /// The latency half of the requests did not exceed.
    pub(crate) p50_us: f64,
    /// The latency 99 of 100 requests did not exceed.
    pub(crate) p99_us: f64,
    /// The latency 999 of 1,000 requests did not exceed.
    pub(crate) p999_us: f64,
    /// Processor time of the measured process per gigabyte of messages.
    pub(crate) cpu_seconds_per_gb: Option<f64>,
    /// Processor time of the measured process per request.
    pub(crate) cpu_us_per_request: Option<f64>,
}

/// What a run is computed from.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    /// Latencies of the requests that count.
    pub(crate) latencies: &'a Latencies,
    /// How long it was counted.
    pub(crate) elapsed: Duration,
    /// Bytes of messages in a request.
    pub(crate) bytes_per_request: u64,
    /// Processor time of the measured process, warm-up included, and the requests it was spent on.
    pub(crate) cpu: Option<(Duration, u64)>,
}

impl Measurement {
    /// The figures of `sample`.
    pub(crate) fn of(sample: &Sample<'_>) -> Self {
        let seconds = sample.elapsed.as_secs_f64().max(1e-9);
        let requests_per_second = sample.latencies.count() as f64 / seconds;
        // Less than a tick of the system's clock is not nothing.
        let cpu = sample.cpu.filter(|(time, _)| !time.is_zero());
        let micros = |part| sample.latencies.quantile(part).as_secs_f64() * 1e6;
        Self {
            requests_per_second,
            bytes_per_second: requests_per_second * sample.bytes_per_request as f64,
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            cpu_seconds_per_gb: cpu.map(|(time, requests)| {
                let bytes = (requests * sample.bytes_per_request).max(1);
                time.as_secs_f64() / (bytes as f64 / 1e9)
            }),
            cpu_us_per_request: cpu
                .map(|(time, requests)| time.as_secs_f64() * 1e6 / requests.max(1) as f64),
        }
    }

    /// The median of each figure over several runs; `None` without a run.
    pub(crate) fn median(runs: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        Some(Self {
            requests_per_second: of(|run| run.requests_per_second)?,
            bytes_per_second: of(|run| run.bytes_per_second)?,
            p50_us: of(|run| run.p50_us)?,
            p99_us: of(|run| run.p99_us)?,
            p999_us: of(|run| run.p999_us)?,
            cpu_seconds_per_gb: median(
                runs.iter().filter_map(|run| run.cpu_seconds_per_gb).collect(),
            ),
            cpu_us_per_request: median(
                runs.iter().filter_map(|run| run.cpu_us_per_request).collect(),
            ),
        })
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_run_is_requests_times_bytes_over_time() {
        let mut latencies = Latencies::new().unwrap();
        for _ in 0..200 {
            latencies.record(Duration::from_millis(1));
        }
        let run = Measurement::of(&Sample {
            latencies: &latencies,
            elapsed: Duration::from_secs(2),
            bytes_per_request: 1_000_000,
            cpu: Some((Duration::from_secs(1), 250)),
        });
        assert!((run.requests_per_second - 100.0).abs() < 1e-6);
        assert!((run.bytes_per_second - 1e8).abs() < 1.0);
        assert!((run.p50_us - 1000.0).abs() < 2.0);
        assert_eq!(run.cpu_seconds_per_gb, Some(4.0));
        assert_eq!(run.cpu_us_per_request, Some(4000.0));
    }
}
