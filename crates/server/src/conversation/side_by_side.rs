//! A connection on which every request has a stream of its own, and answers leave when they are ready.
//!
//! Requests are submitted one after the other in the order in which they are complete.
//!
//! INV-QUIC-ORDER: sends and offset stores may be submitted while earlier requests wait for their commit;
//! any other request waits until everything before it has been answered.
//! INV-QUIC-WAIT: a poll that waits for messages holds up nothing, whatever comes behind it; only so many wait, so
//! that there are always streams for other requests.
//! INV-QUIC-QUIET: a job of a poll that waited begins when no answer is on its way: it may wait for memory that
//! those hold until they are written.

use galgo_broker::{Answer, Reply};
use galgo_wire::ErrorCode;
use tokio::time::Instant;

use super::deadlines::{Deadlines, Due};
use super::turn::{Done, Turn};
use super::{CLOSE_PATIENCE, Clock, ConversationRules, End, Held, Look, OutcomeOf, Parts, Waited};

/// What happened.
pub(crate) enum StreamsEvent<P: Parts> {
    /// A request is here in full. It is submitted at [`StreamsEffect::Submit`].
    Request {
        /// What comes back then.
        request: P::Request,
        /// Whether it may be submitted while those before it wait for their commit.
        follows_on: bool,
    },
    /// A request was refused before it got to the broker.
    Refused(P::To, ErrorCode),
    /// What became of the request at hand, and what covers its answer.
    Outcome(P::To, OutcomeOf<P>, Held),
    /// Nothing became of the job at hand, since the server stopped before it could begin.
    Abandoned(P::To),
    /// A poll that waited is to be looked at.
    Woken(P::To, Waited<P::Wait>, Look),
    /// The peer gave up a poll that waited: what is found for nobody is not to be stored as read.
    GivenUp,
    /// An answer is written, or its stream was given up.
    Written,
    /// The peer closed the connection.
    PeerGone,
    /// The server stops.
    Stop,
    /// The moment that [`SideBySide::due`] or [`SideBySide::close_due`] told has come.
    Timer,
}

/// What is to be done.
pub(crate) enum StreamsEffect<P: Parts> {
    /// Answer, once what the answer waits for is durable; [`StreamsEvent::Written`] follows.
    Begin(P::To, Answer, Held),
    /// Wait for news, for the end of the time, or for a stop; [`StreamsEvent::Woken`] or [`StreamsEvent::GivenUp`] follows.
    Wait(P::To, Waited<P::Wait>),
    /// Submit a request; [`StreamsEvent::Outcome`] follows.
    Submit(P::Request),
    /// Run a job on a thread that may block; [`StreamsEvent::Outcome`] or [`StreamsEvent::Abandoned`] follows.
    Run(P::To, P::Job),
    /// Look at a poll that waited; [`StreamsEvent::Outcome`] follows.
    Look(P::To, P::Wait, Look),
    /// Wait for the next event.
    Idle {
        /// Whether the next request may be told.
        take: bool,
        /// Whether the next poll that waited may be told.
        wake: bool,
    },
    /// Close the connection.
    Close(End),
}

/// The state of the connection.
pub(crate) struct SideBySide<P: Parts> {
    answers_max: usize,
    /// Most polls that wait at once.
    waits_max: usize,
    turn: Turn<P>,
    /// What the request at hand has come to and was not told yet.
    done: Option<(Done<P>, Held)>,
    /// Answers that were begun and are not written.
    answers: usize,
    /// Polls that wait.
    waits: usize,
    /// The next request, and whether it may follow on.
    next: Option<(P::Request, bool)>,
    /// A poll that waited and is to be looked at.
    woken: Option<(P::To, Waited<P::Wait>, Look)>,
    ended: Option<End>,
    /// When it closes at the latest, once it ends.
    close_due: Option<Instant>,
    deadlines: Deadlines,
    clock: Clock,
}

impl<P: Parts> SideBySide<P> {
    /// A connection that opens now, on which so many polls may wait at once.
    pub(crate) fn new(rules: ConversationRules, waits_max: usize) -> Self {
        let ConversationRules { answers_max, poll_wait, patience, clock } = rules;
        Self {
            answers_max: answers_max.max(1),
            waits_max,
            turn: Turn::new(poll_wait, clock),
            done: None,
            answers: 0,
            waits: 0,
            next: None,
            woken: None,
            ended: None,
            close_due: None,
            deadlines: Deadlines::new(patience, clock()),
            clock,
        }
    }

    /// Takes note of an event; [`SideBySide::next`] tells what is to be done.
    pub(crate) fn on(&mut self, event: StreamsEvent<P>) {
        match event {
            StreamsEvent::Request { request, follows_on } => {
                assert!(self.next.is_none(), "INV-ONE-JOB: a request is told before its turn");
                self.next = Some((request, follows_on));
            }
            StreamsEvent::Refused(to, error) => self.refuse(to, error),
            StreamsEvent::Outcome(to, outcome, held) => match self.turn.take(to, outcome) {
                Some(done) => self.settle(done, held),
                None if self.is_ending() => self.give_up(),
                None => {}
            },
            StreamsEvent::Abandoned(to) => {
                self.turn.back();
                self.refuse(to, ErrorCode::Disconnected);
                self.end(End::Stopping);
            }
            StreamsEvent::Woken(to, waited, look) => {
                self.ended_wait();
                assert!(
                    self.woken.is_none(),
                    "INV-ONE-JOB: a poll is woken before the last was looked at"
                );
                self.woken = Some((to, waited, look));
            }
            StreamsEvent::GivenUp => self.ended_wait(),
            StreamsEvent::Written => {
                assert!(self.answers > 0, "INV-TURN: an answer was written that was not begun");
                self.answers -= 1;
            }
            StreamsEvent::PeerGone => self.end(End::Peer),
            StreamsEvent::Stop => {
                self.give_up();
                self.end(End::Stopping);
            }
            StreamsEvent::Timer => self.on_timer(),
        }
    }

