//! What all workers of a run look at: when it began, when counting starts, when it is over.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{BenchError, Outcome};
use crate::plan::{LoadPlan, RunLength};
use crate::schedule::Schedule;
use crate::stop::StopFlag;

/// Longest wait for an answer before the run counts as failed.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// The same, once the user wants the run to end.
pub(crate) const LAST_ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
const _: () = assert!(
    LAST_ANSWER_WAIT_MAX.as_secs() < ANSWER_WAIT_MAX.as_secs(),
    "a run that is over waits for less than one that goes on"
);

/// The permission to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Whether it was given in the counted time.
    is_counted: bool,
}

/// The course of a run.
#[derive(Debug)]
pub(crate) struct Course {
    /// When it began.
    pub(crate) epoch: Instant,
    /// What comes after this counts.
    pub(crate) counted_from: Instant,
    /// When it ends, if that is known.
    pub(crate) end: Option<Instant>,
    requests_max: Option<u64>,
    claimed: AtomicU64,
    producers_left: AtomicU32,
    acknowledged: AtomicU64,
    received: AtomicU64,
    failed: AtomicBool,
    stop: StopFlag,
}

impl Course {
    /// A run of `plan` that begins now.
    pub(crate) fn begin(plan: &LoadPlan, stop: StopFlag) -> Self {
        let epoch = Instant::now();
        let counted_from = epoch + plan.warm_up;
        let end = match plan.length {
            RunLength::Time(time) => Some(counted_from + time),
            RunLength::Messages(_) => None,
        };
        Self {
            epoch,
            counted_from,
            end,
            requests_max: plan.requests_max(),
            claimed: AtomicU64::new(0),
            producers_left: AtomicU32::new(plan.senders()),
            acknowledged: AtomicU64::new(0),
            received: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            stop,
        }
    }

    /// Whether nothing new is to be asked for.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.is_cut_short() || self.end.is_some_and(|end| now >= end)
    }

    /// Whether the user wants the run to end, or a worker has failed.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.is_interrupted() || self.failed.load(Ordering::Relaxed)
    }

    /// Whether the user wants the run to end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.stop.is_set()
    }

    /// Takes one of the requests that are left, to be sent now; `None` when there is none.
    pub(crate) fn claim(&self, now: Instant) -> Option<Claim> {
        let is_counted = now >= self.counted_from;
        match self.requests_max {
            Some(max) if is_counted && self.claimed.fetch_add(1, Ordering::Relaxed) >= max => None,
            _ => Some(Claim { is_counted }),
        }
    }

    /// The permission for a request whose number has no limit.
    pub(crate) fn unlimited(&self, now: Instant) -> Claim {
        Claim { is_counted: now >= self.counted_from }
    }

    /// Whether a request counts as work done: by when it was sent if their number is given, so that it is exact,
    /// else by when it was answered.
    pub(crate) fn counts(&self, claim: Claim, answered: Instant) -> bool {
        match self.end {
            None => claim.is_counted,
            Some(end) => answered >= self.counted_from && answered <= end,
        }
    }

    /// Whether its latency counts: also when the answer comes after the end, for those are the slow ones, and
    /// when it was due before the counted time, which is how a server shows that does not keep up.
    pub(crate) fn counts_latency(&self, claim: Claim, answered: Instant) -> bool {
        match self.end {
            None => claim.is_counted,
            Some(_) => answered >= self.counted_from,
        }
    }

    /// How many requests were due until now, or until the end, and never sent, if `sent` were.
    pub(crate) fn unsent(&self, pace: Option<Schedule>, sent: u64) -> u64 {
        let (Some(pace), Some(end)) = (pace, self.end) else { return 0 };
        let last = end.min(Instant::now()).saturating_duration_since(self.epoch);
        (sent..).take_while(|number| pace.due(*number) < last).count() as u64
    }

    /// Makes all workers end early.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// One producer has got all its answers.
    pub(crate) fn producer_done(&self) {
        let left = self.producers_left.fetch_sub(1, Ordering::Release);
        assert!(left > 0, "each producer is done once");
    }

    /// Whether nothing more is sent.
    pub(crate) fn is_all_sent(&self) -> bool {
        self.producers_left.load(Ordering::Acquire) == 0
    }

    /// So many messages were acknowledged.
    pub(crate) fn acknowledge(&self, messages: u64) {
        self.acknowledged.fetch_add(messages, Ordering::Relaxed);
    }

    /// So many messages arrived.
    pub(crate) fn receive(&self, messages: u64) {
        self.received.fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages acknowledged and received so far, warm-up included.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.acknowledged.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// An error when something that began to wait at `since` has waited too long.
    pub(crate) fn patience(&self, since: Instant) -> Outcome {
        let waited = since.elapsed();
        if self.is_cut_short() && waited > LAST_ANSWER_WAIT_MAX {
            return Err(BenchError::connection("the last answers did not come in time"));
        }
        if waited > ANSWER_WAIT_MAX {
            let seconds = ANSWER_WAIT_MAX.as_secs();
            return Err(BenchError::connection(format!(
                "the server gave no answer for {seconds} s"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LoadKind;
    use crate::plan::tests::plan;

    #[test]
    fn a_total_is_handed_out_once() {
        let stop = StopFlag::default();
        let course = Course::begin(&plan(LoadKind::Produce), stop);
        let now = course.counted_from;
        let claim = course.claim(now).unwrap();
        assert_eq!((0..20).filter(|_| course.claim(now).is_some()).count(), 10);
        assert!(!course.is_over(now));
        let early = course.claim(now - Duration::from_secs(1)).unwrap();
        assert!(course.counts(claim, now) && course.counts_latency(claim, now));
        assert!(!course.counts(early, now) && !course.counts_latency(early, now));
        course.fail();
        assert!(course.is_over(now) && !course.is_interrupted());
    }

    #[test]
    fn a_duration_counts_what_is_answered_inside() {
        let stop = StopFlag::default();
        let second = Duration::from_secs(1);
        let timed = LoadPlan {
            length: RunLength::Time(second),
            warm_up: second,
            ..plan(LoadKind::Produce)
        };
        let course = Course::begin(&timed, stop);
        let (from, end) = (course.counted_from, course.end.unwrap());
        let claim = course.claim(course.epoch).unwrap();
        assert!(course.counts(claim, from) && course.counts(claim, end));
        assert!(!course.counts(claim, end + second) && course.is_over(end));
        assert!(course.counts_latency(claim, end + second));
        assert!(!course.counts_latency(claim, course.epoch));
    }
}
