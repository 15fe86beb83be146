//! One request after the other, each from its submission to its answer or to its wait.
//!
//! INV-TURN: between two submissions there is exactly one answer or wait, whatever jobs and delays lie between.
//! INV-WAIT-TIME: however often a poll that waits is looked at, its time runs from when it first began to wait.

use std::time::Duration;

use galgo_broker::{Answer, Outcome};
use tokio::time::Instant;

use super::{Clock, OutcomeOf, Parts, Wait as _, Waited};

/// The request at hand, if there is one.
pub(crate) struct Turn<P: Parts> {
    at_hand: AtHand<P>,
    /// Of a poll that waited: until when it may wait on.
    waits_until: Option<Instant>,
    /// How long a poll may wait.
    poll_wait: Duration,
    clock: Clock,
}

enum AtHand<P: Parts> {
    Nothing,
    /// The broker has it, or a thread that may block.
    Away,
    /// A job that may begin now.
    Ready(P::To, P::Job),
    /// A job that may not begin before then.
    Delayed(Instant, P::To, P::Job),
}

/// What a request has come to.
pub(crate) enum Done<P: Parts> {
    /// It is answered.
    Answer(P::To, Answer),
    /// It waits.
    Wait(P::To, Waited<P::Wait>),
}

impl<P: Parts> Turn<P> {
    /// No request yet; polls wait for `poll_wait` at most.
    pub(crate) fn new(poll_wait: Duration, clock: Clock) -> Self {
        Self { at_hand: AtHand::Nothing, waits_until: None, poll_wait, clock }
    }

    /// Whether there is no request at hand.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.at_hand, AtHand::Nothing)
    }

    /// Whether the request at hand is a poll that has waited.
    pub(crate) fn is_of_wait(&self) -> bool {
        self.waits_until.is_some()
    }

    /// A request goes to the broker.
    pub(crate) fn begin(&mut self) {
        assert!(self.is_over(), "INV-ONE-JOB: a request is submitted while another one is at hand");
        self.at_hand = AtHand::Away;
        self.waits_until = None;
    }

    /// A poll that waited until now goes back to the broker.
    pub(crate) fn resume(&mut self, due: Instant) {
        self.begin();
        self.waits_until = Some(due);
    }

    /// Takes what became of the request, whose answer goes `to`; `None` while there is a job to be run first.
    pub(crate) fn take(&mut self, to: P::To, outcome: OutcomeOf<P>) -> Option<Done<P>> {
        self.back();
        match outcome {
            Outcome::Answer(answer) => return Some(Done::Answer(to, answer)),
            Outcome::Wait(poll) => {
                let (clock, poll_wait) = (self.clock, self.poll_wait);
                let due = self.waits_until.unwrap_or_else(|| clock() + poll.time().min(poll_wait));
                return Some(Done::Wait(to, Waited { poll, due }));
            }
            Outcome::Offload(job) => self.at_hand = AtHand::Ready(to, job),
            Outcome::Delay(time, job) => {
                self.at_hand = AtHand::Delayed((self.clock)() + time, to, job);
            }
        }
        None
    }

    /// Nothing will become of the request, since the server stops.
    pub(crate) fn back(&mut self) {
        let is_away = matches!(self.at_hand, AtHand::Away);
        assert!(is_away, "INV-TURN: what was not given away has come back");
        self.at_hand = AtHand::Nothing;
    }

    /// Whether a job can begin now.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.at_hand {
            AtHand::Ready(..) => true,
            AtHand::Delayed(until, ..) => *until <= (self.clock)(),
            AtHand::Nothing | AtHand::Away => false,
        }
    }

    /// The job that can begin now.
    pub(crate) fn job(&mut self) -> Option<(P::To, P::Job)> {
        if !self.is_ready() {
            return None;
        }
        match std::mem::replace(&mut self.at_hand, AtHand::Away) {
            AtHand::Ready(to, job) | AtHand::Delayed(_, to, job) => Some((to, job)),
            AtHand::Nothing | AtHand::Away => None,
        }
    }

    /// When a job that has to wait for its time may begin.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.at_hand {
            AtHand::Delayed(until, ..) => Some(*until),
            _ => None,
        }
    }

    /// Gives up a job that waits for its time; tells where its answer would have gone. One that could begin is done at
    /// a stop, too: it may be the last answer of a poll that waited.
    pub(crate) fn give_up(&mut self) -> Option<P::To> {
        match std::mem::replace(&mut self.at_hand, AtHand::Nothing) {
            AtHand::Delayed(_, to, _) => Some(to),
            other => {
                self.at_hand = other;
                None
            }
        }
    }
}
