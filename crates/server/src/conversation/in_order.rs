//! A connection on which answers leave in the order of the requests.
//!
//! A client may send on without waiting. Sends and offset stores are submitted while earlier ones wait
//! for their commit; any other request waits until everything before it has been answered. A poll that
//! waits for messages is answered as soon as the client sends anything else, so it holds nothing up.
//!
//! INV-REPLY-ORDER: answers leave in the order of the requests, whatever order commits finish in.
//! INV-WAIT-ALONE: while a poll waits, no other answer does, and the peer is listened to: it ends the wait
//! by closing.
//! INV-LAST-WORD: behind an answer that closes the connection nothing is submitted.

use std::collections::VecDeque;
use std::time::Duration;

use galgo_broker::{Answer, Reply, Ticket};
use galgo_wire::ErrorCode;
use tokio::time::Instant;

use super::deadlines::{Deadlines, Due};
use super::turn::{Done, Turn};
use super::{Clock, ConversationRules, End, Held, Look, OutcomeOf, Parts, Waited};

/// What happened.
pub(crate) enum OrderedEvent<P: Parts> {
    /// So many bytes were received.
    Received(usize),
    /// The next request is here in full. It is submitted at [`OrderedEffect::Submit`].
    Request {
        /// What comes back then.
        request: P::Request,
        /// Whether it may be submitted while those before it wait for their commit.
        follows_on: bool,
    },
    /// The next request was refused before it got to the broker.
    Refused(ErrorCode),
    /// What became of the request at hand, and what covers its answer.
    Outcome(OutcomeOf<P>, Held),
    /// Nothing became of the job at hand, since the server stopped before it could begin.
    Abandoned,
    /// There is news for the poll that waits.
    News,
    /// A request, or a part of one, is here behind the poll that waits.
    MoreCame,
    /// The peer sends nothing more.
    PeerGone,
    /// The server stops.
    Stop,
    /// The moment that [`InOrder::arm`] told has come, or one before it.
    Timer,
}

/// What is to be done.
pub(crate) enum OrderedEffect<P: Parts> {
    /// Write an answer behind those before it.
    Write(Reply, Held),
    /// Submit the next request; [`OrderedEvent::Outcome`] follows.
    Submit(P::Request),
    /// Run a job on a thread that may block; [`OrderedEvent::Outcome`] or [`OrderedEvent::Abandoned`] follows.
    Run(P::Job),
    /// Look at a poll that waited; [`OrderedEvent::Outcome`] follows.
    Look(P::Wait, Look),
    /// Look for memory to give back.
    Shrink,
    /// Wait for the next event. The next request is to be told, or what is behind a poll that waits, if `take`.
    Idle {
        /// Whether the peer is listened to.
        take: bool,
    },
    /// Close the connection.
    Close(End),
}

/// What the timer depends on beside requests and answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Whether somebody is logged in.
    pub(crate) authenticated: bool,
    /// Whether there is memory that may be given back.
    pub(crate) holds_memory: bool,
    /// Whether the rest of a request is waited for.
    pub(crate) half_received: bool,
}

/// The state of the connection.
pub(crate) struct InOrder<P: Parts> {
    answers_max: usize,
    turn: Turn<P>,
    /// Answers in the order of their requests; only the first few can be ready.
    answers: VecDeque<(Answer, Held)>,
    wait: Option<Waited<P::Wait>>,
    /// How the poll that waits is to be looked at, once there is a reason.
    look: Option<Look>,
    /// The next request, when it is here, and whether it may follow on.
    next: Option<(P::Request, bool)>,
    /// Set when nothing more is to be submitted.
    ended: Option<End>,
    shrink: bool,
    deadlines: Deadlines,
    clock: Clock,
}

impl<P: Parts<To = ()>> InOrder<P> {
    /// A connection that opens now.
    pub(crate) fn new(rules: ConversationRules) -> Self {
        let ConversationRules { answers_max, poll_wait, patience, clock } = rules;
        Self {
            answers_max: answers_max.max(1),
            turn: Turn::new(poll_wait, clock),
            answers: VecDeque::new(),
            wait: None,
            look: None,
            next: None,
            ended: None,
            shrink: false,
            deadlines: Deadlines::new(patience, clock()),
            clock,
        }
    }

    /// Takes note of an event; [`InOrder::next`] tells what is to be done.
    pub(crate) fn on(&mut self, event: OrderedEvent<P>) {
        match event {
            OrderedEvent::Received(bytes) => self.deadlines.received(bytes),
            OrderedEvent::Request { request, follows_on } => {
                assert!(self.next.is_none(), "INV-ONE-JOB: a request is told before its turn");
                self.next = Some((request, follows_on));
            }
            OrderedEvent::Refused(error) => {
                self.deadlines.request_complete();
                self.answer(Answer::now(Reply::Error(error)), None);
            }
            OrderedEvent::Outcome(outcome, held) => match self.turn.take((), outcome) {
                Some(Done::Answer((), answer)) => self.answer(answer, held),
                Some(Done::Wait((), waited)) => self.begin_wait(waited),
                None if self.is_ending() => {
                    let _ = self.turn.give_up();
                }
                None => {}
            },
            OrderedEvent::Abandoned => {
                self.turn.back();
                self.end(End::Stopping);
            }
            OrderedEvent::News => self.look_for(Look::Again),
            OrderedEvent::MoreCame => self.look_for(Look::Last),
            OrderedEvent::PeerGone => {
                // Before the end, which would answer it: nobody is left to read the answer, so nothing is to be stored as read.
                self.wait = None;
                self.end(End::Peer);
            }
            OrderedEvent::Stop => {
                // Nothing becomes of it; the end of the connection says so.
                let _ = self.turn.give_up();
                self.end(End::Stopping);
            }
            OrderedEvent::Timer => self.on_timer(),
        }
    }

