//! Puts attempts to prove an identity under the throttle: waits, refusals, and the counting after.
//!
//! INV-GUARD-LAST: the throttle is asked again right before a password is verified, so that attempts made
//! at the same time do not slip through together; at most as many as passwords are verified at once.
//! An attempt that has to wait holds no thread and no turn.

use std::time::Duration;

use galgo_storage::lock::{Ranked, rank};
use galgo_wire::error_code::ErrorCode;

use super::throttle::{Clearance, Subject, Throttle, ThrottleOptions};
use crate::broker::Broker;
use crate::outcome::{Hashing, Job, Outcome, Reply, Work};
use crate::session::Session;
use crate::trail::Refusal;

/// How often an attempt waits; it is refused when it should wait once more, because others went on
/// failing meanwhile.
const WAITS_MAX: u32 = 4;

const _: () = assert!(WAITS_MAX > 0, "a login that is slowed is not refused");

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
pub(crate) struct LoginGuard(Ranked<{ rank::THROTTLE }, Throttle>);

type Proof = Box<dyn FnOnce(&Broker, &mut Session) -> Result<Reply, ErrorCode> + Send>;

/// An attempt to prove an identity.
pub(crate) struct Attempt {
    subject: Subject,
    /// The code that says the proof was wrong; others say nothing about guessing.
    wrong: ErrorCode,
    proof: Proof,
    waits_left: u32,
    /// Whether its proof hashes a password.
    hashes: bool,
}

impl LoginGuard {
    pub(crate) fn new(options: ThrottleOptions) -> Self {
        Self(Ranked::new(Throttle::new(options)))
    }
}

impl Attempt {
    /// An attempt by `subject`. `proof` fails with `wrong` when it was none.
    pub(crate) fn new(
        subject: Subject,
        wrong: ErrorCode,
        proof: impl FnOnce(&Broker, &mut Session) -> Result<Reply, ErrorCode> + Send + 'static,
    ) -> Self {
        let proof = Box::new(proof);
        Self { subject, wrong, proof, waits_left: WAITS_MAX, hashes: false }
    }

    /// Goes on off the connection's thread, as soon as it may: its proof hashes a password.
    pub(crate) fn offload(mut self, broker: &Broker) -> Outcome {
        self.hashes = true;
        self.admitted(broker, |attempt, _, known| Outcome::Offload(attempt.into_job(known)))
    }

    /// Goes on on this thread if it may now.
    pub(crate) fn run(self, broker: &Broker, session: &mut Session) -> Outcome {
        self.admitted(broker, |attempt, broker, _| attempt.prove(broker, session))
    }

    /// The work of going on; `known` tells whether the user has logged in from there before.
    fn into_job(self, known: bool) -> Job {
        // INV-LOGIN-LANE: whoever is known stands in another line than strangers, of whom there may
        // be a crowd.
        let (hashes, address) = (self.hashes, self.subject.address());
        let work = Work::new(|broker, session| self.run(broker, session));
        if hashes { Job::Hash { who: Hashing { known, address }, work } } else { Job::Prove(work) }
    }

    fn admitted(
        mut self,
        broker: &Broker,
        go_on: impl FnOnce(Self, &Broker, bool) -> Outcome,
    ) -> Outcome {
        // The monotonic clock: setting the other one forward must not end a wait.
        let now_us = broker.clock.monotonic_us();
        let (admission, known) = {
            let throttle = broker.guard.0.lock();
            (throttle.admit(&self.subject, now_us), throttle.is_known(&self.subject, now_us))
        };
        match admission {
            Clearance::Now => go_on(self, broker, known),
            Clearance::After(wait_us) if self.waits_left > 0 => {
                // Told once and not for each wait: an attacker is not to write the log.
                if self.waits_left == WAITS_MAX {
                    self.note(broker, "login slowed", "too many failed lately");
                }
                self.waits_left -= 1;
                let wait = Duration::from_micros(wait_us);
                Outcome::Delay(wait, self.into_job(known))
            }
            // Not told apart from a wrong password, and no code that classic clients reconnect at.
            Clearance::After(_) | Clearance::Refused => {
                self.note(broker, "login refused", "too many failed lately");
                Outcome::done(Reply::Error(ErrorCode::InvalidCredentials))
            }
        }
    }

    fn note(&self, broker: &Broker, phrase: &'static str, reason: &str) {
        note(broker, &self.subject, phrase, reason);
    }

    fn prove(self, broker: &Broker, session: &mut Session) -> Outcome {
        let Self { subject, wrong, proof, .. } = self;
        // Without the lock: a hash takes some 20 ms, and others ask meanwhile.
        let result = proof(broker, session);
        if let Err(code) = &result {
            note(broker, &subject, "login refused", code.text());
        }
        let now_us = broker.clock.monotonic_us();
        let mut throttle = broker.guard.0.lock();
        match &result {
            Ok(_) => throttle.succeeded(&subject, now_us),
            // Counted behind the proof, so that those that run at the same time are not held back by it; INV-GUARD-LAST says how
            // many these can be.
            Err(code) if *code == wrong => throttle.failed(&subject, now_us),
            // A user that is inactive, a disk that fails: nothing that guessing could have learned from.
            Err(_) => {}
        }
        drop(throttle);
        result.into()
    }
}

/// Leaves a trace of an attempt.
fn note(broker: &Broker, subject: &Subject, phrase: &'static str, reason: &str) {
    let user = subject.user().map(Into::into);
    broker.trail.note(Refusal { user, ..Refusal::new(phrase, subject.address(), reason) });
}
