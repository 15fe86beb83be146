//! What the output plug-in `pgoutput` sends, version 1 of its protocol: messages to values.
//!
//! Any bytes are decoded or refused; a value is a piece of the message, not a copy.

use bytes::Bytes;

use super::lsn::Lsn;
use crate::postgres::fields::{Fields, Garbled};

/// A message of the plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A transaction begins; transactions come whole, in the order of their commits.
    Begin(Begin),
    /// It ends. The next one is behind `end`.
    Commit {
        /// Where the commit is.
        commit: Lsn,
        /// What is behind it.
        end: Lsn,
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
        lsn: Lsn,
        /// What it is about.
        prefix: String,
    },
}

/// The begin of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    /// Where its commit is.
    pub(super) commit: Lsn,
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
pub(super) struct Tuple(pub(super) Vec<Cell>);

/// The value of a column in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
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
pub(super) fn decode(message: Bytes) -> Result<Decoded, Garbled> {
    let mut fields = Fields::new(message);
    let decoded = match fields.u8()? {
        b'B' => Decoded::Begin(Begin {
            commit: Lsn(fields.u64()?),
            committed_at: fields.i64()?,
            xid: fields.u32()?,
        }),
        b'C' => commit(&mut fields)?,
        b'O' => {
            fields.u64()?;
            fields.text()?;
            Decoded::Origin
        }
        b'R' => Decoded::Relation(relation(&mut fields)?),
        b'Y' => Decoded::Type(NamedType {
            id: fields.u32()?,
            schema: fields.text()?,
            name: fields.text()?,
        }),
        b'I' => {
            let relation = fields.u32()?;
            tag(&mut fields, b'N')?;
            Decoded::Insert { relation, new: tuple(&mut fields)? }
        }
        b'U' => update(&mut fields)?,
        b'D' => {
            let relation = fields.u32()?;
            match fields.u8()? {
                b'K' | b'O' => Decoded::Delete { relation, old: tuple(&mut fields)? },
                _ => return Err(Garbled("a deleted row has no identity")),
            }
        }
        b'T' => truncate(&mut fields)?,
        b'M' => message_of_somebody(&mut fields)?,
        _ => return Err(Garbled("its kind is not known")),
    };
    fields.end()?;
    Ok(decoded)
}

fn commit(fields: &mut Fields) -> Result<Decoded, Garbled> {
    let _flags = fields.u8()?;
    let (commit, end) = (Lsn(fields.u64()?), Lsn(fields.u64()?));
    let _committed_at = fields.i64()?;
    Ok(Decoded::Commit { commit, end })
}

fn relation(fields: &mut Fields) -> Result<Relation, Garbled> {
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

fn update(fields: &mut Fields) -> Result<Decoded, Garbled> {
    let relation = fields.u32()?;
    let old = match fields.u8()? {
        b'K' | b'O' => {
            let old = tuple(fields)?;
            tag(fields, b'N')?;
            Some(old)
        }
        b'N' => None,
        _ => return Err(Garbled("a changed row has no values")),
    };
    Ok(Decoded::Update { relation, old, new: tuple(fields)? })
}

fn truncate(fields: &mut Fields) -> Result<Decoded, Garbled> {
    let count = fields.u32()?;
    let _options = fields.u8()?;
    let held = usize::try_from(count).unwrap_or(usize::MAX);
    if held != fields.left() / 4 {
        return Err(Garbled("the number of tables is another one"));
    }
    let relations = (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()?;
    Ok(Decoded::Truncate { relations })
}

fn message_of_somebody(fields: &mut Fields) -> Result<Decoded, Garbled> {
    let transactional = fields.u8()? & 1 == 1;
    let (lsn, prefix) = (Lsn(fields.u64()?), fields.text()?);
    let length = fields.u32()?;
    fields.bytes(length)?;
    Ok(Decoded::Message { transactional, lsn, prefix })
}

fn tag(fields: &mut Fields, expected: u8) -> Result<(), Garbled> {
    match fields.u8()? == expected {
        true => Ok(()),
        false => Err(Garbled("there is no row")),
    }
}

fn tuple(fields: &mut Fields) -> Result<Tuple, Garbled> {
    let count = usize::from(fields.u16()?);
    let mut cells = Vec::with_capacity(count.min(fields.left()));
    for _ in 0..count {
        cells.push(match fields.u8()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = fields.u32()?;
                Cell::Text(fields.bytes(length)?)
            }
            _ => return Err(Garbled("a value is not text")),
        });
    }
    Ok(Tuple(cells))
}

#[cfg(test)]
mod tests;
