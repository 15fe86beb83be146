//! INV-QUIC-ORDER, INV-QUIC-WAIT, INV-QUIC-QUIET, INV-ONE-JOB, INV-TURN, INV-WAIT-TIME, the time for a login and the stop
//! of a connection with streams.

use std::collections::BTreeMap;

use super::*;
use crate::conversation::side_by_side::{SideBySide, StreamsEffect, StreamsEvent};
use crate::conversation::{CLOSE_PATIENCE, End, Look, Waited};

const WAITS_MAX: usize = 3;

/// Where a request is.
enum Place {
    /// With the broker or with a job.
    AtHand,
    Waits(Waited<Poll>),
    /// Its answer was made and is to be begun.
    Made(Expected),
    Begun,
    Written,
    GivenUp,
}

struct World {
    numbers: Numbers,
    talk: SideBySide<Numbered>,
    next_number: u32,
    told: Option<(u32, bool)>,
    requests: BTreeMap<u32, Place>,
    delayed_until: Option<Instant>,
    /// The poll that is with the broker again: when its wait is over.
    looked_at: Option<Instant>,
    /// Whether the request at hand may come to a delay or to a wait.
    may_wait: bool,
    /// How the poll that was told to be woken is to be looked at.
    woken: Option<(u32, Look)>,
    /// A poll that finds no place to wait.
    crowded: Option<u32>,
    ended: Option<&'static str>,
    ended_at: Option<Instant>,
    /// Whether somebody is logged in, of which the conversation is told before it waits.
    authenticated: bool,
    login: LoginClock,
    /// Whether the time to close passed while a job ran.
    gave_up_job: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            numbers: Numbers(seed),
            talk: SideBySide::new(RULES, WAITS_MAX),
            next_number: 0,
            told: None,
            requests: BTreeMap::new(),
            delayed_until: None,
            looked_at: None,
            may_wait: false,
            woken: None,
            crowded: None,
            ended: None,
            ended_at: None,
            authenticated: false,
            login: LoginClock::new(),
            gave_up_job: false,
        }
    }

    fn run(mut self) {
        for step in 0.. {
            assert!(step < 100 * EVENTS_MAX, "INV-STOP: it never closes");
            let effect = self.talk.next();
            let is_close = matches!(effect, StreamsEffect::Close(_));
            assert!(is_close || !self.gave_up_job, "INV-STOP: a job keeps the connection open");
            match effect {
                StreamsEffect::Begin(request, answer, _) => self.begun(request, &answer),
                StreamsEffect::Wait(request, waited) => self.waits(request, waited),
                StreamsEffect::Submit(request) => self.submitted(request),
                StreamsEffect::Run(request, job) => self.runs(request, job),
                StreamsEffect::Look(request, poll, look) => self.looks(request, poll, look),
                StreamsEffect::Idle { take, wake } => self.idle(take, wake, step),
                StreamsEffect::Close(end) => return self.closed(&end),
            }
        }
    }

    fn count(&self, is: impl Fn(&Place) -> bool) -> usize {
        self.requests.values().filter(|place| is(place)).count()
    }

    fn answering(&self) -> usize {
        self.count(|place| matches!(place, Place::Begun))
    }

    fn is_at_hand(&self) -> bool {
        self.count(|place| matches!(place, Place::AtHand)) > 0
    }

    fn begun(&mut self, request: u32, answer: &Answer) {
        let place = self.requests.insert(request, Place::Begun).unwrap();
        let Place::Made(expected) = place else { panic!("{request} is answered out of nothing") };
        assert!(expected.is_met_by(request, &answer.reply), "{expected:?}: {:?}", answer.reply);
        if expected == Expected::Close {
            self.end("refused");
        }
    }

    fn waits(&mut self, request: u32, waited: Waited<Poll>) {
        assert_eq!(waited.due, waited.poll.due, "INV-WAIT-TIME");
        assert_eq!(self.crowded, None, "INV-QUIC-WAIT: more wait than may");
        let place = self.requests.insert(request, Place::Waits(waited)).unwrap();
        assert!(matches!(place, Place::AtHand));
        assert!(self.count(|place| matches!(place, Place::Waits(_))) <= WAITS_MAX);
    }

    fn submitted(&mut self, request: u32) {
        let (told, follows_on) = self.told.take().expect("what was not told was submitted");
        assert_eq!(told, request);
        assert!(!self.is_at_hand(), "INV-ONE-JOB");
        assert!(self.ended.is_none(), "submitted although the connection ends");
        assert!(follows_on || self.answering() == 0, "INV-QUIC-ORDER");
        self.requests.insert(request, Place::AtHand);
        self.may_wait = !follows_on;
        self.comes_back(request);
    }

    fn comes_back(&mut self, request: u32) {
        let made = outcome(&mut self.numbers, request, self.may_wait, self.looked_at);
        match &made.outcome {
            Outcome::Answer(_) => {
                self.requests.insert(request, Place::Made(made.expected.unwrap()));
                self.looked_at = None;
            }
            Outcome::Wait(_) => {
                let waits = self.count(|place| matches!(place, Place::Waits(_)));
                self.crowded = (waits >= WAITS_MAX).then_some(request);
                self.looked_at = None;
            }
            Outcome::Delay(..) if self.ended.is_some() => {
                let expected = Expected::Error(ErrorCode::Disconnected);
                self.requests.insert(request, Place::Made(expected));
                self.looked_at = None;
            }
            Outcome::Delay(time, _) => self.delayed_until = Some(now() + *time),
            Outcome::Offload(_) => {}
        }
        drop(made.resolver);
        self.talk.on(StreamsEvent::Outcome(request, made.outcome, None));
    }

    fn runs(&mut self, request: u32, job: u32) {
        assert_eq!(request, job);
        assert!(matches!(self.requests[&request], Place::AtHand), "INV-ONE-JOB");
        assert!(self.delayed_until.take().is_none_or(|until| until <= now()), "it ran too early");
        assert!(self.looked_at.is_none() || self.answering() == 0, "INV-QUIC-QUIET");
        // While it runs, time passes, others may end the login, and the server may stop.
        pass(Duration::from_millis(100 * self.numbers.below(600) as u64));
        self.authenticated &= !self.numbers.once_in(4);
        if self.numbers.once_in(20) {
            self.stop();
        }
        if self.ended.is_some() && self.numbers.once_in(3) {
            // It takes longer than a stop waits for it.
            let due = self.talk.close_due().expect("a connection that ends has a time to");
            assert_eq!(Some(due), self.ended_at.map(|at| at + CLOSE_PATIENCE));
            pass(due.saturating_duration_since(now()));
            self.gave_up_job = true;
            self.talk.on(StreamsEvent::Timer);
        } else if self.numbers.once_in(12) {
            let expected = Expected::Error(ErrorCode::Disconnected);
            self.requests.insert(request, Place::Made(expected));
            self.looked_at = None;
            self.end("stopping");
            self.talk.on(StreamsEvent::Abandoned(request));
        } else {
            self.comes_back(request);
        }
    }

    fn looks(&mut self, request: u32, poll: Poll, look: Look) {
        assert_eq!(poll.request, request);
        let is_last = match self.crowded.take() {
            Some(crowded) => {
                assert_eq!(crowded, request);
                true
            }
            None => {
                let (woken, asked) = self.woken.take().expect("looked at for no reason");
                assert_eq!(woken, request);
                asked == Look::Last || self.ended.is_some()
            }
        };
        assert_eq!(look == Look::Last, is_last);
        (self.looked_at, self.may_wait) = (Some(poll.due), !is_last);
        self.comes_back(request);
    }

    fn idle(&mut self, take: bool, wake: bool, step: usize) {
        assert_eq!(
            self.count(|place| matches!(place, Place::Made(_))),
            0,
            "an answer was not begun"
        );
        assert!(self.woken.is_none() || self.is_at_hand(), "a poll was not looked at");
        let blocked = self.told.is_some_and(|(_, on)| !on && self.answering() > 0);
        assert!(self.told.is_none() || blocked || self.is_at_hand());
        let is_held =
            self.delayed_until.is_some() || (self.looked_at.is_some() && self.answering() > 0);
        assert!(!self.is_at_hand() || is_held, "a job that may begin was not run");
        let listens = self.ended.is_none()
            && !self.is_at_hand()
            && self.told.is_none()
            && self.answering() < ANSWERS_MAX;
        assert_eq!(take, listens, "the bound of answers");
        let stops = self.ended == Some("stopping") && !self.is_at_hand();
        assert_eq!(wake, listens || stops);
        if step >= EVENTS_MAX {
            self.wind_up(wake);
        } else {
            self.happen(take, wake);
        }
    }

    fn happen(&mut self, take: bool, wake: bool) {
        match self.numbers.below(21) {
            20 => self.authenticated ^= true,
            0..=7 if take => {
                let request = self.next_number;
                self.next_number += 1;
                match self.numbers.below(6) {
                    0 => {
                        let expected = Expected::Error(ErrorCode::InvalidCommand);
                        self.requests.insert(request, Place::Made(expected));
                        self.talk.on(StreamsEvent::Refused(request, ErrorCode::InvalidCommand));
                    }
                    kind => {
                        let follows_on = kind < 3;
                        self.told = Some((request, follows_on));
                        self.talk.on(StreamsEvent::Request { request, follows_on });
                    }
                }
            }
            8..=13 => self.write_one(),
            14..=15 if wake => {
                let look = if self.numbers.once_in(3) { Look::Last } else { Look::Again };
                self.wake_one(look);
            }
            16..=17 => self.time_passes(),
            18 if self.numbers.once_in(6) => {
                self.end("peer");
                self.talk.on(StreamsEvent::PeerGone);
            }
            19 if self.numbers.once_in(4) => self.stop(),
            _ => {}
        }
    }

    fn any(&mut self, is: impl Fn(&Place) -> bool) -> Option<u32> {
        let found: Vec<u32> =
            self.requests.iter().filter(|(_, place)| is(place)).map(|(id, _)| *id).collect();
        (!found.is_empty()).then(|| found[self.numbers.below(found.len())])
    }

    fn write_one(&mut self) {
        if let Some(request) = self.any(|place| matches!(place, Place::Begun)) {
            self.requests.insert(request, Place::Written);
            self.talk.on(StreamsEvent::Written);
        }
    }

    fn wake_one(&mut self, look: Look) {
        let Some(request) = self.any(|place| matches!(place, Place::Waits(_))) else { return };
        if self.numbers.once_in(5) {
            self.requests.insert(request, Place::GivenUp);
            self.talk.on(StreamsEvent::GivenUp);
            return;
        }
        let place = self.requests.insert(request, Place::AtHand);
        let Some(Place::Waits(waited)) = place else { unreachable!() };
        self.woken = Some((request, look));
        self.talk.on(StreamsEvent::Woken(request, waited, look));
    }

    fn time_passes(&mut self) {
        self.talk.logged_in(self.authenticated);
        self.login.told(self.authenticated);
        let due = self.talk.due();
        let is_held = self.looked_at.is_some() && self.answering() > 0;
        let expected = match (self.ended_at, self.is_at_hand()) {
            (Some(at), _) => Some(at + CLOSE_PATIENCE),
            (None, true) => self.delayed_until.filter(|_| !is_held),
            (None, false) => Some(self.login.due),
        };
        assert_eq!(due, expected, "the time for a login, and INV-STOP");
        pass(Duration::from_millis(100 * self.numbers.below(300) as u64));
        if due.is_some_and(|due| due <= now()) {
            if !self.is_at_hand() && self.ended.is_none() && self.login.is_over() {
                self.end("a login");
            }
            self.talk.on(StreamsEvent::Timer);
        }
    }

    fn stop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        if self.delayed_until.take().is_some() {
            let request = self.any(|place| matches!(place, Place::AtHand)).unwrap();
            let expected = Expected::Error(ErrorCode::Disconnected);
            self.requests.insert(request, Place::Made(expected));
            self.looked_at = None;
        }
        self.end("stopping");
        self.talk.on(StreamsEvent::Stop);
    }

    fn end(&mut self, end: &'static str) {
        if self.ended.is_none() {
            (self.ended, self.ended_at) = (Some(end), Some(now()));
        }
        self.told = None;
    }

    fn wind_up(&mut self, wake: bool) {
        if self.ended.is_none() {
            self.stop();
        } else if self.numbers.once_in(8) {
            self.time_passes();
        } else if self.answering() > 0 {
            // A peer that is stuck takes nothing more.
            if !self.next_number.is_multiple_of(8) {
                self.write_one();
            }
        } else if wake {
            self.wake_one(Look::Last);
        }
    }

    fn closed(&self, end: &End) {
        let end = match end {
            End::Peer => "peer",
            End::Refused(_) => "refused",
            End::Stopping => "stopping",
            End::LoginTimeout => "a login",
            End::FrameTimeout | End::Failed(_) => "another",
        };
        assert_eq!(self.ended, Some(end), "the first end stands");
        let is_late = self.ended_at.is_some_and(|at| at + CLOSE_PATIENCE <= now());
        let is_left = |place: &Place| match place {
            Place::Written | Place::GivenUp => false,
            Place::Waits(_) => end == "stopping",
            Place::AtHand | Place::Made(_) => end != "peer",
            // Who is a stranger for so long reads no answers either.
            Place::Begun => !matches!(end, "peer" | "a login"),
        };
        assert!(is_late || self.count(is_left) == 0, "INV-STOP: it closed before all was answered");
    }
}

#[test]
fn any_events_keep_the_rules_of_a_connection_with_streams() {
    for seed in seeds() {
        let run = std::panic::AssertUnwindSafe(|| World::new(seed).run());
        assert!(std::panic::catch_unwind(run).is_ok(), "seed {seed}");
    }
}
