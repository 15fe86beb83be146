//! What is compared with what, and how well the server is meant to do.
//!
//! Rows of a group that ask for the same run share it, so that all ratios of a group come
//! from the same rounds.

use serde::Serialize;

use crate::bench::goal::Goal;

/// Payload of the large requests: 1,000 messages of 1,000 bytes.
pub(crate) const LARGE: Batch = Batch { messages: 1000, message_bytes: 1000 };

/// Payload of the small requests.
pub(crate) const SMALL: Batch = Batch { messages: 1, message_bytes: 100 };

/// Requests stored in each partition before it is read; they fit the page cache.
pub(crate) const PRELOADED_REQUESTS: u32 = 128;

/// Partitions of a topic at most; a load over more of them has several topics.
pub(crate) const TOPIC_PARTITIONS_MAX: u32 = 1000;

/// Partitions for the rows about many.
pub(crate) const MANY_PARTITIONS: u32 = 10_000;

/// Producers of the rows about many of them.
pub(crate) const MANY_PRODUCERS: u32 = 64;

/// Messages per second of the row about a tailing consumer.
const TAIL_RATE: u32 = 1000;

/// Requests that one producer keeps in flight, where it does not wait for each.
const IN_FLIGHT: u32 = 32;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Messages in a request.
    pub(crate) messages: u32,
    /// Bytes of payload in a message.
    pub(crate) message_bytes: u32,
}

impl Batch {
    /// Bytes of payload in a request.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.messages) * u64::from(self.message_bytes)
    }
}

/// What a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Messages are sent.
    Produce {
        /// Connections.
        producers: u32,
        /// Partitions they are spread over; with more of them than producers, each takes its own in turn.
        partitions: u32,
        /// Requests that each keeps in flight.
        in_flight: u32,
        /// Each request.
        batch: Batch,
    },
    /// Messages are read.
    Consume {
        /// Connections, each with a partition of its own.
        consumers: u32,
        /// Each request.
        batch: Batch,
    },
    /// Messages are sent one at a time, each when it is due, and a consumer reads them as they come.
    Tail {
        /// Messages per second.
        rate: u32,
        /// Each message.
        batch: Batch,
    },
}

impl Load {
    /// What a request carries.
    pub(crate) fn batch(self) -> Batch {
        match self {
            Self::Produce { batch, .. }
            | Self::Consume { batch, .. }
            | Self::Tail { batch, .. } => batch,
        }
    }

    /// Whether it takes far longer to prepare than to run, so that its server is kept for all rounds.
    pub(crate) fn is_dear_to_prepare(self) -> bool {
        matches!(self, Self::Produce { partitions: MANY_PARTITIONS, .. })
    }
}

/// Who takes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The server, with this default durability.
    Server(&'static str),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Who takes it.
    pub(crate) side: Side,
    /// What it is.
    pub(crate) load: Load,
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
    pub(crate) measured: Run,
    /// What it is held against.
    pub(crate) against: Run,
    /// What is divided by what.
    pub(crate) figure: Figure,
    /// What the ratio is meant to be.
    pub(crate) goal: Goal,
}

/// Every row of `galgo bench compare` with two sides, in order; the runs of a group alternate.
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
    let what = format!("write 1 MB, os, {} / bare sink", counted(producers, "producer"));
    let load = produce(producers, producers, LARGE);
    let sides = Side::Server("os").against(Side::Sink { sync: false }, load);
    vec![
        sides.compared(what.clone(), Figure::BytesPerSecond, Goal::AtLeast(0.85)),
        sides.compared(format!("CPU per GB, {what}"), Figure::CpuPerGb, Goal::AtMost(1.35)),
    ]
}

fn synced_writes() -> Vec<Comparison> {
    let load = produce(8, 8, LARGE);
    let sides = Side::Server("fsync").against(Side::Sink { sync: true }, load);
    let what = "write 1 MB, fsync, 8 producers / bare sink that syncs".to_owned();
    vec![sides.compared(what, Figure::BytesPerSecond, Goal::AtLeast(1.0))]
}

