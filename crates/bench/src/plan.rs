//! What a run does: how many of everything, for how long, how fast. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{BenchError, Outcome};
use crate::schedule::Schedule;

/// Most threads of a run; each producer and consumer is one.
pub(crate) const WORKERS_MAX: u32 = 1024;

/// Most requests of a producer that wait for their answers.
pub const IN_FLIGHT_MAX: u32 = 4096;

/// Most bytes of payload in a request.
pub(crate) const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Bytes at the front of a payload that hold when it was to be sent.
pub(crate) const STAMP_BYTES: u32 = 8;
const _: () = assert!(STAMP_BYTES as usize == size_of::<u64>(), "a stamp is a time in nanoseconds");

/// Most messages of a latency run on its own schedule.
const LATENCY_RATE_DEFAULT: f64 = 1000.0;

/// How long a consumer that got nothing waits, if nothing was said.
const PAUSE_DEFAULT: Duration = Duration::from_millis(1);
const LATENCY_PAUSE_DEFAULT: Duration = Duration::from_micros(100);

/// What is written before consumers read: about so many bytes, or so many messages.
const PRELOAD_BYTES: u64 = 256 << 20;
const PRELOAD_MESSAGES: u64 = 100_000;
const _: () = assert!(
    PRELOAD_BYTES > REQUEST_BYTES_MAX && PRELOAD_MESSAGES > 0,
    "what is read was sent with several requests"
);
const _: () = assert!(
    LATENCY_PAUSE_DEFAULT.as_micros() < PAUSE_DEFAULT.as_micros(),
    "whoever measures latency asks more often"
);

/// What is measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadKind {
    /// Messages are sent.
    Produce,
    /// Messages that were sent before are read.
    Consume,
    /// Messages are sent and read at once.
    Both,
    /// The same, and each is timed from when it was due to be sent until it was received.
    Latency,
}

impl LoadKind {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Both => "both",
            Self::Latency => "latency",
        }
    }

    /// Whether producers take part.
    pub(crate) fn sends(self) -> bool {
        self != Self::Consume
    }

    /// Whether consumers take part.
    pub(crate) fn receives(self) -> bool {
        self != Self::Produce
    }
}

/// Sizes of payloads: one, or anything between two.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The smallest.
    pub min: u32,
    /// The largest.
    pub max: u32,
}

impl Sizes {
    /// Their mean.
    pub(crate) fn mean(self) -> f64 {
        f64::midpoint(f64::from(self.min), f64::from(self.max))
    }
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunLength {
    /// So many messages, rounded up to whole requests.
    Messages(u64),
    /// So long.
    Time(Duration),
}

/// How fast requests are made, all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many messages per second.
    Messages(f64),
    /// So many requests per second.
    Requests(f64),
}

/// What a latency counts from where requests are due on a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedFrom {
    /// From when the request was due, whatever kept it.
    Due,
    /// From when the load woke to send it; from when it was due if the answer before came too late for that. So a
    /// slow server pays for what had to wait behind it, and the timer of the load, which is no part of what
    /// is compared, is left out.
    Wake,
}

/// What a consumer does that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenEmpty {
    /// It asks again after so long.
    Pause(Duration),
    /// It has the server wait, where that can.
    Wait,
}

/// One partition of the run, by the numbers of its stream and topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Which stream.
    pub(crate) stream: u32,
    /// Which of its topics.
    pub(crate) topic: u32,
    /// Which of its partitions.
    pub(crate) partition: u32,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// What is measured.
    pub kind: LoadKind,
    /// Streams.
    pub streams: u32,
    /// Topics in each.
    pub topics: u32,
    /// Partitions in each.
    pub partitions: u32,
    /// Connections that send.
    pub producers: u32,
    /// Connections that read.
    pub consumers: u32,
    /// Whether those are members of one group per topic.
    pub group: bool,
    /// Bytes of a payload.
    pub sizes: Sizes,
    /// Messages in a request.
    pub batch: u32,
    /// Requests of a producer that wait for their answers at most.
    pub in_flight: u32,
    /// How long it is.
    pub length: RunLength,
    /// Time that is not counted, before the time that is.
    pub warm_up: Duration,
    /// The schedule, if requests have one.
    pub rate: Option<Rate>,
    /// What a latency counts from where there is a schedule.
    pub counted_from: CountedFrom,
    /// Whether each producer sends each of its requests once before the run begins, so that what only the first
    /// request to a partition costs is not counted.
    pub primes: bool,
    /// Messages a poll asks for at most, if not as many as a request holds.
    pub poll_messages: Option<u32>,
    /// What consumers do that found nothing, if it was said.
    pub when_empty: Option<WhenEmpty>,
    /// Messages written before consumers read, if it was said.
    pub preload: Option<u64>,
}

impl LoadPlan {
    /// One of everything, one message to a request, for ten seconds, as fast as answers come.
    pub fn new(kind: LoadKind) -> Self {
        Self {
            kind,
            streams: 1,
            topics: 1,
            partitions: 1,
            producers: 1,
            consumers: 1,
            group: false,
            sizes: Sizes { min: 100, max: 100 },
            batch: 1,
            in_flight: 1,
            length: RunLength::Time(Duration::from_secs(10)),
            warm_up: Duration::ZERO,
            rate: None,
            counted_from: CountedFrom::Due,
            primes: false,
            poll_messages: None,
            when_empty: None,
            preload: None,
        }
    }

