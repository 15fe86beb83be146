//! The database and the table, as the file says, and what all connections of the pipeline know together.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::positions::Places;
use crate::failure::Failure;
use crate::place::LaneName;
use crate::postgres::NAME_BYTES_MAX;
use crate::postgres::address::PgEndpoint;
use crate::postgres::session::{PgLogin, PgSession};
use crate::postgres::trouble::PgError;
use crate::table::Layout;
use crate::table::name::TableName;
use crate::table::positions::{FreshLanes, TABLE};

/// How values are read. A pooler of connections knows these and no others; the rest is set in each transaction.
pub(super) const SESSION: [(&str, &str); 3] =
    [("client_encoding", "UTF8"), ("DateStyle", "ISO, YMD"), ("TimeZone", "UTC")];

/// How long a lock is waited for.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(3);
/// After so long a silence within a transaction the server ends it.
const IDLE_WAIT: Duration = Duration::from_secs(30);

/// A table in a database.
pub(super) struct PgTarget {
    pub(super) login: PgLogin,
    pub(super) layout: Layout,
    pub(super) positions: TableName,
    /// Whether tables are made that are not there.
    pub(super) create: bool,
    pub(super) connections: usize,
    pub(super) fresh: FreshLanes,
    /// How often a lane was kept waiting by somebody who has its row.
    waits: Mutex<HashMap<LaneName, u32>>,
}

impl PgTarget {
    pub(super) fn new(login: PgLogin, layout: Layout, create: bool, connections: usize) -> Self {
        let positions = layout.name.beside(TABLE);
        let (fresh, waits) = (FreshLanes::default(), Mutex::default());
        Self { login, layout, positions, create, connections, fresh, waits }
    }

    pub(super) fn places(&self) -> Places<'_> {
        Places { positions: &self.positions, table: &self.layout.name }
    }

    /// Logs in, where there are several hosts at the first that can be written to: a standby would refuse every batch.
    pub(super) async fn open(&self) -> Result<PgSession, Failure> {
        let doing = format!("log in as {}", self.login.address);
        let mut last = PgError::Away("no host is there".to_owned());
        for door in &self.login.address.doors {
            match self.open_at(door).await {
                Ok(session) => return Ok(session),
                // Another one may be the one that is open; what is refused by name is refused.
                Err(error @ PgError::Away(_)) => last = error,
                Err(error) => return Err(error.failure(&doing)),
            }
        }
        Err(last.failure(&doing))
    }

    async fn open_at(&self, door: &PgEndpoint) -> Result<PgSession, PgError> {
        let mut login = self.login.clone();
        login.address.doors = vec![door.clone()];
        let mut session = PgSession::sql(&login).await?;
        let is_only = self.login.address.doors.len() == 1;
        if is_only || session.value("SELECT pg_is_in_recovery()::text").await? == "false" {
            return Ok(session);
        }
        session.close().await;
        Err(PgError::Away(format!("{door} is a standby")))
    }

    /// Begins a transaction under a name by which others know it.
    pub(super) async fn begin(&self, session: &mut PgSession, name: &str) -> Result<(), PgError> {
        session.run(&self.begin_sql(name)).await.map(drop)
    }

    /// The statements that do so; a pooler of connections has no other way to know settings of ours. Notices of triggers would
    /// fill the way back while rows are sent and nobody reads.
    pub(super) fn begin_sql(&self, name: &str) -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL application_name = '{name}'; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL statement_timeout = {}; \
             SET LOCAL IntervalStyle = 'postgres'; SET LOCAL client_min_messages = 'error'",
            LOCK_WAIT.as_millis(),
            IDLE_WAIT.as_millis(),
            self.login.patience.as_millis(),
        )
    }

    /// What an error means that is of no row.
    pub(super) fn failure(&self, error: PgError) -> Failure {
        error.failure(&format!("table {} at {}", self.layout.name, self.login.address))
    }

    /// Notes that a lane was kept waiting; tells how often in a row.
    pub(super) fn kept_waiting(&self, lane: &LaneName) {
        *self.waits.lock().entry(lane.clone()).or_default() += 1;
    }

    pub(super) fn waits(&self, lane: &LaneName) -> u32 {
        self.waits.lock().get(lane).copied().unwrap_or_default()
    }

    pub(super) fn waits_no_more(&self, lane: &LaneName) {
        self.waits.lock().remove(lane);
    }
}

/// How a session is named: `galgo:` and of whom it is. What PostgreSQL would change or cut is told apart by a number.
pub(super) fn session_name(of: &str) -> String {
    let letter = |letter: char| match letter {
        '\'' | '\\' => '_',
        letter if letter.is_ascii_graphic() => letter,
        _ => '_',
    };
    let name: String = "galgo:".chars().chain(of.chars().map(letter)).collect();
    if name.len() <= NAME_BYTES_MAX && name.ends_with(of) {
        return name;
    }
    let number = twox_hash::XxHash3_64::oneshot(of.as_bytes());
    let front: String = name.chars().take(NAME_BYTES_MAX - 17).collect();
    format!("{front}~{number:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sessions_are_as_the_server_keeps_them_and_each_its_own() {
        assert_eq!(session_name("p/shop/orders/3"), "galgo:p/shop/orders/3");
        let long = |end: &str| session_name(&format!("{}/{end}", "a".repeat(100)));
        assert_ne!(long("1"), long("2"));
        assert_ne!(session_name("ä"), session_name("ö"));
        for name in [long("1"), session_name("it's \\ ä\n")] {
            assert!(name.len() <= NAME_BYTES_MAX && !name.contains(['\'', '\\', ' ']), "{name}");
            assert!(name.is_ascii() && name.starts_with("galgo:"), "{name}");
        }
    }
}
