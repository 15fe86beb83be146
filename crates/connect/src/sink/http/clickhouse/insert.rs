//! Inserts that compare and set: rows are stored if the lane's newest row is in front of them, or none of them is.
//!
//! The rows are sent as a table beside the statement, which selects from it under a condition that ends the statement with an
//! error: that the table has a row of the lane where the batch begins, or behind. The name of the statement is the lane and where
//! the batch begins, and of two statements with a name the second is refused while the first runs. So an insert that was left
//! behind by a process that is gone, and begins when others have gone on, stores nothing (INV-ONE-STEP).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Version;
use super::query::text_literal;
use super::table::{ClickHouseSettings, PLACE_COLUMNS};
use crate::batch::{Batch, Row};
use crate::failure::Failure;
use crate::place::LaneName;

/// The table beside the statement.
const BESIDE: &str = "galgo_batch";
/// Since when types with commas and spaces are understood in the structure of a table beside a statement.
const KNOWS_LONG_TYPES: Version = Version(20, 12);

/// A column as the server describes it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TableColumn {
    pub(super) name: String,
    #[serde(rename = "type")]
    sql_type: String,
    #[serde(rename = "default_kind")]
    kind: String,
    #[serde(rename = "default_expression")]
    default: String,
}

impl TableColumn {
    /// The statement that tells of all columns of a table.
    pub(super) fn query(table: &ClickHouseSettings) -> String {
        format!(
            "SELECT name, type, default_kind, default_expression FROM system.columns \
             WHERE database = {} AND table = {} FORMAT JSONEachRow",
            text_literal(&table.database),
            text_literal(&table.table)
        )
    }

    /// The columns in the answer.
    pub(super) fn read(answer: &str) -> Result<Vec<Self>, Failure> {
        let columns = answer.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        columns.map_err(|_| {
            Failure::refused(
                "the target's list of columns cannot be read",
                "look at url: does ClickHouse answer there?",
            )
        })
    }

    fn is_written(&self) -> bool {
        matches!(&self.kind[..], "" | "DEFAULT")
    }

    fn is_place(&self) -> bool {
        self.name.starts_with("galgo_")
    }
}

/// A column of the rows that are sent.
#[derive(Debug)]
struct SentColumn {
    name: String,
    sql_type: String,
    /// It goes as text and is made what it is by the statement: the server does not understand its type beside a statement.
    as_text: bool,
    /// Its name in what is sent, which no statement has to quote.
    sent_as: String,
    /// What it is where a row does not have it; a column beside it tells whether the row has.
    default: Option<String>,
}

impl SentColumn {
    fn tells(&self) -> String {
        format!("{}_is_there", self.sent_as)
    }

    /// A text that is a value of its type: that which the type has where nothing is said.
    fn nothing(&self) -> Option<String> {
        let kind = &self.sql_type;
        if kind.starts_with("Decimal") {
            return Some("\"0\"".to_owned());
        }
        if kind.starts_with("DateTime") {
            return Some("\"1970-01-01 00:00:00\"".to_owned());
        }
        let first = kind.strip_prefix("Enum").and_then(|rest| rest.split('\'').nth(1))?;
        Some(serde_json::Value::from(first).to_string())
    }

    fn selected(&self) -> String {
        let value = match self.as_text {
            true => format!("CAST({} AS {})", self.sent_as, self.sql_type),
            false => self.sent_as.clone(),
        };
        // Named as the column, so that what others are made of by default is what goes into the table.
        let name = quoted(&self.name);
        match &self.default {
            None => format!("{value} AS {name}"),
            Some(default) => format!(
                "if({}, {value}, CAST(({default}) AS {})) AS {name}",
                self.tells(),
                self.sql_type
            ),
        }
    }
}