    /// What is to be done next.
    pub(crate) fn next(&mut self) -> OrderedEffect<P> {
        if std::mem::take(&mut self.shrink) {
            return OrderedEffect::Shrink;
        }
        if let Some(((), job)) = self.turn.job() {
            return OrderedEffect::Run(job);
        }
        if let Some((reply, held)) = self.settled() {
            return OrderedEffect::Write(reply, held);
        }
        if !self.turn.is_over() {
            return OrderedEffect::Idle { take: false };
        }
        if let Some(waited) = self.wait.take() {
            return self.after_wait(waited);
        }
        if self.answers.is_empty()
            && let Some(end) = self.ended.take()
        {
            return OrderedEffect::Close(end);
        }
        // Refusals count as well: they are answered in turn, however fast they come.
        let is_full = self.answers.len() >= self.answers_max;
        if self.ended.is_some() || is_full {
            return OrderedEffect::Idle { take: false };
        }
        match self.next.take() {
            None => OrderedEffect::Idle { take: true },
            Some((request, follows_on)) if follows_on || self.answers.is_empty() => {
                self.deadlines.request_complete();
                self.turn.begin();
                OrderedEffect::Submit(request)
            }
            blocked => {
                self.next = blocked;
                OrderedEffect::Idle { take: false }
            }
        }
    }

    /// What the first answer that is not ready waits for, and the poll that waits.
    pub(crate) fn awaited(&mut self) -> (Option<&mut Ticket>, Option<&P::Wait>) {
        let first = self.answers.front_mut();
        let ticket = first.and_then(|(answer, _)| answer.after.as_mut());
        (ticket, self.wait.as_ref().map(|waited| &waited.poll))
    }

    /// Whether a poll waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.wait.is_some()
    }

    /// Whether nothing at all is on its way: no answer, and no wait for one.
    pub(crate) fn is_quiet(&self) -> bool {
        self.answers.is_empty() && self.wait.is_none()
    }

    /// Whether answers are on their way.
    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether nothing more is submitted.
    pub(crate) fn is_ending(&self) -> bool {
        self.ended.is_some()
    }

    /// Tells that the server kept the peer waiting for so long.
    pub(crate) fn held_up(&mut self, time: Duration) {
        self.deadlines.held_up(time);
    }

    /// When [`OrderedEvent::Timer`] is to be told, before the next [`OrderedEffect::Idle`] is waited out.
    pub(crate) fn arm(&mut self, facts: Facts) -> Option<Instant> {
        // While a request is at hand it is the server that keeps the peer waiting.
        if !self.turn.is_over() {
            return self.turn.due();
        }
        self.deadlines.logged_in(facts.authenticated, self.clock);
        self.deadlines.holds_memory(facts.holds_memory, self.clock);
        self.deadlines.waits_until(self.wait.as_ref().map(|waited| waited.due));
        self.deadlines.waits_for_rest(facts.half_received, self.clock);
        self.deadlines.next()
    }

    fn answer(&mut self, answer: Answer, held: Held) {
        if let Reply::Close(error) = answer.reply {
            self.end(End::Refused(error));
        }
        assert!(self.answers.len() < self.answers_max, "more answers are on their way than may");
        self.answers.push_back((answer, held));
    }

    fn begin_wait(&mut self, waited: Waited<P::Wait>) {
        assert!(self.is_quiet(), "INV-WAIT-ALONE: a poll waits while something else is on its way");
        self.wait = Some(waited);
        self.look = None;
    }

    /// Looks at the poll that waits if there is a reason to.
    fn after_wait(&mut self, waited: Waited<P::Wait>) -> OrderedEffect<P> {
        let look = if self.ended.is_some() { Some(Look::Last) } else { self.look.take() };
        let Some(look) = look else {
            self.wait = Some(waited);
            return OrderedEffect::Idle { take: true };
        };
        let Waited { poll, due } = waited;
        self.turn.resume(due);
        OrderedEffect::Look(poll, look)
    }

    /// There is a reason to look at the poll that waits, if one does.
    fn look_for(&mut self, look: Look) {
        if self.wait.is_some() {
            self.look = Some(look);
        }
    }

    /// The next answer, if it is ready.
    fn settled(&mut self) -> Option<(Reply, Held)> {
        let (Answer { after, .. }, _) = self.answers.front()?;
        let committed = match after {
            None => Ok(()),
            Some(ticket) => ticket.outcome()?,
        };
        let (Answer { reply, .. }, held) = self.answers.pop_front()?;
        Some(match committed {
            Ok(()) => (reply, held),
            Err(error) => (Reply::Error(error), None),
        })
    }

    fn on_timer(&mut self) {
        if !self.turn.is_over() {
            return;
        }
        match self.deadlines.due((self.clock)()) {
            Some(Due::Frame) => self.end(End::FrameTimeout),
            Some(Due::Login) => self.end(End::LoginTimeout),
            Some(Due::Shrink) => self.shrink = true,
            Some(Due::Wait) => self.look_for(Look::Last),
            // Before it waits again it is told.
            Some(Due::Look) | None => {}
        }
    }

    /// Submits nothing more. The first end stands.
    fn end(&mut self, end: End) {
        self.ended.get_or_insert(end);
        self.next = None;
        self.deadlines.none();
    }
}
