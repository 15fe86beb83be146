//! Puts attempts to prove an identity under the throttle: waits, refusals, and the counting after.
//!
//! INV-GUARD-LAST: the throttle is asked again right before a password is verified, so that attempts made
//! at the same time do not slip through together; at most as many as passwords are verified at once.
//! An attempt that has to wait holds no thread and no turn.

use std::net::IpAddr;
use std::time::Duration;

use galgo_storage::lock::{Ranked, rank};
use galgo_wire::error_code::ErrorCode;

use super::throttle::{Admission, Subject, Throttle, ThrottleOptions};
use crate::broker::Broker;
use crate::outcome::{Hashing, Job, Outcome, Reply, Work};
use crate::session::Session;
use crate::trail::Refusal;

/// How often an attempt waits; it is refused when it should wait once more, because others went on
/// failing meanwhile.
const WAITS_MAX: u32 = 4;

/// What access is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// Personal access tokens a user may have.
    pub tokens_per_user_max: u32,
    /// Time between two looks for tokens that have expired.
    pub clean_interval_us: u64,
    /// How guessing is slowed and refused.
    pub throttle: ThrottleOptions,
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self {
            tokens_per_user_max: 100,
            clean_interval_us: 60_000_000,
            throttle: ThrottleOptions::default(),
        }
    }
}

/// The throttle of a broker.
#[derive(Debug)]
pub(crate) struct Guard(Ranked<{ rank::THROTTLE }, Throttle>);

type Proof = Box<dyn FnOnce(&Broker, &mut Session) -> Result<Reply, ErrorCode> + Send>;

/// An attempt to prove an identity.
pub(crate) struct Attempt {
    subject: Subject,
    /// What a line of the log says of it.
    from: (IpAddr, Option<Box<str>>),
    /// The code that says the proof was wrong; others say nothing about guessing.
    wrong: ErrorCode,
    proof: Proof,
    waits_left: u32,
    /// For a proof that hashes a password: from where.
    hashes_for: Option<IpAddr>,
}

impl Guard {
    pub(crate) fn new(options: ThrottleOptions) -> Self {
        Self(Ranked::new(Throttle::new(options)))
    }
}

impl Attempt {
    /// An attempt from `address` at `user`, or at any user. `proof` fails with `wrong` when it was none.
    pub(crate) fn new(
        (address, user): (IpAddr, Option<&str>),
        wrong: ErrorCode,
        proof: impl FnOnce(&Broker, &mut Session) -> Result<Reply, ErrorCode> + Send + 'static,
    ) -> Self {
        let subject = Subject::new(address, user);
        let from = (address, user.map(Into::into));
        let proof = Box::new(proof);
        Self { subject, from, wrong, proof, waits_left: WAITS_MAX, hashes_for: None }
    }

    /// Goes on off the connection's thread, as soon as it may: its proof hashes a password for a caller at
    /// `address`.
    pub(crate) fn offload(mut self, broker: &Broker, address: IpAddr) -> Outcome {
        self.hashes_for = Some(address);
        self.admitted(broker, |attempt, _, known| Outcome::Offload(attempt.into_job(known)))
    }

    /// Goes on on this thread if it may now.
    pub(crate) fn run(self, broker: &Broker, session: &mut Session) -> Outcome {
        self.admitted(broker, |attempt, broker, _| attempt.prove(broker, session))
    }

    /// The work of going on; `known` tells whether the user has logged in from there before.
    fn into_job(self, known: bool) -> Job {
        let who = self.hashes_for.map(|address| Hashing { known, address });
        let work = Work::new(|broker, session| self.run(broker, session));
        match who {
            Some(who) => Job::Hash { who, work },
            None => Job::Prove(work),
        }
    }

    fn admitted(
        mut self,
        broker: &Broker,
        go_on: impl FnOnce(Self, &Broker, bool) -> Outcome,
    ) -> Outcome {
        let now_us = broker.clock.monotonic_us();
        let (admission, known) = {
            let throttle = broker.guard.0.lock();
            (throttle.admit(&self.subject, now_us), throttle.is_known(&self.subject, now_us))
        };
        match admission {
            Admission::Now => go_on(self, broker, known),
            Admission::After(wait_us) if self.waits_left > 0 => {
                if self.waits_left == WAITS_MAX {
                    self.note(broker, "login slowed", "too many failed lately");
                }
                self.waits_left -= 1;
                let wait = Duration::from_micros(wait_us);
                Outcome::Delay(wait, self.into_job(known))
            }
            // Not told apart from a wrong password, and no code that classic clients reconnect at.
            Admission::After(_) | Admission::Refused => {
                self.note(broker, "login refused", "too many failed lately");
                Outcome::done(Reply::Error(ErrorCode::InvalidCredentials))
            }
        }
    }

    fn note(&self, broker: &Broker, phrase: &'static str, reason: &str) {
        note(broker, &self.from, (phrase, reason));
    }

    fn prove(self, broker: &Broker, session: &mut Session) -> Outcome {
        let Self { subject, from, wrong, proof, .. } = self;
        let result = proof(broker, session);
        if let Err(code) = &result {
            note(broker, &from, ("login refused", code.text()));
        }
        let now_us = broker.clock.monotonic_us();
        let mut throttle = broker.guard.0.lock();
        match &result {
            Ok(_) => throttle.succeeded(&subject, now_us),
            Err(code) if *code == wrong => throttle.failed(&subject, now_us),
            Err(_) => {}
        }
        drop(throttle);
        result.into()
    }
}

/// Leaves a trace of an attempt.
fn note(
    broker: &Broker,
    (address, user): &(IpAddr, Option<Box<str>>),
    (phrase, reason): (&'static str, &str),
) {
    broker.trail.note(Refusal { user: user.clone(), ..Refusal::new(phrase, *address, reason) });
}
