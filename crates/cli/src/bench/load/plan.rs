//! What a run does: how many of everything, for how long, how fast. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::load::schedule::Pace;
use crate::failure::{Failure, Outcome};

/// Most threads of a run; each producer and consumer is one.
pub(crate) const WORKERS_MAX: u32 = 1024;

/// Most requests of a producer that wait for their answers.
pub(crate) const IN_FLIGHT_MAX: u32 = 4096;

/// Most bytes of payload in a request.
pub(crate) const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Bytes at the front of a payload that hold when it was to be sent.
pub(crate) const STAMP_BYTES: u32 = 8;

/// Most messages of a latency run on its own schedule.
const LATENCY_RATE_DEFAULT: f64 = 1000.0;

/// How long a consumer that got nothing waits, if nothing was said.
const PAUSE_DEFAULT: Duration = Duration::from_millis(1);
const LATENCY_PAUSE_DEFAULT: Duration = Duration::from_micros(100);

/// What is written before consumers read: about so many bytes, or so many messages.
const PRELOAD_BYTES: u64 = 256 << 20;
const PRELOAD_MESSAGES: u64 = 100_000;

/// What is measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Messages are sent.
    Produce,
    /// Messages that were sent before are read.
    Consume,
    /// Messages are sent and read at once.
    Both,
    /// The same, and each is timed from when it was due to be sent until it was received.
    Latency,
}

impl Kind {
    /// The word on the command line.
    pub(crate) fn word(self) -> &'static str {
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
pub(crate) struct Sizes {
    /// The smallest.
    pub(crate) min: u32,
    /// The largest.
    pub(crate) max: u32,
}

impl Sizes {
    /// Their mean.
    pub(crate) fn mean(self) -> f64 {
        f64::midpoint(f64::from(self.min), f64::from(self.max))
    }
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// So many messages, rounded up to whole requests.
    Messages(u64),
    /// So long.
    Time(Duration),
}

/// How fast requests are made, all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// So many messages per second.
    Messages(f64),
    /// So many requests per second.
    Requests(f64),
}

/// One partition of the run, by the numbers of its stream and topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which stream.
    pub(crate) stream: u32,
    /// Which of its topics.
    pub(crate) topic: u32,
    /// Which of its partitions.
    pub(crate) partition: u32,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What is measured.
    pub(crate) kind: Kind,
    /// Streams.
    pub(crate) streams: u32,
    /// Topics in each.
    pub(crate) topics: u32,
    /// Partitions in each.
    pub(crate) partitions: u32,
    /// Connections that send.
    pub(crate) producers: u32,
    /// Connections that read.
    pub(crate) consumers: u32,
    /// Whether those are members of one group per topic.
    pub(crate) group: bool,
    /// Bytes of a payload.
    pub(crate) sizes: Sizes,
    /// Messages in a request.
    pub(crate) batch: u32,
    /// Requests of a producer that wait for their answers at most.
    pub(crate) in_flight: u32,
    /// How long it is.
    pub(crate) extent: Extent,
    /// Time that is not counted, before the time that is.
    pub(crate) warm_up: Duration,
    /// The schedule, if requests have one.
    pub(crate) rate: Option<Rate>,
    /// How long a consumer that got nothing waits before it asks again; unsaid, the server may be asked to
    /// wait itself.
    pub(crate) poll_pause: Option<Duration>,
    /// Messages written before consumers read, if it was said.
    pub(crate) preload: Option<u64>,
}

impl Plan {
    /// Completes what depends on the kind, and refuses what makes no sense together.
    pub(crate) fn checked(mut self) -> Outcome<Self> {
        if self.kind == Kind::Latency && self.rate.is_none() {
            self.rate = Some(Rate::Messages(LATENCY_RATE_DEFAULT));
        }
        let refuse = |what: &str, hint: &str| Err(Failure::usage(what).hint(hint));
        if self.sizes.min > self.sizes.max {
            return refuse("the message size is a range from large to small", "write 100..1000");
        }
        if self.kind == Kind::Latency && self.sizes.min < STAMP_BYTES {
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
        if self.group && self.kind == Kind::Consume && self.rate.is_some() {
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
        self.poll_pause.unwrap_or(match self.kind {
            Kind::Latency => LATENCY_PAUSE_DEFAULT,
            _ => PAUSE_DEFAULT,
        })
    }

    /// Whether consumers rather have the server wait, where it can. What a poll that waited took says
    /// nothing, so only where that is not measured.
    pub(crate) fn prefers_waiting(&self) -> bool {
        self.kind == Kind::Latency && self.poll_pause.is_none()
    }

    /// All partitions, neighbors in different topics where there are several.
    pub(crate) fn places(&self) -> Vec<Place> {
        let topics = move |partition| {
            let all = (0..self.streams)
                .flat_map(move |stream| (0..self.topics).map(move |topic| (stream, topic)));
            all.map(move |(stream, topic)| Place { stream, topic, partition })
        };
        (0..self.partitions).flat_map(topics).collect()
    }

    /// The schedule of worker `number`.
    pub(crate) fn pace(&self, number: u32) -> Option<Pace> {
        let requests_per_second = match self.rate? {
            Rate::Requests(rate) => rate,
            Rate::Messages(rate) => rate / f64::from(self.batch),
        };
        let workers = if self.kind.sends() { self.producers } else { self.consumers };
        Some(Pace::shared(requests_per_second, number, workers))
    }

    /// Requests of the counted time, if their number is given.
    pub(crate) fn requests_max(&self) -> Option<u64> {
        match self.extent {
            Extent::Messages(messages) => Some(messages.div_ceil(u64::from(self.batch))),
            Extent::Time(_) => None,
        }
    }

    /// Messages to write into each partition before they are read.
    pub(crate) fn preload_per_partition(&self) -> u64 {
        let places = u64::from(self.streams) * u64::from(self.topics) * u64::from(self.partitions);
        let all = match (self.preload, self.extent) {
            (Some(messages), _) => messages,
            // A group reads everything once.
            (None, Extent::Messages(messages)) if self.group => messages,
            (None, _) => {
                let fitting = PRELOAD_BYTES as f64 / self.sizes.mean().max(1.0);
                (fitting as u64).min(PRELOAD_MESSAGES)
            }
        };
        all.div_ceil(places.max(1)).max(u64::from(self.batch))
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
