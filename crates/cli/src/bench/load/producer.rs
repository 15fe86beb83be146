//! A producer: sends its frames, up to so many ahead of the answers, as fast as it can or on a schedule.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::bench::load::channel::{Channel, Take};
use crate::bench::load::course::{Claim, Course};
use crate::bench::load::frames::{Amounts, Frames};
use crate::bench::load::recorder::{Exchange, Recorder};
use crate::bench::load::schedule::Pace;
use crate::failure::{Failure, Outcome};

/// How long after the end of a run a request is sent that was due before it.
const LATE_MAX: Duration = Duration::from_millis(50);

/// One producer.
pub(crate) struct Producer<'a> {
    /// Its connection.
    pub(crate) channel: Box<dyn Channel>,
    /// Its requests.
    pub(crate) frames: Frames,
    /// When they are due; as soon as there is room, without one.
    pub(crate) pace: Option<Pace>,
    /// How many may wait for their answers.
    pub(crate) in_flight_max: usize,
    /// The run.
    pub(crate) course: &'a Course,
}

/// A request that waits for its answer.
struct Asked {
    when: Instant,
    claim: Claim,
    amounts: Amounts,
}

/// Sends until the run is over and all answers are there.
pub(crate) fn produce(mut producer: Producer<'_>, recorder: &mut Recorder) -> Outcome {
    let mut asked = VecDeque::with_capacity(producer.in_flight_max);
    let mut sent = 0;
    let worked = producer.work(&mut asked, &mut sent, recorder);
    producer.course.producer_done();
    recorder.unsent = producer.course.unsent(producer.pace, sent);
    worked
}

impl Producer<'_> {
    fn work(
        &mut self,
        asked: &mut VecDeque<Asked>,
        sent: &mut u64,
        recorder: &mut Recorder,
    ) -> Outcome {
        let mut open = true;
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
                    asked.push_back(Asked { when, claim, amounts: self.send(when)? });
                    *sent += 1;
                } else {
                    open = false;
                }
            }
            if asked.is_empty() {
                match due {
                    Some(due) => self.channel.sleep_until(due),
                    None => return Ok(()),
                }
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
        let (frame, amounts) =
            self.frames.next(due).ok_or_else(|| Failure::io("a producer has nothing to send"))?;
        self.channel.send(frame, self.course)?;
        Ok(amounts)
    }

    /// Waits for an answer, at most until `due`, and takes all that came with it.
    fn take_answers(
        &mut self,
        due: Option<Instant>,
        asked: &mut VecDeque<Asked>,
        recorder: &mut Recorder,
    ) -> Outcome {
        if self.channel.answer(due, Take::Discard, self.course)?.is_none() {
            return Ok(());
        }
        loop {
            let answered = Instant::now();
            let Some(Asked { when, claim, amounts }) = asked.pop_front() else { return Ok(()) };
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
            self.channel.answer(None, Take::Discard, self.course)?;
        }
    }
}
