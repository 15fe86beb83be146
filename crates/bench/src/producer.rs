//! A producer: sends its frames, up to so many ahead of the answers, as fast as it can or on a schedule.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::channel::{AnswerPayload, Channel};
use crate::course::LAST_ANSWER_WAIT_MAX;
use crate::course::{Claim, Course};
use crate::error::{BenchError, Outcome};
use crate::frames::{Amounts, PreparedFrames};
use crate::plan::CountedFrom;
use crate::recorder::{Exchange, Recorder};
use crate::schedule::Schedule;

/// How long after the end of a run a request is sent that was due before it.
const LATE_MAX: Duration = Duration::from_millis(50);
const _: () = assert!(
    LATE_MAX.as_millis() * 10 < LAST_ANSWER_WAIT_MAX.as_millis(),
    "what is sent late is still answered before the end"
);

/// One producer.
pub(crate) struct LoadProducer<'a> {
    /// Its connection.
    pub(crate) channel: Box<dyn Channel>,
    /// Its requests.
    pub(crate) frames: PreparedFrames,
    /// When they are due; as soon as there is room, without one.
    pub(crate) pace: Option<Schedule>,
    /// What a latency counts from on a schedule.
    pub(crate) counted_from: CountedFrom,
    /// How many may wait for their answers.
    pub(crate) in_flight_max: usize,
    /// The run.
    pub(crate) course: &'a Course,
}

/// A request that waits for its answer.
struct Unanswered {
    when: Instant,
    claim: Claim,
    amounts: Amounts,
}

/// Sends until the run is over and all answers are there.
pub(crate) fn produce(mut producer: LoadProducer<'_>, recorder: &mut Recorder) -> Outcome {
    let mut asked = VecDeque::with_capacity(producer.in_flight_max);
    let mut sent = 0;
    let worked = producer.work(&mut asked, &mut sent, recorder);
    producer.course.producer_done();
    recorder.unsent = producer.course.unsent(producer.pace, sent);
    worked
}

impl LoadProducer<'_> {
    fn work(
        &mut self,
        asked: &mut VecDeque<Unanswered>,
        sent: &mut u64,
        recorder: &mut Recorder,
    ) -> Outcome {
        let mut open = true;
        let mut woke = false;
        loop {
            let mut due = None;
            while open && asked.len() < self.in_flight_max {
                let now = Instant::now();
                let when = self.due(*sent, now);
                if self.is_over(when, now) {
                    open = false;
                } else if when > now {
                    due = Some(when);
                    break;
                } else if let Some(claim) = self.course.claim(now) {
                    let excuses_timer = woke && self.counted_from == CountedFrom::Wake;
                    let when = if excuses_timer { now } else { when };
                    woke = false;
                    asked.push_back(Unanswered { when, claim, amounts: self.send(when)? });
                    *sent += 1;
                } else {
                    open = false;
                }
            }
            if asked.is_empty() {
                let Some(due) = due else { return Ok(()) };
                self.channel.sleep_until(due);
                woke = true;
                continue;
            }
            self.take_answers(due, asked, recorder)?;
        }
    }

    fn due(&self, number: u64, now: Instant) -> Instant {
        self.pace.map_or(now, |pace| self.course.epoch + pace.due(number))
    }

    fn is_over(&self, when: Instant, now: Instant) -> bool {
        // What was due just before the end is still sent, what is far behind is given up.
        let is_late = |end| when >= end || now >= end + LATE_MAX;
        self.course.is_cut_short() || self.course.end.is_some_and(is_late)
    }

    fn send(&mut self, when: Instant) -> Outcome<Amounts> {
        let due: Duration = when.saturating_duration_since(self.course.epoch);
        let (frame, amounts) = self
            .frames
            .next(due)
            .ok_or_else(|| BenchError::machine("a producer has nothing to send"))?;
        self.channel.send(frame, self.course)?;
        Ok(amounts)
    }

    /// Waits for an answer, at most until `due`, and takes all that came with it.
    fn take_answers(
        &mut self,
        due: Option<Instant>,
        asked: &mut VecDeque<Unanswered>,
        recorder: &mut Recorder,
    ) -> Outcome {
        if self.channel.answer(due, AnswerPayload::Discard, self.course)?.is_none() {
            return Ok(());
        }
        loop {
            let answered = Instant::now();
            let Some(Unanswered { when, claim, amounts }) = asked.pop_front() else {
                return Ok(());
            };
            let Amounts { messages, bytes } = amounts;
            self.course.acknowledge(messages);
            let exchange = Exchange { answered, messages, bytes };
            recorder.amounts(&exchange, self.course.counts(claim, answered));
            if self.course.counts_latency(claim, answered) {
                recorder.latency(when, answered);
            }
            if asked.is_empty() || !self.channel.has_answer() {
                return Ok(());
            }
            self.channel.answer(None, AnswerPayload::Discard, self.course)?;
        }
    }
}
