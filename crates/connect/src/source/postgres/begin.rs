//! Beginning: what is there is looked at, what is missing is made, and reading begins where `plan` says.
//!
//! The publication is made before the slot: a slot that tells of a time at which there was no publication cannot be read.

use postgres_protocol::escape::escape_literal;

use super::ChangeOrigin;
use super::bookmark::{Bookmark, CopyMark};
use super::care::WatchedSlot;
use super::catalog::PublishedTable;
use super::copying::{CopyOrder, CopyRun};
use super::ground::Ground;
use super::lsn::PgLsn;
use super::plan::{ClusterId, SlotPlan, plan};
use super::publication::{ensure, word_sql};
use super::slot::{self, SlotState};
use crate::clock::now_micros;
use crate::failure::Failure;
use crate::postgres::session::PgSession;
use crate::postgres::trouble::PgError;
use crate::source::Cursor;

/// How reading begins.
#[derive(Debug)]
pub(super) enum Begun {
    /// Behind the bookmark.
    Reading(Bookmark),
    /// With a copy.
    Copying {
        run: CopyRun,
        /// What is told while it is made.
        meanwhile: Bookmark,
        /// What is told behind it.
        then: Bookmark,
    },
}

/// Begins; also gives what the server is.
pub(super) async fn begin(
    origin: &ChangeOrigin,
    cursor: Option<&Cursor>,
    watched: &WatchedSlot,
) -> Result<(Begun, Ground), Failure> {
    let bookmark = cursor.map(Bookmark::parse).transpose().map_err(|error| {
        Failure::refused(
            format!("the pipeline's cursor is not one of from.postgres: {error}"),
            "give the pipeline another name, or run galgo connect cleanup",
        )
    })?;
    let mut sql = origin.sql().await?;
    let ground =
        Ground::read(&mut sql).await.map_err(|error| error.failure("look at the server"))?;
    if let Some(refusal) = ground.refusals().into_iter().next() {
        return Err(refusal);
    }
    let tables = ensure(origin, &mut sql, &ground).await?;
    let mut replication = origin.replication().await?;
    let cluster = identify(&mut replication).await?;
    let mut state = slot::free(&mut sql, &origin.slot, &origin.login.application).await?;
    suits(origin, state.as_ref())?;
    if let Some(state) = &mut state {
        state.is_lost |= watched.take_lost();
    }
    let begin = BeginWith { origin, sql, replication, cluster: cluster.clone(), tables };
    let begun = match plan(bookmark, state.as_ref(), origin.copying, &cluster) {
        SlotPlan::Missing(why) => return Err(missing(&why)),
        SlotPlan::GoOn(bookmark) => Begun::Reading(bookmark),
        SlotPlan::FromSlot(lsn) => Begun::Reading(bookmark_at(&cluster, lsn)),
        SlotPlan::NewSlot => begin.new_slot().await?,
        SlotPlan::NewCopy { instead, clears } => begin.new_copy(instead, clears).await?,
        SlotPlan::CopyAgain(lsn) => begin.copy_again(lsn).await?,
    };
    Ok((begun, ground))
}

/// That changes are missing.
pub(super) fn missing(why: &str) -> Failure {
    Failure::refused(
        format!("changes are missing: {why}"),
        "say snapshot = \"again\" to have the tables copied once more; what the topic has of them is void then",
    )
}

/// Who the server is.
pub(super) async fn identify(replication: &mut PgSession) -> Result<ClusterId, Failure> {
    let doing = "ask the server who it is";
    let rows = replication.query("IDENTIFY_SYSTEM").await.map_err(|error| error.failure(doing))?;
    let mut values = rows.into_iter().next().unwrap_or_default().into_iter().flatten();
    match (values.next(), values.next().map(|text| text.parse())) {
        (Some(system), Some(Ok(timeline))) => Ok(ClusterId { system, timeline }),
        _ => Err(Failure::away(format!("{doing}: the answer is not understood"))),
    }
}

fn suits(origin: &ChangeOrigin, state: Option<&SlotState>) -> Result<(), Failure> {
    let name = &origin.slot;
    match state {
        Some(state) if state.plugin != "pgoutput" || !state.is_of_this_database => {
            Err(Failure::refused(
                format!("the slot {name} is one of another database, or not of pgoutput"),
                "name another one with the key `slot`",
            ))
        }
        None if !origin.creates => Err(Failure::refused(
            format!("the slot {name} is not there, and create = false is set"),
            format!("say SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"),
        )),
        _ => Ok(()),
    }
}

