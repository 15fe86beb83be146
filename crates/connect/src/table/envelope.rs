//! The table that takes any message: its place, what is known of it, and its payload.
//!
//! A transform may make several rows of a message, so `part` is in the key: it is 0 where there is one row, and otherwise tells
//! them apart.

use super::columns::{Column, Origin};
use super::{Dialect, PayloadForm};

/// The columns of its key.
pub(crate) const KEY: [&str; 4] = ["topic", "partition", "offset", "part"];

/// The types of its columns in a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvelopeTypes {
    pub(crate) text: &'static str,
    pub(crate) integer: &'static str,
    pub(crate) big_integer: &'static str,
    pub(crate) time: &'static str,
    pub(crate) id: &'static str,
    pub(crate) json: &'static str,
    pub(crate) bytes: &'static str,
}

/// Its columns.
pub(super) fn columns(payload: PayloadForm, dialect: &Dialect) -> Vec<Column> {
    let types = &dialect.envelope;
    let column = |name: &str, origin, sql_type: &str, nullable| Column {
        name: name.to_owned(),
        origin,
        sql_type: sql_type.to_owned(),
        is_document: sql_type == types.json,
        refuses_nul: dialect.refuses_nul == Some(sql_type),
        nullable,
    };
    let of_payload = match payload {
        PayloadForm::Json => types.json,
        PayloadForm::Text => types.text,
        PayloadForm::Bytes => types.bytes,
    };
    vec![
        column("topic", Origin::Topic, types.text, false),
        column("partition", Origin::Partition, types.integer, false),
        column("offset", Origin::Offset, types.big_integer, false),
        column("part", Origin::Part, types.integer, false),
        column("time", Origin::Time, types.time, false),
        column("id", Origin::Id, types.id, false),
        column("headers", Origin::Headers, types.json, false),
        // Null is what an empty payload is as JSON.
        column("payload", Origin::Payload(payload), of_payload, payload == PayloadForm::Json),
    ]
}
