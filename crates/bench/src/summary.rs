//! The result of a run, as it is shown and as it is saved.
//!
//! What `--output json` prints is what `galgo bench report` reads; fields may be added, those
//! that are there keep their meaning.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::histogram::Latencies;
use crate::plan::{LoadKind, LoadPlan, Rate, RunLength, Sizes};
use crate::recorder::{Recorder, SLICE, TimeSlice};
use crate::usage::Usage;

/// What a saved run begins with, so that no other JSON is taken for one.
pub const FORMAT: &str = "galgo-bench-1";

/// Points of the curve of latencies, between which it is a line.
const CURVE: [f64; 19] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995,
    0.9999, 0.99999,
];
const _: () = assert!(rises_below_one(&CURVE), "a curve goes from the fastest to the slowest");

const fn rises_below_one(parts: &[f64]) -> bool {
    match parts {
        [one, rest @ ..] => match rest {
            [next, ..] => *one < *next && rises_below_one(rest),
            [] => *one < 1.0,
        },
        [] => true,
    }
}

/// A run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RunSummary {
    /// [`FORMAT`].
    pub format: String,
    /// What was measured.
    pub kind: LoadKind,
    /// Version of this tool.
    pub version: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// Where the server is.
    pub server: ServerFacts,
    /// What was asked for.
    pub plan: PlanFacts,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// Seconds that were counted.
    pub seconds: f64,
    /// What producers did.
    pub sent: Option<WorkDone>,
    /// What consumers did.
    pub received: Option<WorkDone>,
    /// From when messages were due until they were received; only in a latency run.
    pub end_to_end: Option<LatencyFacts>,
    /// What the server spent; unknown when it is not on this machine.
    pub server_usage: Option<Usage>,
    /// What this tool spent.
    pub client_usage: Option<Usage>,
    /// Streams that were left on the server.
    pub kept_streams: Vec<String>,
}

/// A run and what it is called beside others.
#[derive(Debug)]
pub struct NamedRun {
    /// Its name.
    pub name: String,
    /// What it gave.
    pub run: RunSummary,
}

/// Where the load went.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerFacts {
    /// Its URL without credentials.
    pub url: String,
    /// What carried connections.
    pub transport: String,
    /// The durability of the topics, if not the server's default.
    pub durability: Option<String>,
    /// Whether it was started for the run.
    pub fresh: bool,
    /// Whether it was asked to wait for messages, by consumers that read one thing each.
    #[serde(default)]
    pub waiting_polls: bool,
    /// Processors of the machine this tool ran on.
    pub client_processors: usize,
}

/// What was asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PlanFacts {
    /// Streams.
    pub streams: u32,
    /// Topics in each.
    pub topics: u32,
    /// Partitions in each.
    pub partitions: u32,
    /// Connections that sent.
    pub producers: u32,
    /// Connections that read.
    pub consumers: u32,
    /// Whether those were members of a group.
    pub group: bool,
    /// Bytes of a payload.
    pub message_bytes: Sizes,
    /// Messages in a request.
    pub messages_per_request: u32,
    /// Requests of a producer that may wait for their answers.
    pub in_flight: u32,
    /// Seconds before counting.
    pub warm_up_seconds: f64,
    /// Messages per second, all together, in an open loop; none: as fast as answers come.
    pub messages_per_second: Option<f64>,
    /// Seconds to be counted, if that was the limit.
    pub duration_seconds: Option<f64>,
    /// Messages to be counted, if that was the limit.
    pub total_messages: Option<u64>,
}

impl PlanFacts {
    /// The facts of a plan.
    pub(crate) fn of(plan: &LoadPlan) -> Self {
        let (duration_seconds, total_messages) = match plan.length {
            RunLength::Time(time) => (Some(time.as_secs_f64()), None),
            RunLength::Messages(messages) => (None, Some(messages)),
        };
        Self {
            streams: plan.streams,
            topics: plan.topics,
            partitions: plan.partitions,
            producers: plan.senders(),
            consumers: plan.receivers(),
            group: plan.group,
            message_bytes: plan.sizes,
            messages_per_request: plan.batch,
            in_flight: plan.in_flight,
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            messages_per_second: plan.rate.map(|rate| match rate {
                Rate::Messages(rate) => rate,
                Rate::Requests(rate) => rate * f64::from(plan.batch),
            }),
            duration_seconds,
            total_messages,
        }
    }
}

/// What all workers of one side did.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorkDone {
    /// Requests.
    pub requests: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Messages per second.
    pub messages_per_second: f64,
    /// Bytes of payload per second.
    pub bytes_per_second: f64,
    /// Requests that were due and never sent, because those before took too long.
    pub unsent_requests: u64,
    /// How long requests took.
    pub latency: Option<LatencyFacts>,
    /// Amounts over time.
    pub over_time: OverTime,
}