fn bookmark_at(cluster: &ClusterId, lsn: PgLsn) -> Bookmark {
    let ClusterId { system, timeline } = cluster.clone();
    Bookmark { system, timeline, lsn, inside: None, copy: None, copying: false }
}

struct BeginWith<'a> {
    origin: &'a ChangeOrigin,
    sql: PgSession,
    replication: PgSession,
    cluster: ClusterId,
    tables: Vec<PublishedTable>,
}

/// What is copied, and in front of what the slot begins.
struct CopyMoment {
    /// In a transaction that sees it.
    sql: PgSession,
    slot: PgLsn,
    is_new: bool,
    clears: bool,
}

impl BeginWith<'_> {
    async fn new_slot(mut self) -> Result<Begun, Failure> {
        let made = slot::make(&mut self.replication, &self.origin.slot).await?;
        Ok(Begun::Reading(bookmark_at(&self.cluster, made.begin)))
    }

    /// A new slot comes with a name for what was there in front of it: that is copied.
    async fn new_copy(mut self, instead: bool, clears: bool) -> Result<Begun, Failure> {
        if instead && !self.origin.creates {
            return Err(Failure::refused(
                format!(
                    "the slot {} has to be made anew, and create = false is set",
                    self.origin.slot
                ),
                "drop it and make it again, or say create = true",
            ));
        }
        if instead {
            slot::remove(&mut self.sql, &self.origin.slot).await?;
        }
        let made = slot::make(&mut self.replication, &self.origin.slot).await?;
        let mut sql = self.origin.sql().await?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            escape_literal(&made.snapshot)
        );
        sql.query(&begin).await.map_err(copy_failure)?;
        // The moment is set; now the tables are held as they are.
        lock(&self.tables, &mut sql).await?;
        self.copy(CopyMoment { sql, slot: made.begin, is_new: true, clears }).await
    }

    /// The slot goes on; the moment is now.
    async fn copy_again(self, slot: PgLsn) -> Result<Begun, Failure> {
        let mut sql = self.origin.sql().await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        sql.query(begin).await.map_err(copy_failure)?;
        // Locks do not set the moment: a table that is being rewritten would seem to be empty at one that was set before.
        lock(&self.tables, &mut sql).await?;
        self.copy(CopyMoment { sql, slot, is_new: false, clears: false }).await
    }

    async fn copy(mut self, moment: CopyMoment) -> Result<Begun, Failure> {
        let CopyMoment { sql: mut copy_sql, slot, is_new, clears } = moment;
        let snapshot =
            copy_sql.value("SELECT pg_current_snapshot()").await.map_err(copy_failure)?;
        let snapshot = snapshot
            .parse()
            .map_err(|error| Failure::away(format!("look at the moment of the copy: {error}")))?;
        // Behind everything that is seen, as it is put into the log afterwards.
        let number = self.sql.value(&word_sql("copy")).await.map_err(copy_failure)?;
        let number =
            number.parse().map_err(|error| Failure::away(format!("number the copy: {error}")))?;
        let then = Bookmark {
            copy: Some(CopyMark { snapshot, before: number, all: is_new }),
            ..bookmark_at(&self.cluster, slot)
        };
        let meanwhile = Bookmark { copying: true, ..bookmark_at(&self.cluster, slot) };
        tracing::info!(tables = self.tables.len(), "the tables are being copied");
        let run = CopyRun::start(CopyOrder {
            sql: copy_sql,
            tables: self.tables,
            system: self.cluster.system,
            number,
            at: Some(now_micros()),
            clears,
            repeats: !is_new,
        });
        Ok(Begun::Copying { run, meanwhile, then })
    }
}

async fn lock(tables: &[PublishedTable], sql: &mut PgSession) -> Result<(), Failure> {
    let locks: Vec<String> = tables.iter().map(PublishedTable::lock_sql).collect();
    sql.query(&locks.join("; ")).await.map(|_| ()).map_err(copy_failure)
}

fn copy_failure(error: PgError) -> Failure {
    error.failure("begin to copy the tables")
}
