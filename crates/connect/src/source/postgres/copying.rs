//! Copying the tables as they are at one moment.
//!
//! A task reads them in one transaction and hands rows over as they are taken; so a copy is never held in memory, and whoever asks
//! for rows may stop asking at any point.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::catalog::PublishedTable;
use super::change::{Op, RowChange, Whence};
use super::lsn::PgLsn;
use super::pgoutput::TupleCell;
use crate::failure::Failure;
use crate::postgres::session::PgSession;
use crate::source::Incoming;

/// What is handed over at a time.
pub(super) const CHUNK_MESSAGES: usize = 1000;
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// A statement of a copy may find nothing for a long time, as a condition on rows decides.
const PATIENCE_TIMES: u32 = 20;

/// What is copied.
pub(super) struct CopyOrder {
    /// In a transaction that sees the moment.
    pub(super) sql: PgSession,
    pub(super) tables: Vec<PublishedTable>,
    pub(super) system: String,
    /// A place in the log behind all that is seen; no two copies have the same.
    pub(super) number: PgLsn,
    /// When, in microseconds since the Unix epoch.
    pub(super) at: Option<u64>,
    /// Whether what was told before is void, of all tables. Otherwise only what was told of tables whose rows have no key is, if
    /// `repeats`.
    pub(super) clears: bool,
    /// Whether a copy of the same tables was begun before.
    pub(super) repeats: bool,
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum CopyStep {
    /// Messages.
    Rows(Vec<Incoming>),
    /// That was all.
    Done,
}

/// A copy that is being made; ends when it is dropped.
#[derive(Debug)]
pub(super) struct CopyRun {
    steps: mpsc::Receiver<Result<CopyStep, Failure>>,
    task: JoinHandle<()>,
}

impl CopyRun {
    /// Begins.
    pub(super) fn start(order: CopyOrder) -> Self {
        let (sender, steps) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let end = order.run(&sender).await.map(|()| CopyStep::Done);
            // Nobody there: nobody wants to know.
            let _ = sender.send(end).await;
        });
        Self { steps, task }
    }

    /// The next step; nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<CopyStep, Failure> {
        let step = self.steps.recv().await;
        step.unwrap_or_else(|| Err(Failure::away("the copy of the tables ended by itself")))
    }
}

impl Drop for CopyRun {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Steps = mpsc::Sender<Result<CopyStep, Failure>>;

impl CopyOrder {
    async fn run(self, steps: &Steps) -> Result<(), Failure> {
        let Self { mut sql, tables, system, number, at, clears, repeats } = self;
        let whence = Whence { system: &system, lsn: number, xid: None, seq: 0, part: 0, at };
        let void = tables.iter().filter(|table| clears || (repeats && !table.rows.is_keyed()));
        let emptied = RowChange { op: Op::Truncated, before: None, after: None };
        let void = (0..)
            .zip(void)
            .map(|(seq, table)| table.rows.message(emptied, &Whence { seq, ..whence }));
        let _ = steps.send(Ok(CopyStep::Rows(void.collect::<Result<_, _>>()?))).await;
        let mut rows = 0_u64;
        sql.lengthen_patience(PATIENCE_TIMES);
        for table in &tables {
            rows = copy_table(&mut sql, table, &Whence { seq: rows, ..whence }, steps).await?;
        }
        tracing::info!(tables = tables.len(), rows, "the tables are copied");
        sql.close().await;
        Ok(())
    }
}

/// Copies a table; rows are numbered on from `whence`. Gives the next number.
async fn copy_table(
    sql: &mut PgSession,
    table: &PublishedTable,
    whence: &Whence<'_>,
    steps: &Steps,
) -> Result<u64, Failure> {
    let doing = format!("copy {}", table.rows.name);
    sql.copy(&table.copy_sql()).await.map_err(|error| error.failure(&doing))?;
    let (mut messages, mut bytes, mut seq) = (Vec::new(), 0, whence.seq);
    while let Some(line) = sql.copied().await.map_err(|error| error.failure(&doing))? {
        let cells = cells(&line);
        if cells.len() != table.rows.columns.len() {
            return Err(Failure::away(format!("{doing}: a row has another number of columns")));
        }
        let row = RowChange { op: Op::Read, before: None, after: Some(&cells) };
        let message = table.rows.message(row, &Whence { seq, ..*whence })?;
        seq += 1;
        bytes += message.payload.len();
        messages.push(message);
        if messages.len() >= CHUNK_MESSAGES || bytes >= CHUNK_BYTES {
            bytes = 0;
            if steps.send(Ok(CopyStep::Rows(std::mem::take(&mut messages)))).await.is_err() {
                return Ok(seq);
            }
        }
    }
    assert!(
        messages.len() < CHUNK_MESSAGES,
        "INV-CONNECT-BUDGET: rows are handed on when they are a chunk"
    );
    let _ = steps.send(Ok(CopyStep::Rows(messages))).await;
    Ok(seq)
}

/// The values of a row in the text form of `COPY`: between tabs, `\N` for none, with a few letters written by a backslash.
fn cells(line: &[u8]) -> Vec<TupleCell> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let cell = |text: &[u8]| match text {
        b"\\N" => TupleCell::Null,
        text if !text.contains(&b'\\') => TupleCell::Text(Bytes::copy_from_slice(text)),
        text => TupleCell::Text(plain(text)),
    };
    line.split(|byte| *byte == b'\t').map(cell).collect()
}

fn plain(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &[u8]) -> TupleCell {
        TupleCell::Text(Bytes::copy_from_slice(text))
    }

    #[test]
    fn rows_are_read_as_copy_writes_them() {
        assert_eq!(
            cells(b"1\t\\N\t\ta\\tb\\nc\\\\N\\\\\n"),
            [text(b"1"), TupleCell::Null, text(b""), text(b"a\tb\nc\\N\\")]
        );
        assert_eq!(cells(b"\\b\\f\\r\\v\\x"), [text(b"\x08\x0c\r\x0bx")]);
        assert_eq!(cells(b"\n"), [text(b"")]);
        assert_eq!(cells(b"\\"), [text(b"\\")]);
    }

    /// As the server writes a value.
    fn escaped(value: &[u8]) -> Vec<u8> {
        let escape = |byte: &u8| match byte {
            b'\\' => b"\\\\".to_vec(),
            b'\n' => b"\\n".to_vec(),
            b'\r' => b"\\r".to_vec(),
            b'\t' => b"\\t".to_vec(),
            8 => b"\\b".to_vec(),
            11 => b"\\v".to_vec(),
            12 => b"\\f".to_vec(),
            byte => vec![*byte],
        };
        value.iter().flat_map(escape).collect()
    }

    proptest! {
        #[test]
        fn any_values_come_back(values in prop::collection::vec(any::<Option<Vec<u8>>>(), 1..8)) {
            let written = values.iter().map(|it| it.as_ref().map_or(b"\\N".to_vec(), |it| escaped(it)));
            let mut line = written.collect::<Vec<_>>().join(&b'\t');
            line.push(b'\n');
            let expected: Vec<TupleCell> =
                values.iter().map(|it| it.as_ref().map_or(TupleCell::Null, |it| text(it))).collect();
            prop_assert_eq!(cells(&line), expected);
        }

        #[test]
        fn any_bytes_are_some_row(line in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!cells(&line).is_empty());
        }
    }
}