    /// Completes what depends on the kind, and refuses what makes no sense together.
    ///
    /// # Errors
    /// [`BenchCause::Usage`](crate::BenchCause::Usage) says what does not go together.
    pub fn checked(mut self) -> Outcome<Self> {
        if self.kind == LoadKind::Latency && self.rate.is_none() {
            self.rate = Some(Rate::Messages(LATENCY_RATE_DEFAULT));
        }
        let refuse = |what: &str, hint: &str| Err(BenchError::usage(what).hint(hint));
        if self.sizes.min > self.sizes.max {
            return refuse("the message size is a range from large to small", "write 100..1000");
        }
        if self.kind == LoadKind::Latency && self.sizes.min < STAMP_BYTES {
            return refuse(
                "a message of less than 8 bytes has no room for the time it was sent",
                "give --message-size 8 or more",
            );
        }
        if u64::from(self.sizes.max) * u64::from(self.batch) > REQUEST_BYTES_MAX {
            return refuse(
                "the messages of one request come to more than 64 MiB",
                "lower --messages-per-request or --message-size",
            );
        }
        let workers = u64::from(self.senders()) + u64::from(self.receivers());
        if workers > u64::from(WORKERS_MAX) {
            return refuse(
                &format!("{workers} producers and consumers are more than {WORKERS_MAX}"),
                "each is a thread and a connection; lower --producers or --consumers",
            );
        }
        if self.group && self.kind == LoadKind::Consume && self.rate.is_some() {
            return refuse(
                "--rate makes no sense for a group that reads what is there",
                "leave out --group or --rate",
            );
        }
        Ok(self)
    }

    /// Producers that take part.
    pub(crate) fn senders(&self) -> u32 {
        if self.kind.sends() { self.producers } else { 0 }
    }

    /// Consumers that take part.
    pub(crate) fn receivers(&self) -> u32 {
        if self.kind.receives() { self.consumers } else { 0 }
    }

    /// How long a consumer that got nothing waits before it asks again.
    pub(crate) fn pause(&self) -> Duration {
        match (self.when_empty, self.kind) {
            (Some(WhenEmpty::Pause(pause)), _) => pause,
            (_, LoadKind::Latency) => LATENCY_PAUSE_DEFAULT,
            _ => PAUSE_DEFAULT,
        }
    }

    /// Whether consumers rather have the server wait, where it can. What a poll that waited took says
    /// nothing, so unless it is asked for only where that is not measured.
    pub fn prefers_waiting(&self) -> bool {
        match self.when_empty {
            Some(when_empty) => when_empty == WhenEmpty::Wait,
            None => self.kind == LoadKind::Latency,
        }
    }

    /// Messages a poll asks for at most.
    pub(crate) fn poll_count(&self) -> u32 {
        self.poll_messages.unwrap_or(self.batch)
    }

    /// All partitions, neighbors in different topics where there are several.
    pub(crate) fn places(&self) -> Vec<Spot> {
        let topics = move |partition| {
            let all = (0..self.streams)
                .flat_map(move |stream| (0..self.topics).map(move |topic| (stream, topic)));
            all.map(move |(stream, topic)| Spot { stream, topic, partition })
        };
        (0..self.partitions).flat_map(topics).collect()
    }

    /// The schedule of worker `number`.
    pub(crate) fn pace(&self, number: u32) -> Option<Schedule> {
        let requests_per_second = match self.rate? {
            Rate::Requests(rate) => rate,
            Rate::Messages(rate) => rate / f64::from(self.batch),
        };
        let workers = if self.kind.sends() { self.producers } else { self.consumers };
        Some(Schedule::shared(requests_per_second, number, workers))
    }

    /// Requests of the counted time, if their number is given.
    pub(crate) fn requests_max(&self) -> Option<u64> {
        match self.length {
            RunLength::Messages(messages) => Some(messages.div_ceil(u64::from(self.batch))),
            RunLength::Time(_) => None,
        }
    }

    /// Messages to write into each partition before they are read.
    pub(crate) fn preload_per_partition(&self) -> u64 {
        let places = u64::from(self.streams) * u64::from(self.topics) * u64::from(self.partitions);
        let all = match (self.preload, self.length) {
            (Some(messages), _) => messages,
            // A group reads everything once.
            (None, RunLength::Messages(messages)) if self.group => messages,
            (None, _) => {
                let fitting = PRELOAD_BYTES as f64 / self.sizes.mean().max(1.0);
                (fitting as u64).min(PRELOAD_MESSAGES)
            }
        };
        all.div_ceil(places.max(1)).max(u64::from(self.poll_count()))
    }
}

/// Which of `all` things worker `number` of `workers` takes: one, or every so many-th.
pub(crate) fn share(number: u32, workers: u32, all: usize) -> Vec<usize> {
    let (number, workers) = (number as usize, workers.max(1) as usize);
    match workers >= all {
        true => vec![number % all.max(1)],
        false => (number..all).step_by(workers).collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
