//! A change of a row as a message: JSON, a key, an id.
//!
//! Part of INV-SAME-ID: the id of a change depends on where it is in the log of the database alone, that of a copied row on the
//! copy and its place in it.

use bytes::Bytes;
use galgo::UserHeaders;
use twox_hash::XxHash3_128;

use super::lsn::PgLsn;
use super::pgoutput::TupleCell;
use super::value::{ValueKind, write_text};
use crate::batch::Form;
use crate::failure::Failure;
use crate::source::Incoming;

/// A table as its rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowTable {
    /// With its schema.
    pub(super) name: String,
    /// Whether its changes are asked for.
    pub(super) wanted: bool,
    pub(super) columns: Vec<RowColumn>,
}

/// A column as its values are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowColumn {
    pub(super) name: String,
    pub(super) kind: ValueKind,
    /// Whether the server sends it of a row that was changed or deleted.
    pub(super) identifies: bool,
    /// Whether it is part of what tells the rows apart.
    pub(super) key: bool,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// It is new.
    Created,
    /// It has other values.
    Updated,
    /// It is gone.
    Deleted,
    /// It was there when the table was copied.
    Read,
    /// All rows are gone.
    Truncated,
}

impl Op {
    fn letter(self) -> &'static str {
        match self {
            Self::Created => "c",
            Self::Updated => "u",
            Self::Deleted => "d",
            Self::Read => "r",
            Self::Truncated => "t",
        }
    }
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whence<'a> {
    /// The database cluster.
    pub(super) system: &'a str,
    /// Of a change, its commit; of a copied row, the place that numbers the copy.
    pub(super) lsn: PgLsn,
    /// None of a copied row.
    pub(super) xid: Option<u32>,
    /// Which change of the transaction, or which row of the copy.
    pub(super) seq: u64,
    /// Which message of the change.
    pub(super) part: u32,
    /// When it was committed, or copied, in microseconds since the Unix epoch.
    pub(super) at: Option<u64>,
}

/// A row in front of a change and behind it, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowChange<'a> {
    pub(super) op: Op,
    pub(super) before: Option<&'a [TupleCell]>,
    pub(super) after: Option<&'a [TupleCell]>,
}

impl RowTable {
    /// Whether something tells its rows apart.
    pub(super) fn is_keyed(&self) -> bool {
        self.columns.iter().any(|column| column.key)
    }

    /// Whether two rows are the same one, by their keys.
    pub(super) fn same_key(&self, one: &[TupleCell], other: &[TupleCell]) -> bool {
        let mut pairs = self.columns.iter().zip(one.iter().zip(other));
        pairs.all(|(column, (one, other))| !column.key || one == other)
    }

    /// The message that tells of a change.
    ///
    /// # Errors
    /// A value is not UTF-8, which JSON has to be.
    pub(super) fn message(
        &self,
        change: RowChange<'_>,
        whence: &Whence<'_>,
    ) -> Result<Incoming, Failure> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"{\"before\":");
        self.write_row(&mut out, change.before, change.op != Op::Read)?;
        out.extend_from_slice(b",\"after\":");
        self.write_row(&mut out, change.after, false)?;
        out.extend_from_slice(b",\"op\":\"");
        out.extend_from_slice(change.op.letter().as_bytes());
        out.extend_from_slice(b"\",\"source\":");
        self.write_source(&mut out, change.op, whence);
        out.extend_from_slice(b",\"ts_ms\":");
        let millis = whence.at.map_or("null".to_owned(), |at| (at / 1000).to_string());
        out.extend_from_slice(millis.as_bytes());
        self.write_unchanged(&mut out, change.after);
        out.push(b'}');
        let row = change.after.or(change.before);
        Ok(Incoming {
            payload: out.into(),
            form: Form::Json,
            key: row.map_or(Ok(None), |row| self.key(row))?,
            id: Some(Self::id(change.op, whence)),
            headers: UserHeaders::new(),
            made_at: whence.at,
        })
    }

    fn write_row(
        &self,
        out: &mut Vec<u8>,
        row: Option<&[TupleCell]>,
        identity_only: bool,
    ) -> Result<(), Failure> {
        let Some(row) = row else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        out.push(b'{');
        let begin = out.len();
        for (column, cell) in self.columns.iter().zip(row) {
            if *cell == TupleCell::Unchanged || (identity_only && !column.identifies) {
                continue;
            }
            if out.len() > begin {
                out.push(b',');
            }
            write_text(out, &column.name);
            out.push(b':');
            self.write_cell(out, column, cell)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn write_cell(
        &self,
        out: &mut Vec<u8>,
        column: &RowColumn,
        cell: &TupleCell,
    ) -> Result<(), Failure> {
        match cell {
            TupleCell::Null | TupleCell::Unchanged => out.extend_from_slice(b"null"),
            TupleCell::Text(value) => {
                let value = std::str::from_utf8(value).map_err(|_| {
                    let Self { name, .. } = self;
                    Failure::refused(
                        format!("{name}: a value of column {} is not UTF-8", column.name),
                        "mend the row, or leave the table out; a database with encoding SQL_ASCII keeps such bytes",
                    )
                })?;
                column.kind.write(out, value);
            }
        }
        Ok(())
    }

    fn write_source(&self, out: &mut Vec<u8>, op: Op, whence: &Whence<'_>) {
        out.extend_from_slice(b"{\"table\":");
        write_text(out, &self.name);
        let xid = whence.xid.map_or("null".to_owned(), |xid| xid.to_string());
        let rest = format!(",\"lsn\":\"{}\",\"xid\":{xid},\"seq\":{}", whence.lsn, whence.seq);
        out.extend_from_slice(rest.as_bytes());
        if op == Op::Read {
            out.extend_from_slice(format!(",\"snapshot\":{}", whence.lsn.0).as_bytes());
        }
        out.push(b'}');
    }

    fn write_unchanged(&self, out: &mut Vec<u8>, after: Option<&[TupleCell]>) {
        let cells = self.columns.iter().zip(after.unwrap_or(&[]));
        let mut names = cells
            .filter(|(_, cell)| **cell == TupleCell::Unchanged)
            .map(|(column, _)| &column.name);
        let Some(first) = names.next() else { return };
        out.extend_from_slice(b",\"unchanged\":[");
        write_text(out, first);
        for name in names {
            out.push(b',');
            write_text(out, name);
        }
        out.push(b']');
    }

    /// What tells the row apart, with its table; none if nothing does.
    fn key(&self, row: &[TupleCell]) -> Result<Option<Bytes>, Failure> {
        if !self.is_keyed() {
            return Ok(None);
        }
        let mut out = vec![b'['];
        write_text(&mut out, &self.name);
        for (column, cell) in self.columns.iter().zip(row).filter(|(column, _)| column.key) {
            out.push(b',');
            self.write_cell(&mut out, column, cell)?;
        }
        out.push(b']');
        Ok(Some(out.into()))
    }

    fn id(op: Op, whence: &Whence<'_>) -> u128 {
        let Whence { system, lsn, xid, seq, part, at } = *whence;
        let copied = op == Op::Read;
        // The time of the commit tells apart what has the same place on two timelines.
        let place = format!("{system}\n{copied}\n{lsn}\n{xid:?}\n{at:?}\n{seq}\n{part}");
        XxHash3_128::oneshot(place.as_bytes()).max(1)
    }
}

#[cfg(test)]
mod tests;
