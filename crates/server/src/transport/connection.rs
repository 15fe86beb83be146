//! One connection, from its first byte to its last: requests in order to the broker, answers in order
//! back. Shared by every carrier of frames.
//!
//! A client may send on without waiting. Sends and offset stores are submitted while earlier ones wait
//! for their commit; any other request waits until everything before it has been answered. A poll that
//! waits for messages is answered as soon as the client sends anything else, so it holds nothing up.
//!
//! INV-REPLY-ORDER: answers leave in the order of the requests, whatever order commits finish in.
//! INV-ONE-JOB: while a job of the connection runs on another thread, nothing else of it is submitted.
//! INV-WAIT-ALONE: while a poll waits, no other answer does, and the peer is listened to: it ends the wait
//! by closing.
//! Receive buffer, waiting answers and gathered answers each have a limit; at a limit the
//! connection stops reading, so that the client's own send buffer fills and the client waits.

pub(super) mod admission;
mod carrier;
pub(super) mod deadlines;
pub(super) mod inbox;
pub(crate) mod job;
pub(super) mod outbox;
pub(crate) mod supply;

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galgo_broker::{Answer, Outcome, Reply, Session, Ticket, Waiting};
use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

pub(crate) use self::admission::ANONYMOUS_PAYLOAD_BYTES_MAX;
use self::admission::Caller;
pub(crate) use self::carrier::Carrier;
pub(crate) use self::deadlines::Patience;
use self::deadlines::{Deadlines, Due};
pub(super) use self::inbox::BUFFER_BYTES_IDLE;
use self::inbox::{Front, Inbox};
use self::outbox::Outbox;
use self::supply::Supply;
use crate::spin::Keenness;
use crate::transport::{Allowance, Grant, Hub, acknowledge, stopped};
use crate::wakeups::Route;

/// How long a closing connection tries to write its last answers.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a closed connection is read from, so that its peer gets to see the last answer.
const CLOSE_LINGER: Duration = Duration::from_millis(300);

/// Silence after which the peer is taken to have seen it.
const CLOSE_SILENCE: Duration = Duration::from_millis(100);

/// The same while the server stops, where idle connections should not hold it up.
const STOP_SILENCE: Duration = Duration::from_millis(5);

/// How far away a timer with nothing to wait for is set.
const FAR_AWAY: Duration = Duration::from_secs(86_400);

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Peer,
    /// An answer asked for it.
    Refused(ErrorCode),
    /// The server stops.
    Stopping,
    /// A request stayed half sent for too long.
    FrameTimeout,
    /// Nobody logged in for too long.
    LoginTimeout,
    /// Reading or writing failed.
    Failed(io::Error),
}

/// Serves one connection until it ends, and closes it.
pub(crate) async fn serve<S: Carrier>(stream: S, session: Session, hub: Arc<Hub>) -> End {
    let mut stopping = hub.stopping.clone();
    let stop = pin!(stopped(&mut stopping));
    let now = Instant::now();
    let timer = pin!(sleep_until(now + FAR_AWAY));
    let mut connection = Connection {
        allowance: hub.allowance(None),
        inbox: Inbox::new(),
        outbox: Outbox::new(hub.limits.write_timeout),
        pending: VecDeque::new(),
        wait: None,
        session: Some(session),
        stream,
        deadlines: Deadlines::new(hub.limits.patience, now),
        finished: None,
        route: Route::default(),
        keenness: hub.spin.keenness(),
        hub,
    };
    let end = match connection.run(stop, timer).await {
        Ok(end) => end,
        Err(error) => End::Failed(error),
    };
    connection.close(&end).await;
    end
}

/// An answer that is ready, or due when its ticket resolves.
struct Pending {
    ticket: Option<Ticket>,
    reply: Reply,
    /// Covers what the reply has in memory.
    held: Option<Box<Grant>>,
}

/// A poll that waits.
struct Wait {
    poll: Waiting,
    due: Instant,
}

