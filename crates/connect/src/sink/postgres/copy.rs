//! The rows of a batch in a `COPY`: they are made while the server takes those in front of them.

use super::catalog::PgColumn;
use super::cells::CopyLines;
use super::statements::Statements;
use super::target::PgTarget;
use crate::batch::Batch;
use crate::failure::Failure;
use crate::place::LaneName;
use crate::postgres::session::{CopyIn, PgSession, StatementAnswer};
use crate::postgres::trouble::PgError;
use crate::table::rows::{Misfits, RowReader};

/// So much is made before it is sent: a small part of a batch, for which the server does not wait long.
const SEND_BYTES: usize = 32 << 10;

/// What is copied.
pub(super) struct RowCopy<'a> {
    pub(super) target: &'a PgTarget,
    pub(super) columns: &'a [PgColumn],
    pub(super) lane: &'a LaneName,
    pub(super) batch: &'a Batch,
}

/// A copy of which all rows have been made, and sent but for the last of them.
pub(super) struct Copying<'s> {
    copy: CopyIn<'s>,
    left: Vec<u8>,
    /// Whether all of them fit.
    fit: Result<(), Failure>,
}

impl RowCopy<'_> {
    /// Says statements, each with a semicolon behind it, and the copy, and sends rows.
    pub(super) async fn begin<'s>(
        &self,
        session: &'s mut PgSession,
        before: &str,
    ) -> Result<Copying<'s>, PgError> {
        let Self { target, columns, lane, batch } = *self;
        let layout = &target.layout;
        let statement = Statements { layout, columns }.copy();
        let mut copy = session.copy_in(&format!("{before}{statement}")).await?;
        let (mut lines, mut misfits) = (CopyLines::default(), Misfits::default());
        let mut reader = RowReader::new(layout, lane);
        for row in batch.rows() {
            let fits = reader.read(row).and_then(|_| lines.add(layout, columns, &reader));
            misfits.note(row, fits);
            if lines.text.len() >= SEND_BYTES {
                // What does not fit is found out to the end, and nothing is sent any more.
                if misfits.is_empty() {
                    copy.put(&lines.text).await?;
                }
                lines.text.clear();
            }
        }
        Ok(Copying { copy, left: lines.text, fit: misfits.none() })
    }
}

impl Copying<'_> {
    /// What the server says of the statements in front of the copy. After an error it takes no rows, and there is nothing to be
    /// ended.
    pub(super) async fn begun(&mut self) -> Result<StatementAnswer, PgError> {
        self.copy.begun().await
    }

    /// Has the server take it back: it is for nothing.
    pub(super) async fn give_up(self) -> Result<(), PgError> {
        self.copy.give_up().await
    }

    /// Sends the last rows and ends it, and says what comes next, if anything: an answer to each of them follows.
    ///
    /// # Errors
    /// [`Failure::Bad`] with all rows that do not fit; [`Failure::Unknown`], for something was said that may have been heard.
    pub(super) async fn end(self, then: Option<&str>) -> Result<(), Failure> {
        let unknown = |error: PgError| Failure::Unknown { reason: error.to_string() };
        match self.fit {
            Ok(()) => self.copy.end(&self.left, then).await.map_err(unknown),
            Err(failure) => {
                // Where that is not heard the connection is of no more use, which the next statement finds out.
                let _ = self.copy.give_up().await;
                Err(failure)
            }
        }
    }
}