    /// What is to be done next.
    pub(crate) fn next(&mut self) -> StreamsEffect<P> {
        if let Some((done, held)) = self.done.take() {
            return self.pass_on(done, held);
        }
        if self.is_closing()
            && let Some(end) = self.ended.take()
        {
            return StreamsEffect::Close(end);
        }
        if !self.is_held()
            && let Some((to, job)) = self.turn.job()
        {
            return StreamsEffect::Run(to, job);
        }
        if !self.turn.is_over() {
            return StreamsEffect::Idle { take: false, wake: false };
        }
        if let Some((to, Waited { poll, due }, look)) = self.woken.take() {
            let look = if self.ended.is_some() { Look::Last } else { look };
            self.turn.resume(due);
            return StreamsEffect::Look(to, poll, look);
        }
        if let Some(end) = &self.ended {
            // A stop ends all waits, and they are answered; a refusal drops them with the connection.
            return StreamsEffect::Idle { take: false, wake: matches!(end, End::Stopping) };
        }
        match self.next.take() {
            Some((request, follows_on)) if follows_on || self.answers == 0 => {
                self.turn.begin();
                StreamsEffect::Submit(request)
            }
            None => {
                let has_room = self.answers < self.answers_max;
                StreamsEffect::Idle { take: has_room, wake: has_room }
            }
            blocked => {
                self.next = blocked;
                StreamsEffect::Idle { take: false, wake: false }
            }
        }
    }

    /// When [`StreamsEvent::Timer`] is to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.close_due.is_some() {
            return self.close_due;
        }
        if self.turn.is_over() {
            return self.deadlines.next();
        }
        // While a request is at hand it is the server that keeps the peer waiting.
        if self.is_held() { None } else { self.turn.due() }
    }

    /// When the connection closes at the latest, once it ends.
    pub(crate) fn close_due(&self) -> Option<Instant> {
        self.close_due
    }

    /// Whether the job at hand is the look of a poll that has waited: one that nobody has to answer when the server stops.
    pub(crate) fn looks_for_wait(&self) -> bool {
        self.turn.is_of_wait()
    }

    /// Whether nothing more is submitted.
    pub(crate) fn is_ending(&self) -> bool {
        self.ended.is_some()
    }

    /// Tells whether somebody is logged in.
    pub(crate) fn logged_in(&mut self, logged_in: bool) {
        self.deadlines.logged_in(logged_in, self.clock);
    }

    /// Whether the job at hand has to wait for answers to be written.
    fn is_held(&self) -> bool {
        self.turn.is_of_wait() && self.answers > 0
    }

    fn pass_on(&mut self, done: Done<P>, held: Held) -> StreamsEffect<P> {
        match done {
            Done::Answer(to, answer) => {
                if let Reply::Close(error) = answer.reply {
                    self.end(End::Refused(error));
                }
                self.answers += 1;
                StreamsEffect::Begin(to, answer, held)
            }
            Done::Wait(to, Waited { poll, due }) if self.waits >= self.waits_max => {
                self.turn.resume(due);
                StreamsEffect::Look(to, poll, Look::Last)
            }
            Done::Wait(to, waited) => {
                self.waits += 1;
                StreamsEffect::Wait(to, waited)
            }
        }
    }

    /// Nothing becomes of a job that would have to wait for its time. The end of its stream alone would tell nothing.
    fn give_up(&mut self) {
        if let Some(to) = self.turn.give_up() {
            self.refuse(to, ErrorCode::Disconnected);
        }
    }

    fn refuse(&mut self, to: P::To, error: ErrorCode) {
        let answer = Answer::now(Reply::Error(error));
        self.settle(Done::Answer(to, answer), None);
    }

    fn settle(&mut self, done: Done<P>, held: Held) {
        assert!(self.done.is_none(), "INV-TURN: a request is settled before the last one was told");
        self.done = Some((done, held));
    }

    fn ended_wait(&mut self) {
        assert!(self.waits > 0, "INV-TURN: a wait ended that had not begun");
        self.waits -= 1;
    }

    /// Whether nothing is left to be done before the end. A stop has ended all waits; a refusal drops them.
    fn is_closing(&self) -> bool {
        let is_late = || self.close_due.is_some_and(|due| due <= (self.clock)());
        match &self.ended {
            None => false,
            Some(End::Stopping) => {
                let waits = self.waits + usize::from(self.woken.is_some());
                (self.answers + waits == 0 && self.turn.is_over()) || is_late()
            }
            Some(End::Refused(_)) => self.answers == 0 || is_late(),
            Some(_) => true,
        }
    }

    fn on_timer(&mut self) {
        // A look at the login needs nothing: before the next wait it is told.
        if self.turn.is_over() && self.deadlines.due((self.clock)()) == Some(Due::Login) {
            self.end(End::LoginTimeout);
        }
    }

    /// Submits nothing more. The first end stands.
    fn end(&mut self, end: End) {
        if self.ended.is_none() {
            self.ended = Some(end);
            self.close_due = Some((self.clock)() + CLOSE_PATIENCE);
        }
        self.next = None;
        self.deadlines.none();
    }
}
