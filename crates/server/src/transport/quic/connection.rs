//! One QUIC connection, which is one session: requests arrive on streams side by side, are submitted one
//! after the other in the order in which they are complete, and are answered each on its own stream. What is to be done
//! when, [`crate::conversation::side_by_side`] says; here it is done.
//!
//! Streams are received side by side because they share a window: a request that is not read takes the
//! room the one before it needs.
//!
//! Open streams are limited, to few until somebody logs in, and so is what is on its way; at most half of
//! the streams wait for messages.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use galgo_broker::{Answer, Job, Session, Waiting};
use galgo_wire::command::CommandCode;
use quinn::{SendStream, VarInt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Windows;
use super::stream::{CurrentUser, Received, Request, Stream, answer, receive};
use crate::conversation::side_by_side::{Effect, Event, SideBySide, Streams};
use crate::conversation::{End, Held, Look, Parts, Waited, grant, held};
use crate::transport::connection::job::{self, Ran};
use crate::transport::connection::{here, supply::Supply};
use crate::transport::until;
use crate::transport::{Grant, Hub, stopped};

/// How long a closing connection waits for its last answers to arrive.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, and closes it.
pub(super) async fn serve(
    connection: quinn::Connection,
    session: Session,
    hub: Arc<Hub>,
    (windows, memory): (Windows, Grant),
) -> End {
    let waits_max = windows.waits_max();
    let streams = Streams { waits_max, close_patience: CLOSE_PATIENCE };
    let mut served = Connection {
        stranger_memory: Some(memory),
        talk: SideBySide::new(hub.limits.rules(), streams),
        connection,
        session: Some(session),
        hub,
        windows,
        user: Arc::default(),
        arriving: FuturesUnordered::new(),
        answering: FuturesUnordered::new(),
        on_their_way: FuturesUnordered::new(),
        waiting: FuturesUnordered::new(),
    };
    let end = match served.run().await {
        Ok(end) => end,
        Err(error) => End::Failed(error),
    };
    served.close(&end).await;
    end
}

/// What the conversation moves.
struct OnStreams;

impl Parts for OnStreams {
    type To = Stream;
    type Request = Request;
    type Job = Job;
    type Wait = Waiting;
}

struct Connection {
    connection: quinn::Connection,
    /// Away while a job has it.
    session: Option<Session>,
    hub: Arc<Hub>,
    windows: Windows,
    /// What it may make the server keep while nobody is logged in.
    stranger_memory: Option<Grant>,
    user: Arc<CurrentUser>,
    talk: SideBySide<OnStreams>,
    arriving: FuturesUnordered<BoxFuture<'static, Option<Received>>>,
    answering: FuturesUnordered<BoxFuture<'static, io::Result<SendStream>>>,
    /// Answers that are written and not known to have arrived.
    on_their_way: FuturesUnordered<BoxFuture<'static, ()>>,
    waiting: FuturesUnordered<BoxFuture<'static, Event<OnStreams>>>,
}

impl Connection {
    async fn run(&mut self) -> io::Result<End> {
        let mut stopping = self.hub.stopping.clone();
        loop {
            match self.talk.next() {
                Effect::Begin(stream, answer, held) => self.begin(stream, answer, held),
                Effect::Wait(stream, waited) => {
                    let stopping = self.hub.stopping.clone();
                    self.waiting.push(Box::pin(wait(stream, waited, stopping)));
                }
                Effect::Submit(request) => self.submit(request),
                Effect::Run(stream, job) => match self.talk.close_due() {
                    None => self.run_job(stream, job).await?,
                    // The last look of a poll keeps a stop waiting no longer than a peer may, however slow the disk is.
                    Some(due) => match timeout_at(due, self.run_job(stream, job)).await {
                        Ok(ran) => ran?,
                        Err(_) => return Ok(End::Stopping),
                    },
                },
                Effect::Look(stream, poll, look) => {
                    let outcome = job::look(&self.hub, poll, look, here(&mut self.session));
                    self.talk.on(Event::Outcome(stream, outcome, None));
                }
                Effect::Idle { take, wake } => {
                    if let Some(event) = self.event(take, wake, &mut stopping).await? {
                        self.talk.on(event);
                    }
                }
                Effect::Close(end) => return Ok(end),
            }
        }
    }

    /// Waits for something to happen; `None` when it is nothing that the conversation has to know.
    async fn event(
        &mut self,
        take: bool,
        wake: bool,
        stopping: &mut watch::Receiver<bool>,
    ) -> io::Result<Option<Event<OnStreams>>> {
        let timer = until(self.talk.due());
        let is_ending = self.talk.is_ending();
        Ok(tokio::select! {
            biased;
            () = stopped(stopping), if !is_ending => Some(Event::Stop),
            Some(written) = self.answering.next(), if !self.answering.is_empty() => {
                self.written(written)?;
                Some(Event::Written)
            }
            Some(event) = self.waiting.next(), if wake && !self.waiting.is_empty() => Some(event),
            Some(()) = self.on_their_way.next(), if !self.on_their_way.is_empty() => None,
            Some(received) = self.arriving.next(), if take && !self.arriving.is_empty() => {
                received.map(told)
            }
            accepted = self.connection.accept_bi(), if !is_ending => match accepted {
                Ok((send, recv)) => {
                    let stream = Stream::new(send, recv);
                    let (hub, user) = (Arc::clone(&self.hub), Arc::clone(&self.user));
                    self.arriving.push(Box::pin(receive(stream, hub, user)));
                    None
                }
                Err(_) => Some(Event::PeerGone),
            },
            () = timer => Some(Event::Timer),
        })
    }

    fn submit(&mut self, request: Request) {
        let Request { stream, code, mut inbox, payload } = request;
        let payload = inbox.payload(payload);
        let outcome = self.hub.broker.submit(here(&mut self.session), code, payload);
        drop(inbox);
        self.talk.on(Event::Outcome(stream, outcome, None));
        self.note_login();
    }

    async fn run_job(&mut self, stream: Stream, job: Job) -> io::Result<()> {
        self.talk.on(match job::run(&self.hub, job, &mut self.session).await? {
            Some(Ran { outcome, grant }) => Event::Outcome(stream, outcome, held(grant)),
            None => Event::Abandoned(stream),
        });
        self.note_login();
        Ok(())
    }

    /// Begins an answer; `held` covers what it has in memory.
    fn begin(&mut self, stream: Stream, made: Answer, held: Held) {
        let supply =
            Supply { hub: Arc::clone(&self.hub), user: self.user.get(), held: grant(held) };
        self.answering.push(Box::pin(answer(stream, made, supply)));
    }

    /// Takes note of a written answer.
    fn written(&self, written: io::Result<SendStream>) -> io::Result<()> {
        match written {
            Ok(send) => {
                let arrived = send.stopped();
                self.on_their_way.push(Box::pin(async move {
                    let _ = arrived.await;
                    drop(send);
                }));
                Ok(())
            }
            // Too slow is too slow for the connection; a stream the peer gave up concerns only itself.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Opens up for a connection that logged in.
    fn note_login(&mut self) {
        let user = self.session.as_ref().and_then(Session::user);
        self.talk.logged_in(user.is_some());
        let before = self.user.set(user);
        if before.is_none() && user.is_some() {
            self.stranger_memory = None;
            self.connection.set_receive_window(self.windows.receive);
            self.connection.set_max_concurrent_bi_streams(self.windows.streams);
        }
    }

    /// Waits until the answers that were written have arrived, and closes.
    async fn close(&mut self, end: &End) {
        if matches!(end, End::Stopping | End::Refused(_)) {
            let due = self.talk.close_due().unwrap_or_else(Instant::now);
            let arrived = async { while self.on_their_way.next().await.is_some() {} };
            let _ = timeout_at(due, arrived).await;
        }
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// What was received, for the conversation.
fn told(received: Received) -> Event<OnStreams> {
    match received {
        Received::Refused(stream, error) => Event::Refused(stream, error),
        Received::Request(request) => {
            let follows_on = CommandCode::follows_on(request.code);
            Event::Request { request, follows_on }
        }
    }
}

/// Waits for the end of the wait of a poll.
async fn wait(
    stream: Stream,
    waited: Waited<Waiting>,
    mut stopping: watch::Receiver<bool>,
) -> Event<OnStreams> {
    let look = tokio::select! {
        // First: what is found for nobody is not to be stored as read.
        biased;
        () = stream.given_up() => return Event::GivenUp,
        () = stopped(&mut stopping) => Look::Last,
        () = waited.poll.news() => Look::Again,
        () = sleep_until(waited.due) => Look::Last,
    };
    Event::Woken(stream, waited, look)
}