fn small_writes() -> Vec<Comparison> {
    let load = produce(8, 8, SMALL);
    let sides = Side::Server("os").against(Side::Sink { sync: false }, load);
    let what = "write 100 B, os, 8 producers / bare sink".to_owned();
    vec![sides.compared(what, Figure::RequestsPerSecond, Goal::AtLeast(0.85))]
}

/// What durability and the number of partitions cost when many write.
fn many_writers() -> Vec<Comparison> {
    let run = |durability, partitions| {
        Side::Server(durability).takes(produce(MANY_PRODUCERS, partitions, SMALL))
    };
    let mut rows = vec![Sides { measured: run("fsync", 64), against: run("fsync", 1) }.compared(
        "write 100 B, 64 producers, fsync: 64 partitions / 1".to_owned(),
        Figure::RequestsPerSecond,
        Goal::AtLeast(0.7),
    )];
    rows.extend([1, 64].map(|partitions| {
        let places = counted(partitions, "partition");
        Sides { measured: run("fsync", partitions), against: run("os", partitions) }.compared(
            format!("write 100 B, 64 producers, {places}: fsync / os"),
            Figure::RequestsPerSecond,
            Goal::AtLeast(0.8),
        )
    }));
    rows.extend(["fsync", "os"].map(|durability| {
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
        let load = Load::Produce { producers: 1, partitions: 1, in_flight, batch: SMALL };
        Side::Server("fsync").takes(load)
    };
    let what = "write 100 B, fsync, one producer: 32 in flight / 1".to_owned();
    let sides = Sides { measured: run(IN_FLIGHT), against: run(1) };
    vec![sides.compared(what, Figure::RequestsPerSecond, Goal::AtLeast(10.0))]
}

fn reads() -> Vec<Comparison> {
    let load = Load::Consume { consumers: 2, batch: LARGE };
    let sides = Side::Server("os").against(Side::Source, load);
    let what = "read 1 MB, 2 consumers / bare sendfile".to_owned();
    vec![
        sides.compared(what.clone(), Figure::BytesPerSecond, Goal::AtLeast(0.95)),
        sides.compared(format!("CPU per GB, {what}"), Figure::CpuPerGb, Goal::AtMost(1.15)),
    ]
}

/// What the server adds to the way of a message from one program to another. `os`, because a sync of the
/// disk would hide it.
fn end_to_end() -> Vec<Comparison> {
    let load = Load::Tail { rate: TAIL_RATE, batch: SMALL };
    let sides = Side::Server("os").against(Side::Echo, load);
    let what = "end to end p99, 100 B, os, 1,000 messages/s / bare echo".to_owned();
    vec![sides.compared(what, Figure::P99, Goal::AtMost(3.0))]
}

/// The load of producers that wait for each answer.
pub(crate) fn produce(producers: u32, partitions: u32, batch: Batch) -> Load {
    Load::Produce { producers, partitions, in_flight: 1, batch }
}

fn counted(number: u32, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl Side {
    fn takes(self, load: Load) -> Run {
        Run { side: self, load }
    }

    fn against(self, other: Self, load: Load) -> Sides {
        Sides { measured: self.takes(load), against: other.takes(load) }
    }
}

/// What is divided by what.
#[derive(Clone, Copy, Debug)]
struct Sides {
    measured: Run,
    against: Run,
}

impl Sides {
    fn compared(self, what: String, figure: Figure, goal: Goal) -> Comparison {
        let Self { measured, against } = self;
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
            assert!(matches!(row.measured.side, Side::Server(_)), "{}", row.what);
            match row.against.side {
                Side::Server(_) => {}
                Side::Sink { .. } => assert!(matches!(row.against.load, Load::Produce { .. })),
                Side::Source => assert!(matches!(row.against.load, Load::Consume { .. })),
                Side::Echo => assert!(matches!(row.against.load, Load::Tail { .. })),
            }
        }
    }

    #[test]
    fn topics_of_many_partitions_are_full() {
        assert_eq!(MANY_PARTITIONS % TOPIC_PARTITIONS_MAX, 0);
    }
}