/// How the rows of a pipeline are inserted into its table.
#[derive(Debug)]
pub(super) struct InsertPlan {
    columns: Vec<SentColumn>,
    envelope: bool,
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

impl InsertPlan {
    /// For a table with these columns.
    ///
    /// # Errors
    /// [`Failure::Refused`]: a column of a type that this version of the server takes in no such insert.
    pub(super) fn new(
        table: &ClickHouseSettings,
        columns: &[TableColumn],
        version: Version,
    ) -> Result<Self, Failure> {
        let wanted = table.own_columns();
        let is_wanted = |column: &&TableColumn| {
            let named = wanted.iter().any(|(name, _)| *name == column.name);
            !column.is_place() && column.is_written() && (wanted.is_empty() || named)
        };
        let mut sent = Vec::new();
        for column in columns.iter().filter(is_wanted) {
            let long = column.sql_type.contains([',', ' ', '\'']) && version < KNOWS_LONG_TYPES;
            let held = ["Array(", "Tuple(", "Nested("];
            if long && held.iter().any(|holds| column.sql_type.starts_with(holds)) {
                return Err(Failure::refused(
                    format!(
                        "table {}: this version takes no column {} of type {}",
                        table.name(),
                        column.name,
                        column.sql_type
                    ),
                    "leave it out: name the others in columns of [to.http.clickhouse]",
                ));
            }
            sent.push(SentColumn {
                name: column.name.clone(),
                sql_type: column.sql_type.clone(),
                as_text: long,
                sent_as: format!("galgo_in_{}", sent.len()),
                // Of an envelope the payload is always there.
                default: (!table.envelope && column.kind == "DEFAULT")
                    .then(|| column.default.clone()),
            });
        }
        Ok(Self { columns: sent, envelope: table.envelope })
    }

    /// The statement for a batch, and the table beside it.
    pub(super) fn statement(
        &self,
        table: &ClickHouseSettings,
        lane: &LaneName,
        batch: &Batch,
    ) -> String {
        let place = PLACE_COLUMNS.iter().map(|(name, _)| (*name).to_owned());
        let into: Vec<String> =
            place.clone().chain(self.columns.iter().map(|column| quoted(&column.name))).collect();
        let selected: Vec<String> =
            place.chain(self.columns.iter().map(SentColumn::selected)).collect();
        assert_eq!(into.len(), selected.len(), "INV-ONE-STEP: each column has its value");
        let (name, made, rows) = (table.name(), batch.end().topic_made_at, batch.rows().len());
        let begin = batch.begin();
        let topic = text_literal(&super::topic_of(lane));
        let partition = lane.partition;
        // A batch that came in part, its sender gone, is no number to divide by; a row at its place or behind throws.
        format!(
            "INSERT INTO {name} ({}) SELECT {} FROM {BESIDE} \
             WHERE intDiv(1, (SELECT count() FROM {BESIDE}) = {rows}) = 1 \
             AND throwIf((SELECT count() FROM {name} WHERE galgo_topic = {topic} AND galgo_partition = {partition} \
             AND (galgo_made > {made} OR (galgo_made = {made} AND galgo_offset >= {begin}))) > 0) = 0",
            into.join(", "),
            selected.join(", ")
        )
    }

    /// What the server is told of the table beside the statement.
    pub(super) fn beside(&self) -> Beside {
        let mut structure: Vec<String> =
            PLACE_COLUMNS.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        for column in &self.columns {
            let kind = match (column.as_text, column.sql_type.starts_with("Nullable(")) {
                (true, true) => "Nullable(String)",
                (true, false) => "String",
                (false, _) => &column.sql_type,
            };
            structure.push(format!("{} {kind}", column.sent_as));
            if column.default.is_some() {
                structure.push(format!("{} UInt8", column.tells()));
            }
        }
        Beside { name: BESIDE, structure: structure.join(", ") }
    }

    /// The line of a row: where it comes from, and those of its fields that are columns.
    ///
    /// # Errors
    /// Why it is no row.
    pub(super) fn line(
        &self,
        lane: &LaneName,
        topic_made_at: u64,
        row: &Row,
    ) -> Result<Bytes, String> {
        let place = super::place_of(lane, topic_made_at, row);
        let document = crate::sink::http::line(row)?;
        if self.envelope {
            let column = self.columns.first().map_or("payload", |column| &column.sent_as);
            return super::enveloped(&place, column, &document);
        }
        let mut fields = super::fields_of(&document)?;
        let mut line = place;
        line.truncate(line.trim_end_matches('}').len());
        for column in &self.columns {
            let field = fields.remove(&column.name[..]).filter(|field| field.get() != "null");
            if column.default.is_some() {
                member(&mut line, &column.tells(), if field.is_some() { "1" } else { "0" });
            }
            let Some(field) = field else {
                // The statement makes what it is of the text even where the row does not have it.
                if let Some(nothing) = column.nothing().filter(|_| column.as_text) {
                    member(&mut line, &column.sent_as, &nothing);
                }
                continue;
            };
            let raw = field.get();
            match column.as_text && !raw.starts_with('"') {
                true => member(&mut line, &column.sent_as, &format!("\"{raw}\"")),
                false => member(&mut line, &column.sent_as, raw),
            }
        }
        line.push('}');
        Ok(line.into())
    }
}

/// A table that is sent beside a statement.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) name: &'static str,
    pub(super) structure: String,
}

