//! The statements that write rows.
//!
//! Values come as one array of texts for each column and are cast to the column's type without its length, so that what is too long
//! is refused and not cut. Of rows with one key the last counts, or the newest; the database compares keys, so two texts of one value
//! are one key. Rows are written in the order of their keys, so that two lanes do not wait for each other.

use super::catalog::PgColumn;
use crate::table::Layout;
use crate::table::name::identifier;

/// What is known of a table when statements for it are made.
pub(super) struct Statements<'a> {
    pub(super) layout: &'a Layout,
    pub(super) columns: &'a [PgColumn],
}

impl Statements<'_> {
    /// Takes lines of all columns.
    pub(super) fn copy(&self) -> String {
        let all = self.names(&self.all(), "", ", ");
        format!("COPY {} ({all}) FROM STDIN", self.layout.name.sql())
    }

    /// Puts rows of all columns.
    pub(super) fn put(&self) -> String {
        let all = self.all();
        let others: Vec<usize> =
            all.iter().copied().filter(|index| !self.layout.is_key(*index)).collect();
        let action = match others.is_empty() {
            true => "NOTHING".to_owned(),
            false => {
                let set = self.equal(&others, "", "excluded.", ", ");
                format!("UPDATE SET {set}{}", self.guard(" WHERE ", &all, "excluded."))
            }
        };
        format!(
            "INSERT INTO {} AS t ({}) SELECT {} FROM ({}) AS d ON CONFLICT ({}) DO {action}",
            self.layout.name.sql(),
            self.names(&all, "", ", "),
            self.names(&all, "d.", ", "),
            self.given(&all),
            self.names(&self.layout.key, "", ", "),
        )
    }

    /// Puts rows of which some columns are not known: the row that is there is changed; where there is none, one is made, if it may
    /// be without them.
    pub(super) fn put_parts(&self, known: &[usize]) -> [String; 2] {
        let table = self.layout.name.sql();
        let others: Vec<usize> =
            known.iter().copied().filter(|index| !self.layout.is_key(*index)).collect();
        // The key is set to itself: there may be nothing else.
        let set = if others.is_empty() { &self.layout.key } else { &others };
        let is_it = self.equal(&self.layout.key, "t.", "d.", " AND ");
        let given = self.given(known);
        let update = format!(
            "UPDATE {table} AS t SET {} FROM ({given}) AS d WHERE {is_it}{}",
            self.equal(set, "", "d.", ", "),
            self.guard(" AND ", known, "d."),
        );
        let insert = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM ({given}) AS d WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {is_it}) \
             ON CONFLICT ({}) DO NOTHING",
            self.names(known, "", ", "),
            self.names(known, "d.", ", "),
            self.names(&self.layout.key, "", ", "),
        );
        [update, insert]
    }

    /// Deletes rows by their keys.
    pub(super) fn delete(&self) -> String {
        let key = &self.layout.key;
        let is_it = self.equal(key, "t.", "d.", " AND ");
        let table = self.layout.name.sql();
        format!("DELETE FROM {table} AS t USING ({}) AS d WHERE {is_it}", self.given(key))
    }

    /// All columns.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.layout.columns.len()).collect()
    }

    /// Rows of these columns, one of each key, in the order of keys.
    fn given(&self, wanted: &[usize]) -> String {
        let casts: Vec<String> = wanted
            .iter()
            .enumerate()
            .map(|(number, index)| {
                let cast = self.columns.get(*index).map_or("text", |column| &column.cast);
                format!("u.c{number}::{cast} AS {}", self.name(*index))
            })
            .collect();
        let place = |index: &usize| wanted.iter().position(|it| it == index).map(|at| at + 1);
        let key: Vec<String> =
            self.layout.key.iter().filter_map(place).map(|at| at.to_string()).collect();
        let key = key.join(", ");
        let newest = self.layout.newer.as_ref().and_then(place);
        let newest = newest.map(|at| format!("{at} DESC NULLS LAST, ")).unwrap_or_default();
        let values: Vec<String> =
            (1..=wanted.len()).map(|number| format!("${number}::text[]")).collect();
        let names: Vec<String> = (0..wanted.len()).map(|number| format!("c{number}")).collect();
        format!(
            "SELECT DISTINCT ON ({key}) {} FROM unnest({}) WITH ORDINALITY AS u({}, n) ORDER BY {key}, {newest}u.n DESC",
            casts.join(", "),
            values.join(", "),
            names.join(", "),
        )
    }

    /// That what is there is not newer.
    fn guard(&self, before: &str, known: &[usize], given: &str) -> String {
        match self.layout.newer.filter(|index| known.contains(index)) {
            None => String::new(),
            Some(index) => {
                let name = self.name(index);
                format!("{before}(t.{name} IS NULL OR {given}{name} >= t.{name})")
            }
        }
    }

    fn names(&self, columns: &[usize], before: &str, between: &str) -> String {
        let names: Vec<String> =
            columns.iter().map(|index| format!("{before}{}", self.name(*index))).collect();
        names.join(between)
    }

    fn equal(&self, columns: &[usize], left: &str, right: &str, between: &str) -> String {
        let one = |index: &usize| {
            let name = self.name(*index);
            format!("{left}{name} = {right}{name}")
        };
        columns.iter().map(one).collect::<Vec<_>>().join(between)
    }

    fn name(&self, index: usize) -> String {
        self.layout.columns.get(index).map_or_else(String::new, |column| identifier(&column.name))
    }
}
