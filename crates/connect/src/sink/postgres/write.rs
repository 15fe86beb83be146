//! A batch in one transaction (INV-ONE-STEP): the lane's row is moved first, by compare-and-set, then come the rows.
//!
//! A connection is put back only when the server has said its last word on the transaction; where the future is dropped in between it is
//! closed, and the server takes the transaction back.

use async_trait::async_trait;

use std::sync::Arc;

use super::catalog::{self, PgColumn};
use super::cells;
use super::copy::RowCopy;
use super::frozen;
use super::merge::{Deed, Merged, Turn};
use super::positions::{self, Move};
use super::statements::Statements;
use super::target::{PgTarget, session_name};
use crate::batch::Batch;
use crate::failure::Failure;
use crate::place::{LaneName, Position};
use crate::postgres::session::{PgSession, StatementAnswer, TextRow};
use crate::postgres::trouble::PgError;
use crate::sink::Sink;
use crate::table::Mode;
use crate::table::positions::of_table;
use crate::table::rows::{Change, Misfit, RowReader, read_all};

/// A lock was waited for in vain.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A connection, opened when it is used.
pub(super) struct PgSink {
    target: Arc<PgTarget>,
    open: Option<PgWriter>,
}

/// An open connection.
pub(super) struct PgWriter {
    pub(super) session: PgSession,
    /// The columns as they are in the table; read again after something did not fit.
    columns: Option<Vec<PgColumn>>,
}

impl PgSink {
    pub(super) fn new(target: Arc<PgTarget>) -> Self {
        Self { target, open: None }
    }

    async fn take(&mut self) -> Result<PgWriter, Failure> {
        match self.open.take() {
            Some(open) => Ok(open),
            None => Ok(PgWriter::new(self.target.open().await?)),
        }
    }
}

#[async_trait]
impl Sink for PgSink {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        let mut open = self.take().await?;
        let target = &self.target;
        let found = positions::read(&mut open.session, &target.positions, lane).await;
        let found = found.map_err(|error| target.failure(error))?;
        self.open = Some(open);
        let target = &self.target;
        target.fresh.note(lane, found.is_some());
        let Some(row) = found else { return Ok(None) };
        of_table(positions::stored(&row, lane)?, lane, &target.layout.name).map(Some)
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let mut open = self.take().await?;
        let written = open.write(&self.target, lane, batch).await;
        match &written {
            Ok(()) => self.target.fresh.note(lane, true),
            Err(Failure::Moved | Failure::Bad { .. } | Failure::Batch { .. }) => {
                open.columns = None;
                if !open.session.is_idle() && open.session.run("ROLLBACK").await.is_err() {
                    return written;
                }
            }
            // It is opened again, and what it logs in with is read again.
            Err(_) => return written,
        }
        self.open = Some(open);
        written
    }

    async fn set_position(&mut self, lane: &LaneName, position: &Position) -> Result<(), Failure> {
        let mut open = self.take().await?;
        let to = Move::anyway(&self.target.places(), lane, position)?;
        let moved = to.make(&mut open.session).await;
        moved.map_err(|error| self.target.failure(error))?;
        self.target.fresh.note(lane, true);
        self.open = Some(open);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        if let Some(open) = self.open.take() {
            open.session.close().await;
        }
        Ok(())
    }
}

impl PgWriter {
    pub(super) fn new(session: PgSession) -> Self {
        Self { session, columns: None }
    }

    async fn write(
        &mut self,
        target: &PgTarget,
        lane: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let to = Move::of_batch(&target.places(), lane, batch, target.fresh.has(lane))?;
        let name = session_name(&format!("{}/{lane}", lane.pipeline));
        let opening = format!("{}; {}", target.begin_sql(&name), to.sql);
        let is_blocked = target.waits(lane) >= frozen::WAITS_MAX;
        if target.layout.mode == Mode::Append && !is_blocked && !batch.rows().is_empty() {
            return self.append(target, lane, batch, &format!("{opening}; ")).await;
        }
        let moved = match is_blocked {
            true => {
                let begun = target.begin(&mut self.session, &name).await;
                begun.map_err(|error| target.failure(error))?;
                frozen::make_way(target, &mut self.session, lane, &to).await
            }
            false => self.session.run(&opening).await.map(|answer| Move::is_made(&answer)),
        };
        is_moved(target, lane, moved)?;
        self.put_rows(target, lane, batch).await?;
        is_committed(target, self.session.run("COMMIT").await)
    }

    /// Moves the lane, puts all rows and commits, and waits for the server as little as can be: rows are on their way while it moves
    /// the lane, and `COMMIT` is said behind them as soon as it has said that the lane was where the batch begins.
    async fn append(
        &mut self,
        target: &PgTarget,
        lane: &LaneName,
        batch: &Batch,
        opening: &str,
    ) -> Result<(), Failure> {
        // Known before the transaction begins, in which nothing is asked.
        let columns = self.columns(target).await?;
        let copy = RowCopy { target, columns: &columns, lane, batch };
        let copying = copy.begin(&mut self.session, opening).await;
        let mut copying = copying.map_err(|error| target.failure(error))?;
        let moved = copying.begun().await.map(|answer| Move::is_made(&answer));
        if let Err(failure) = is_moved(target, lane, moved) {
            // After an error there is no copy any more.
            if failure == Failure::Moved {
                copying.give_up().await.map_err(|error| target.failure(error))?;
            }
            return Err(failure);
        }
        copying.end(Some("COMMIT")).await?;
        match self.session.answer().await {
            Ok(_) => {}
            Err(error @ PgError::Server(_)) if !error.is_fatal() => {
                // To commit what has failed is to take it back; the answer says so.
                let _ = self.session.answer().await;
                return Err(of_rows(target, error, Some(batch)));
            }
            Err(error) => return Err(Failure::Unknown { reason: error.to_string() }),
        }
        self.columns = Some(columns);
        is_committed(target, self.session.answer().await)
    }

