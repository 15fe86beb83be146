//! A batch in one transaction.

use rusqlite::ffi::{
    SQLITE_CONSTRAINT_DATATYPE, SQLITE_CONSTRAINT_NOTNULL, SQLITE_CONSTRAINT_PRIMARYKEY,
    SQLITE_CONSTRAINT_UNIQUE,
};
use rusqlite::{
    CachedStatement, Connection, ErrorCode, OptionalExtension as _, Transaction,
    TransactionBehavior, params,
};
use uuid::Uuid;

use super::cells::{Affinity, Bound, is_wrong_type};
use super::database::Database;
use crate::batch::Batch;
use crate::failure::Failure;
use crate::place::{LaneName, Place, Position};
use crate::table::name::identifier;
use crate::table::positions::{self, PositionNumbers, StoredPosition, damaged};
use crate::table::rows::{Change, Misfit, RowReader};
use crate::table::{Layout, Mode};

const WHERE_LANE: &str = "pipeline = ?1 AND stream = ?2 AND topic = ?3 AND partition = ?4";

/// Where a lane is.
pub(super) fn position(
    database: &Database,
    connection: &mut Connection,
    lane: &LaneName,
) -> Result<Option<Position>, Failure> {
    let sql = format!(
        "SELECT next, topic_made_at, last_id, last_time, target FROM {} WHERE {WHERE_LANE}",
        positions::TABLE
    );
    let found = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            let row = statement.query_row(
                params![lane.pipeline, lane.stream, lane.topic, lane.partition],
                |row| {
                    let (next, topic_made_at, last_time) = (row.get(0)?, row.get(1)?, row.get(3)?);
                    let numbers = PositionNumbers { next, topic_made_at, last_time };
                    Ok((numbers, row.get::<_, String>(2)?, row.get::<_, String>(4)?))
                },
            );
            row.optional()
        })
        .map_err(|error| database.failure(&error))?;
    database.fresh.note(lane, found.is_some());
    let Some((numbers, last_id, target)) = found else { return Ok(None) };
    let last_id = last_id.parse::<Uuid>().map_err(|_| damaged(lane))?;
    let position = numbers.position(last_id.as_u128()).ok_or_else(|| damaged(lane))?;
    positions::of_table(StoredPosition { position, target }, lane, &database.layout.name).map(Some)
}

