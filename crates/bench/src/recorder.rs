//! What one worker did: counts, latencies, and amounts over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Outcome;
use crate::histogram::Latencies;

/// Width of the finest slice of time that is kept.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Amounts so far, for the moving line; one writer, so plain loads and stores are enough.
#[derive(Debug, Default)]
pub(crate) struct Live {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Live {
    /// Messages and bytes of payload so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn add(&self, messages: u64, bytes: u64) {
        let (before, bytes_before) = self.so_far();
        self.messages.store(before + messages, Ordering::Relaxed);
        self.bytes.store(bytes_before + bytes, Ordering::Relaxed);
    }
}

/// What happened in a slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeSlice {
    /// Messages answered for.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// The longest latency that ended in it.
    pub(crate) slowest: Duration,
}

/// An answered request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// When it was answered.
    pub(crate) answered: Instant,
    /// Its messages.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
}

/// The record of one worker, or of several.
#[derive(Debug)]
pub(crate) struct Recorder {
    counted_from: Instant,
    live: Arc<Live>,
    /// Latencies that count.
    pub(crate) latencies: Latencies,
    /// Amounts by slices of time from the start of counting.
    pub(crate) slices: Vec<TimeSlice>,
    /// Requests in the counted time.
    pub(crate) requests: u64,
    /// Messages in it.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// Requests that were due and never sent.
    pub(crate) unsent: u64,
    /// When the last request that counts was answered.
    pub(crate) last: Option<Instant>,
}

impl Recorder {
    /// Nothing yet.
    pub(crate) fn new(counted_from: Instant, live: Arc<Live>) -> Outcome<Self> {
        Ok(Self {
            counted_from,
            live,
            latencies: Latencies::new()?,
            slices: Vec::new(),
            requests: 0,
            messages: 0,
            bytes: 0,
            unsent: 0,
            last: None,
        })
    }

    /// Adds the amounts of an exchange; its latency is another matter.
    pub(crate) fn amounts(&mut self, exchange: &Exchange, counts: bool) {
        self.live.add(exchange.messages, exchange.bytes);
        if !counts {
            return;
        }
        self.requests += 1;
        self.messages += exchange.messages;
        self.bytes += exchange.bytes;
        self.last = self.last.max(Some(exchange.answered));
        let slice = self.slice(exchange.answered);
        slice.messages += exchange.messages;
        slice.bytes += exchange.bytes;
    }

    /// Adds a latency that counts.
    pub(crate) fn latency(&mut self, asked: Instant, answered: Instant) {
        let latency = answered.saturating_duration_since(asked);
        self.latencies.record(latency);
        let slice = self.slice(answered);
        slice.slowest = slice.slowest.max(latency);
    }

    /// Adds all that another worker did.
    pub(crate) fn merge(&mut self, other: &Self) -> Outcome {
        assert!(
            self.counted_from == other.counted_from,
            "what is added up was counted from one moment on, by which its slices are told"
        );
        self.latencies.merge(&other.latencies)?;
        if self.slices.len() < other.slices.len() {
            self.slices.resize(other.slices.len(), TimeSlice::default());
        }
        for (mine, theirs) in self.slices.iter_mut().zip(&other.slices) {
            mine.messages += theirs.messages;
            mine.bytes += theirs.bytes;
            mine.slowest = mine.slowest.max(theirs.slowest);
        }
        self.requests += other.requests;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.unsent += other.unsent;
        self.last = self.last.max(other.last);
        Ok(())
    }

    fn slice(&mut self, at: Instant) -> &mut TimeSlice {
        let since = at.saturating_duration_since(self.counted_from);
        let index = (since.as_nanos() / SLICE.as_nanos()) as usize;
        if index >= self.slices.len() {
            self.slices.resize(index + 1, TimeSlice::default());
        }
        &mut self.slices[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_slice_by_slice() {
        let from = Instant::now();
        let at = |millis| from + Duration::from_millis(millis);
        let mut all = Recorder::new(from, Arc::default()).unwrap();
        for (asked, answered) in [(10, 20), (150, 350)] {
            let live = Arc::new(Live::default());
            let mut one = Recorder::new(from, Arc::clone(&live)).unwrap();
            let exchange = Exchange { answered: at(answered), messages: 2, bytes: 5 };
            one.amounts(&exchange, true);
            one.latency(at(asked), at(answered));
            one.amounts(&exchange, false);
            assert_eq!(live.so_far(), (4, 10));
            all.merge(&one).unwrap();
        }
        assert_eq!((all.requests, all.messages, all.bytes), (2, 4, 10));
        assert_eq!(all.slices.len(), 4);
        let slow = TimeSlice { messages: 2, bytes: 5, slowest: Duration::from_millis(200) };
        assert_eq!(all.slices[3], slow);
        assert_eq!(all.slices[1], TimeSlice::default());
        assert_eq!(all.last, Some(at(350)));
    }
}
