//! The tables of the file: made, compared, tried.

use rusqlite::{Connection, TransactionBehavior};

use super::database::Database;
use super::write;
use crate::batch::{Batch, Row};
use crate::failure::{Failure, Finding, Weight};
use crate::place::{LaneName, Position};
use crate::table::shape::{self, FoundColumn, FoundTable};
use crate::table::{Evolve, Layout};

/// Types a table may have that checks them.
const STRICT_TYPES: [&str; 6] = ["int", "integer", "real", "text", "blob", "any"];

const POSITIONS: &str = "CREATE TABLE IF NOT EXISTS galgo_positions (pipeline TEXT NOT NULL, stream TEXT NOT NULL, \
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, topic_made_at INTEGER NOT NULL, \
    last_id TEXT NOT NULL, last_time INTEGER NOT NULL, target TEXT NOT NULL, \
    moved_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (pipeline, stream, topic, partition)) STRICT";

/// Makes what is to be made, and finds out whether the rest is there.
pub(super) fn prepare(database: &Database, connection: &mut Connection) -> Result<(), Failure> {
    let failure = |error: rusqlite::Error| database.failure(&error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    make(database, &transaction).map_err(failure)?;
    let found = look(&transaction, &database.layout).map_err(failure)?;
    let fault =
        compare(database, &found).into_iter().find(|finding| finding.weight == Weight::Fault);
    match fault {
        None => transaction.commit().map_err(failure),
        Some(Finding { text, advice, .. }) => {
            Err(Failure::Refused { reason: text, advice: advice.unwrap_or_default() })
        }
    }
}

fn make(database: &Database, connection: &Connection) -> rusqlite::Result<()> {
    let layout = &database.layout;
    connection.execute_batch(POSITIONS)?;
    if database.create {
        connection.execute_batch(&create_sql(layout))?;
    }
    let found = look(connection, layout)?;
    if layout.evolve == Evolve::Add && !found.columns.is_empty() {
        for column in found.missing(layout) {
            connection.execute_batch(&shape::add(layout, column))?;
        }
    }
    Ok(())
}

fn create_sql(layout: &Layout) -> String {
    let is_strict = |sql_type: &str| STRICT_TYPES.contains(&sql_type.to_ascii_lowercase().as_str());
    // A table that checks its types, where its types are such.
    let suffix = match layout.columns.iter().all(|column| is_strict(&column.sql_type)) {
        true => " STRICT",
        false => "",
    };
    shape::create(layout, suffix)
}

/// The table as it is; without columns if it is not there.
fn look(connection: &Connection, layout: &Layout) -> rusqlite::Result<FoundTable> {
    let table = &layout.name.table;
    let mut found = FoundTable::default();
    let mut primary: Vec<(i64, String)> = Vec::new();
    let mut columns =
        connection.prepare("SELECT name, type, \"notnull\", dflt_value IS NULL, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let mut rows = columns.query([table])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (sql_type, not_null, no_default): (String, bool, bool) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        let (in_key, hidden): (i64, i64) = (row.get(4)?, row.get(5)?);
        if in_key > 0 {
            primary.push((in_key, name.clone()));
        }
        let declared = layout.columns.iter().find(|column| column.name == name);
        let fits = declared.is_none_or(|column| column.sql_type.eq_ignore_ascii_case(&sql_type));
        let is_required = not_null && no_default && hidden == 0;
        found.columns.push(FoundColumn { name, sql_type, is_required, fits });
    }
    primary.sort();
    if !primary.is_empty() {
        found.keys.push(primary.into_iter().map(|(_, name)| name).collect());
    }
    let mut indexes = connection
        .prepare("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND partial = 0")?;
    let names: Vec<String> =
        indexes.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for index in names {
        let mut columns = connection.prepare("SELECT name FROM pragma_index_info(?1)")?;
        let names: Vec<Option<String>> =
            columns.query_map([index], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        // One over an expression has no name.
        found.keys.extend(names.into_iter().collect::<Option<Vec<String>>>());
    }
    Ok(found)
}

fn compare(database: &Database, found: &FoundTable) -> Vec<Finding> {
    let layout = &database.layout;
    let (table, file) = (&layout.name, database.file.display());
    if found.columns.is_empty() {
        let text = format!("{file}: table {table} is not there");
        return vec![match database.create {
            true => Finding::good(format!("{text}; it is made when the pipeline starts")),
            false => {
                Finding::fault(text, format!("make it: {}; or create = true", create_sql(layout)))
            }
        }];
    }
    let unique = |key: &str| format!("CREATE UNIQUE INDEX ON {} ({key})", table.sql());
    let findings = found.compare(layout, &unique);
    match findings.is_empty() {
        true => vec![Finding::good(format!("{file}: table {table} is as the file says"))],
        false => findings,
    }
}

/// Looks at the file, and tries rows in a transaction that is taken back.
pub(super) fn check(
    database: &Database,
    pipeline: &str,
    sample: &[Row],
) -> Result<Vec<Finding>, Failure> {
    let failure = |error: rusqlite::Error| database.failure(&error);
    let mut findings = Vec::new();
    let mut connection = match database.file.exists() {
        true => database.open_to_look()?,
        false => {
            let folder = database.file.parent().filter(|folder| !folder.as_os_str().is_empty());
            match folder.is_none_or(|folder| folder.is_dir()) {
                true => findings.push(Finding::good(format!(
                    "{} is made when the pipeline starts",
                    database.file.display()
                ))),
                false => findings.push(Finding::fault(
                    format!("the folder of {} is not there", database.file.display()),
                    "make it, or name another file",
                )),
            }
            // What would be made is tried without a file.
            Connection::open_in_memory().map_err(failure)?
        }
    };
    if database.is_taken() {
        findings.push(Finding::warning(
            format!("another process writes to {}", database.file.display()),
            "one process writes to a file: this pipeline would not start beside it",
        ));
    }
    let found = look(&connection, &database.layout).map_err(failure)?;
    findings.extend(compare(database, &found));
    if findings.iter().any(|finding| finding.weight == Weight::Fault) {
        return Ok(findings);
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    make(database, &transaction).map_err(failure)?;
    let lane = LaneName {
        pipeline: pipeline.to_owned(),
        stream: String::new(),
        topic: String::new(),
        partition: 0,
    };
    let mut good = 0;
    for row in sample {
        // A sample is of many lanes, and in no order: each row is tried by itself.
        let end = Position { next: row.place.offset.saturating_add(1), ..Position::default() };
        let batch = Batch::new(row.place.offset, end, vec![row.clone()]);
        let bad = write::put_rows(database, &transaction, &lane, &batch)?;
        good += usize::from(bad.is_empty());
        findings.extend(bad.into_iter().map(|(place, what)| {
            Finding::fault(
                format!("the message at offset {} is not taken: {what}", place.offset),
                "change the columns or the table, or choose errors.on_bad",
            )
        }));
    }
    // Dropped, it is taken back.
    drop(transaction);
    if good > 0 {
        findings
            .push(Finding::good(format!("{good} messages were tried and taken, and taken back")));
    }
    Ok(findings)
}