/// Writes a batch and moves the lane, or does neither.
pub(super) fn write(
    database: &Database,
    connection: &mut Connection,
    lane: &LaneName,
    batch: &Batch,
) -> Result<(), Failure> {
    let failure = |error: rusqlite::Error| database.failure(&error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    move_lane(database, &transaction, lane, batch)?;
    let bad = put_rows(database, &transaction, lane, batch)?;
    if let Some((_, reason)) = bad.first() {
        let (places, reason) = (bad.iter().map(|(place, _)| *place).collect(), reason.clone());
        return Err(Failure::Bad { places, reason });
    }
    transaction.commit().map_err(failure)?;
    database.fresh.note(lane, true);
    Ok(())
}

/// Moves the lane from the begin of a batch to its end.
fn move_lane(
    database: &Database,
    transaction: &Transaction<'_>,
    lane: &LaneName,
    batch: &Batch,
) -> Result<(), Failure> {
    let failure = |error: rusqlite::Error| database.failure(&error);
    let begin = PositionNumbers::of(&Position { next: batch.begin(), ..*batch.end() })?.next;
    let moved = match database.fresh.has(lane) {
        true => insert(database, transaction, lane, batch.end(), "DO NOTHING")?,
        false => {
            let sql = format!(
                "UPDATE {} SET next = ?5, topic_made_at = ?6, last_id = ?7, last_time = ?8, moved_at = CURRENT_TIMESTAMP \
                 WHERE {WHERE_LANE} AND next = ?9",
                positions::TABLE
            );
            let PositionNumbers { next, topic_made_at, last_time } =
                PositionNumbers::of(batch.end())?;
            let last_id = Uuid::from_u128(batch.end().last_id).to_string();
            let LaneName { pipeline, stream, topic, partition } = lane;
            let mut statement = transaction.prepare_cached(&sql).map_err(failure)?;
            statement
                .execute(params![
                    pipeline,
                    stream,
                    topic,
                    partition,
                    next,
                    topic_made_at,
                    last_id,
                    last_time,
                    begin
                ])
                .map_err(failure)?
        }
    };
    match moved {
        1 => Ok(()),
        _ => Err(Failure::Moved),
    }
}

fn insert(
    database: &Database,
    connection: &Connection,
    lane: &LaneName,
    position: &Position,
    on_conflict: &str,
) -> Result<usize, Failure> {
    let sql = format!(
        "INSERT INTO {} (pipeline, stream, topic, partition, next, topic_made_at, last_id, last_time, target) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (pipeline, stream, topic, partition) {on_conflict}",
        positions::TABLE
    );
    let PositionNumbers { next, topic_made_at, last_time } = PositionNumbers::of(position)?;
    let (last_id, target) =
        (Uuid::from_u128(position.last_id).to_string(), database.layout.name.to_string());
    let LaneName { pipeline, stream, topic, partition } = lane;
    let failure = |error: rusqlite::Error| database.failure(&error);
    let mut statement = connection.prepare_cached(&sql).map_err(failure)?;
    statement
        .execute(params![
            pipeline,
            stream,
            topic,
            partition,
            next,
            topic_made_at,
            last_id,
            last_time,
            target
        ])
        .map_err(failure)
}

/// Has a lane go on from another place.
pub(super) fn set_position(
    database: &Database,
    connection: &mut Connection,
    lane: &LaneName,
    position: &Position,
) -> Result<(), Failure> {
    let update = "DO UPDATE SET next = excluded.next, topic_made_at = excluded.topic_made_at, last_id = excluded.last_id, \
                  last_time = excluded.last_time, target = excluded.target, moved_at = CURRENT_TIMESTAMP";
    insert(database, connection, lane, position, update)?;
    database.fresh.note(lane, true);
    Ok(())
}

/// Removes the positions of a pipeline.
pub(super) fn cleanup(connection: &mut Connection, pipeline: &str) -> Result<Vec<String>, Failure> {
    let delete = format!("DELETE FROM {} WHERE pipeline = ?1", positions::TABLE);
    match connection.execute(&delete, [pipeline]) {
        Ok(0) => Ok(Vec::new()),
        Ok(count) => Ok(vec![format!("{count} rows of {}", positions::TABLE)]),
        // There is no such table: nothing was ever made.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(Vec::new()),
        Err(error) => Err(Failure::away(error.to_string())),
    }
}

/// Puts all rows; what is wrong with which.
pub(super) fn put_rows(
    database: &Database,
    transaction: &Transaction<'_>,
    lane: &LaneName,
    batch: &Batch,
) -> Result<Vec<(Place, String)>, Failure> {
    let layout = &database.layout;
    let failure = |error: rusqlite::Error| database.failure(&error);
    let affinities: Vec<_> =
        layout.columns.iter().map(|column| Affinity::of(&column.sql_type)).collect();
    let mut put = transaction.prepare_cached(&put_sql(layout)).map_err(failure)?;
    let mut delete = match layout.mode {
        Mode::Mirror => Some(transaction.prepare_cached(&delete_sql(layout)).map_err(failure)?),
        Mode::Append | Mode::Upsert => None,
    };
    let mut reader = RowReader::new(layout, lane);
    let mut bad = Vec::new();
    for row in batch.rows() {
        let done = match reader.read(row) {
            Err(Misfit(what)) => Ok(Some(what)),
            Ok(Change::Put) if reader.unchanged.is_empty() => {
                execute(&mut put, &reader, &affinities, |_| true)
            }
            Ok(Change::Put) => {
                let out = reader.unchanged.clone();
                let mut what = Ok(None);
                for sql in part_sql(layout, &out) {
                    let mut part = transaction.prepare_cached(&sql).map_err(failure)?;
                    what = execute(&mut part, &reader, &affinities, |index| !out.contains(&index));
                    if !matches!(what, Ok(None)) {
                        break;
                    }
                }
                what
            }
            Ok(Change::Delete) => match &mut delete {
                Some(delete) => execute(delete, &reader, &affinities, |index| layout.is_key(index)),
                None => unreachable!("only changes delete"),
            },
        };
        if let Some(what) = done.map_err(failure)? {
            bad.push((row.place, what));
        }
    }
    Ok(bad)
}

/// Executes a statement with these columns of a row; what is wrong with the row.
fn execute(
    statement: &mut CachedStatement<'_>,
    reader: &RowReader<'_>,
    affinities: &[Affinity],
    is_in: impl Fn(usize) -> bool,
) -> rusqlite::Result<Option<String>> {
    let mut bind = 0;
    for (index, (cell, affinity)) in reader.cells.iter().zip(affinities).enumerate() {
        if is_in(index) {
            if is_wrong_type(cell, *affinity) {
                return Ok(Some("a value is of the wrong type".to_owned()));
            }
            bind += 1;
            statement.raw_bind_parameter(bind, Bound(cell, *affinity))?;
        }
    }
    assert_eq!(bind, statement.parameter_count(), "INV-ONE-STEP: each value has its place");
    match statement.raw_execute() {
        Ok(_) => Ok(None),
        Err(error) => misfit(&error).map(Some).ok_or(error),
    }
}

/// What is wrong with a row, if it is the row.
fn misfit(error: &rusqlite::Error) -> Option<String> {
    let rusqlite::Error::SqliteFailure(code, message) = error else { return None };
    // These messages are made of names; others may quote values.
    let names_only = [
        SQLITE_CONSTRAINT_NOTNULL,
        SQLITE_CONSTRAINT_UNIQUE,
        SQLITE_CONSTRAINT_PRIMARYKEY,
        SQLITE_CONSTRAINT_DATATYPE,
    ];
    match code.code {
        ErrorCode::ConstraintViolation => Some(match message {
            Some(message) if names_only.contains(&code.extended_code) => message.clone(),
            _ => "a constraint of the table is not kept".to_owned(),
        }),
        ErrorCode::TypeMismatch => Some("a value is of the wrong type".to_owned()),
        ErrorCode::TooBig => Some("it is too big for a row".to_owned()),
        _ => None,
    }
}

fn put_sql(layout: &Layout) -> String {
    let names: Vec<_> = layout.columns.iter().map(|column| identifier(&column.name)).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let table = layout.name.sql();
    let insert = format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(", "));
    if layout.mode == Mode::Append {
        return insert;
    }
    let others = names.iter().enumerate().filter(|(index, _)| !layout.is_key(*index));
    let set: Vec<_> = others.map(|(_, name)| format!("{name} = excluded.{name}")).collect();
    let key: Vec<_> = layout.key.iter().filter_map(|index| names.get(*index)).cloned().collect();
    let key = key.join(", ");
    if set.is_empty() {
        return format!("{insert} ON CONFLICT ({key}) DO NOTHING");
    }
    let newer = layout.newer.and_then(|index| names.get(index));
    let guard = newer.map(|newer| {
        format!(" WHERE {table}.{newer} IS NULL OR excluded.{newer} >= {table}.{newer}")
    });
    // Without one every row counts.
    let guard = guard.as_deref().unwrap_or("");
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {}{guard}", set.join(", "))
}

