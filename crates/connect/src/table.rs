//! Rows of a table, made of messages: what all SQL targets share.
//!
//! A section says which columns there are and where their values come from; without columns the table is the envelope, which
//! takes any message. Values go to the database as the text they were sent as, digit for digit, and the database parses them.
//!
//! Part of INV-MUTE: what is said of a row that does not fit names its column and never its value.

pub(crate) mod columns;
pub(crate) mod envelope;
pub(crate) mod name;
pub(crate) mod path;
pub(crate) mod positions;
pub(crate) mod rows;
pub(crate) mod shape;

use serde::Deserialize;
use toml::Table;

use crate::config::ConfigError;
use crate::table::columns::{Column, ColumnSettings, Origin};
use crate::table::name::{TableName, is_type};
use crate::table::path::{FieldTree, Path};

/// What is done with a row that has the key of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Rows are added.
    #[default]
    Append,
    /// A row takes the place of the one with its key.
    Upsert,
    /// The table becomes what changes tell: rows come, change and go.
    Mirror,
}

/// What is done with a NUL in a text, which no text of a database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Nul {
    /// The message is bad.
    #[default]
    Bad,
    /// It is left out.
    Strip,
}

/// What is done with columns that the file has and the table has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Evolve {
    /// The pipeline does not start.
    #[default]
    None,
    /// They are added, nullable.
    Add,
}

/// What the envelope keeps a payload as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    /// A document of JSON.
    Json,
    /// Text.
    Text,
    /// Bytes as they are.
    Bytes,
}

/// What a section says of its table.
#[derive(Clone, Debug)]
pub(crate) struct TableSettings {
    pub(crate) section: String,
    pub(crate) table: String,
    pub(crate) mode: Mode,
    pub(crate) key: Vec<String>,
    pub(crate) newer: Option<String>,
    pub(crate) columns: Option<Table>,
    pub(crate) rest: Option<String>,
    pub(crate) nul: Nul,
    pub(crate) evolve: Evolve,
    /// What the envelope keeps a payload as.
    pub(crate) payload: PayloadForm,
}

/// What the words of types are in a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// The type of the column of what no column takes.
    pub(crate) document: &'static str,
    /// The types of the envelope.
    pub(crate) envelope: envelope::EnvelopeTypes,
    /// The type of documents that refuses an escaped NUL.
    pub(crate) refuses_nul: Option<&'static str>,
}

/// A table and how messages become its rows.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Its name.
    pub(crate) name: TableName,
    /// What is done with rows of one key.
    pub(crate) mode: Mode,
    /// Its columns, in order.
    pub(crate) columns: Vec<Column>,
    /// The columns of its key, by index.
    pub(crate) key: Vec<usize>,
    /// The column that tells which of two rows is newer, by index.
    pub(crate) newer: Option<usize>,
    /// What is done with NUL in texts.
    pub(crate) nul: Nul,
    /// What is done with columns that are missing.
    pub(crate) evolve: Evolve,
    /// The fields of payloads that columns read.
    pub(super) fields: FieldTree,
}

impl Layout {
    /// What a section says, checked.
    ///
    /// # Errors
    /// [`ConfigError`] with the section and what is wrong in it.
    pub(crate) fn new(settings: TableSettings, dialect: &Dialect) -> Result<Self, ConfigError> {
        let section = settings.section.clone();
        Self::read(settings, dialect).map_err(|what| ConfigError { at: section, what })
    }