struct Connection<S> {
    stream: S,
    hub: Arc<Hub>,
    /// Away while a job has it.
    session: Option<Session>,
    inbox: Inbox,
    /// What the inbox draws on.
    allowance: Allowance,
    outbox: Outbox,
    /// Answers in the order of their requests; only the first few can be ready.
    pending: VecDeque<Pending>,
    wait: Option<Wait>,
    deadlines: Deadlines,
    /// Set when nothing more is to be submitted.
    finished: Option<End>,
    /// How commits wake the task.
    route: Route,
    /// Whether its thread stays awake for it.
    keenness: Keenness,
}

/// What a wait ended with.
enum Event {
    Received(usize),
    Settled,
    News,
    Stop,
    Timer,
}

/// Whether the request at the front of the inbox has to wait for answers before it.
#[derive(PartialEq)]
enum Progress {
    Blocked,
    NeedsBytes,
}

impl<S: Carrier> Connection<S> {
    async fn run(
        &mut self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        mut timer: Pin<&mut Sleep>,
    ) -> io::Result<End> {
        let mut received = false;
        loop {
            let progress = self.submit_received().await?;
            self.note_user();
            if std::mem::take(&mut received) && self.inbox.is_mid_request() {
                self.stream.socket().into_iter().for_each(acknowledge::now);
            }
            self.outbox.flush(&mut self.stream).await?;
            if self.pending.is_empty()
                && let Some(end) = self.finished.take()
            {
                return Ok(end);
            }
            let mut reading = self.finished.is_none() && progress == Progress::NeedsBytes;
            if reading && !self.inbox.try_make_room(&self.allowance) {
                // Answers go first: waiting for memory must not keep commits from being told.
                reading = self.pending.is_empty();
                if reading {
                    let begun = Instant::now();
                    tokio::select! {
                        () = self.inbox.make_room(&self.allowance) => {}
                        () = &mut stop => return Ok(End::Stopping),
                    }
                    self.deadlines.held_up(begun.elapsed());
                }
            }
            self.arm(timer.as_mut(), reading);
            if reading && self.pending.is_empty() && self.wait.is_none() {
                self.keenness.wait_begins();
            }
            let event = self.wait(stop.as_mut(), timer.as_mut(), reading).await;
            self.keenness.event();
            match event? {
                Event::Received(0) => self.finish(End::Peer),
                Event::Received(bytes) => {
                    received = true;
                    self.deadlines.received(bytes);
                }
                Event::Settled | Event::News => {}
                Event::Stop => self.finish(End::Stopping),
                Event::Timer => self.on_timer(timer.as_mut()),
            }
        }
    }