    /// Puts all rows; what is wrong with them is a failure, and the transaction is over then.
    pub(super) async fn put_rows(
        &mut self,
        target: &PgTarget,
        lane: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        if batch.rows().is_empty() {
            return Ok(());
        }
        let columns = self.columns(target).await?;
        let put = match target.layout.mode {
            Mode::Append => self.copy(&RowCopy { target, columns: &columns, lane, batch }).await,
            Mode::Upsert | Mode::Mirror => self.merge(target, &columns, lane, batch).await,
        };
        self.columns = Some(columns);
        put
    }

    async fn columns(&mut self, target: &PgTarget) -> Result<Vec<PgColumn>, Failure> {
        match self.columns.take() {
            Some(columns) => Ok(columns),
            None => catalog::columns(&mut self.session, &target.layout)
                .await
                .map_err(|error| target.failure(error)),
        }
    }

    async fn copy(&mut self, rows: &RowCopy<'_>) -> Result<(), Failure> {
        let RowCopy { target, batch, .. } = *rows;
        let failure = |error| target.failure(error);
        let mut copying = rows.begin(&mut self.session, "").await.map_err(failure)?;
        copying.begun().await.map_err(failure)?;
        copying.end(None).await?;
        let copied = self.session.answer().await;
        copied.map(drop).map_err(|error| of_rows(target, error, Some(batch)))
    }

    async fn merge(
        &mut self,
        target: &PgTarget,
        columns: &[PgColumn],
        lane: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let layout = &target.layout;
        let mut merged = Merged::new(layout.newer.is_some());
        let add = |row: &RowReader<'_>, change: Change| {
            let texts = cells::texts(layout, columns, row)?;
            let text_of = |index: &usize| texts.get(*index).cloned().flatten();
            let key: TextRow = layout.key.iter().map(text_of).collect();
            // One that may be left out may be null elsewhere.
            if key.iter().any(Option::is_none) {
                return Err(Misfit("there is no value for a column of the key".to_owned()));
            }
            merged.add(
                key,
                match (change, row.unchanged.is_empty()) {
                    (Change::Delete, _) => Deed::Delete(texts),
                    (Change::Put, true) => Deed::Put(vec![texts]),
                    (Change::Put, false) => Deed::Part(texts, row.unchanged.clone()),
                },
            );
            Ok(())
        };
        read_all(layout, lane, batch, add)?;
        let statements = Statements { layout, columns };
        for turn in merged.turns() {
            self.take_turn(&statements, turn)
                .await
                .map_err(|error| of_rows(target, error, None))?;
        }
        Ok(())
    }

    async fn take_turn(&mut self, statements: &Statements<'_>, turn: Turn) -> Result<(), PgError> {
        if !turn.deletes.is_empty() {
            let key = &statements.layout.key;
            self.say(&statements.delete(), &turn.deletes, key).await?;
        }
        let all = statements.all();
        if !turn.puts.is_empty() {
            self.say(&statements.put(), &turn.puts, &all).await?;
        }
        for (out, rows) in &turn.parts {
            let known: Vec<usize> =
                all.iter().copied().filter(|index| !out.contains(index)).collect();
            for sql in statements.put_parts(&known) {
                self.say(&sql, rows, &known).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, sql: &str, rows: &[TextRow], columns: &[usize]) -> Result<(), PgError> {
        let values: Vec<String> =
            columns.iter().map(|index| cells::column_of(rows, *index)).collect();
        let values: Vec<Option<&str>> = values.iter().map(|text| Some(text.as_str())).collect();
        self.session.run_with(sql, &values).await.map(drop)
    }
}

/// That the server says so of a lane.
fn is_moved(
    target: &PgTarget,
    lane: &LaneName,
    moved: Result<bool, PgError>,
) -> Result<(), Failure> {
    match moved {
        Ok(true) => {
            target.waits_no_more(lane);
            Ok(())
        }
        Ok(false) => Err(Failure::Moved),
        Err(error) if error.code() == Some(LOCK_NOT_AVAILABLE) => {
            target.kept_waiting(lane);
            let name = &target.positions;
            Err(Failure::away(format!(
                "the row of {lane} in {name} is locked by another session: of a process that is frozen, or still at work"
            )))
        }
        Err(error) => Err(target.failure(error)),
    }
}

/// That the server says so of a transaction.
fn is_committed(target: &PgTarget, said: Result<StatementAnswer, PgError>) -> Result<(), Failure> {
    match said {
        Ok(answer) if answer.done == "COMMIT" => Ok(()),
        Ok(_) => Err(Failure::away("the server took the transaction back")),
        Err(error @ PgError::Server(_)) if !error.is_fatal() => Err(of_rows(target, error, None)),
        // Also when it said why it ends: it may have been committed by then.
        Err(error) => Err(Failure::Unknown { reason: error.to_string() }),
    }
}

/// What an error means that came of rows; `copied` is the batch whose rows are the lines of a copy.
fn of_rows(target: &PgTarget, error: PgError, copied: Option<&Batch>) -> Failure {
    let PgError::Server(words) = &error else { return target.failure(error) };
    if !words.is_of_values() {
        return target.failure(error);
    }
    // A name with such words in it would be taken for the line.
    let is_plain = !target.layout.name.table.contains(", line ");
    let line = words.line.filter(|_| is_plain).and_then(|line| line.checked_sub(1));
    let row = line.and_then(|line| copied?.rows().get(line));
    let reason = words.to_string();
    match row {
        Some(row) => Failure::Bad { places: vec![row.place], reason },
        None => Failure::Batch { reason },
    }
}