impl WorkDone {
    /// What `recorder` holds, over so many seconds. The latencies of a latency run's consumers are not those of
    /// requests.
    pub(crate) fn of(recorder: &Recorder, seconds: f64, has_latency: bool) -> Self {
        let per_second = |amount: u64| amount as f64 / seconds.max(1e-9);
        Self {
            requests: recorder.requests,
            messages: recorder.messages,
            bytes: recorder.bytes,
            requests_per_second: per_second(recorder.requests),
            messages_per_second: per_second(recorder.messages),
            bytes_per_second: per_second(recorder.bytes),
            unsent_requests: recorder.unsent,
            latency: if has_latency { LatencyFacts::of(&recorder.latencies) } else { None },
            over_time: OverTime::of(&recorder.slices, seconds),
        }
    }
}

/// How latencies are spread, in microseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LatencyFacts {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// What half did not exceed.
    pub p50_us: f64,
    /// The same for 90 in 100.
    pub p90_us: f64,
    /// 99 in 100.
    pub p99_us: f64,
    /// 999 in 1,000.
    pub p999_us: f64,
    /// 9,999 in 10,000.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// More of them, as pairs of a part (0.0 to 1.0) and a latency.
    pub curve: Vec<(f64, f64)>,
}

impl LatencyFacts {
    /// The facts of some latencies; `None` of none.
    pub(crate) fn of(latencies: &Latencies) -> Option<Self> {
        let count = latencies.count();
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let at = |part| micros(latencies.quantile(part));
        // A part of fewer than one request says nothing.
        let is_known = |part: &f64| (1.0 - part) * count as f64 >= 1.0;
        let mut curve: Vec<(f64, f64)> =
            CURVE.into_iter().filter(is_known).map(|part| (part, at(part))).collect();
        curve.push((1.0, micros(latencies.max())));
        (count > 0).then(|| Self {
            count,
            mean_us: micros(latencies.mean()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: micros(latencies.max()),
            curve,
        })
    }
}

/// Amounts by slices of time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OverTime {
    /// Width of a slice.
    pub slice_seconds: f64,
    /// Messages per second in each.
    pub messages_per_second: Vec<f64>,
    /// Bytes of payload per second in each.
    pub bytes_per_second: Vec<f64>,
    /// The longest latency in each, in microseconds.
    pub slowest_us: Vec<f64>,
}

impl OverTime {
    /// Slices as wide as the length of the run suggests: 100 ms to 1 s. One that is not whole is left out.
    fn of(slices: &[TimeSlice], seconds: f64) -> Self {
        let finest = SLICE.as_secs_f64();
        let together = match seconds {
            ..15.0 => 1,
            15.0..30.0 => 2,
            30.0..75.0 => 5,
            _ => 10,
        };
        let whole = ((seconds + 1e-6) / finest) as usize;
        let inside = slices.get(..whole).unwrap_or(slices);
        let width = finest * together as f64;
        let sum = |slices: &[TimeSlice], amount: fn(&TimeSlice) -> u64| {
            slices.iter().map(amount).sum::<u64>() as f64 / width
        };
        let wide: Vec<&[TimeSlice]> = inside.chunks_exact(together).collect();
        let slowest = |slices: &&[TimeSlice]| {
            let longest = slices.iter().map(|slice| slice.slowest).max().unwrap_or_default();
            longest.as_nanos() as f64 / 1e3
        };
        Self {
            slice_seconds: width,
            messages_per_second: wide.iter().map(|it| sum(it, |one| one.messages)).collect(),
            bytes_per_second: wide.iter().map(|it| sum(it, |one| one.bytes)).collect(),
            slowest_us: wide.iter().map(slowest).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_have_wide_slices() {
        let slice = TimeSlice { messages: 1, bytes: 10, slowest: Duration::from_micros(3) };
        let short = OverTime::of(&[slice; 12], 1.15);
        assert!((short.slice_seconds - 0.1).abs() < 1e-9);
        assert_eq!(short.messages_per_second.len(), 11);
        assert!((short.bytes_per_second[0] - 100.0).abs() < 1e-6);
        let long = OverTime::of(&[slice; 1000], 100.0);
        assert!((long.slice_seconds - 1.0).abs() < 1e-9);
        assert_eq!(long.slowest_us, [3.0; 100]);
        assert!((long.messages_per_second[99] - 10.0).abs() < 1e-6);
    }

    #[test]
    fn a_curve_ends_where_there_are_too_few_requests_to_know() {
        let mut latencies = Latencies::new().unwrap();
        assert!(LatencyFacts::of(&latencies).is_none());
        for micros in 1..=100 {
            latencies.record(Duration::from_micros(10 * micros));
        }
        let facts = LatencyFacts::of(&latencies).unwrap();
        let parts: Vec<f64> = facts.curve.iter().map(|(part, _)| *part).collect();
        assert!(parts.contains(&0.99) && !parts.contains(&0.995) && parts.contains(&1.0));
        assert!(facts.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(facts.p50_us < facts.p99_us && facts.p99_us <= facts.max_us);
    }
}
