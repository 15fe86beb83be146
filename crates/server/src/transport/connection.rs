//! One connection over a stream of bytes, from its first byte to its last: requests to the broker, answers back.
//! Shared by every carrier of frames. What is to be done when, [`crate::conversation::in_order`] says; here it is done.
//!
//! Receive buffer, waiting answers and gathered answers each have a limit; at a limit the
//! connection stops reading, so that the client's own send buffer fills and the client waits.

pub(super) mod admission;
mod carrier;
pub(super) mod inbox;
pub(crate) mod job;
pub(super) mod outbox;
pub(crate) mod supply;

use std::future::{Future, pending, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galgo_broker::{Job, Reply, Session, Waiting};
use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

pub(crate) use self::admission::ANONYMOUS_PAYLOAD_BYTES_MAX;
use self::admission::PeerStanding;
pub(crate) use self::carrier::Carrier;
pub(super) use self::inbox::BUFFER_BYTES_IDLE;
use self::inbox::{Front, Inbox};
use self::job::Ran;
use self::outbox::Outbox;
use self::supply::Supply;
use crate::conversation::in_order::{Facts, InOrder, OrderedEffect, OrderedEvent};
use crate::conversation::{CLOSE_PATIENCE, End, Held, Look, Parts, grant, held};
use crate::spin::Keenness;
use crate::transport::{Allowance, Hub, acknowledge, stopped};
use crate::wakeups::Route;

/// How long a closed connection is read from, so that its peer gets to see the last answer.
const CLOSE_LINGER: Duration = Duration::from_millis(300);

/// Silence after which the peer is taken to have seen it.
const CLOSE_SILENCE: Duration = Duration::from_millis(100);

/// The same while the server stops, where idle connections should not hold it up.
const STOP_SILENCE: Duration = Duration::from_millis(5);
const _: () = assert!(
    STOP_SILENCE.as_millis() < CLOSE_SILENCE.as_millis()
        && CLOSE_SILENCE.as_millis() < CLOSE_LINGER.as_millis()
        && CLOSE_LINGER.as_millis() < CLOSE_PATIENCE.as_millis(),
    "each wait at the end of a connection is part of the longer one"
);

/// How far away a timer with nothing to wait for is set.
pub(super) const FAR_AWAY: Duration = Duration::from_secs(86_400);

/// Serves one connection until it ends, and closes it.
pub(crate) async fn serve<S: Carrier>(stream: S, session: Session, hub: Arc<Hub>) -> End {
    let mut stopping = hub.stopping.clone();
    let stop = pin!(stopped(&mut stopping));
    let timer = pin!(sleep_until(Instant::now() + FAR_AWAY));
    let mut connection = FramedConnection {
        allowance: hub.allowance(None),
        inbox: Inbox::new(),
        outbox: Outbox::new(hub.limits.write_timeout),
        talk: InOrder::new(hub.limits.rules()),
        session: Some(session),
        stream,
        received: false,
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

/// What the conversation moves.
struct Frames;

impl Parts for Frames {
    type To = ();
    type Request = FrontRequest;
    type Job = Job;
    type Wait = Waiting;
}

/// A request at the front of the inbox.
struct FrontRequest {
    code: u32,
    payload: Range<usize>,
}

struct FramedConnection<S> {
    stream: S,
    hub: Arc<Hub>,
    /// Away while a job has it.
    session: Option<Session>,
    inbox: Inbox,
    /// What the inbox draws on.
    allowance: Allowance,
    outbox: Outbox,
    talk: InOrder<Frames>,
    /// Whether bytes came since the last wait.
    received: bool,
    /// How commits wake the task.
    route: Route,
    /// Whether its thread stays awake for it.
    keenness: Keenness,
}

impl<S: Carrier> FramedConnection<S> {
    async fn run(
        &mut self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        mut timer: Pin<&mut Sleep>,
    ) -> io::Result<End> {
        loop {
            match self.talk.next() {
                OrderedEffect::Write(reply, held) => self.write(reply, held).await?,
                OrderedEffect::Submit(request) => self.submit(request),
                OrderedEffect::Run(job) => self.run_job(job).await?,
                OrderedEffect::Look(poll, look) => self.look(poll, look),
                OrderedEffect::Shrink => self.inbox.shrink(),
                OrderedEffect::Idle { take } => {
                    // A job that held a copy of the last payload is over.
                    self.inbox.yield_grant(&self.allowance);
                    if !take || !self.take() {
                        self.idle(take, stop.as_mut(), timer.as_mut()).await?;
                    }
                }
                OrderedEffect::Close(end) => {
                    self.outbox.flush(&mut self.stream).await?;
                    return Ok(end);
                }
            }
        }
    }

    /// Writes an answer, or gathers it; `held` covers what it has in memory.
    async fn write(&mut self, reply: Reply, held: Held) -> io::Result<()> {
        let Self { hub, allowance, outbox, stream, .. } = self;
        let supply = || Supply { hub: Arc::clone(hub), user: allowance.user(), held: grant(held) };
        outbox.reply(reply, stream, supply).await?;
        outbox.flush_if_full(stream).await
    }

    fn submit(&mut self, FrontRequest { code, payload }: FrontRequest) {
        let session = here(&mut self.session);
        let payload = self.inbox.payload(payload);
        let outcome = self.hub.broker.submit(session, code, payload);
        self.inbox.consume();
        self.talk.on(OrderedEvent::Outcome(outcome, None));
    }

    async fn run_job(&mut self, job: Job) -> io::Result<()> {
        self.outbox.flush(&mut self.stream).await?;
        self.talk.on(match job::run(&self.hub, job, &mut self.session).await? {
            Some(Ran { outcome, grant }) => OrderedEvent::Outcome(outcome, held(grant)),
            None => OrderedEvent::Abandoned,
        });
        Ok(())
    }

    fn look(&mut self, poll: Waiting, look: Look) {
        let outcome = job::look(&self.hub, poll, look, here(&mut self.session));
        self.talk.on(OrderedEvent::Outcome(outcome, None));
    }

    /// Tells of what was received; false while that is a part of a request, or nothing.
    fn take(&mut self) -> bool {
        if self.talk.is_waiting() {
            // Answers are never held up for a wait: whatever the client sends behind it ends it.
            let more = self.inbox.is_mid_request();
            if more {
                self.talk.on(OrderedEvent::MoreCame);
            }
            return more;
        }
        self.talk.on(match self.inbox.front(self.caller()) {
            Front::Partial => return false,
            Front::Refused(error) => OrderedEvent::Refused(error),
            Front::Request { code, payload } => {
                let follows_on = CommandCode::follows_on(code);
                OrderedEvent::Request { request: FrontRequest { code, payload }, follows_on }
            }
        });
        true
    }

    /// Writes what was gathered and waits for the next event; for bytes of the peer only if `take`.
    async fn idle(
        &mut self,
        take: bool,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        mut timer: Pin<&mut Sleep>,
    ) -> io::Result<()> {
        self.note_user();
        if std::mem::take(&mut self.received) && self.inbox.is_mid_request() {
            self.stream.socket().into_iter().for_each(acknowledge::now);
        }
        self.outbox.flush(&mut self.stream).await?;
        let mut reading = take;
        if reading && !self.inbox.try_make_room(&self.allowance) {
            // Answers go first: waiting for memory must not keep commits from being told.
            reading = !self.talk.has_answers();
            if reading {
                let begun = Instant::now();
                tokio::select! {
                    () = self.inbox.make_room(&self.allowance) => {}
                    () = &mut stop => {
                        self.talk.on(OrderedEvent::Stop);
                        return Ok(());
                    }
                }
                self.talk.held_up(begun.elapsed());
            }
        }
        self.arm(timer.as_mut(), reading);
        if reading && self.talk.is_quiet() {
            self.keenness.wait_begins();
        }
        let event = self.event(stop, timer.as_mut(), reading).await;
        // A timer is nothing that came: the look of an idle connection at its login must not end the spin for a busy one.
        if !matches!(event, Ok(Some(OrderedEvent::Timer))) {
            self.keenness.event();
        }
        match event? {
            Some(OrderedEvent::Received(bytes)) => {
                self.received = true;
                self.talk.on(OrderedEvent::Received(bytes));
            }
            Some(OrderedEvent::Timer) => {
                timer.reset(Instant::now() + FAR_AWAY);
                self.talk.on(OrderedEvent::Timer);
            }
            Some(event) => self.talk.on(event),
            // An answer is ready, which the conversation sees for itself.
            None => {}
        }
        Ok(())
    }

    async fn event(
        &mut self,
        stop: Pin<&mut impl Future<Output = ()>>,
        timer: Pin<&mut Sleep>,
        reading: bool,
    ) -> io::Result<Option<OrderedEvent<Frames>>> {
        let Self { inbox, stream, talk, route, .. } = self;
        let is_ending = talk.is_ending();
        let (mut ticket, waiting) = talk.awaited();
        let news = async {
            match waiting {
                Some(poll) => poll.news().await,
                None => pending().await,
            }
        };
        let settled = poll_fn(|cx| match &mut ticket {
            Some(ticket) => {
                let mut cx = Context::from_waker(route.to(cx.waker()));
                Pin::new(&mut **ticket).poll(&mut cx).map(|_| ())
            }
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            () = settled => Ok(None),
            // Before news: what is found for a peer that is gone is not to be stored as read.
            received = inbox.fill(stream), if reading => Ok(Some(match received? {
                0 => OrderedEvent::PeerGone,
                bytes => OrderedEvent::Received(bytes),
            })),
            () = news => Ok(Some(OrderedEvent::News)),
            () = stop, if !is_ending => Ok(Some(OrderedEvent::Stop)),
            () = timer => Ok(Some(OrderedEvent::Timer)),
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

    fn caller(&self) -> PeerStanding {
        PeerStanding {
            authenticated: self.session.as_ref().is_some_and(Session::is_authenticated),
            send_bytes_max: self.hub.limits.send_bytes_max,
        }
    }

    /// Sets the timer to the next moment something is due.
    fn arm(&mut self, timer: Pin<&mut Sleep>, reading: bool) {
        let due = self.talk.arm(Facts {
            authenticated: self.session.as_ref().is_some_and(Session::is_authenticated),
            holds_memory: self.inbox.is_large(),
            half_received: reading && self.inbox.is_mid_request(),
        });
        // A timer that fires early finds nothing due and is set again; that is cheaper than setting it
        // with every request.
        if let Some(due) = due
            && due < timer.deadline()
        {
            timer.reset(due);
        }
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

/// The session, which is away only while a job has it.
pub(crate) fn here(session: &mut Option<Session>) -> &mut Session {
    let Some(session) = session else {
        unreachable!("INV-ONE-JOB: the session is here while no job has it");
    };
    session
}