impl Beside {
    /// The body of a request with these lines, and the type of its content.
    pub(super) fn body(&self, lines: &Bytes) -> BesideBody {
        // Random, so that no row can end the part.
        let boundary = format!("galgo-{}", uuid::Uuid::new_v4().simple());
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{0}\"; filename=\"{0}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.name
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        BesideBody {
            bytes: [head.as_bytes(), lines, tail.as_bytes()].concat().into(),
            content_type: format!("multipart/form-data; boundary={boundary}"),
        }
    }
}

/// A body with rows in it.
#[derive(Debug)]
pub(super) struct BesideBody {
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
}

fn member(line: &mut String, name: &str, raw: &str) {
    line.push(',');
    line.push_str(&serde_json::Value::from(name).to_string());
    line.push(':');
    line.push_str(raw);
}

/// The members of a document, by name.
pub(super) type DocumentFields<'a> = BTreeMap<std::borrow::Cow<'a, str>, &'a RawValue>;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(version: Version, columns: &str) -> Result<InsertPlan, Failure> {
        let table = toml::from_str("table = 'orders'").unwrap();
        InsertPlan::new(&table, &TableColumn::read(columns).unwrap(), version)
    }

    const COLUMNS: &str = r#"{"name":"galgo_offset","type":"UInt64","default_kind":"","default_expression":""}
{"name":"price","type":"Decimal(12, 2)","default_kind":"","default_expression":""}
{"name":"at","type":"DateTime","default_kind":"DEFAULT","default_expression":"now()"}
{"name":"sum","type":"UInt64","default_kind":"MATERIALIZED","default_expression":"1"}"#;

    #[test]
    fn columns_go_as_the_version_takes_them() {
        let old = plan(Version(18, 16), COLUMNS).unwrap();
        let beside = old.beside().structure;
        let end =
            "galgo_id String, galgo_in_0 String, galgo_in_1 DateTime, galgo_in_1_is_there UInt8";
        assert!(beside.ends_with(end), "{beside}");
        let selected: Vec<_> = old.columns.iter().map(SentColumn::selected).collect();
        let expected = [
            "CAST(galgo_in_0 AS Decimal(12, 2)) AS `price`",
            "if(galgo_in_1_is_there, galgo_in_1, CAST((now()) AS DateTime)) AS `at`",
        ];
        assert_eq!(selected, expected);
        let new = plan(Version(24, 1), COLUMNS).unwrap();
        assert!(new.beside().structure.contains("galgo_in_0 Decimal(12, 2)"));
        let nothing: Vec<_> = old.columns.iter().map(SentColumn::nothing).collect();
        assert_eq!(nothing, [Some("\"0\"".to_owned()), Some("\"1970-01-01 00:00:00\"".to_owned())]);
        let list = r#"{"name":"l","type":"Array(Decimal(9, 2))","default_kind":"","default_expression":""}"#;
        let refused = plan(Version(18, 16), list).unwrap_err().to_string();
        assert!(refused.contains("takes no column l of type Array(Decimal(9, 2))"), "{refused}");
        plan(Version(21, 1), list).unwrap();
    }

    #[test]
    fn no_row_can_end_its_part() {
        let body =
            Beside { name: BESIDE, structure: String::new() }.body(&Bytes::from_static(b"x"));
        let other =
            Beside { name: BESIDE, structure: String::new() }.body(&Bytes::from_static(b"x"));
        assert_ne!(body.content_type, other.content_type);
        assert!(body.bytes.ends_with(b"--\r\n"));
    }
}
