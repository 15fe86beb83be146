//! A table as it is, compared with what a file says of it.

use super::columns::Column;
use super::{Evolve, Layout, Mode};
use crate::failure::Finding;

/// A column that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundColumn {
    pub(crate) name: String,
    /// Its type, as the database writes it.
    pub(crate) sql_type: String,
    /// Whether a row has to give it a value.
    pub(crate) is_required: bool,
    /// Whether its type is the one that the file says.
    pub(crate) fits: bool,
}

/// A table that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundTable {
    pub(crate) columns: Vec<FoundColumn>,
    /// The columns of each primary key and each unique index that a row can be found by.
    pub(crate) keys: Vec<Vec<String>>,
}

impl FoundTable {
    /// The columns of a layout that are missing.
    pub(crate) fn missing<'a>(&self, layout: &'a Layout) -> Vec<&'a Column> {
        let is_there = |column: &&Column| self.column(&column.name).is_some();
        layout.columns.iter().filter(|column| !is_there(column)).collect()
    }

    /// A column by its name.
    pub(crate) fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What does not fit, and what to do about it; `create` is whether the pipeline may add columns.
    pub(crate) fn compare(&self, layout: &Layout, unique: &dyn Fn(&str) -> String) -> Vec<Finding> {
        let table = &layout.name;
        let mut findings = Vec::new();
        for column in self.missing(layout) {
            let text = format!("table {table}: column {} is missing", column.name);
            findings.push(match layout.evolve {
                Evolve::Add if !self.columns.is_empty() => {
                    Finding::good(format!("{text}; it is added when the pipeline starts"))
                }
                _ => {
                    let advice = format!(
                        "ALTER TABLE {} ADD COLUMN {} {}; or evolve = \"add\"",
                        table.sql(),
                        super::name::identifier(&column.name),
                        column.sql_type
                    );
                    Finding::fault(text, advice)
                }
            });
        }
        for column in &layout.columns {
            let Some(found) = self.column(&column.name) else { continue };
            if !found.fits {
                findings.push(Finding::warning(
                    format!(
                        "table {table}: column {} is {}, and the file says {}",
                        column.name, found.sql_type, column.sql_type
                    ),
                    "values are read as the table's type, and one that is none of it is a bad message; make the two say the same",
                ));
            }
        }
        for found in self.columns.iter().filter(|found| found.is_required) {
            if !layout.columns.iter().any(|column| column.name == found.name) {
                findings.push(Finding::fault(
                    format!("table {table}: column {} may not be null, has no default, and the file gives it no value", found.name),
                    format!("name it in the file, or: ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL", table.sql(), super::name::identifier(&found.name)),
                ));
            }
        }
        findings.extend(self.compare_key(layout, unique));
        findings
    }

    fn compare_key(&self, layout: &Layout, unique: &dyn Fn(&str) -> String) -> Option<Finding> {
        let key = key_names(layout);
        let is_it = |found: &Vec<String>| {
            found.len() == key.len() && key.iter().all(|name| found.iter().any(|it| it == name))
        };
        if key.is_empty() || self.keys.iter().any(is_it) {
            return None;
        }
        let names = key.join(", ");
        let text =
            format!("table {}: no primary key and no unique index is over ({names})", layout.name);
        let quoted: Vec<_> = key.iter().map(|name| super::name::identifier(name)).collect();
        let advice = unique(&quoted.join(", "));
        Some(match layout.mode {
            // Rows come once without it.
            Mode::Append => Finding::warning(text, advice),
            Mode::Upsert | Mode::Mirror => Finding::fault(text, advice),
        })
    }
}

fn key_names(layout: &Layout) -> Vec<&str> {
    let name = |index: &usize| layout.columns.get(*index).map(|column| column.name.as_str());
    layout.key.iter().filter_map(name).collect()
}

/// The statement that makes a table.
pub(crate) fn create(layout: &Layout, suffix: &str) -> String {
    let mut parts: Vec<String> =
        layout.columns.iter().map(|column| definition(column, false)).collect();
    if !layout.key.is_empty() {
        let key: Vec<_> = key_names(layout).into_iter().map(super::name::identifier).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    format!("CREATE TABLE IF NOT EXISTS {} ({}){suffix}", layout.name.sql(), parts.join(", "))
}

/// The statement that adds a column.
pub(crate) fn add(layout: &Layout, column: &Column) -> String {
    format!("ALTER TABLE {} ADD COLUMN {}", layout.name.sql(), definition(column, true))
}

fn definition(column: &Column, is_added: bool) -> String {
    let name = super::name::identifier(&column.name);
    let null = if column.nullable || is_added { "" } else { " NOT NULL" };
    format!("{name} {}{null}", column.sql_type)
}
