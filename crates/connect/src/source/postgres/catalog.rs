//! Tables and publications, as the catalogue of the server has them.

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::change::{RowColumn, RowTable};
use super::choice::TableChoice;
use super::ground::Ground;
use super::value::ValueKind;
use crate::postgres::session::{PgSession, TextRow};
use crate::postgres::trouble::PgError;

/// The index of a table `c` that tells its rows apart, if there is one; with `pg_index i`.
const IDENTITY_INDEX: &str = "i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND CASE c.relreplident \
     WHEN 'n' THEN false WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END";

/// A table, or something else with a name that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundRelation {
    pub(super) schema: String,
    pub(super) name: String,
    /// `r` a table, `p` one of partitions, and so on.
    pub(super) kind: String,
    /// Its rows survive a crash, so that its changes are in the log.
    pub(super) is_logged: bool,
    /// It is part of another one.
    pub(super) is_partition: bool,
    /// A changed or deleted row can be named.
    pub(super) has_identity: bool,
    pub(super) may_read: bool,
    pub(super) is_own: bool,
}

/// A table of a publication, to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishedTable {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) is_partitioned: bool,
    /// Only rows of which this is so.
    pub(super) condition: Option<String>,
    pub(super) rows: RowTable,
}

/// A publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublicationState {
    /// Of all tables, also of those that are not there yet.
    pub(super) is_of_all: bool,
    /// Which changes are in it.
    pub(super) inserts: bool,
    pub(super) updates: bool,
    pub(super) deletes: bool,
    pub(super) truncates: bool,
}

impl FoundRelation {
    /// With its schema.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether changes of it can be published.
    pub(super) fn is_publishable(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p") && self.is_logged
    }

    /// As statements of SQL name it in a publication: without tables that inherit from it, which are tables of their own.
    pub(super) fn in_publication(&self) -> String {
        let only = if self.kind == "p" { "" } else { "ONLY " };
        format!("{only}{}", qualified(&self.schema, &self.name))
    }
}

impl PublishedTable {
    /// The statement that copies its rows.
    pub(super) fn copy_sql(&self) -> String {
        let columns: Vec<String> =
            self.rows.columns.iter().map(|column| escape_identifier(&column.name)).collect();
        let only = if self.is_partitioned { "" } else { "ONLY " };
        let condition = match &self.condition {
            None => String::new(),
            Some(condition) => format!(" WHERE {condition}"),
        };
        let table = qualified(&self.schema, &self.name);
        format!("COPY (SELECT {} FROM {only}{table}{condition}) TO STDOUT", columns.join(", "))
    }

    /// The statement that keeps its form as it is while it is copied.
    pub(super) fn lock_sql(&self) -> String {
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!("LOCK TABLE {only}{} IN ACCESS SHARE MODE", qualified(&self.schema, &self.name))
    }
}

/// A name with its schema, quoted.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", escape_identifier(schema), escape_identifier(name))
}

/// What is there of the tables that are asked for: by name whatever it is, by a star only what can be published.
pub(super) async fn find_tables(
    sql: &mut PgSession,
    choice: &TableChoice,
) -> Result<Vec<FoundRelation>, PgError> {
    let condition = choice.condition("n.nspname", "c.relname");
    let ask = format!(
        "SELECT n.nspname, c.relname, c.relkind, c.relpersistence = 'p', c.relispartition, \
         NOT EXISTS (SELECT FROM pg_class c WHERE c.oid IN (SELECT p.relid FROM pg_partition_tree(t.oid) p WHERE p.isleaf UNION ALL SELECT t.oid WHERE t.relkind <> 'p') \
           AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE {IDENTITY_INDEX})), \
         CASE WHEN c.relkind IN ('r', 'p') THEN has_table_privilege(c.oid, 'SELECT') ELSE false END, \
         pg_has_role(c.relowner, 'USAGE') \
         FROM pg_class c JOIN pg_class t ON t.oid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {condition} ORDER BY 1, 2"
    );
    let rows = sql.query(&ask).await?;
    let found = rows.into_iter().map(found_table);
    let named = |table: &FoundRelation| {
        let mut patterns = choice.patterns().iter();
        patterns.any(|pattern| pattern.is_one() && pattern.has(&table.schema, &table.name))
    };
    // A partition is told of under the name of the whole.
    Ok(found.filter(|it| named(it) || (it.is_publishable() && !it.is_partition)).collect())
}

