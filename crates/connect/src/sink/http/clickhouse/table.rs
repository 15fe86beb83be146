//! The table of ClickHouse that rows go to.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Version;
use super::insert::TableColumn;
use crate::secret::SecretSource;

/// The columns that tell where a row comes from. They are the key of tables that are made, so that a row that comes again
/// replaces itself.
pub(super) const PLACE_COLUMNS: [(&str, &str); 7] = [
    ("galgo_topic", "String"),
    ("galgo_partition", "UInt32"),
    ("galgo_made", "UInt64"),
    ("galgo_offset", "UInt64"),
    ("galgo_part", "UInt32"),
    ("galgo_time", "UInt64"),
    ("galgo_id", "String"),
];
const KEY: &str = "(galgo_topic, galgo_partition, galgo_made, galgo_offset, galgo_part)";

/// Since when the server knows what.
const KNOWS_PARALLEL_PARSING: Version = Version(20, 1);
const KNOWS_ASYNC_INSERT: Version = Version(21, 12);
const KNOWS_TOKENS: Version = Version(22, 2);

/// `[to.http.clickhouse]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sink::http) struct ClickHouseSettings {
    #[serde(default = "default_database")]
    pub(super) database: String,
    pub(super) table: String,
    pub(super) user: Option<String>,
    pub(in crate::sink::http) password: Option<SecretSource>,
    /// Makes the table if it is not there.
    #[serde(default)]
    pub(super) create: bool,
    /// One column `payload` instead of a column for each field.
    #[serde(default)]
    pub(super) envelope: bool,
    /// Columns and their types; those of the table if it is not said.
    #[serde(default)]
    columns: BTreeMap<String, String>,
    /// Settings of ClickHouse for inserts.
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

fn default_database() -> String {
    "default".to_owned()
}

fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl ClickHouseSettings {
    pub(in crate::sink::http) fn fits_together(&self) -> Result<(), String> {
        let names = [&self.database, &self.table].into_iter().chain(self.columns.keys());
        if let Some(name) = names.chain(self.settings.keys()).find(|name| !is_name(name)) {
            return Err(format!(
                "clickhouse: \"{name}\" is no name; it has letters, digits and _, and begins with no digit"
            ));
        }
        if let Some(name) = self.columns.keys().find(|name| name.starts_with("galgo_")) {
            return Err(format!("clickhouse.columns: {name} is a column of Galgo's own"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_(), '=-/.".contains(c);
        if let Some((name, _)) = self.columns.iter().find(|(_, kind)| !kind.chars().all(allowed)) {
            return Err(format!("clickhouse.columns: the type of {name} is none"));
        }
        match (self.envelope, self.columns.is_empty(), self.create) {
            (true, false, _) => {
                Err("clickhouse.envelope and clickhouse.columns exclude each other".to_owned())
            }
            (false, true, true) => {
                Err("clickhouse.create needs clickhouse.columns, or envelope = true".to_owned())
            }
            _ if self.password.is_some() && self.user.is_none() => {
                Err("clickhouse.password needs clickhouse.user".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// As it is written in a statement.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    /// The columns besides those of the place, with their types; none if the table says.
    pub(super) fn own_columns(&self) -> Vec<(&str, &str)> {
        match self.envelope {
            true => vec![("payload", "String")],
            false => self.columns.iter().map(|(name, kind)| (&name[..], &kind[..])).collect(),
        }
    }

    pub(super) fn create_statement(&self, version: Version) -> String {
        let columns = PLACE_COLUMNS.into_iter().chain(self.own_columns());
        let columns: Vec<_> = columns.map(|(name, kind)| format!("{name} {kind}")).collect();
        let window = match version >= KNOWS_TOKENS {
            true => " SETTINGS non_replicated_deduplication_window = 1000",
            false => "",
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = ReplacingMergeTree() ORDER BY {KEY}{window}",
            self.name(),
            columns.join(", ")
        )
    }

    /// Settings that keep an insert one block, as far as the version knows them.
    pub(super) fn insert_settings(&self, version: Version, token: &str) -> Vec<(String, String)> {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        // One reader gives one block, in order.
        let mut settings = vec![set("max_threads", "1")];
        if version >= KNOWS_PARALLEL_PARSING {
            settings.push(set("input_format_parallel_parsing", "0"));
        }
        if version >= KNOWS_ASYNC_INSERT {
            settings.push(set("async_insert", "0"));
        }
        if version >= KNOWS_TOKENS {
            settings.push(set("insert_deduplication_token", token));
        }
        let own = self.settings.iter().map(|(name, value)| (name.clone(), value.clone()));
        settings.extend(own);
        settings
    }

    /// Columns that are written and that the table has not.
    pub(super) fn missing(&self, columns: &[TableColumn]) -> Vec<&str> {
        let own = self.own_columns();
        let written = PLACE_COLUMNS.iter().map(|(name, _)| *name);
        let written: Vec<&str> = written.chain(own.into_iter().map(|(name, _)| name)).collect();
        written.into_iter().filter(|name| !columns.iter().any(|it| it.name == *name)).collect()
    }

    /// What to do about missing columns.
    pub(super) fn advice(&self, missing: &[&str]) -> String {
        let all: Vec<(&str, &str)> = PLACE_COLUMNS.into_iter().chain(self.own_columns()).collect();
        let adds = all.iter().filter(|(name, _)| missing.contains(name));
        let adds: Vec<_> = adds.map(|(name, kind)| format!("ADD COLUMN {name} {kind}")).collect();
        format!("ALTER TABLE {} {}", self.name(), adds.join(", "))
    }
}
