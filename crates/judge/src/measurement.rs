//! What one run gave.

use galgo_bench::plan::LoadKind;
use galgo_bench::summary::{LatencyFacts, RunSummary, WorkDone};
use galgo_bench::{BenchError, Outcome};
use serde::Serialize;

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

impl Measurement {
    /// The figures of a run: what reached its end, and how long that took.
    ///
    /// # Errors
    /// The run was too short for a single answer.
    pub(crate) fn of(run: &RunSummary) -> Outcome<Self> {
        let too_short = || BenchError::usage("no request was answered in time; use more --seconds");
        let (work, latency) = side_of(run).ok_or_else(too_short)?;
        // Less than a tick of the system's clock is not nothing.
        let cpu = run.server_usage.map(|usage| usage.cpu_seconds).filter(|seconds| *seconds > 0.0);
        Ok(Self {
            requests_per_second: work.requests_per_second,
            bytes_per_second: work.bytes_per_second,
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            p999_us: latency.p999_us,
            cpu_seconds_per_gb: cpu.map(|seconds| seconds / (work.bytes.max(1) as f64 / 1e9)),
            cpu_us_per_request: cpu.map(|seconds| seconds * 1e6 / work.requests.max(1) as f64),
        })
    }

    /// The median of each figure over several runs; `None` without a run.
    pub(crate) fn median(runs: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        let known =
            |figure: fn(&Self) -> Option<f64>| median(runs.iter().filter_map(figure).collect());
        Some(Self {
            requests_per_second: of(|run| run.requests_per_second)?,
            bytes_per_second: of(|run| run.bytes_per_second)?,
            p50_us: of(|run| run.p50_us)?,
            p99_us: of(|run| run.p99_us)?,
            p999_us: of(|run| run.p999_us)?,
            cpu_seconds_per_gb: known(|run| run.cpu_seconds_per_gb),
            cpu_us_per_request: known(|run| run.cpu_us_per_request),
        })
    }
}

/// The work of the side that a run is about, and the latencies that are its.
fn side_of(run: &RunSummary) -> Option<(&WorkDone, &LatencyFacts)> {
    let (work, latency) = match run.kind {
        LoadKind::Latency => (run.received.as_ref()?, run.end_to_end.as_ref()),
        LoadKind::Consume => (run.received.as_ref()?, run.received.as_ref()?.latency.as_ref()),
        LoadKind::Produce | LoadKind::Both => {
            (run.sent.as_ref()?, run.sent.as_ref()?.latency.as_ref())
        }
    };
    Some((work, latency?))
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
}