fn found_table(row: TextRow) -> FoundRelation {
    let mut values = row.into_iter().map(Option::unwrap_or_default);
    let mut text = || values.next().unwrap_or_else(String::new);
    FoundRelation {
        schema: text(),
        name: text(),
        kind: text(),
        is_logged: text() == "t",
        is_partition: text() == "t",
        has_identity: text() == "t",
        may_read: text() == "t",
        is_own: text() == "t",
    }
}

/// A publication, if it is there.
pub(super) async fn publication(
    sql: &mut PgSession,
    name: &str,
) -> Result<Option<PublicationState>, PgError> {
    let ask = format!(
        "SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate \
         FROM pg_publication WHERE pubname = {}",
        escape_literal(name)
    );
    let row = sql.query(&ask).await?.into_iter().next();
    Ok(row.map(|row| {
        let is = |place: usize| row.get(place).and_then(Option::as_deref) == Some("t");
        PublicationState {
            is_of_all: is(0),
            inserts: is(1),
            updates: is(2),
            deletes: is(3),
            truncates: is(4),
        }
    }))
}

/// The tables of a publication that are asked for, as they are to be copied.
pub(super) async fn published(
    sql: &mut PgSession,
    publication: &str,
    choice: &TableChoice,
    ground: &Ground,
) -> Result<Vec<PublishedTable>, PgError> {
    let (filter, listed) = match ground.has_filters() {
        true => ("p.rowfilter", "a.attname = ANY (p.attnames)"),
        false => ("NULL::text", "true"),
    };
    let ask = format!(
        "SELECT n.nspname, c.relname, c.relkind = 'p', {filter}, a.attname, \
         (WITH RECURSIVE base AS (SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid = a.atttypid \
           UNION ALL SELECT t.oid, t.typtype, t.typbasetype FROM base JOIN pg_type t ON base.typtype = 'd' AND t.oid = base.typbasetype) \
           SELECT oid FROM base WHERE typtype <> 'd'), \
         EXISTS (SELECT FROM pg_index i WHERE {IDENTITY_INDEX} AND a.attnum = ANY (i.indkey)) \
         FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
         WHERE p.pubname = {} AND {listed} AND {} ORDER BY n.nspname, c.relname, a.attnum",
        escape_literal(publication),
        choice.condition("n.nspname", "c.relname")
    );
    let mut tables: Vec<PublishedTable> = Vec::new();
    for row in sql.query(&ask).await? {
        let mut values = row.into_iter();
        let mut value = || values.next().flatten();
        let mut text = || value().unwrap_or_else(String::new);
        let (schema, name, is_partitioned) = (text(), text(), text() == "t");
        let condition = value();
        let mut text = || value().unwrap_or_else(String::new);
        let (column, kind) = (text(), text().parse().map_or(ValueKind::Text, ValueKind::of_type));
        let key = text() == "t";
        let column = RowColumn { name: column, kind, identifies: key, key };
        match tables.last_mut().filter(|it| it.schema == schema && it.name == name) {
            Some(table) => table.rows.columns.push(column),
            None => {
                let full_name = format!("{schema}.{name}");
                let rows = RowTable { name: full_name, wanted: true, columns: vec![column] };
                tables.push(PublishedTable { schema, name, is_partitioned, condition, rows });
            }
        }
    }
    Ok(tables)
}

/// The names of the columns of the primary key of a table; empty if it has none, or is not there any more.
pub(super) async fn primary_key(
    sql: &mut PgSession,
    relation: u32,
) -> Result<Vec<String>, PgError> {
    let ask = format!(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
         WHERE i.indrelid = {relation} AND i.indisprimary AND i.indisvalid AND i.indimmediate"
    );
    let rows = sql.query(&ask).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}
