//! A consumer: polls its partitions in turn, one request at a time.

use std::time::{Duration, Instant};

use galgo_wire::batch::MessagesView;
use galgo_wire::limits::{MESSAGE_HEADER_BYTES, POLLED_HEADER_BYTES};

use crate::channel::{AnswerPayload, Channel, PreparedFrame};
use crate::course::ANSWER_WAIT_MAX;
use crate::course::{Claim, Course};
use crate::error::{BenchError, Outcome};
use crate::frames::stamp_of;
use crate::plan::LoadKind;
use crate::polls::{LoadPoll, polled};
use crate::recorder::{Exchange, Recorder};
use crate::schedule::Schedule;

/// How long consumers go on for messages that were acknowledged and have not arrived.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);
const _: () = assert!(
    DRAIN_WAIT_MAX.as_secs() < ANSWER_WAIT_MAX.as_secs(),
    "messages that do not arrive are given up before the server is"
);

/// One consumer.
pub(crate) struct LoadConsumer<'a> {
    /// Its connection.
    pub(crate) channel: Box<dyn Channel>,
    /// What it reads, in turn.
    pub(crate) polls: Vec<LoadPoll>,
    /// When polls are due; as soon as there is an answer, without one.
    pub(crate) pace: Option<Schedule>,
    /// What is measured.
    pub(crate) kind: LoadKind,
    /// Whether it is a member of a group.
    pub(crate) in_group: bool,
    /// How long it waits when there is nothing.
    pub(crate) pause: Duration,
    /// Messages that were written before the run.
    pub(crate) preloaded: u64,
    /// The same in each partition.
    pub(crate) preloaded_in_each: u64,
    /// The run.
    pub(crate) course: &'a Course,
}

/// A poll to be made.
#[derive(Clone, Copy, Debug)]
struct PollTurn {
    /// What its latency counts from.
    asked: Instant,
    claim: Claim,
}

/// Reads until the run is over.
pub(crate) fn consume(mut consumer: LoadConsumer<'_>, recorder: &mut Recorder) -> Outcome {
    assert!(!consumer.polls.is_empty(), "each consumer has something to read");
    let mut number = 0;
    let mut kept = Vec::new();
    let mut empty_in_a_row = 0;
    let mut all_sent_at = None;
    while let Some(claim) = consumer.wait_for_turn(number, &mut all_sent_at) {
        let index = (number % consumer.polls.len().max(1) as u64) as usize;
        number += 1;
        let was_all_sent = consumer.course.is_all_sent();
        let asked = consumer.due(number - 1, Instant::now());
        if consumer.poll(index, PollTurn { asked, claim }, &mut kept, recorder)? > 0 {
            empty_in_a_row = 0;
            continue;
        }
        consumer.found_nothing(index, was_all_sent)?;
        empty_in_a_row += 1;
        if empty_in_a_row >= consumer.polls.len() && !consumer.pause.is_zero() {
            empty_in_a_row = 0;
            consumer.channel.sleep_until(Instant::now() + consumer.pause);
        }
    }
    recorder.unsent = consumer.course.unsent(consumer.pace, number);
    Ok(())
}

impl LoadConsumer<'_> {
    /// Waits until the next poll is due; `None` when there is to be none.
    fn wait_for_turn(&mut self, number: u64, all_sent_at: &mut Option<Instant>) -> Option<Claim> {
        loop {
            let now = Instant::now();
            if self.is_done(now, all_sent_at) {
                return None;
            }
            let due = self.due(number, now);
            if due <= now {
                let is_limited = self.kind == LoadKind::Consume && !self.in_group;
                return match is_limited {
                    true => self.course.claim(now),
                    false => Some(self.course.unlimited(now)),
                };
            }
            if self.course.end.is_some_and(|end| due >= end) {
                return None;
            }
            self.channel.sleep_until(due);
        }
    }

    fn is_done(&self, now: Instant, all_sent_at: &mut Option<Instant>) -> bool {
        if self.course.is_cut_short() {
            return true;
        }
        let (acknowledged, received) = self.course.so_far();
        if self.kind == LoadKind::Consume {
            return self.course.is_over(now) || self.in_group && received >= self.preloaded;
        }
        // Messages that are still on their way at the end of the time are those that took long.
        if self.kind == LoadKind::Both && self.course.is_over(now) {
            return true;
        }
        if !self.course.is_all_sent() {
            return false;
        }
        let since = *all_sent_at.get_or_insert(now);
        let is_drained = match self.in_group {
            true => received >= acknowledged,
            false => self.polls.iter().all(|poll| poll.is_drained),
        };
        is_drained || now.duration_since(since) > DRAIN_WAIT_MAX
    }

    fn due(&self, number: u64, now: Instant) -> Instant {
        self.pace.map_or(now, |pace| self.course.epoch + pace.due(number))
    }

    /// Asks once; returns how many messages came.
    fn poll(
        &mut self,
        index: usize,
        turn: PollTurn,
        kept: &mut Vec<u8>,
        recorder: &mut Recorder,
    ) -> Outcome<u64> {
        let PollTurn { asked, claim } = turn;
        let is_stamped = self.kind == LoadKind::Latency;
        let nothing = || BenchError::machine("a consumer has nothing to read");
        let poll = self.polls.get_mut(index).ok_or_else(nothing)?;
        self.channel.send(PreparedFrame::plain(poll.frame()?), self.course)?;
        let take = if is_stamped { AnswerPayload::Keep(kept) } else { AnswerPayload::Discard };
        let answer = self.channel.answer(None, take, self.course)?.ok_or_else(nothing)?;
        let answered = Instant::now();
        let count = answer.head.map_or(0, polled);
        let messages = u64::from(count);
        poll.next += messages;
        if self.kind == LoadKind::Consume && poll.next >= self.preloaded_in_each {
            // From the start again: there is nothing else to read.
            poll.next = 0;
        }
        let headers = POLLED_HEADER_BYTES + count as usize * MESSAGE_HEADER_BYTES;
        let bytes = answer.bytes.saturating_sub(headers) as u64;
        let exchange = Exchange { answered, messages, bytes };
        if count > 0 {
            self.course.receive(messages);
            recorder.amounts(&exchange, self.course.counts(claim, answered));
            let counts = self.course.counts_latency(claim, answered);
            match is_stamped {
                true if counts => self.latencies(kept, answered, recorder),
                false if counts => recorder.latency(asked, answered),
                _ => {}
            }
        }
        Ok(messages)
    }

    /// How long each message took, from when it was due.
    fn latencies(&self, kept: &[u8], arrived: Instant, recorder: &mut Recorder) {
        // From outside: an answer that is shorter has no message.
        let Some(messages) = kept.get(POLLED_HEADER_BYTES..) else { return };
        for message in MessagesView::new(messages).flatten() {
            if let Some(due) = stamp_of(message.payload) {
                recorder.latency(self.course.epoch + due, arrived);
            }
        }
    }

    fn found_nothing(&mut self, index: usize, was_all_sent: bool) -> Outcome {
        let Some(poll) = self.polls.get_mut(index) else {
            unreachable!("an answer is that to a poll of this worker");
        };
        if self.kind != LoadKind::Consume {
            poll.is_drained = was_all_sent;
        } else if !self.in_group {
            return Err(BenchError::machine(
                "a partition that was filled for the run has less than was sent",
            ));
        }
        Ok(())
    }
}