/// A row of which some columns did not change and are not known: the row that is there is changed; where there is none, one is made, if
/// it may be without them.
fn part_sql(layout: &Layout, without: &[usize]) -> [String; 2] {
    let columns = layout.columns.iter().enumerate().filter(|(index, _)| !without.contains(index));
    let bound: Vec<(usize, String, String)> = columns
        .enumerate()
        .map(|(bind, (index, column))| (index, identifier(&column.name), format!("?{}", bind + 1)))
        .collect();
    let equal = |is_wanted: &dyn Fn(usize) -> bool, between: &str| {
        let wanted = bound.iter().filter(|(index, ..)| is_wanted(*index));
        wanted.map(|(_, name, mark)| format!("{name} = {mark}")).collect::<Vec<_>>().join(between)
    };
    let (table, key) = (layout.name.sql(), equal(&|index| layout.is_key(index), " AND "));
    let newer = bound.iter().find(|(index, ..)| Some(*index) == layout.newer);
    let guard = newer.map(|(_, name, mark)| format!(" AND ({name} IS NULL OR {mark} >= {name})"));
    let guard = guard.as_deref().unwrap_or("");
    // The key is set to itself: there may be nothing else.
    let update = format!("UPDATE {table} SET {} WHERE {key}{guard}", equal(&|_| true, ", "));
    let names: Vec<_> = bound.iter().map(|(_, name, _)| name.as_str()).collect();
    let marks: Vec<_> = bound.iter().map(|(.., mark)| mark.as_str()).collect();
    let insert = format!(
        "INSERT INTO {table} ({}) SELECT {} WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {key})",
        names.join(", "),
        marks.join(", ")
    );
    [update, insert]
}

fn delete_sql(layout: &Layout) -> String {
    // In the order of the columns, as they are bound.
    let named = layout.columns.iter().enumerate().filter(|(index, _)| layout.is_key(*index));
    let equal: Vec<_> =
        named.map(|(_, column)| format!("{} = ?", identifier(&column.name))).collect();
    format!("DELETE FROM {} WHERE {}", layout.name.sql(), equal.join(" AND "))
}
