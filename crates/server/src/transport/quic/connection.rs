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
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use galgo_broker::{Answer, Job, Session, Waiting};
use galgo_wire::command::CommandCode;
use quinn::{SendStream, VarInt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::Windows;
use super::stream::{Listening, Received, RequestStream, StreamRequest, answer, receive};
use crate::conversation::side_by_side::{SideBySide, StreamsEffect, StreamsEvent};
use crate::conversation::{End, Held, Look, Parts, Waited, grant, held};
use crate::transport::connection::job::{self, Ran};
use crate::transport::connection::{FAR_AWAY, here, supply::Supply};
use crate::transport::until;
use crate::transport::{Grant, Hub, stopped};

/// Serves one connection until it ends, and closes it.
pub(super) async fn serve(
    connection: quinn::Connection,
    session: Session,
    hub: Arc<Hub>,
    windows: Windows,
    memory: Grant,
) -> End {
    let mut served = QuicConnection {
        stranger_memory: Some(memory),
        talk: SideBySide::new(hub.limits.rules(), windows.waits_max()),
        connection,
        session: Some(session),
        hub,
        windows,
        listening: Arc::default(),
        arriving: FuturesUnordered::new(),
        answering: FuturesUnordered::new(),
        on_their_way: FuturesUnordered::new(),
        waiting: FuturesUnordered::new(),
        timer: Box::pin(sleep_until(Instant::now() + FAR_AWAY)),
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
    type To = RequestStream;
    type Request = StreamRequest;
    type Job = Job;
    type Wait = Waiting;
}

struct QuicConnection {
    connection: quinn::Connection,
    /// Away while a job has it.
    session: Option<Session>,
    hub: Arc<Hub>,
    windows: Windows,
    /// What it may make the server keep while nobody is logged in.
    stranger_memory: Option<Grant>,
    listening: Arc<Listening>,
    talk: SideBySide<OnStreams>,
    arriving: FuturesUnordered<BoxFuture<'static, Option<Received>>>,
    answering: FuturesUnordered<BoxFuture<'static, io::Result<SendStream>>>,
    /// Answers that are written and not known to have arrived.
    on_their_way: FuturesUnordered<BoxFuture<'static, ()>>,
    waiting: FuturesUnordered<BoxFuture<'static, StreamsEvent<OnStreams>>>,
    /// One for all that may be due. It is set when that comes earlier, not with each request: it may be early.
    timer: Pin<Box<Sleep>>,
}

impl QuicConnection {
    async fn run(&mut self) -> io::Result<End> {
        let mut stopping = self.hub.stopping.clone();
        loop {
            match self.talk.next() {
                StreamsEffect::Begin(stream, answer, held) => self.begin(stream, answer, held),
                StreamsEffect::Wait(stream, waited) => {
                    let stopping = self.hub.stopping.clone();
                    self.waiting.push(Box::pin(wait(stream, waited, stopping)));
                }
                StreamsEffect::Submit(request) => self.submit(request),
                StreamsEffect::Run(stream, job) => self.run_job(stream, job, &mut stopping).await?,
                StreamsEffect::Look(stream, poll, look) => {
                    let outcome = job::look(&self.hub, poll, look, here(&mut self.session));
                    self.talk.on(StreamsEvent::Outcome(stream, outcome, None));
                }
                StreamsEffect::Idle { take, wake } => {
                    self.note_login();
                    if take {
                        self.listening.goes_on();
                    } else if !self.arriving.is_empty() {
                        self.listening.pauses();
                    }
                    if let Some(event) = self.event(take, wake, &mut stopping).await? {
                        self.talk.on(event);
                    }
                }
                StreamsEffect::Close(end) => return Ok(end),
            }
        }
    }

    /// Waits for something to happen; `None` when it is nothing that the conversation has to know.
    async fn event(
        &mut self,
        take: bool,
        wake: bool,
        stopping: &mut watch::Receiver<bool>,
    ) -> io::Result<Option<StreamsEvent<OnStreams>>> {
        let due = self.talk.due();
        if let Some(due) = due.filter(|due| *due < self.timer.deadline()) {
            self.timer.as_mut().reset(due);
        }
        let is_ending = self.talk.is_ending();
        Ok(tokio::select! {
            biased;
            () = stopped(stopping), if !is_ending => Some(StreamsEvent::Stop),
            Some(written) = self.answering.next(), if !self.answering.is_empty() => {
                self.written(written)?;
                Some(StreamsEvent::Written)
            }
            Some(event) = self.waiting.next(), if wake && !self.waiting.is_empty() => Some(event),
            Some(()) = self.on_their_way.next(), if !self.on_their_way.is_empty() => None,
            Some(received) = self.arriving.next(), if take && !self.arriving.is_empty() => {
                received.map(told)
            }
            accepted = self.connection.accept_bi(), if !is_ending => match accepted {
                Ok((send, recv)) => {
                    let stream = RequestStream::new(send, recv);
                    let (hub, listening) = (Arc::clone(&self.hub), Arc::clone(&self.listening));
                    self.arriving.push(Box::pin(receive(stream, hub, listening)));
                    None
                }
                Err(_) => Some(StreamsEvent::PeerGone),
            },
            () = self.timer.as_mut() => {
                self.timer.as_mut().reset(Instant::now() + FAR_AWAY);
                Some(StreamsEvent::Timer)
            }
        })
    }

    fn submit(&mut self, request: StreamRequest) {
        let StreamRequest { stream, code, mut inbox, payload } = request;
        let payload = inbox.payload(payload);
        let outcome = self.hub.broker.submit(here(&mut self.session), code, payload);
        drop(inbox);
        self.talk.on(StreamsEvent::Outcome(stream, outcome, None));
    }

    /// Runs a job to its end. That of a poll that has waited ends with the connection: a stop waits for it no longer than for
    /// a peer, however slow the disk is. What somebody asked for is answered (INV-STOP): of a stop the
    /// conversation hears behind it.
    async fn run_job(
        &mut self,
        stream: RequestStream,
        job: Job,
        stopping: &mut watch::Receiver<bool>,
    ) -> io::Result<()> {
        if !self.arriving.is_empty() {
            self.listening.pauses();
        }
        let Self { hub, session, talk, .. } = self;
        let may_be_cut = talk.looks_for_wait();
        let mut run = pin!(job::run(hub, job, session));
        let event = loop {
            let (is_ending, close_due) = (talk.is_ending(), talk.close_due());
            tokio::select! {
                // First: a job that is done is answered, however late it is.
                biased;
                ran = &mut run => break match ran? {
                    Some(Ran { outcome, grant }) => StreamsEvent::Outcome(stream, outcome, held(grant)),
                    None => StreamsEvent::Abandoned(stream),
                },
                () = stopped(stopping), if may_be_cut && !is_ending => talk.on(StreamsEvent::Stop),
                // The session stays with the job: nothing is submitted from here on, only closed.
                () = until(close_due), if may_be_cut => break StreamsEvent::Timer,
            }
        };
        talk.on(event);
        Ok(())
    }

    /// Begins an answer; `held` covers what it has in memory.
    fn begin(&mut self, stream: RequestStream, made: Answer, held: Held) {
        let supply =
            Supply { hub: Arc::clone(&self.hub), user: self.listening.user(), held: grant(held) };
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

    /// Opens up for a connection that logged in. Before each wait, since a login may be ended by others at any time.
    fn note_login(&mut self) {
        let user = self.session.as_ref().and_then(Session::user);
        self.talk.logged_in(user.is_some());
        let before = self.listening.set_user(user);
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
fn told(received: Received) -> StreamsEvent<OnStreams> {
    match received {
        Received::Refused(stream, error) => StreamsEvent::Refused(stream, error),
        Received::Request(request) => {
            let follows_on = CommandCode::follows_on(request.code);
            StreamsEvent::Request { request, follows_on }
        }
    }
}

/// Waits for the end of the wait of a poll.
async fn wait(
    stream: RequestStream,
    waited: Waited<Waiting>,
    mut stopping: watch::Receiver<bool>,
) -> StreamsEvent<OnStreams> {
    let look = tokio::select! {
        // First: what is found for nobody is not to be stored as read.
        biased;
        () = stream.given_up() => return StreamsEvent::GivenUp,
        () = stopped(&mut stopping) => Look::Last,
        () = waited.poll.news() => Look::Again,
        () = sleep_until(waited.due) => Look::Last,
    };
    StreamsEvent::Woken(stream, waited, look)
}
