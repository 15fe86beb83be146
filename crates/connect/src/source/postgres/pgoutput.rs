//! What the output plug-in `pgoutput` sends, version 1 of its protocol: messages to values.
//!
//! Any bytes are decoded or refused; a value is a piece of the message, not a copy.

use bytes::Bytes;

use super::lsn::PgLsn;
use crate::postgres::fields::{GarbledMessage, MessageFields};

/// A message of the plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PluginMessage {
    /// A transaction begins; transactions come whole, in the order of their commits.
    Begin(TransactionBegin),
    /// It ends. The next one is behind `end`.
    Commit {
        /// Where the commit is.
        commit: PgLsn,
        /// What is behind it.
        end: PgLsn,
    },
    /// The transaction came from elsewhere.
    Origin,
    /// What the rows of a table are made of, in front of the first of them and after each change of the table.
    Relation(Relation),
    /// A type that somebody made.
    Type(NamedType),
    /// A row was inserted.
    Insert {
        /// Into which table.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A row was changed.
    Update {
        /// In which table.
        relation: u32,
        /// What was in it before: the replica identity if that was changed, or all of it.
        old: Option<Tuple>,
        /// What is in it now.
        new: Tuple,
    },
    /// A row was deleted.
    Delete {
        /// From which table.
        relation: u32,
        /// Its replica identity, or all of it.
        old: Tuple,
    },
    /// Tables were emptied.
    Truncate {
        /// Which.
        relations: Vec<u32>,
    },
    /// A message that somebody put into the log.
    Message {
        /// Whether it is part of a transaction.
        transactional: bool,
        /// Where it is.
        lsn: PgLsn,
        /// What it is about.
        prefix: String,
    },
}

/// The begin of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransactionBegin {
    /// Where its commit is.
    pub(super) commit: PgLsn,
    /// When it was committed, in microseconds since the year 2000.
    pub(super) committed_at: i64,
    /// Its number, without the epoch.
    pub(super) xid: u32,
}

/// What the rows of a table are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    /// Empty for `pg_catalog`.
    pub(super) schema: String,
    pub(super) name: String,
    /// `d`efault, `n`othing, `f`ull or an `i`ndex.
    pub(super) identity: u8,
    pub(super) columns: Vec<RelationColumn>,
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RelationColumn {
    /// Whether it is part of the replica identity.
    pub(super) identifies: bool,
    pub(super) name: String,
    pub(super) type_id: u32,
}

/// A type that somebody made; of a domain, the name is that of the type below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedType {
    pub(super) id: u32,
    /// Empty for `pg_catalog`.
    pub(super) schema: String,
    pub(super) name: String,
}

/// A row, or what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tuple(pub(super) Vec<TupleCell>);

/// The value of a column in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TupleCell {
    /// None.
    Null,
    /// As it was: it is stored apart, and was not sent.
    Unchanged,
    /// The value as text.
    Text(Bytes),
}

/// Decodes a message.
///
/// # Errors
/// What does not make it one.
pub(super) fn decode(message: Bytes) -> Result<PluginMessage, GarbledMessage> {
    let mut fields = MessageFields::new(message);
    let decoded = match fields.u8()? {
        b'B' => PluginMessage::Begin(TransactionBegin {
            commit: PgLsn(fields.u64()?),
            committed_at: fields.i64()?,
            xid: fields.u32()?,
        }),
        b'C' => commit(&mut fields)?,
        b'O' => {
            fields.u64()?;
            fields.text()?;
            PluginMessage::Origin
        }
        b'R' => PluginMessage::Relation(relation(&mut fields)?),
        b'Y' => PluginMessage::Type(NamedType {
            id: fields.u32()?,
            schema: fields.text()?,
            name: fields.text()?,
        }),
        b'I' => {
            let relation = fields.u32()?;
            tag(&mut fields, b'N')?;
            PluginMessage::Insert { relation, new: tuple(&mut fields)? }
        }
        b'U' => update(&mut fields)?,
        b'D' => {
            let relation = fields.u32()?;
            match fields.u8()? {
                b'K' | b'O' => PluginMessage::Delete { relation, old: tuple(&mut fields)? },
                _ => return Err(GarbledMessage("a deleted row has no identity")),
            }
        }
        b'T' => truncate(&mut fields)?,
        b'M' => message_of_somebody(&mut fields)?,
        _ => return Err(GarbledMessage("its kind is not known")),
    };
    fields.end()?;
    Ok(decoded)
}

fn commit(fields: &mut MessageFields) -> Result<PluginMessage, GarbledMessage> {
    let _flags = fields.u8()?;
    let (commit, end) = (PgLsn(fields.u64()?), PgLsn(fields.u64()?));
    let _committed_at = fields.i64()?;
    Ok(PluginMessage::Commit { commit, end })
}

fn relation(fields: &mut MessageFields) -> Result<Relation, GarbledMessage> {
    let (id, schema, name) = (fields.u32()?, fields.text()?, fields.text()?);
    let identity = fields.u8()?;
    let count = usize::from(fields.u16()?);
    // A column has at least ten bytes.
    let mut columns = Vec::with_capacity(count.min(fields.left() / 10));
    for _ in 0..count {
        let flags = fields.u8()?;
        let (name, type_id) = (fields.text()?, fields.u32()?);
        let _modifier = fields.u32()?;
        columns.push(RelationColumn { identifies: flags & 1 == 1, name, type_id });
    }
    Ok(Relation { id, schema, name, identity, columns })
}

fn update(fields: &mut MessageFields) -> Result<PluginMessage, GarbledMessage> {
    let relation = fields.u32()?;
    let old = match fields.u8()? {
        b'K' | b'O' => {
            let old = tuple(fields)?;
            tag(fields, b'N')?;
            Some(old)
        }
        b'N' => None,
        _ => return Err(GarbledMessage("a changed row has no values")),
    };
    Ok(PluginMessage::Update { relation, old, new: tuple(fields)? })
}

fn truncate(fields: &mut MessageFields) -> Result<PluginMessage, GarbledMessage> {
    let count = fields.u32()?;
    let _options = fields.u8()?;
    if usize::try_from(count) != Ok(fields.left() / 4) {
        return Err(GarbledMessage("the number of tables is another one"));
    }
    let relations = (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()?;
    Ok(PluginMessage::Truncate { relations })
}

fn message_of_somebody(fields: &mut MessageFields) -> Result<PluginMessage, GarbledMessage> {
    let transactional = fields.u8()? & 1 == 1;
    let (lsn, prefix) = (PgLsn(fields.u64()?), fields.text()?);
    let length = fields.u32()?;
    fields.bytes(length)?;
    Ok(PluginMessage::Message { transactional, lsn, prefix })
}

fn tag(fields: &mut MessageFields, expected: u8) -> Result<(), GarbledMessage> {
    match fields.u8()? == expected {
        true => Ok(()),
        false => Err(GarbledMessage("there is no row")),
    }
}

fn tuple(fields: &mut MessageFields) -> Result<Tuple, GarbledMessage> {
    let count = usize::from(fields.u16()?);
    let mut cells = Vec::with_capacity(count.min(fields.left()));
    for _ in 0..count {
        cells.push(match fields.u8()? {
            b'n' => TupleCell::Null,
            b'u' => TupleCell::Unchanged,
            b't' => {
                let length = fields.u32()?;
                TupleCell::Text(fields.bytes(length)?)
            }
            _ => return Err(GarbledMessage("a value is not text")),
        });
    }
    Ok(Tuple(cells))
}

#[cfg(test)]
mod tests;
