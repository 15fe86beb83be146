//! INV-REPLY-ORDER, INV-ONE-JOB, INV-TURN, INV-WAIT-ALONE, INV-WAIT-TIME, INV-LAST-WORD, the deadlines and the stop of a
//! connection in order.

use std::collections::VecDeque;

use galgo_storage::journal::CommitError;

use super::*;
use crate::conversation::in_order::{Facts, InOrder, OrderedEffect, OrderedEvent};
use crate::conversation::{End, Look};

/// A request that was taken and is not answered.
struct Taken {
    request: u32,
    /// Known once the broker made an answer of it.
    expected: Option<Expected>,
    resolver: Option<Resolver>,
}

impl Taken {
    fn is_ready(&self) -> bool {
        self.expected.is_some() && self.resolver.is_none()
    }
}

/// A connection and what the model knows of it.
struct World {
    numbers: Numbers,
    talk: InOrder<NumberedInOrder>,
    next_number: u32,
    /// What the client sent and nobody took: whether it may follow on; `None` is refused.
    sent: VecDeque<Option<bool>>,
    /// Told to the conversation and not submitted.
    told: Option<(u32, bool)>,
    taken: VecDeque<Taken>,
    /// Whether a request is with the broker or with a job, and whether that waits for its time.
    at_hand: bool,
    delayed_until: Option<Instant>,
    /// The poll that is with the broker again: when its wait is over.
    looked_at: Option<Instant>,
    /// Whether the request at hand may come to a delay or to a wait.
    may_wait: bool,
    waiting: Option<Poll>,
    news: bool,
    /// Whether a last look was asked for.
    last: bool,
    ended: Option<&'static str>,
    /// Whether somebody is logged in, of which the conversation learns when it is armed.
    authenticated: bool,
    login: LoginClock,
    /// Whether there is memory to give back, and when it is looked for.
    holds_memory: bool,
    shrink: Option<Instant>,
    /// Whether it was told to be time for that.
    shrinks: bool,
    /// Whether a request is here in part, and since when its rest is waited for, with what came of it.
    half: bool,
    rest: Option<(Instant, u64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            numbers: Numbers(seed),
            talk: InOrder::new(RULES),
            next_number: 0,
            sent: VecDeque::new(),
            told: None,
            taken: VecDeque::new(),
            at_hand: false,
            delayed_until: None,
            looked_at: None,
            may_wait: false,
            waiting: None,
            news: false,
            last: false,
            ended: None,
            authenticated: false,
            login: LoginClock::new(),
            holds_memory: false,
            shrink: None,
            shrinks: false,
            half: false,
            rest: None,
        }
    }

    /// Runs events until the connection closes.
    fn run(mut self) {
        for step in 0.. {
            assert!(step < 100 * EVENTS_MAX, "INV-STOP: it never closes");
            match self.talk.next() {
                OrderedEffect::Write(reply, _) => self.written(&reply),
                OrderedEffect::Submit(request) => self.submitted(request),
                OrderedEffect::Run(request) => self.runs(request),
                OrderedEffect::Look(poll, look) => self.looks(poll, look),
                OrderedEffect::Shrink => {
                    assert!(std::mem::take(&mut self.shrinks), "memory is looked for too early");
                    self.holds_memory = self.numbers.once_in(2);
                }
                OrderedEffect::Idle { take } => self.idle(take, step),
                OrderedEffect::Close(end) => return self.closed(&end),
            }
        }
    }

    fn written(&mut self, reply: &Reply) {
        let first = self.taken.pop_front().expect("INV-REPLY-ORDER: an answer nobody asked for");
        assert!(first.is_ready(), "an answer left before it may");
        let expected = first.expected.unwrap();
        assert!(expected.is_met_by(first.request, reply), "{expected:?}: {reply:?}");
        if expected == Expected::Close {
            assert!(self.taken.is_empty(), "INV-LAST-WORD");
        }
    }

    fn submitted(&mut self, request: u32) {
        let (told, follows_on) = self.told.take().expect("what was not told was submitted");
        assert_eq!(told, request);
        assert!(!self.at_hand, "INV-ONE-JOB");
        assert!(self.waiting.is_none(), "INV-WAIT-ALONE");
        assert!(self.ended.is_none(), "submitted although the connection ends");
        assert!(follows_on || self.taken.is_empty(), "{request} did not wait for its turn");
        assert!(self.taken.len() < ANSWERS_MAX);
        self.rest = None;
        self.taken.push_back(Taken { request, expected: None, resolver: None });
        (self.at_hand, self.may_wait) = (true, !follows_on);
        self.comes_back();
    }

    /// The broker, or a job, gives something back.
    fn comes_back(&mut self) {
        assert!(self.at_hand);
        let last = self.taken.back_mut().unwrap();
        let made = outcome(&mut self.numbers, last.request, self.may_wait, self.looked_at);
        match &made.outcome {
            Outcome::Answer(_) => {
                if made.expected == Some(Expected::Close) {
                    self.ended.get_or_insert("refused");
                }
                (last.expected, last.resolver) = (made.expected, made.resolver);
                self.at_hand = false;
            }
            Outcome::Wait(poll) => {
                (self.waiting, self.at_hand) = (Some(*poll), false);
                (self.news, self.last) = (false, false);
            }
            Outcome::Delay(..) if self.ended.is_some() => {
                self.at_hand = false;
                self.taken.pop_back();
            }
            Outcome::Delay(time, _) => self.delayed_until = Some(now() + *time),
            Outcome::Offload(_) => {}
        }
        if !self.at_hand {
            self.looked_at = None;
        }
        self.talk.on(OrderedEvent::Outcome(made.outcome, None));
    }

    fn runs(&mut self, request: u32) {
        assert!(self.at_hand, "INV-ONE-JOB");
        assert_eq!(self.taken.back().unwrap().request, request);
        assert!(self.delayed_until.take().is_none_or(|until| until <= now()), "it ran too early");
        // Commits go on while a job runs, time passes, and others may end the login.
        self.resolve();
        pass(Duration::from_secs(self.numbers.below(60) as u64));
        self.authenticated &= !self.numbers.once_in(4);
        if self.numbers.once_in(12) {
            (self.at_hand, self.looked_at) = (false, None);
            self.taken.pop_back();
            self.ended.get_or_insert("stopping");
            self.talk.on(OrderedEvent::Abandoned);
        } else {
            self.comes_back();
        }
    }

    fn looks(&mut self, poll: Poll, look: Look) {
        assert_eq!(self.waiting.take(), Some(poll));
        assert!(!self.at_hand, "INV-ONE-JOB");
        let is_last = self.last || self.ended.is_some();
        assert!(is_last || self.news, "looked at for no reason");
        assert_eq!(look == Look::Last, is_last);
        (self.at_hand, self.may_wait, self.looked_at) = (true, !is_last, Some(poll.due));
        self.comes_back();
    }

    fn idle(&mut self, take: bool, step: usize) {
        let first = self.taken.front();
        assert!(!first.is_some_and(Taken::is_ready), "an answer that is ready was not written");
        let blocked = self.told.is_some_and(|(_, on)| !on && !self.taken.is_empty());
        assert!(self.told.is_none() || blocked, "a request that may go was not submitted");
        let listens = self.ended.is_none()
            && !self.at_hand
            && self.told.is_none()
            && (self.waiting.is_some() || self.taken.len() < ANSWERS_MAX);
        assert_eq!(take, listens, "INV-WAIT-ALONE, and the bound of answers");
        assert!(self.delayed_until.is_some() || !self.at_hand, "a job that may begin was not run");
        assert!(!self.shrinks, "memory was not looked for");
        if take && self.take() {
            return;
        }
        if step >= EVENTS_MAX {
            self.wind_up();
        } else {
            self.happen(take);
        }
    }

    /// Tells what is here, as a connection does before it waits.
    fn take(&mut self) -> bool {
        if self.waiting.is_some() {
            if self.sent.is_empty() || self.last {
                return false;
            }
            self.last = true;
            self.talk.on(OrderedEvent::MoreCame);
            return true;
        }
        let Some(sent) = self.sent.pop_front() else { return false };
        let request = self.next_number;
        self.next_number += 1;
        match sent {
            None => {
                let expected = Some(Expected::Error(ErrorCode::InvalidCommand));
                self.taken.push_back(Taken { request, expected, resolver: None });
                self.rest = None;
                self.talk.on(OrderedEvent::Refused(ErrorCode::InvalidCommand));
            }
            Some(follows_on) => {
                self.told = Some((request, follows_on));
                self.talk.on(OrderedEvent::Request { request, follows_on });
            }
        }
        true
    }

    fn happen(&mut self, take: bool) {
        match self.numbers.below(24) {
            20 => self.half ^= true,
            21 => self.holds_memory ^= true,
            22 => self.authenticated ^= true,
            23 if take => {
                let time = Duration::from_secs(self.numbers.below(10) as u64);
                pass(time);
                self.talk.held_up(time);
                if let Some((since, _)) = &mut self.rest {
                    *since += time;
                }
            }
            0..=7 => {
                let kind = [Some(true), Some(true), Some(false), Some(false), None];
                self.sent.push_back(kind[self.numbers.below(5)]);
                let bytes = 1 << self.numbers.below(20);
                self.received(bytes);
            }
            8..=13 => self.resolve(),
            14..=15 if self.waiting.is_some() => {
                self.news = true;
                self.talk.on(OrderedEvent::News);
            }
            16..=17 => self.time_passes(take),
            18 if take && self.numbers.once_in(6) => {
                if self.waiting.take().is_some() {
                    self.taken.pop_back();
                }
                self.end("peer");
                self.talk.on(OrderedEvent::PeerGone);
            }
            19 if self.numbers.once_in(4) => self.stop(),
            _ => {}
        }
    }

    /// Any ticket may resolve before any other.
    fn resolve(&mut self) {
        let open: Vec<usize> =
            (0..self.taken.len()).filter(|at| self.taken[*at].resolver.is_some()).collect();
        if open.is_empty() {
            return;
        }
        let at = open[self.numbers.below(open.len())];
        let taken = &mut self.taken[at];
        let resolver = taken.resolver.take().unwrap();
        if self.numbers.once_in(5) {
            taken.expected = Some(Expected::Error(ErrorCode::CannotSyncFile));
            resolver.resolve(Err(CommitError::Disk));
        } else {
            resolver.resolve(Ok(()));
        }
    }

    fn received(&mut self, bytes: usize) {
        self.talk.on(OrderedEvent::Received(bytes));
        if let Some((_, all)) = &mut self.rest {
            *all += bytes as u64;
        }
    }

    /// When the rest of a request is due: 64 KiB are a second more.
    fn frame_due(&self) -> Option<Instant> {
        let (since, bytes) = self.rest?;
        Some(since + FRAME_PATIENCE + Duration::from_secs(bytes / (64 << 10)))
    }

    fn time_passes(&mut self, take: bool) {
        let due = self.arm(take);
        pass(Duration::from_secs(self.numbers.below(30) as u64));
        if due.is_some_and(|due| due <= now()) {
            self.timer();
            self.talk.on(OrderedEvent::Timer);
        }
    }

    /// Tells the facts, as a connection does before it waits, and holds what comes of it against the model.
    fn arm(&mut self, take: bool) -> Option<Instant> {
        let facts = Facts {
            authenticated: self.authenticated,
            holds_memory: self.holds_memory,
            half_received: take && self.half,
        };
        let due = self.talk.arm(facts);
        // While a request is at hand it is the server that keeps the peer waiting: no clock of the peer begins.
        if !self.at_hand {
            self.login.told(facts.authenticated);
            let since = |begun: Option<Instant>| begun.unwrap_or(now() + SHRINK_EVERY);
            self.shrink = facts.holds_memory.then(|| since(self.shrink));
            self.rest = facts.half_received.then(|| self.rest.unwrap_or((now(), 0)));
        }
        let expected = match (self.ended, self.at_hand) {
            (Some(_), _) => None,
            (None, true) => self.delayed_until,
            (None, false) => {
                let waits = self.waiting.map(|poll| poll.due);
                let dues = [self.frame_due(), Some(self.login.due), self.shrink, waits];
                dues.into_iter().flatten().min()
            }
        };
        assert_eq!(due, expected, "INV-WAIT-TIME, and the deadlines");
        due
    }

    /// What a timer means, the most urgent first.
    fn timer(&mut self) {
        if self.at_hand || self.ended.is_some() {
            return;
        }
        let passed = |due: Option<Instant>| due.is_some_and(|due| due <= now());
        if passed(self.frame_due()) {
            self.end("a frame");
        } else if passed(Some(self.login.due)) {
            if self.login.is_over() {
                self.end("a login");
            }
        } else if passed(self.shrink) {
            (self.shrink, self.shrinks) = (None, true);
        } else if passed(self.waiting.map(|poll| poll.due)) {
            self.last = true;
        }
    }

    fn stop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        if self.at_hand {
            // It waited for its time, and nothing becomes of it.
            (self.at_hand, self.delayed_until, self.looked_at) = (false, None, None);
            self.taken.pop_back();
        }
        self.end("stopping");
        self.talk.on(OrderedEvent::Stop);
    }

    fn end(&mut self, end: &'static str) {
        self.ended.get_or_insert(end);
        self.told = None;
    }

    fn wind_up(&mut self) {
        self.stop();
        while self.taken.iter().any(|taken| taken.resolver.is_some()) {
            self.resolve();
        }
    }

    fn closed(&self, end: &End) {
        let end = match end {
            End::Peer => "peer",
            End::Refused(_) => "refused",
            End::Stopping => "stopping",
            End::FrameTimeout => "a frame",
            End::LoginTimeout => "a login",
            End::Failed(_) => "another",
        };
        assert_eq!(self.ended, Some(end), "the first end stands");
        assert!(self.taken.is_empty(), "INV-STOP: what was submitted was not answered");
        assert!(!self.at_hand && self.waiting.is_none());
    }
}

#[test]
fn any_events_keep_the_rules_of_a_connection_in_order() {
    for seed in seeds() {
        let run = std::panic::AssertUnwindSafe(|| World::new(seed).run());
        assert!(std::panic::catch_unwind(run).is_ok(), "seed {seed}");
    }
}
