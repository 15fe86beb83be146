//! What is compared with what, and how well the server is meant to do.
//!
//! Rows of a group that ask for the same run share it, so that all ratios of a group come
//! from the same rounds.

use galgo::Durability;
use galgo_bench::plan::{CountedFrom, LoadKind, LoadPlan, Rate, Sizes, WhenEmpty};
use galgo_bench::show::measure::counted;
use serde::Serialize;

use crate::goal::Goal;

/// Payload of the large requests: 1,000 messages of 1,000 bytes.
pub(crate) const LARGE: RequestSize = RequestSize { messages: 1000, message_bytes: 1000 };

/// Payload of the small requests.
pub(crate) const SMALL: RequestSize = RequestSize { messages: 1, message_bytes: 100 };

/// Requests stored in each partition before it is read; they fit the page cache.
pub(crate) const PRELOADED_REQUESTS: u32 = 128;

/// Partitions of a topic at most; a load over more of them has several topics.
pub(crate) const TOPIC_PARTITIONS_MAX: u32 = 1000;

/// Partitions for the rows about many.
pub(crate) const MANY_PARTITIONS: u32 = 10_000;
const _: () = assert!(
    MANY_PARTITIONS.is_multiple_of(TOPIC_PARTITIONS_MAX),
    "many partitions are topics of the largest size"
);

/// Producers of the rows about many of them.
pub(crate) const MANY_PRODUCERS: u32 = 64;

/// Messages per second of the row about a tailing consumer.
const TAIL_RATE: f64 = 1000.0;

/// Requests that one producer keeps in flight, where it does not wait for each.
const IN_FLIGHT: u32 = 32;
const _: () = assert!(IN_FLIGHT < PRELOADED_REQUESTS, "more is read than is on its way at once");

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestSize {
    /// Messages in a request.
    pub(crate) messages: u32,
    /// Bytes of payload in a message.
    pub(crate) message_bytes: u32,
}

impl RequestSize {
    /// One size for all messages.
    fn sizes(self) -> Sizes {
        Sizes { min: self.message_bytes, max: self.message_bytes }
    }
}

/// Who takes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JudgedSide {
    /// The server, with this default durability.
    Server(Durability),
    /// The bare sink, syncing each frame or not.
    Sink {
        /// Whether each frame is synced before it is answered.
        sync: bool,
    },
    /// The bare `sendfile` server.
    Source,
    /// The bare echo.
    Echo,
}

/// One thing to run, and to run it on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SideRun {
    /// Who takes it.
    pub(crate) side: JudgedSide,
    /// What it is.
    pub(crate) plan: LoadPlan,
}

impl SideRun {
    /// Whether it takes far longer to prepare than to run, so that its server is kept for all rounds.
    pub(crate) fn is_dear_to_prepare(&self) -> bool {
        self.plan.topics * self.plan.partitions >= MANY_PARTITIONS
    }
}

/// The figure of two runs that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Bytes of payload.
    BytesPerSecond,
    /// Requests.
    RequestsPerSecond,
    /// Processor time of the measured process for each gigabyte of payload.
    CpuPerGb,
    /// Processor time of the measured process for each request.
    CpuPerRequest,
    /// The latency 99 of 100 requests did not exceed.
    P99,
}

/// One row of the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// What is measured, and against what.
    pub(crate) what: String,
    /// The server.
    pub(crate) measured: SideRun,
    /// What it is held against.
    pub(crate) against: SideRun,
    /// What is divided by what.
    pub(crate) figure: Figure,
    /// What the ratio is meant to be.
    pub(crate) goal: Goal,
}

/// The rows that were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedRows<'a> {
    /// Only rows whose name contains this.
    pub(crate) only: Option<&'a str>,
}

impl WantedRows<'_> {
    /// Whether the row of this name was asked for.
    pub(crate) fn has(self, what: &str) -> bool {
        self.only.is_none_or(|part| what.contains(part))
    }
}

/// Every row of the comparison with two sides, in order; the runs of a group alternate.
pub(crate) fn groups() -> Vec<Vec<Comparison>> {
    vec![
        large_writes(1),
        large_writes(2),
        large_writes(8),
        synced_writes(),
        small_writes(),
        many_writers(),
        in_flight(),
        reads(),
        end_to_end(),
    ]
}

