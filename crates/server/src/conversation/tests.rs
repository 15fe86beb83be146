//! Random events against what the rules say, for both kinds of connections.
//!
//! A model of a few lines knows which request may be submitted, which answer may leave, when a poll may be looked at and
//! what a connection is to listen to; whatever the conversation tells is held against it, effect by effect. A seed that
//! failed is printed.

mod in_order;
mod side_by_side;

use std::cell::Cell;
use std::time::Duration;

use galgo_broker::ticket::{Resolver, ticket};
use galgo_broker::{Answer, Outcome, Reply};
use galgo_wire::ErrorCode;
use tokio::time::Instant;

use super::deadlines::Patience;
use super::{ConversationRules, Parts, Wait};

/// Random sequences of events for each kind of connection, unless the environment wants more.
const SEQUENCES: u64 = 20_000;

/// Events in a sequence, at most.
const EVENTS_MAX: usize = 120;

const POLL_WAIT: Duration = Duration::from_secs(20);
const ANSWERS_MAX: usize = 4;

const FRAME_PATIENCE: Duration = Duration::from_secs(30);
const LOGIN_PATIENCE: Duration = Duration::from_secs(45);

/// How often a login is looked at, and memory, as the model has it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const SHRINK_EVERY: Duration = Duration::from_secs(2);

const RULES: ConversationRules = ConversationRules {
    answers_max: ANSWERS_MAX,
    poll_wait: POLL_WAIT,
    patience: Patience { frame: FRAME_PATIENCE, login: Some(LOGIN_PATIENCE) },
    clock: now,
};

/// The seeds of this run.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("GALGO_CONVERSATION_SEQUENCES");
    0..asked.map_or(SEQUENCES, |text| text.parse().expect("a number"))
}

thread_local! {
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

fn now() -> Instant {
    NOW.get()
}

fn pass(time: Duration) {
    NOW.set(now() + time);
}

/// What the model knows of the time for a login.
struct LoginClock {
    authenticated: bool,
    /// When a login is due, or when to look whether there still is one.
    due: Instant,
}

impl LoginClock {
    fn new() -> Self {
        Self { authenticated: false, due: now() + LOGIN_PATIENCE }
    }

    fn told(&mut self, authenticated: bool) {
        if self.authenticated != authenticated {
            let time = if authenticated { LOOK_EVERY } else { LOGIN_PATIENCE };
            (self.authenticated, self.due) = (authenticated, now() + time);
        }
    }

    /// Whether the connection ends, at a moment that may be before it is due.
    fn is_over(&mut self) -> bool {
        let has_passed = self.due <= now();
        if has_passed && self.authenticated {
            self.due = now() + LOOK_EVERY;
        }
        has_passed && !self.authenticated
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Requests, jobs and polls are the number of their request.
struct Numbered;

impl Parts for Numbered {
    type To = u32;
    type Request = u32;
    type Job = u32;
    type Wait = Poll;
}

/// The same where there is one place for all answers.
struct NumberedInOrder;

impl Parts for NumberedInOrder {
    type To = ();
    type Request = u32;
    type Job = u32;
    type Wait = Poll;
}

/// A poll that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Poll {
    request: u32,
    /// When its wait is over, as the model has it.
    due: Instant,
    time: Duration,
}

impl Wait for Poll {
    fn time(&self) -> Duration {
        self.time
    }
}

/// What a request is to be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Its number, once what it waits for is durable.
    Number,
    Error(ErrorCode),
    Close,
}

impl Expected {
    fn is_met_by(self, request: u32, reply: &Reply) -> bool {
        match (self, reply) {
            (Self::Number, Reply::Bytes(bytes)) => bytes[..] == request.to_le_bytes(),
            (Self::Error(expected), Reply::Error(error)) => *error == expected,
            (Self::Close, Reply::Close(error)) => *error == ErrorCode::ClientNotFound,
            _ => false,
        }
    }
}

/// An answer that the broker of the model made.
struct Made {
    outcome: Outcome<u32, Poll>,
    /// What it is, once it is an answer.
    expected: Option<Expected>,
    resolver: Option<Resolver>,
}

/// What the broker of the model makes of a request, which `may_wait`, or may wait on `until` then.
fn outcome(numbers: &mut Numbers, request: u32, may_wait: bool, until: Option<Instant>) -> Made {
    let step = |outcome| Made { outcome, expected: None, resolver: None };
    match numbers.below(16) {
        0..=1 => step(Outcome::Offload(request)),
        2 if may_wait => step(Outcome::Delay(Duration::from_secs(3), request)),
        3..=7 if may_wait => {
            let time = Duration::from_secs(numbers.below(40) as u64);
            let due = until.unwrap_or(now() + time.min(POLL_WAIT));
            step(Outcome::Wait(Poll { request, due, time }))
        }
        8 if numbers.once_in(6) => {
            let reply = Reply::Close(ErrorCode::ClientNotFound);
            let expected = Some(Expected::Close);
            Made {
                outcome: Outcome::Answer(Answer { after: None, reply }),
                expected,
                resolver: None,
            }
        }
        8..=10 => {
            let reply = Reply::Bytes(request.to_le_bytes().to_vec());
            let outcome = Outcome::Answer(Answer { after: None, reply });
            Made { outcome, expected: Some(Expected::Number), resolver: None }
        }
        _ => {
            let (after, resolver) = ticket();
            let reply = Reply::Bytes(request.to_le_bytes().to_vec());
            let outcome = Outcome::Answer(Answer { after: Some(after), reply });
            Made { outcome, expected: Some(Expected::Number), resolver: Some(resolver) }
        }
    }
}
