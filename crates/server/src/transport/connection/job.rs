//! Work that may block: done on another thread, while its session is away.
//!
//! Password hashes are slow and only few are made at a time. Logins that waited for them on the threads
//! for blocking work would keep everybody's metadata changes and reads from the disk off those threads,
//! and logging in takes no login; so a login waits for its turn before it takes a thread.
//!
//! INV-ONE-JOB: while a job of the connection runs on another thread, nothing else of it is submitted.

use std::io;
use std::sync::Arc;

use galgo_broker::{Outcome, Session};
use galgo_wire::command::CommandCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use crate::transport::{Hub, stopped};

/// Does the next step of `outcome`, a job or a wait before one, for `session`; `None` when the server
/// stops first.
///
/// # Errors
/// When the job panicked: it took the session with it, and the panic is in the log.
pub(crate) async fn run(
    hub: &Arc<Hub>,
    code: u32,
    outcome: Outcome,
    session: &mut Option<Session>,
) -> io::Result<Option<Outcome>> {
    let hub = Arc::clone(hub);
    let mut stopping = hub.stopping.clone();
    let job = match outcome {
        Outcome::Offload(job) => job,
        Outcome::Delay(wait, job) => tokio::select! {
            () = sleep(wait) => return Ok(Some(Outcome::Offload(job))),
            () = stopped(&mut stopping) => return Ok(None),
        },
        done => return Ok(Some(done)),
    };
    let turn = tokio::select! {
        turn = login_turn(&hub, code) => turn,
        () = stopped(&mut stopping) => return Ok(None),
    };
    let Some(mut caller) = session.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let work = tokio::task::spawn_blocking(move || {
        let outcome = job.run(&hub.broker, &mut caller);
        drop(turn);
        (caller, outcome)
    });
    let (caller, outcome) = work.await.map_err(io::Error::other)?;
    *session = Some(caller);
    Ok(Some(outcome))
}

/// Waits for the turn of a job that hashes a password; other jobs wait for none.
pub(crate) async fn login_turn(hub: &Hub, code: u32) -> Option<OwnedSemaphorePermit> {
    const HASHING: [CommandCode; 3] =
        [CommandCode::LoginUser, CommandCode::CreateUser, CommandCode::ChangePassword];
    if !HASHING.iter().any(|hashing| hashing.as_u32() == code) {
        return None;
    }
    Arc::clone(&hub.logins).acquire_owned().await.ok()
}
