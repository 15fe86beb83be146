//! What a server has to be for its changes to be read.

use std::time::Duration;

use crate::failure::Failure;
use crate::postgres::session::PgSession;
use crate::postgres::trouble::PgError;

/// The oldest version that is read, as the server numbers it.
const VERSION_MIN: u32 = 130_000;
/// From here on the slot tells of messages that were put into the log, and publications of columns and conditions.
const VERSION_WITH_MESSAGES: u32 = 140_000;
const VERSION_WITH_FILTERS: u32 = 150_000;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    pub(super) version: u32,
    pub(super) wal_level: String,
    pub(super) is_standby: bool,
    pub(super) encoding: String,
    /// After so much silence it ends a connection of replication.
    pub(super) sender_timeout: Option<Duration>,
    /// What it keeps for slots at most, in megabytes; −1: everything.
    pub(super) slot_keep_megabytes: i64,
    pub(super) slots: Used,
    pub(super) senders: Used,
}

/// How much of a number of things is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) of: u64,
    pub(super) used: u64,
}

impl Ground {
    /// Looks.
    pub(super) async fn read(sql: &mut PgSession) -> Result<Self, PgError> {
        const ASK: &str = "SELECT current_setting('server_version_num'), current_setting('wal_level'), \
             pg_is_in_recovery(), current_setting('server_encoding'), \
             (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'), \
             (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'), \
             current_setting('max_replication_slots'), (SELECT count(*) FROM pg_replication_slots), \
             current_setting('max_wal_senders'), (SELECT count(*) FROM pg_stat_replication)";
        let row = sql.query(ASK).await?.into_iter().next().unwrap_or_default();
        let mut values = row.into_iter();
        let mut text = || values.next().flatten().unwrap_or_else(String::new);
        // A setting that this version does not have is none; a number that is none stops everything below.
        let number = |text: String| text.parse::<u64>().ok();
        let version = number(text()).and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        let (wal_level, is_standby, encoding) = (text(), text() == "t", text());
        let sender_timeout = number(text()).filter(|millis| *millis > 0).map(Duration::from_millis);
        let slot_keep_megabytes = text().parse().unwrap_or(-1);
        let mut used =
            || Used { of: number(text()).unwrap_or(0), used: number(text()).unwrap_or(0) };
        let (slots, senders) = (used(), used());
        Ok(Self {
            version,
            wal_level,
            is_standby,
            encoding,
            sender_timeout,
            slot_keep_megabytes,
            slots,
            senders,
        })
    }

    /// Whether the slot tells of messages in the log.
    pub(super) fn tells_messages(&self) -> bool {
        self.version >= VERSION_WITH_MESSAGES
    }

    /// Whether publications may have lists of columns and conditions on rows.
    pub(super) fn has_filters(&self) -> bool {
        self.version >= VERSION_WITH_FILTERS
    }

    /// What makes it impossible.
    pub(super) fn refusals(&self) -> Vec<Failure> {
        let mut refusals = Vec::new();
        if self.version < VERSION_MIN {
            refusals.push(Failure::refused(
                format!("the server has version {}", self.version / 10_000),
                "changes are read from PostgreSQL 13 or newer",
            ));
        }
        if self.is_standby {
            refusals.push(Failure::refused(
                "the server is a standby",
                "name the primary in url: slots and publications are made there",
            ));
        }
        if self.wal_level != "logical" {
            refusals.push(Failure::refused(
                format!(
                    "wal_level is {}: changes of rows are not in the log of the server",
                    self.wal_level
                ),
                "say wal_level = logical in postgresql.conf and restart the server",
            ));
        }
        refusals
    }
}
