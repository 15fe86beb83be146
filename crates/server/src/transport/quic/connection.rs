//! One QUIC connection, which is one session: requests arrive on streams side by side, are submitted one
//! after the other in the order in which they are complete, and are answered each on its own stream.
//!
//! Streams are received side by side because they share a window: a request that is not read takes the
//! room the one before it needs.
//!
//! Sends and offset stores may be submitted while earlier requests wait for their commit;
//! any other request waits until everything before it has been answered.
//! A poll that waits for messages holds up nothing, whatever comes behind it; at most half of
//! the streams wait, so that there are always some for other requests.
//! Open streams are limited, to few until somebody logs in, and so is what is on its way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use galgo_broker::{Answer, Outcome, Reply, Session, Waiting};
use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;
use quinn::VarInt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Windows;
use super::stream::{Answered, CurrentUser, Received, Request, Stream, answer, receive};
use crate::transport::connection::supply::Supply;
use crate::transport::connection::{End, job};
use crate::transport::{Grant, Hub, stopped};

/// How long a closing connection waits for its last answers to arrive.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// How far away the deadline of a login is when there is none.
const FAR_AWAY: Duration = Duration::from_secs(86_400 * 365);

/// Serves one connection until it ends, and closes it.
pub(super) async fn serve(
    connection: quinn::Connection,
    session: Session,
    hub: Arc<Hub>,
    (windows, memory): (Windows, Grant),
) -> End {
    let mut served = Connection {
        stranger_memory: Some(memory),
        login_due: login_due(&hub),
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

/// A poll that waits, and where its answer goes.
struct Wait {
    stream: Stream,
    poll: Waiting,
    due: Instant,
    end: WaitEnd,
}

/// What a request has come to once its jobs are done.
enum Settled {
    Answer(Answer),
    Wait(Waiting),
}

/// What a wait ended with.
enum WaitEnd {
    News,
    Over,
    /// The peer gave the stream up.
    GivenUp,
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
    login_due: Instant,
    arriving: FuturesUnordered<BoxFuture<'static, Option<Received>>>,
    answering: FuturesUnordered<BoxFuture<'static, io::Result<Answered>>>,
    /// Answers that are written and not known to have arrived.
    on_their_way: FuturesUnordered<BoxFuture<'static, ()>>,
    waiting: FuturesUnordered<BoxFuture<'static, Wait>>,
}

impl Connection {
    async fn run(&mut self) -> io::Result<End> {
        let mut stopping = self.hub.stopping.clone();
        loop {
            let may_answer = self.answering.len() < self.hub.limits.pipeline_max.max(1);
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return Ok(End::Stopping),
                Some(answered) = self.answering.next(), if !self.answering.is_empty() => {
                    if let Some(error) = self.settled(answered)? {
                        return Ok(End::Refused(error));
                    }
                }
                Some(wait) = self.waiting.next(), if may_answer && !self.waiting.is_empty() => {
                    if let Some(end) = self.look_again(wait).await? {
                        return Ok(end);
                    }
                }
                Some(()) = self.on_their_way.next(), if !self.on_their_way.is_empty() => {}
                Some(received) = self.arriving.next(), if may_answer && !self.arriving.is_empty() => {
                    if let Some(received) = received
                        && let Some(end) = self.handle(received).await?
                    {
                        return Ok(end);
                    }
                }
                accepted = self.connection.accept_bi() => match accepted {
                    Ok((send, recv)) => {
                        let stream = Stream::new(send, recv);
                        let (hub, user) = (Arc::clone(&self.hub), Arc::clone(&self.user));
                        self.arriving.push(Box::pin(receive(stream, hub, user)));
                    }
                    Err(_) => return Ok(End::Peer),
                },
                () = sleep_until(self.login_due) => return Ok(End::LoginTimeout),
            }
        }
    }

    /// Submits one request, and begins its answer.
    async fn handle(&mut self, received: Received) -> io::Result<Option<End>> {
        let Received { stream, mut inbox, request } = received;
        let (code, payload) = match request {
            Request::Refuse(error) => {
                let answer = Answer { after: None, reply: Reply::Error(error) };
                self.begin_answer(stream, answer, Grant::default());
                return Ok(None);
            }
            Request::Submit { code, payload } => (code, payload),
        };
        if !CommandCode::follows_on(code)
            && let Some(error) = self.finish_answers().await?
        {
            return Ok(Some(End::Refused(error)));
        }
        let Some(session) = self.session.as_mut() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let outcome = self.hub.broker.submit(session, code, inbox.payload(payload));
        drop(inbox);
        let mut held = Grant::default();
        let outcome = self.run_jobs(outcome, &mut held).await?;
        self.note_login();
        let waits_max = self.windows.streams.into_inner() / 2;
        let outcome = match outcome {
            Settled::Wait(poll) if self.waiting.len() as u64 >= waits_max => {
                let Some(session) = self.session.as_mut() else {
                    return Err(io::ErrorKind::BrokenPipe.into());
                };
                let found = poll.finish(&self.hub.broker, session);
                self.run_jobs(found, &mut held).await?
            }
            outcome => outcome,
        };
        self.begin((stream, held), outcome, None);
        Ok(None)
    }

    /// Runs the jobs `outcome` comes as. When the server stops first, the answer says so: the end of its
    /// stream alone would tell nothing.
    async fn run_jobs(&mut self, mut outcome: Outcome, held: &mut Grant) -> io::Result<Settled> {
        loop {
            match outcome {
                Outcome::Answer(answer) => return Ok(Settled::Answer(answer)),
                Outcome::Wait(poll) => return Ok(Settled::Wait(poll)),
                step @ (Outcome::Offload(_) | Outcome::Delay(..)) => {
                    match job::run(&self.hub, step, &mut self.session, held).await? {
                        Some(next) => outcome = next,
                        None => {
                            let reply = Reply::Error(ErrorCode::Disconnected);
                            return Ok(Settled::Answer(Answer { after: None, reply }));
                        }
                    }
                }
            }
        }
    }

    /// Begins the answer, or the wait for it.
    fn begin(&mut self, (stream, held): (Stream, Grant), settled: Settled, due: Option<Instant>) {
        match settled {
            Settled::Wait(poll) => {
                let due = due.unwrap_or_else(|| self.hub.wait_due(&poll));
                let stopping = self.hub.stopping.clone();
                let wait = Wait { stream, poll, due, end: WaitEnd::Over };
                self.waiting.push(Box::pin(wait.end(stopping)));
            }
            Settled::Answer(answer) => self.begin_answer(stream, answer, held),
        }
    }

    /// Looks after a poll whose wait ended; tells why the connection ends, if it does.
    async fn look_again(&mut self, wait: Wait) -> io::Result<Option<End>> {
        let Wait { stream, poll, due, end } = wait;
        let Some(session) = self.session.as_mut() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let outcome = match end {
            // Nobody reads the answer, so nothing is to be stored as read.
            WaitEnd::GivenUp => return Ok(None),
            WaitEnd::News => poll.resume(&self.hub.broker, session),
            WaitEnd::Over => poll.finish(&self.hub.broker, session),
        };
        // A job may wait for memory that answers of this very connection hold until they are written.
        if matches!(outcome, Outcome::Offload(_))
            && let Some(error) = self.finish_answers().await?
        {
            return Ok(Some(End::Refused(error)));
        }
        let mut held = Grant::default();
        let outcome = self.run_jobs(outcome, &mut held).await?;
        self.begin((stream, held), outcome, Some(due));
        Ok(None)
    }

    /// Waits until all answers that were begun are written; an error when the connection is to be closed.
    async fn finish_answers(&mut self) -> io::Result<Option<ErrorCode>> {
        while let Some(answered) = self.answering.next().await {
            if let Some(error) = self.settled(answered)? {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    /// `held` covers what the answer has in memory.
    fn begin_answer(&self, stream: Stream, made: Answer, held: Grant) {
        let Answer { after: ticket, reply } = made;
        let supply = Supply { hub: Arc::clone(&self.hub), user: self.user.get(), held };
        self.answering.push(Box::pin(answer(stream, ticket, reply, supply)));
    }

    /// Takes note of a written answer; an error when the connection is to be closed after it.
    fn settled(&self, answered: io::Result<Answered>) -> io::Result<Option<ErrorCode>> {
        match answered {
            Ok(Answered { send, close }) => {
                let arrived = send.stopped();
                self.on_their_way.push(Box::pin(async move {
                    let _ = arrived.await;
                    drop(send);
                }));
                Ok(close)
            }
            // Too slow is too slow for the connection; a stream the peer gave up concerns only itself.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Opens up for a connection that logged in, and closes down the time for it; a logout begins it anew.
    fn note_login(&mut self) {
        let user = self.session.as_ref().and_then(Session::user);
        if self.user.set(user).is_some() == user.is_some() {
            return;
        }
        if user.is_some() {
            self.stranger_memory = None;
            self.connection.set_receive_window(self.windows.receive);
            self.connection.set_max_concurrent_bi_streams(self.windows.streams);
            self.login_due = Instant::now() + FAR_AWAY;
        } else {
            self.login_due = login_due(&self.hub);
        }
    }

    /// Finishes the answers to what was submitted, and closes.
    async fn close(&mut self, end: &End) {
        if matches!(end, End::Stopping | End::Refused(_)) {
            let _ = timeout(CLOSE_PATIENCE, async {
                // A stop has ended all waits; a refusal drops them with the connection.
                while matches!(end, End::Stopping)
                    && let Some(wait) = self.waiting.next().await
                {
                    // One that cannot be answered any more is no reason to leave out the others.
                    if self.look_again(wait).await.is_err() {
                        break;
                    }
                }
                while let Some(answered) = self.answering.next().await {
                    if self.settled(answered).is_err() {
                        return;
                    }
                }
                while self.on_their_way.next().await.is_some() {}
            })
            .await;
        }
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

impl Wait {
    /// Waits for the end of the wait.
    async fn end(mut self, mut stopping: watch::Receiver<bool>) -> Self {
        self.end = tokio::select! {
            // First: what is found for nobody is not to be stored as read.
            biased;
            () = self.stream.given_up() => WaitEnd::GivenUp,
            () = stopped(&mut stopping) => WaitEnd::Over,
            () = self.poll.news() => WaitEnd::News,
            () = sleep_until(self.due) => WaitEnd::Over,
        };
        self
    }
}

fn login_due(hub: &Hub) -> Instant {
    Instant::now() + hub.limits.patience.login.unwrap_or(FAR_AWAY)
}