fn large_writes(producers: u32) -> Vec<Comparison> {
    let what = format!("write 1 MB, os, {} / bare sink", counted(producers.into(), "producer"));
    let load = produce(producers, producers, LARGE);
    let sides = JudgedSide::Server(Durability::Os).against(JudgedSide::Sink { sync: false }, load);
    vec![
        sides.compared(what.clone(), Figure::BytesPerSecond, Goal::AtLeast(0.85)),
        sides.compared(format!("CPU per GB, {what}"), Figure::CpuPerGb, Goal::AtMost(1.35)),
    ]
}

fn synced_writes() -> Vec<Comparison> {
    let load = produce(8, 8, LARGE);
    let sides =
        JudgedSide::Server(Durability::Fsync).against(JudgedSide::Sink { sync: true }, load);
    let what = "write 1 MB, fsync, 8 producers / bare sink that syncs".to_owned();
    vec![sides.compared(what, Figure::BytesPerSecond, Goal::AtLeast(1.0))]
}

fn small_writes() -> Vec<Comparison> {
    let load = produce(8, 8, SMALL);
    let sides = JudgedSide::Server(Durability::Os).against(JudgedSide::Sink { sync: false }, load);
    let what = "write 100 B, os, 8 producers / bare sink".to_owned();
    vec![sides.compared(what, Figure::RequestsPerSecond, Goal::AtLeast(0.85))]
}

/// What durability and the number of partitions cost when many write.
fn many_writers() -> Vec<Comparison> {
    let run = |durability, partitions| {
        JudgedSide::Server(durability).takes(produce(MANY_PRODUCERS, partitions, SMALL))
    };
    let mut rows = vec![
        Sides { measured: run(Durability::Fsync, 64), against: run(Durability::Fsync, 1) }
            .compared(
                "write 100 B, 64 producers, fsync: 64 partitions / 1".to_owned(),
                Figure::RequestsPerSecond,
                Goal::AtLeast(0.7),
            ),
    ];
    rows.extend([1, 64].map(|partitions| {
        let places = counted(partitions.into(), "partition");
        Sides {
            measured: run(Durability::Fsync, partitions),
            against: run(Durability::Os, partitions),
        }
        .compared(
            format!("write 100 B, 64 producers, {places}: fsync / os"),
            Figure::RequestsPerSecond,
            Goal::AtLeast(0.8),
        )
    }));
    rows.extend([Durability::Fsync, Durability::Os].map(|durability| {
        Sides { measured: run(durability, MANY_PARTITIONS), against: run(durability, 1) }.compared(
            format!("CPU per request, 64 producers, {durability}: 10,000 partitions / 1"),
            Figure::CpuPerRequest,
            Goal::AtMost(1.5),
        )
    }));
    rows
}

fn in_flight() -> Vec<Comparison> {
    let run = |in_flight| {
        JudgedSide::Server(Durability::Fsync).takes(LoadPlan { in_flight, ..produce(1, 1, SMALL) })
    };
    let what = "write 100 B, fsync, one producer: 32 in flight / 1".to_owned();
    let sides = Sides { measured: run(IN_FLIGHT), against: run(1) };
    vec![sides.compared(what, Figure::RequestsPerSecond, Goal::AtLeast(10.0))]
}

fn reads() -> Vec<Comparison> {
    let sides = JudgedSide::Server(Durability::Os).against(JudgedSide::Source, consume(2, LARGE));
    let what = "read 1 MB, 2 consumers / bare sendfile".to_owned();
    vec![
        sides.compared(what.clone(), Figure::BytesPerSecond, Goal::AtLeast(0.95)),
        sides.compared(format!("CPU per GB, {what}"), Figure::CpuPerGb, Goal::AtMost(1.15)),
    ]
}

/// What the server adds to the way of a message from one program to another. `os`, because a sync of the
/// disk would hide it.
fn end_to_end() -> Vec<Comparison> {
    let measured = JudgedSide::Server(Durability::Os).takes(tail(LoadKind::Latency));
    // What is sent comes back, so that nobody has to read it.
    let sides = Sides { measured, against: JudgedSide::Echo.takes(tail(LoadKind::Produce)) };
    let what = "end to end p99, 100 B, os, 1,000 messages/s / bare echo".to_owned();
    vec![sides.compared(what, Figure::P99, Goal::AtMost(3.0))]
}

