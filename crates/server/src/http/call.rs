//! Runs commands for requests: to the broker, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use galgo_broker::{Job, Outcome, Peer, Reply, Session, Waiting};
use galgo_wire::ErrorCode;
use galgo_wire::command::{Command, Request};
use galgo_wire::json::JsonReply;
use galgo_wire::primitive::Payload;
use tokio::time::Instant;

use super::Api;
use super::failure::ApiFailure;
use super::guard::ApiCaller;
use crate::conversation::turn::{Done, Turn};
use crate::conversation::{self, Look, Waited};
use crate::transport::connection::here;
use crate::transport::connection::job::{self, Ran};
use crate::transport::{Grant, Hub, stopped, until};

/// What the turn of a call moves.
struct OneCall;

impl conversation::Parts for OneCall {
    type To = ();
    type Request = ();
    type Job = Job;
    type Wait = Waiting;
}

/// A request of someone who is logged in.
pub(super) struct Call {
    /// The API.
    pub(super) api: Arc<Api>,
    /// Who calls.
    pub(super) caller: ApiCaller,
}

impl FromRequestParts<Arc<Api>> for Call {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiFailure> {
        let caller =
            parts.extensions.get::<ApiCaller>().cloned().ok_or(ApiFailure::Unauthenticated)?;
        Ok(Self { api: Arc::clone(api), caller })
    }
}

impl Call {
    /// Runs a command and reads its reply.
    pub(super) async fn run<C>(&self, command: C) -> Result<C::Reply, ApiFailure>
    where
        C: Command + Into<Request>,
    {
        let request = command.into();
        let reply = self.submit(|api, session| api.hub.broker.submit_request(session, request));
        decode(reply.await?)
    }

    /// As [`Call::run`] for a command that answers nothing when its target is missing.
    pub(super) async fn find<C>(
        &self,
        command: C,
    ) -> Result<<C::Reply as JsonReply>::Body, ApiFailure>
    where
        C: Command + Into<Request>,
        C::Reply: JsonReply,
    {
        self.run(command).await?.into_body().ok_or(ApiFailure::Missing)
    }

    /// Hands something to the broker on a session of the caller, and waits for the answer.
    pub(super) async fn submit(
        &self,
        work: impl FnOnce(&Api, &mut Session) -> Outcome,
    ) -> Result<Reply, ErrorCode> {
        self.submit_under(&mut Grant::default(), work).await
    }

    /// As [`Call::submit`]; `held` covers what the answer has in memory.
    pub(super) async fn submit_under(
        &self,
        held: &mut Grant,
        work: impl FnOnce(&Api, &mut Session) -> Outcome,
    ) -> Result<Reply, ErrorCode> {
        let broker = &self.api.hub.broker;
        let mut session = broker.connect_unlisted(self.caller.peer);
        let account = self.caller.account;
        // The account is gone, or a later one has its id: a token that may do nothing at all. Or the
        // login ended since the token was looked at.
        broker
            .authenticate_as(&mut session, account.user, account.serial)
            .map_err(|_| ErrorCode::Unauthorized)?;
        let outcome = work(&self.api, &mut session);
        take_steps(&self.api.hub, &mut Some(session), outcome, held).await
    }
}

/// Runs a command of someone who is not logged in, and returns the session it leaves.
pub(super) async fn run_anonymous(
    api: &Api,
    peer: Peer,
    request: Request,
) -> Result<Option<Session>, ErrorCode> {
    let mut session = api.hub.broker.connect_unlisted(peer);
    let outcome = api.hub.broker.submit_request(&mut session, request);
    let mut session = Some(session);
    let reply = take_steps(&api.hub, &mut session, outcome, &mut Grant::default()).await;
    reply.map(|_| session)
}

/// Takes the steps of an outcome and waits for the answer. The session is lost with a job that panicked.
async fn take_steps(
    hub: &Arc<Hub>,
    session: &mut Option<Session>,
    outcome: Outcome,
    held: &mut Grant,
) -> Result<Reply, ErrorCode> {
    let mut stopping = hub.stopping.clone();
    let mut turn = Turn::<OneCall>::new(Duration::ZERO, Instant::now);
    turn.begin();
    let mut done = turn.take((), outcome);
    loop {
        match done {
            Some(Done::Answer((), answer)) => {
                return match answer.settled().await {
                    Reply::Error(code) | Reply::Close(code) => Err(code),
                    reply => Ok(reply),
                };
            }
            // Nobody waits over HTTP: what there is, if anything, is the answer.
            Some(Done::Wait((), Waited { poll, due })) => {
                turn.resume(due);
                done = turn.take((), job::look(hub, poll, Look::Last, here(session)));
                continue;
            }
            None => {}
        }
        done = match turn.job() {
            Some(((), job)) => match job::run(hub, job, session).await {
                Ok(Some(Ran { outcome, grant })) => {
                    *held = grant;
                    turn.take((), outcome)
                }
                Ok(None) => return Err(ErrorCode::Disconnected),
                // The panic of a job is in the log already.
                Err(_) => return Err(ErrorCode::Error),
            },
            None => tokio::select! {
                () = until(turn.due()) => None,
                () = stopped(&mut stopping) => return Err(ErrorCode::Disconnected),
            },
        };
    }
}

/// Reads the payload of a reply. One that does not fit its command is a defect of this program.
fn decode<T: Payload>(reply: Reply) -> Result<T, ApiFailure> {
    let bytes = match reply {
        Reply::Bytes(bytes) => bytes,
        _ => Vec::new(),
    };
    T::from_bytes(&bytes).map_err(|code| {
        tracing::error!(code = code.as_u32(), "a reply does not fit its command");
        ApiFailure::Code(ErrorCode::Error)
    })
}