    async fn wait(
        &mut self,
        stop: Pin<&mut impl Future<Output = ()>>,
        timer: Pin<&mut Sleep>,
        reading: bool,
    ) -> io::Result<Event> {
        let Self { inbox, stream, pending: waiting, wait, finished, route, .. } = self;
        let news = async {
            match wait {
                Some(wait) => wait.poll.news().await,
                None => pending().await,
            }
        };
        let mut ticket = waiting.front_mut().and_then(|first| first.ticket.as_mut());
        let settled = poll_fn(|cx| match &mut ticket {
            Some(ticket) => {
                let mut cx = Context::from_waker(route.to(cx.waker()));
                Pin::new(&mut **ticket).poll(&mut cx).map(|_| ())
            }
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            () = settled => Ok(Event::Settled),
            // Before news: what is found for a peer that is gone is not to be stored as read.
            received = inbox.fill(stream), if reading => Ok(Event::Received(received?)),
            () = news => Ok(Event::News),
            () = stop, if finished.is_none() => Ok(Event::Stop),
            () = timer => Ok(Event::Timer),
        }
    }

    /// Submits the requests that are here, as far as their order allows.
    async fn submit_received(&mut self) -> io::Result<Progress> {
        loop {
            self.deliver_settled().await?;
            if self.wait.is_some() {
                if self.goes_on_waiting().await? {
                    return Ok(Progress::NeedsBytes);
                }
                continue;
            }
            // Refusals count as well: they are answered in turn, however fast they come.
            let full = self.pending.len() >= self.hub.limits.pipeline_max.max(1);
            if self.finished.is_some() || full {
                return Ok(Progress::Blocked);
            }
            match self.inbox.front(self.caller()) {
                Front::Partial => return Ok(Progress::NeedsBytes),
                Front::Refused(error) => {
                    self.deadlines.request_complete();
                    self.answer(Reply::Error(error));
                }
                Front::Request { code, payload } => {
                    if !self.may_submit(code) {
                        return Ok(Progress::Blocked);
                    }
                    let Some(session) = self.session.as_mut() else {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    };
                    let payload = self.inbox.payload(payload);
                    let outcome = self.hub.broker.submit(session, code, payload);
                    self.deadlines.request_complete();
                    self.inbox.consume();
                    self.take(outcome, None).await?;
                    // After the job it may have been, which can hold a copy of the payload.
                    self.inbox.yield_grant(&self.allowance);
                }
            }
        }
    }

    /// Draws on the share of whoever is logged in by now.
    fn note_user(&mut self) {
        let user = self.session.as_ref().and_then(Session::user);
        if user != self.allowance.user() {
            self.allowance = self.hub.allowance(user);
            self.inbox.change_hands();
        }
    }

    fn caller(&self) -> Caller {
        Caller {
            authenticated: self.session.as_ref().is_some_and(Session::is_authenticated),
            send_bytes_max: self.hub.limits.send_bytes_max,
        }
    }

    fn may_submit(&self, code: u32) -> bool {
        self.pending.is_empty() || CommandCode::follows_on(code)
    }

    /// Looks after the poll that waits; false when it does so no more.
    async fn goes_on_waiting(&mut self) -> io::Result<bool> {
        let Some(Wait { poll, due }) = self.wait.take() else { return Ok(false) };
        if matches!(self.finished, Some(End::Peer)) {
            // Nobody is left to read the answer, so nothing is to be stored as read.
            return Ok(false);
        }
        // Answers are never held up for a wait: whatever the client sends behind it ends it.
        let is_over =
            self.finished.is_some() || self.inbox.is_mid_request() || due <= Instant::now();
        if !is_over && !poll.has_news() {
            self.wait = Some(Wait { poll, due });
            return Ok(true);
        }
        let Some(session) = self.session.as_mut() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let broker = &self.hub.broker;
        let outcome =
            if is_over { poll.finish(broker, session) } else { poll.resume(broker, session) };
        self.take(outcome, Some(due)).await?;
        Ok(false)
    }

    /// Queues what `outcome` answers, after running the job it may come as. A wait that goes on has its
    /// end in `due`.
    async fn take(&mut self, outcome: Outcome, due: Option<Instant>) -> io::Result<()> {
        let (mut outcome, mut held) = (outcome, Grant::default());
        loop {
            match outcome {
                Outcome::Answer(Answer { after, reply }) => self.answer_when(after, reply, held),
                Outcome::Wait(poll) => {
                    let due = due.unwrap_or_else(|| self.hub.wait_due(&poll));
                    self.wait = Some(Wait { poll, due });
                }
                Outcome::Delay(..) | Outcome::Offload(_) => {
                    self.outbox.flush(&mut self.stream).await?;
                    let run = job::run(&self.hub, outcome, &mut self.session, &mut held);
                    match run.await? {
                        Some(next) => outcome = next,
                        None => {
                            self.finish(End::Stopping);
                            return Ok(());
                        }
                    }
                    continue;
                }
            }
            return Ok(());
        }
    }

    fn answer(&mut self, reply: Reply) {
        self.answer_when(None, reply, Grant::default());
    }

    fn answer_when(&mut self, ticket: Option<Ticket>, reply: Reply, held: Grant) {
        let held = (!held.is_empty()).then(|| Box::new(held));
        self.pending.push_back(Pending { ticket, reply, held });
    }

    /// Moves the answers that are ready, and have none before them that is not, to the outbox.
    async fn deliver_settled(&mut self) -> io::Result<()> {
        while let Some(first) = self.pending.front() {
            let committed = match &first.ticket {
                None => Ok(()),
                Some(ticket) => match ticket.outcome() {
                    Some(outcome) => outcome,
                    None => return Ok(()),
                },
            };
            let Some(Pending { reply, held, .. }) = self.pending.pop_front() else { return Ok(()) };
            match committed {
                Ok(()) => self.deliver(reply, held).await?,
                Err(error) => self.outbox.status(Some(error)),
            }
            self.outbox.flush_if_full(&mut self.stream).await?;
        }
        Ok(())
    }

    /// Writes an answer, or gathers it; `held` covers what it has in memory.
    async fn deliver(&mut self, reply: Reply, held: Option<Box<Grant>>) -> io::Result<()> {
        match reply {
            Reply::Empty => self.outbox.status(None),
            Reply::Error(error) => self.outbox.status(Some(error)),
            Reply::Bytes(payload) => self.outbox.payload(&payload, &mut self.stream).await?,
            Reply::Sent(sent) => self.outbox.payload(&sent.to_array(), &mut self.stream).await?,
            Reply::Messages(messages) => {
                self.outbox.messages(&messages, &mut self.stream).await?;
                drop(messages.slices);
                if let Some(rest) = messages.rest {
                    let (hub, user) = (Arc::clone(&self.hub), self.allowance.user());
                    let held = held.map_or_else(Grant::default, |held| *held);
                    let mut supply = Supply { hub, user, held };
                    // In a box: few answers need it, and every idle connection would pay for it.
                    Box::pin(supply.write(rest, &mut self.outbox, &mut self.stream)).await?;
                }
            }
            Reply::Close(error) => {
                self.outbox.status(Some(error));
                self.finish(End::Refused(error));
                self.pending.clear();
            }
        }
        Ok(())
    }

    /// Sets the timer to the next moment something is due.
    fn arm(&mut self, mut timer: Pin<&mut Sleep>, reading: bool) {
        let authenticated = self.session.as_ref().is_some_and(Session::is_authenticated);
        self.deadlines.logged_in(authenticated);
        self.deadlines.holds_memory(self.inbox.is_large());
        self.deadlines.waits_until(self.wait.as_ref().map(|wait| wait.due));
        self.deadlines.waits_for_rest(reading && self.inbox.is_mid_request());
        // A timer that fires early finds nothing due and is set again; that is cheaper than setting it
        // with every request.
        if let Some(due) = self.deadlines.next()
            && due < timer.deadline()
        {
            timer.as_mut().reset(due);
        }
    }

    fn on_timer(&mut self, mut timer: Pin<&mut Sleep>) {
        let now = Instant::now();
        timer.as_mut().reset(now + FAR_AWAY);
        match self.deadlines.due(now) {
            Some(Due::Frame) => self.finish(End::FrameTimeout),
            Some(Due::Login) => self.finish(End::LoginTimeout),
            Some(Due::Shrink) => self.inbox.shrink(),
            Some(Due::Wait) | None => {}
        }
    }

    /// Submits nothing more. The first end stands.
    fn finish(&mut self, end: End) {
        self.finished.get_or_insert(end);
        self.deadlines.none();
    }

    /// Says why, when there is a word for it, and closes so that the peer can read it.
    async fn close(&mut self, end: &End) {
        if matches!(end, End::Stopping) {
            self.outbox.status(Some(ErrorCode::Disconnected));
        }
        if matches!(end, End::Peer | End::Failed(_)) {
            return;
        }
        let Self { outbox, stream, .. } = self;
        let _ = timeout(CLOSE_PATIENCE, async {
            outbox.flush(stream).await?;
            stream.shutdown().await
        })
        .await;
        // Closing with bytes unread resets the connection, and a reset may overtake the last answer: a
        // peer that goes on sending gets time to read it.
        let mut scratch = [0; 4096];
        let silence = if matches!(end, End::Stopping) { STOP_SILENCE } else { CLOSE_SILENCE };
        let drained = async {
            while let Ok(Ok(1..)) = timeout(silence, self.stream.read(&mut scratch)).await {}
        };
        let _ = timeout(CLOSE_LINGER, drained).await;
    }
}
