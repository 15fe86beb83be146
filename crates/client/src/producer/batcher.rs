//! Collects messages into batches, one open batch per lane. Pure: time is handed in.
//!
//! Part of INV-LANE: batches of a lane are taken in the order in which they were opened.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use galgo_wire::batch::BatchBuilder;
use galgo_wire::id::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::InvalidRequest;
use crate::message::EncodedMessage;
use crate::messages::push;
use crate::producer::receipt::{Receipt, Verdict};

/// What keeps its order: the messages of one partition, or those the server distributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SendLane {
    /// The server chooses the partition of each batch.
    Balanced,
    /// One partition.
    Partition(u32),
}

/// When a batch is full, and how long it may wait to become so.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) messages: u32,
    pub(super) bytes: usize,
    pub(super) linger: Duration,
}

/// Messages that travel together.
pub(super) struct SendBatch {
    /// Its place among all batches, by the time of opening.
    pub(super) number: u64,
    pub(super) lane: SendLane,
    /// Empty once they are in a request.
    pub(super) messages: BatchBuilder,
    pub(super) count: u32,
    pub(super) opened_at: Instant,
    /// Room its messages took in the buffer.
    pub(super) room: usize,
    due: Instant,
    verdict: Option<(oneshot::Sender<Verdict>, Receipt)>,
}

impl SendBatch {
    fn new(number: u64, lane: SendLane, opened_at: Instant, due: Instant) -> Self {
        let messages = BatchBuilder::new();
        Self { number, lane, messages, count: 0, opened_at, room: 0, due, verdict: None }
    }

    /// Tells everybody who holds a receipt.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Some((sender, _)) = self.verdict.take() {
            // Nobody may be waiting any longer.
            let _ = sender.send(verdict);
        }
    }

    fn receipt(&mut self) -> Receipt {
        let (_, receipt) = self.verdict.get_or_insert_with(Receipt::pair);
        receipt.clone()
    }
}

/// How a message is handed to the batcher.
pub(super) struct BatcherEntry<'a> {
    pub(super) lane: SendLane,
    pub(super) message: &'a EncodedMessage<'a>,
    pub(super) origin_timestamp: Timestamp,
    pub(super) now: Instant,
    pub(super) room: usize,
    pub(super) tracking: Tracking,
}

/// Whether somebody wants to know about the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracking {
    /// Nobody.
    None,
    /// Somebody will.
    Receipt,
    /// Somebody waits already, so its batch does not linger.
    Waiting,
}

/// What happened when a message was taken.
pub(super) struct Pushed {
    /// Whether there is something new to send, or a new time to send at.
    pub(super) news: bool,
    pub(super) receipt: Option<Receipt>,
}

/// All batches that are not settled; it holds those that were not taken yet.
pub(super) struct Batcher {
    limits: BatchLimits,
    open: HashMap<SendLane, SendBatch>,
    /// When the open batches are to be taken.
    due: BTreeSet<(Instant, SendLane)>,
    full: VecDeque<SendBatch>,
    next_number: u64,
    unsettled: BTreeSet<u64>,
}

impl Batcher {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            due: BTreeSet::new(),
            full: VecDeque::new(),
            next_number: 0,
            unsettled: BTreeSet::new(),
        }
    }

    /// Puts a message into the open batch of its lane.
    pub(super) fn push(&mut self, entry: &BatcherEntry<'_>) -> Result<Pushed, InvalidRequest> {
        let (lane, limits) = (entry.lane, self.limits);
        // Before the message is put anywhere: a batch that is over its bytes is refused whole.
        let overflows = self
            .open
            .get(&lane)
            .is_some_and(|batch| batch.messages.bytes() + entry.message.len() > limits.bytes);
        if overflows {
            self.close(lane);
        }
        let opens = !self.open.contains_key(&lane);
        let batch = self.open.entry(lane).or_insert_with(|| {
            let due = entry.now + limits.linger;
            self.due.insert((due, lane));
            let is_new = self.unsettled.insert(self.next_number);
            assert!(is_new, "INV-TOLD: each batch has a number of its own");
            self.next_number += 1;
            SendBatch::new(self.next_number - 1, lane, entry.now, due)
        });
        push(&mut batch.messages, entry.message, entry.origin_timestamp)?;
        batch.count = batch.messages.len();
        batch.room += entry.room;
        let receipt = (entry.tracking != Tracking::None).then(|| batch.receipt());
        let hurries = entry.tracking == Tracking::Waiting && batch.due > entry.now;
        if hurries {
            unschedule(&mut self.due, batch);
            batch.due = entry.now;
            self.due.insert((batch.due, lane));
        }
        let is_full =
            batch.messages.len() >= limits.messages || batch.messages.bytes() >= limits.bytes;
        if is_full {
            self.close(lane);
        }
        assert!(self.due.len() == self.open.len(), "every open batch has its time, and only those");
        Ok(Pushed { news: opens || overflows || hurries || is_full, receipt })
    }

    /// Takes the next batch that is full or due, and whose lane is not busy.
    pub(super) fn take(
        &mut self,
        now: Instant,
        is_busy: impl Fn(SendLane) -> bool,
    ) -> Option<SendBatch> {
        if let Some(place) = self.full.iter().position(|batch| !is_busy(batch.lane)) {
            return self.full.remove(place);
        }
        let (_, lane) = *self.due.iter().take_while(|it| it.0 <= now).find(|it| !is_busy(it.1))?;
        let Some(batch) = self.open.remove(&lane) else {
            unreachable!("every open batch has its time, and only those");
        };
        unschedule(&mut self.due, &batch);
        Some(batch)
    }

    /// When there will be a batch to take; in the past when there is one.
    pub(super) fn next_due(&self, is_busy: impl Fn(SendLane) -> bool) -> Option<Instant> {
        match self.full.iter().find(|batch| !is_busy(batch.lane)) {
            Some(batch) => Some(batch.opened_at),
            None => self.due.iter().find(|it| !is_busy(it.1)).map(|(due, _)| *due),
        }
    }

    /// Lets no batch linger any longer; returns the number from which later batches count.
    pub(super) fn close_all(&mut self) -> u64 {
        let mut lanes: Vec<(u64, SendLane)> =
            self.open.values().map(|batch| (batch.number, batch.lane)).collect();
        lanes.sort_unstable();
        for (_, lane) in lanes {
            self.close(lane);
        }
        assert!(self.due.is_empty(), "INV-TOLD: a flush waits for every batch that was open");
        self.next_number
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = SendBatch> {
        self.close_all();
        std::mem::take(&mut self.full).into_iter()
    }

    /// Notes that it is known what became of batch `number`.
    pub(super) fn settle(&mut self, number: u64) {
        let was_unsettled = self.unsettled.remove(&number);
        assert!(was_unsettled, "INV-TOLD: a batch is settled once");
    }

    /// Whether it is known what became of every batch below `number`.
    pub(super) fn is_settled_below(&self, number: u64) -> bool {
        self.unsettled.first().is_none_or(|first| *first >= number)
    }

    fn close(&mut self, lane: SendLane) {
        if let Some(batch) = self.open.remove(&lane) {
            unschedule(&mut self.due, &batch);
            self.full.push_back(batch);
        }
    }
}

/// Takes an open batch from those that have a time.
fn unschedule(due: &mut BTreeSet<(Instant, SendLane)>, batch: &SendBatch) {
    let was_due = due.remove(&(batch.due, batch.lane));
    assert!(was_due, "every open batch has its time");
}

#[cfg(test)]
mod tests;