    fn read(settings: TableSettings, dialect: &Dialect) -> Result<Self, String> {
        let TableSettings { mode, key, newer, columns, rest, nul, evolve, payload, .. } = settings;
        let name = TableName::parse(&settings.table)?;
        let mut fields = FieldTree::default();
        let is_envelope = columns.is_none();
        let mut columns = match columns {
            Some(columns) => declared(columns, &mut fields, dialect)?,
            None if mode != Mode::Append => {
                return Err(
                    "mode \"upsert\" and \"mirror\" need columns: [to.KIND.columns]".to_owned()
                );
            }
            None => envelope::columns(payload, dialect),
        };
        match rest {
            Some(_) if is_envelope => {
                return Err("rest needs columns; the envelope keeps the whole payload".to_owned());
            }
            Some(name) => {
                name::check(&name)?;
                columns.push(Column {
                    name,
                    origin: Origin::Rest,
                    sql_type: dialect.document.to_owned(),
                    is_document: true,
                    refuses_nul: dialect.refuses_nul == Some(dialect.document),
                    nullable: true,
                });
            }
            None => {}
        }
        let by_name = |name: &str| {
            let found = columns.iter().position(|column| column.name == name);
            found.ok_or_else(|| format!("\"{name}\" is none of its columns"))
        };
        let key = match (key.is_empty(), is_envelope) {
            (true, true) => {
                envelope::KEY.iter().map(|name| by_name(name)).collect::<Result<_, _>>()?
            }
            (true, false) if mode != Mode::Append => {
                return Err(
                    "mode \"upsert\" and \"mirror\" need a key: key = [\"COLUMN\"]".to_owned()
                );
            }
            _ => key.iter().map(|name| by_name(name)).collect::<Result<Vec<_>, _>>()?,
        };
        let newer = newer.map(|name| by_name(&name)).transpose()?;
        if newer.is_some() && mode == Mode::Append {
            return Err("newer is of use in the modes \"upsert\" and \"mirror\" only".to_owned());
        }
        for index in &key {
            if let Some(column) = columns.get_mut(*index) {
                column.nullable = false;
            }
        }
        let layout = Self { name, mode, columns, key, newer, nul, evolve, fields };
        layout.check_names()?;
        Ok(layout)
    }

    fn check_names(&self) -> Result<(), String> {
        for (index, column) in self.columns.iter().enumerate() {
            if self.columns.iter().take(index).any(|other| other.name == column.name) {
                return Err(format!("column {} is there twice", column.name));
            }
        }
        Ok(())
    }

    /// Whether payloads have to be JSON.
    pub(crate) fn needs_json(&self) -> bool {
        let reads = |origin| {
            matches!(origin, Origin::Field(_) | Origin::Rest | Origin::Payload(PayloadForm::Json))
        };
        self.mode == Mode::Mirror || self.columns.iter().any(|column| reads(column.origin))
    }

    /// Columns that are not in the key.
    pub(crate) fn is_key(&self, index: usize) -> bool {
        self.key.contains(&index)
    }
}

fn declared(
    columns: Table,
    fields: &mut FieldTree,
    dialect: &Dialect,
) -> Result<Vec<Column>, String> {
    if columns.is_empty() {
        return Err("columns is empty; name at least one, or leave the section out".to_owned());
    }
    let mut declared = Vec::new();
    for (name, value) in columns {
        let wrong = |what: String| format!("column {name}: {what}");
        name::check(&name)?;
        let settings: ColumnSettings =
            value.try_into().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        if !is_type(&settings.sql_type) {
            return Err(wrong(format!("\"{}\" is no type of SQL", settings.sql_type)));
        }
        let origin = match settings.from.strip_prefix('@') {
            Some(special) => Origin::special(special).map_err(wrong)?,
            None => Origin::Field(fields.slot(&Path::parse(&settings.from).map_err(wrong)?)),
        };
        let lower = settings.sql_type.to_ascii_lowercase();
        let is_document = lower.starts_with("json");
        let refuses_nul = dialect.refuses_nul == Some(lower.as_str());
        let nullable = settings.null.unwrap_or(true);
        declared.push(Column {
            name,
            origin,
            sql_type: settings.sql_type,
            is_document,
            refuses_nul,
            nullable,
        });
    }
    Ok(declared)
}

#[cfg(test)]
mod tests;
