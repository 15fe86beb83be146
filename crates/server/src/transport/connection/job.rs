//! Work that may block: done on another thread, while its session is away.
//!
//! Password hashes are slow and only few are made at a time. Logins that waited for them on the threads
//! for blocking work would keep everybody's metadata changes and reads from the disk off those threads,
//! and logging in takes no login; so a login waits for its turn before it takes a thread ([`super::super::logins`]).
//! One for whom too many wait already is answered with error 55: the code that speaks of a limit and that classic
//! clients do not take for a broken connection.
//!
//! INV-ANSWER-MEMORY: messages are read into memory only under a grant, which is held until they are
//! written.

use std::io;
use std::sync::Arc;

use galgo_broker::{Answer, Job, Outcome, Reply, Session, Waiting};
use galgo_wire::ErrorCode;
use galgo_wire::id::UserId;
use galgo_wire::index::to_usize;

use super::here;
use crate::conversation::Look;
use crate::transport::logins::Full;
use crate::transport::{Grant, Hub, stopped};

/// What came of a job.
pub(crate) struct Ran {
    /// The answer, or the next step.
    pub(crate) outcome: Outcome,
    /// Covers the messages that the answer has in memory.
    pub(crate) grant: Grant,
}

/// Does a job for `session`; `None` when the server stops before it can begin, or before there is memory for
/// its answer.
///
/// # Errors
/// When the job panicked: it took the session with it, and the panic is in the log.
pub(crate) async fn run(
    hub: &Arc<Hub>,
    job: Job,
    session: &mut Option<Session>,
) -> io::Result<Option<Ran>> {
    let hub = Arc::clone(hub);
    let mut grant = Grant::default();
    let turn = match job.hashing() {
        // What need not wait is done at a stop, too: it may be the last answer of a poll that waited.
        None => None,
        Some(who) => {
            let mut stopping = hub.stopping.clone();
            tokio::select! {
                turn = hub.logins.turn(who) => match turn {
                    Ok(turn) => Some(turn),
                    Err(Full) => {
                        let reply = Reply::Error(ErrorCode::UsersLimitReached);
                        let outcome = Outcome::Answer(Answer::now(reply));
                        return Ok(Some(Ran { outcome, grant }));
                    }
                },
                () = stopped(&mut stopping) => return Ok(None),
            }
        }
    };
    let user = here(session).user();
    if !cover(&hub, user, job.answer_bytes(), &mut grant).await {
        return Ok(None);
    }
    let Some(mut caller) = session.take() else {
        unreachable!("INV-ONE-JOB: the session was here just now");
    };
    let broker = Arc::clone(&hub.broker);
    let work = tokio::task::spawn_blocking(move || {
        let outcome = job.run(&broker, &mut caller);
        drop(turn);
        (caller, outcome)
    });
    let (caller, outcome) = work.await.map_err(io::Error::other)?;
    *session = Some(caller);
    match in_memory(&outcome) {
        0 => grant = Grant::default(),
        // A single message may be larger than answers are otherwise.
        bytes if !cover(&hub, user, bytes, &mut grant).await => return Ok(None),
        bytes => {
            let bytes = to_usize(bytes);
            hub.answers.allowance(user).shrink(&mut grant, bytes);
        }
    }
    Ok(Some(Ran { outcome, grant }))
}

/// Looks at a poll that waited.
pub(crate) fn look(hub: &Hub, poll: Waiting, look: Look, session: &mut Session) -> Outcome {
    match look {
        Look::Again => poll.resume(&hub.broker, session),
        Look::Last => poll.finish(&hub.broker, session),
    }
}

/// Lets `held` cover so much of an answer, waiting in line until that is possible; false when the server
/// stops first.
pub(crate) async fn cover(hub: &Hub, user: Option<UserId>, bytes: u64, held: &mut Grant) -> bool {
    if bytes == 0 {
        return true;
    }
    let bytes = to_usize(bytes);
    let (allowance, mut stopping) = (hub.answers.allowance(user), hub.stopping.clone());
    tokio::select! {
        biased;
        () = allowance.grow(held, bytes) => true,
        () = stopped(&mut stopping) => false,
    }
}

/// Bytes of messages that `outcome` has in memory.
fn in_memory(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Answer(Answer { reply: Reply::Messages(messages), .. }) => messages.memory_bytes(),
        _ => 0,
    }
}
