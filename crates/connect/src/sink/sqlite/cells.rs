//! Values as SQLite takes them: as the text they were sent as wherever the column keeps it or converts it without loss.

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};

use crate::table::rows::Cell;

/// What a column makes of a value, from the words of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    /// Keeps text.
    Text,
    /// Makes a number of a text that is one, and keeps any other text: a time, for example.
    Number,
    /// Is said to have numbers and nothing else: a text that is none is of the wrong type, though SQLite would keep it.
    Strict,
    /// Keeps what it is given.
    Any,
}

impl Affinity {
    /// That of a type, by SQLite's own rules.
    pub(super) fn of(sql_type: &str) -> Self {
        let upper = sql_type.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
        match () {
            () if has(&["INT"]) => Self::Strict,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if has(&["BLOB"]) || upper == "ANY" => Self::Any,
            () if has(&["REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL"]) => Self::Strict,
            () => Self::Number,
        }
    }
}

/// Whether a column of numbers is given what is none.
pub(super) fn is_wrong_type(cell: &Cell<'_>, affinity: Affinity) -> bool {
    match cell {
        _ if affinity != Affinity::Strict => false,
        Cell::Text(text) => !text.trim().parse::<f64>().is_ok_and(f64::is_finite),
        Cell::Document(_) | Cell::Id(_) | Cell::Bytes(_) => true,
        Cell::Null | Cell::Number(_) | Cell::Bool(_) | Cell::Integer(_) | Cell::Time(_) => false,
    }
}

/// A value on its way into a column.
pub(super) struct Bound<'c, 'a>(pub(super) &'c Cell<'a>, pub(super) Affinity);

impl ToSql for Bound<'_, '_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let (cell, affinity) = (self.0, self.1);
        Ok(match cell {
            Cell::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Cell::Text(value) | Cell::Document(value) => {
                ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes()))
            }
            Cell::Number(number) => {
                let integer = match affinity {
                    Affinity::Text => None,
                    Affinity::Number | Affinity::Strict | Affinity::Any => {
                        number.parse::<i64>().ok()
                    }
                };
                let real = match affinity {
                    Affinity::Any if integer.is_none() => number.parse::<f64>().ok(),
                    _ => None,
                };
                match (integer, real) {
                    (Some(integer), _) => ToSqlOutput::Owned(Value::Integer(integer)),
                    (None, Some(real)) => ToSqlOutput::Owned(Value::Real(real)),
                    // Its digits are kept, or the column makes a number of them.
                    (None, None) => ToSqlOutput::Borrowed(ValueRef::Text(number.as_bytes())),
                }
            }
            Cell::Bool(value) if affinity == Affinity::Text => match value {
                true => ToSqlOutput::Borrowed(ValueRef::Text(b"true")),
                false => ToSqlOutput::Borrowed(ValueRef::Text(b"false")),
            },
            Cell::Bool(value) => ToSqlOutput::Owned(Value::Integer((*value).into())),
            Cell::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Cell::Time(at) if matches!(affinity, Affinity::Number | Affinity::Strict) => {
                ToSqlOutput::Owned(Value::Integer(at.as_microsecond()))
            }
            Cell::Time(at) => ToSqlOutput::Owned(Value::Text(at.to_string())),
            Cell::Id(id) if affinity == Affinity::Any => {
                ToSqlOutput::Owned(Value::Blob(id.as_bytes().to_vec()))
            }
            Cell::Id(id) => ToSqlOutput::Owned(Value::Text(id.to_string())),
            Cell::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
