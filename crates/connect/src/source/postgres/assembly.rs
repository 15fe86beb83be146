//! From the messages of a slot to messages of a topic, and how far they have come.
//!
//! A transaction is passed on change by change, never held. Where one was left in the middle, it is sent again from its begin, and
//! as many of its changes are passed over as are settled: the server sends the same ones in the same order.
//!
//! INV-SAME-ID: a change that is read again has the id it had before.
//!
//! What was copied is not told again, with one exception. Changes that a *repeated* copy has seen are left out only of tables
//! whose rows have no key: messages of the copy that was interrupted may be in the topic, and rows that were deleted since have
//! to be deleted there, too. For rows with a key, changes that are told once more in their order lead to the same end.

use std::collections::HashMap;

use super::bookmark::{Bookmark, Inside};
use super::change::{Op, RowChange, RowColumn, RowTable, Whence};
use super::choice::TableChoice;
use super::lsn::PgLsn;
use super::pgoutput::{NamedType, PluginMessage, Relation, TransactionBegin, Tuple, TupleCell};
use super::stream::unix_micros;
use super::value::ValueKind;
use crate::failure::Failure;
use crate::source::Incoming;

/// What is known while a slot is read.
#[derive(Debug)]
pub(super) struct Assembly {
    choice: TableChoice,
    tables: HashMap<u32, RowTable>,
    kinds: HashMap<u32, ValueKind>,
    open: Option<OpenTransaction>,
    bookmark: Bookmark,
}

/// The transaction that is being read.
#[derive(Clone, Copy, Debug)]
struct OpenTransaction {
    begin: TransactionBegin,
    /// Changes that came.
    seq: u64,
    /// Changes at its begin that are settled.
    settled: u64,
    hidden: Hidden,
}

/// Which changes of a transaction were copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    None,
    OfRowsWithoutKey,
    All,
}

impl Assembly {
    /// Goes on behind a bookmark.
    pub(super) fn new(bookmark: Bookmark, choice: TableChoice) -> Self {
        Self { choice, tables: HashMap::new(), kinds: HashMap::new(), open: None, bookmark }
    }

    /// Where to go on when all messages so far are settled.
    pub(super) fn bookmark(&self) -> &Bookmark {
        &self.bookmark
    }

    /// Whether a transaction is being read.
    pub(super) fn is_inside(&self) -> bool {
        self.open.is_some()
    }

    /// All in front of a place came.
    pub(super) fn reached(&mut self, lsn: PgLsn) {
        if self.open.is_none() {
            self.bookmark.lsn = self.bookmark.lsn.max(lsn);
            self.forget_copy(lsn);
        }
    }

    /// A table is as the server says; `key`: the names of the columns of its primary key, when all of a changed row is sent.
    pub(super) fn relation(&mut self, relation: Relation, key: Option<&[String]>) {
        let schema = if relation.schema.is_empty() { "pg_catalog" } else { &relation.schema };
        let wanted = self.choice.has(schema, &relation.name);
        // A key of which the table has not all columns any more tells nothing apart.
        let key = key.map(|names| {
            let known = |name: &String| relation.columns.iter().any(|column| column.name == *name);
            if names.iter().all(known) { names } else { &[] }
        });
        let column = |column: &super::pgoutput::RelationColumn| RowColumn {
            name: column.name.clone(),
            kind: self
                .kinds
                .get(&column.type_id)
                .copied()
                .unwrap_or(ValueKind::of_type(column.type_id)),
            identifies: column.identifies,
            key: key.map_or(column.identifies, |names| names.contains(&column.name)),
        };
        let columns = relation.columns.iter().map(column).collect();
        let name = format!("{schema}.{}", relation.name);
        self.tables.insert(relation.id, RowTable { name, wanted, columns });
    }

    /// Takes the next message of the slot; what it tells goes to `out`.
    ///
    /// # Errors
    /// It tells of a table or a transaction that was not announced, or of a value that is not UTF-8.
    pub(super) fn take(
        &mut self,
        decoded: PluginMessage,
        out: &mut Vec<Incoming>,
    ) -> Result<(), Failure> {
        match decoded {
            PluginMessage::Begin(begin) => self.begin(begin),
            PluginMessage::Commit { end, .. } => {
                self.open = None;
                self.bookmark.lsn = self.bookmark.lsn.max(end);
                self.bookmark.inside = None;
                Ok(())
            }
            PluginMessage::Origin => Ok(()),
            PluginMessage::Relation(relation) => {
                self.relation(relation, None);
                Ok(())
            }
            PluginMessage::Type(NamedType { id, schema, name }) => {
                let kind =
                    if schema.is_empty() { ValueKind::of_name(&name) } else { ValueKind::Text };
                self.kinds.insert(id, kind);
                Ok(())
            }
            PluginMessage::Message { transactional: false, lsn, .. } => {
                self.reached(lsn);
                Ok(())
            }
            change => self.change(change, out),
        }
    }

