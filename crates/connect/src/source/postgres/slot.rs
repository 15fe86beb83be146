//! The replication slot: what the server keeps for us, and how far it may forget.

use std::time::Duration;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio::time::sleep;

use super::lsn::PgLsn;
use crate::failure::Failure;
use crate::postgres::session::PgSession;
use crate::postgres::trouble::PgError;

/// A reader of our own that is gone may be in the server's lists for a moment.
const FREE_TRIES: u32 = 20;
const FREE_PAUSE: Duration = Duration::from_millis(500);
/// A slot is made when all transactions that were open are over; after this much waiting somebody should look.
const MAKE_PATIENCE: Duration = Duration::from_secs(600);

/// A slot as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotState {
    pub(super) plugin: String,
    pub(super) is_of_this_database: bool,
    /// Everything in front of it may be forgotten. None: the slot is not finished, or is none of this kind.
    pub(super) confirmed: Option<PgLsn>,
    /// The server threw away what it should have kept.
    pub(super) is_lost: bool,
    /// The process that reads it.
    pub(super) reader: Option<String>,
    /// What the server keeps for it, in bytes.
    pub(super) retained: u64,
}

/// A slot that was just made.
#[derive(Debug)]
pub(super) struct MadeSlot {
    /// Changes from here on come out of it.
    pub(super) begin: PgLsn,
    /// The name of a snapshot of what is in front of that, for as long as the session is not used otherwise.
    pub(super) snapshot: String,
}

impl SlotState {
    /// Looks.
    pub(super) async fn read(sql: &mut PgSession, name: &str) -> Result<Option<Self>, PgError> {
        let ask = format!(
            "SELECT coalesce(plugin, ''), coalesce(database = current_database(), false), confirmed_flush_lsn, \
             coalesce(wal_status = 'lost', false), active_pid, \
             coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::int8 \
             FROM pg_replication_slots WHERE slot_name = {}",
            escape_literal(name)
        );
        let Some(row) = sql.query(&ask).await?.into_iter().next() else { return Ok(None) };
        let mut values = row.into_iter();
        let mut value = || values.next().flatten();
        Ok(Some(Self {
            plugin: value().unwrap_or_else(String::new),
            is_of_this_database: value().as_deref() == Some("t"),
            confirmed: value().and_then(|lsn| lsn.parse().ok()),
            is_lost: value().as_deref() == Some("t"),
            reader: value(),
            retained: value().and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
        }))
    }
}

/// Waits until nobody reads a slot, ends a session that is called as ours: it is one that we lost. The slot as it is then.
pub(super) async fn free(
    sql: &mut PgSession,
    name: &str,
    ours: &str,
) -> Result<Option<SlotState>, Failure> {
    let doing = format!("look at the slot {name}");
    let mut reader_name = String::new();
    for _ in 0..FREE_TRIES {
        let state = SlotState::read(sql, name).await.map_err(|error| error.failure(&doing))?;
        let Some(reader) = state.as_ref().and_then(|state| state.reader.clone()) else {
            return Ok(state);
        };
        let pid = escape_literal(&reader);
        let ask = format!("SELECT application_name FROM pg_stat_activity WHERE pid = {pid}::int4");
        let rows = sql.query(&ask).await.map_err(|error| error.failure(&doing))?;
        reader_name = rows.into_iter().flatten().next().flatten().unwrap_or_else(String::new);
        if reader_name == ours {
            let end = format!("SELECT pg_terminate_backend({pid}::int4)");
            sql.query(&end).await.map_err(|error| error.failure(&doing))?;
            tracing::info!(
                slot = name,
                "a session of this pipeline that still held the slot was ended"
            );
        }
        sleep(FREE_PAUSE).await;
    }
    Err(Failure::away(format!("the slot {name} is being read by another session, {reader_name:?}")))
}

/// Makes a slot.
pub(super) async fn make(replication: &mut PgSession, name: &str) -> Result<MadeSlot, Failure> {
    tracing::info!(
        slot = name,
        "the slot is made; the server waits for transactions that are open"
    );
    replication.set_patience(MAKE_PATIENCE);
    let command = format!(
        "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT",
        escape_identifier(name)
    );
    let doing = format!("make the slot {name}");
    let rows = replication.query(&command).await.map_err(|error| error.failure(&doing))?;
    let mut values = rows.into_iter().next().unwrap_or_default().into_iter().skip(1).flatten();
    let (Some(Ok(begin)), Some(snapshot)) = (values.next().map(|lsn| lsn.parse()), values.next())
    else {
        return Err(Failure::away(format!("{doing}: the answer is not understood")));
    };
    Ok(MadeSlot { begin, snapshot })
}

/// Removes a slot.
pub(super) async fn remove(sql: &mut PgSession, name: &str) -> Result<(), Failure> {
    let drop = format!("SELECT pg_drop_replication_slot({})", escape_literal(name));
    let doing = format!("remove the slot {name}");
    sql.query(&drop).await.map(|_| ()).map_err(|error| error.failure(&doing))
}
