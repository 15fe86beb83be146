//! A process that was stopped in the middle of a write keeps its locks, and nothing ends it: a `COPY` that waits for its client has no
//! limit in time. Whoever has its lane now ends its session, once it has waited long enough.
//!
//! That is safe at any time: what the other one has not committed is taken back, and it finds its lane moved when it wakes.

use std::convert::Infallible;
use std::time::Duration;

use super::catalog::text;
use super::positions::Move;
use super::target::{PgTarget, session_name};
use crate::failure::Failure;
use crate::place::LaneName;
use crate::postgres::session::{PgSession, TextRow};
use crate::postgres::trouble::PgError;

/// How often a lane waits before it ends the session that blocks it.
pub(super) const WAITS_MAX: u32 = 3;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Only a session of the lane's own name and role, and only while it blocks.
const END_IT: &str = "WITH frozen AS MATERIALIZED (SELECT a.pid FROM unnest(pg_blocking_pids($1::int)) AS b(pid) \
    JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid WHERE a.application_name = $2::text AND a.usename = current_user) \
    SELECT pid::text, pg_terminate_backend(pid)::text FROM frozen";

/// Moves a lane, and ends the session of its own name that blocks it meanwhile.
pub(super) async fn make_way(
    target: &PgTarget,
    session: &mut PgSession,
    lane: &LaneName,
    to: &Move,
) -> Result<bool, PgError> {
    let process = session.value("SELECT pg_backend_pid()::text").await?;
    tokio::select! {
        moved = to.make(session) => moved,
        never = watch(target, lane, &process) => match never {},
    }
}

async fn watch(target: &PgTarget, lane: &LaneName, process: &str) -> Infallible {
    if let Err(error) = end_blocking(target, lane, process).await {
        tracing::warn!(%lane, %error, "the session that blocks this lane could not be ended");
    }
    // The lane is moved now, or has waited in vain.
    std::future::pending().await
}

async fn end_blocking(target: &PgTarget, lane: &LaneName, process: &str) -> Result<(), Failure> {
    let mut session = target.open().await?;
    let name = session_name(&format!("{}/{lane}", lane.pipeline));
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let ended = session.run_with(END_IT, &[Some(process), Some(&name)]).await;
        let ended = ended.map_err(|error| target.failure(error))?;
        let of = |row: &TextRow| text(Some(row), 0).unwrap_or_default().to_owned();
        for backend in ended.rows.iter().map(of) {
            tracing::warn!(%lane, backend, "a session of this lane was frozen in a write; it was ended");
        }
        if !ended.rows.is_empty() {
            session.close().await;
            return Ok(());
        }
    }
}