    fn begin(&mut self, begin: TransactionBegin) -> Result<(), Failure> {
        if self.open.is_some() {
            return Err(unexpected("a transaction in a transaction"));
        }
        self.forget_copy(begin.commit);
        let hidden = match &self.bookmark.copy {
            Some(copy) if copy.snapshot.contains(begin.xid) => match copy.all {
                true => Hidden::All,
                false => Hidden::OfRowsWithoutKey,
            },
            _ => Hidden::None,
        };
        let inside = self.bookmark.inside.filter(|inside| inside.commit == begin.commit);
        let settled = inside.map_or(0, |inside| inside.done);
        self.open = Some(OpenTransaction { begin, seq: 0, settled, hidden });
        Ok(())
    }

    fn forget_copy(&mut self, reached: PgLsn) {
        if self.bookmark.copy.as_ref().is_some_and(|copy| copy.before <= reached) {
            self.bookmark.copy = None;
        }
    }

    fn change(&mut self, change: PluginMessage, out: &mut Vec<Incoming>) -> Result<(), Failure> {
        let Some(open) = &mut self.open else {
            return Err(unexpected("a change outside of a transaction"));
        };
        let now = *open;
        open.seq += 1;
        if now.seq < now.settled {
            return Ok(());
        }
        assert!(
            self.bookmark.inside.is_none_or(|inside| {
                inside.commit != now.begin.commit || inside.done == now.seq
            }),
            "INV-SAME-ID: the changes of a transaction are taken one by one"
        );
        self.bookmark.inside = Some(Inside { commit: now.begin.commit, done: now.seq + 1 });
        match change {
            PluginMessage::Insert { relation, new } => {
                self.tell(relation, &now, out, |table, whence, out| {
                    let row = RowChange { op: Op::Created, before: None, after: Some(&new.0) };
                    out.push(table.message(row, &whence)?);
                    Ok(())
                })
            }
            PluginMessage::Update { relation, old, new } => {
                self.tell(relation, &now, out, |table, whence, out| {
                    update(table, whence, UpdateSides { old, new }, out)
                })
            }
            PluginMessage::Delete { relation, old } => {
                self.tell(relation, &now, out, |table, whence, out| {
                    let row = RowChange { op: Op::Deleted, before: Some(&old.0), after: None };
                    out.push(table.message(row, &whence)?);
                    Ok(())
                })
            }
            PluginMessage::Truncate { relations } => {
                let row = RowChange { op: Op::Truncated, before: None, after: None };
                for (part, relation) in (0..).zip(relations) {
                    self.tell(relation, &now, out, |table, whence, out| {
                        out.push(table.message(row, &Whence { part, ..whence })?);
                        Ok(())
                    })?;
                }
                Ok(())
            }
            // Somebody's message in a transaction.
            _ => Ok(()),
        }
    }

    fn tell(
        &self,
        relation: u32,
        open: &OpenTransaction,
        out: &mut Vec<Incoming>,
        told: impl FnOnce(&RowTable, Whence<'_>, &mut Vec<Incoming>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(table) = self.tables.get(&relation) else {
            return Err(unexpected("a change of a table that was not announced"));
        };
        let copied = match open.hidden {
            Hidden::None => false,
            Hidden::OfRowsWithoutKey => !table.is_keyed(),
            Hidden::All => true,
        };
        if copied || !table.wanted {
            return Ok(());
        }
        let whence = Whence {
            system: &self.bookmark.system,
            lsn: open.begin.commit,
            xid: Some(open.begin.xid),
            seq: open.seq,
            part: 0,
            at: unix_micros(open.begin.committed_at),
        };
        told(table, whence, out)
    }
}

/// The two sides of an update.
struct UpdateSides {
    old: Option<Tuple>,
    new: Tuple,
}

/// A row has other values. When its key is another one, it is told twice: under the new key, and that it is gone from
/// under the old one, as the two may be in different partitions.
fn update(
    table: &RowTable,
    whence: Whence<'_>,
    sides: UpdateSides,
    out: &mut Vec<Incoming>,
) -> Result<(), Failure> {
    let UpdateSides { old, mut new } = sides;
    if let Some(old) = &old {
        fill_in(table, old, &mut new);
    }
    let before = old.as_ref().map(|old| &old.0[..]);
    let row = RowChange { op: Op::Updated, before, after: Some(&new.0) };
    out.push(table.message(row, &whence)?);
    if let Some(old) = before
        && table.is_keyed()
        && !table.same_key(old, &new.0)
    {
        let gone = RowChange { op: Op::Deleted, before, after: None };
        out.push(table.message(gone, &Whence { part: 1, ..whence })?);
    }
    Ok(())
}

/// A value that was not sent because it is as before is known when what was before was sent.
fn fill_in(table: &RowTable, old: &Tuple, new: &mut Tuple) {
    for (column, (new, old)) in table.columns.iter().zip(new.0.iter_mut().zip(&old.0)) {
        if *new == TupleCell::Unchanged && column.identifies {
            *new = old.clone();
        }
    }
}

fn unexpected(what: &str) -> Failure {
    Failure::refused(
        format!("the server sends {what}, which is not understood"),
        "please report it, with the version of the server",
    )
}

#[cfg(test)]
mod tests;