/// The load of producers that wait for each answer. What only the first request to a partition costs is not counted.
pub(crate) fn produce(producers: u32, partitions: u32, batch: RequestSize) -> LoadPlan {
    let topics = partitions.div_ceil(TOPIC_PARTITIONS_MAX);
    assert!(partitions.is_multiple_of(topics), "no partition is left out of its topics");
    LoadPlan {
        topics,
        partitions: partitions / topics,
        producers,
        sizes: batch.sizes(),
        batch: batch.messages,
        primes: true,
        ..LoadPlan::new(LoadKind::Produce)
    }
}

/// The load of consumers, each with a partition of its own, over messages that were stored before.
fn consume(consumers: u32, batch: RequestSize) -> LoadPlan {
    let messages = u64::from(consumers * PRELOADED_REQUESTS) * u64::from(batch.messages);
    LoadPlan {
        partitions: consumers,
        consumers,
        sizes: batch.sizes(),
        batch: batch.messages,
        preload: Some(messages),
        ..LoadPlan::new(LoadKind::Consume)
    }
}

/// Messages sent one at a time, each when it is due, and read as they come.
fn tail(kind: LoadKind) -> LoadPlan {
    LoadPlan {
        sizes: SMALL.sizes(),
        rate: Some(Rate::Messages(TAIL_RATE)),
        counted_from: CountedFrom::Wake,
        // More than ever waits for a poll.
        poll_messages: Some(LARGE.messages),
        when_empty: Some(WhenEmpty::Wait),
        ..LoadPlan::new(kind)
    }
}

/// A producer and a consumer, whose polls wait, for each partition.
pub(crate) fn produce_and_tail(workers: u32, batch: RequestSize) -> LoadPlan {
    LoadPlan {
        kind: LoadKind::Both,
        consumers: workers,
        poll_messages: Some(LARGE.messages),
        when_empty: Some(WhenEmpty::Wait),
        primes: false,
        ..produce(workers, workers, batch)
    }
}

impl JudgedSide {
    fn takes(self, plan: LoadPlan) -> SideRun {
        SideRun { side: self, plan }
    }

    fn against(self, other: Self, plan: LoadPlan) -> Sides {
        Sides { measured: self.takes(plan.clone()), against: other.takes(plan) }
    }
}

/// What is divided by what.
#[derive(Clone, Debug)]
struct Sides {
    measured: SideRun,
    against: SideRun,
}

impl Sides {
    fn compared(&self, what: String, figure: Figure, goal: Goal) -> Comparison {
        let Self { measured, against } = self.clone();
        Comparison { what, measured, against, figure, goal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows: Vec<Comparison> = groups().into_iter().flatten().collect();
        let mut names: Vec<_> = rows.iter().map(|row| row.what.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows.len());
    }

    #[test]
    fn what_is_dear_has_an_upper_bound_and_what_is_fast_a_lower_one() {
        for row in groups().into_iter().flatten() {
            let cost = !matches!(row.figure, Figure::BytesPerSecond | Figure::RequestsPerSecond);
            assert_eq!(matches!(row.goal, Goal::AtMost(_)), cost, "{}", row.what);
            assert_ne!(row.measured, row.against, "{}", row.what);
        }
    }

    #[test]
    fn bare_programs_get_only_what_they_can_take() {
        for row in groups().into_iter().flatten() {
            assert!(matches!(row.measured.side, JudgedSide::Server(_)), "{}", row.what);
            match row.against.side {
                JudgedSide::Server(_) => {}
                JudgedSide::Sink { .. } | JudgedSide::Echo => {
                    assert_eq!(row.against.plan.kind, LoadKind::Produce);
                }
                JudgedSide::Source => assert_eq!(row.against.plan.kind, LoadKind::Consume),
            }
        }
    }

    #[test]
    fn topics_of_many_partitions_are_full() {
        assert_eq!(MANY_PARTITIONS % TOPIC_PARTITIONS_MAX, 0);
    }
}
