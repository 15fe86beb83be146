//! Batches for ClickHouse, exactly once on one node.
//!
//! ClickHouse has no transactions, but an insert of one block is there as a whole or not at all. So the position is in the rows
//! themselves: each holds the offset of its message, and the newest of a lane tells where the lane is. An insert compares and sets
//! (see `insert`), and what could still be on its way when somebody asks for the position is ended first: inserts are named by
//! the lane and where the batch begins, and ended with `KILL QUERY … SYNC` before the newest row is looked up.
//!
//! Part of INV-ONE-STEP: rows and position are one block, stored only if the lane is where the batch begins, or in front of it.

mod insert;
mod query;
mod refusal;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::batches::{each, joined};
use super::{HttpSink, line as line_of};
use crate::batch::{Batch, Row};
use crate::failure::{Failure, Finding};
use crate::place::{LaneName, Position};
use insert::{DocumentFields, InsertPlan, TableColumn};
use query::{Query, text_literal};
pub(super) use table::ClickHouseSettings;

/// How long the columns of the table are believed to be as they were.
const COLUMNS_FOR: Duration = Duration::from_secs(60);

/// What is known of the server and of the table, shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<KnownServer>);

#[derive(Debug, Default)]
struct KnownServer {
    version: Option<Version>,
    plan: Option<KnownPlan>,
}

#[derive(Debug)]
struct KnownPlan {
    plan: Arc<InsertPlan>,
    since: Instant,
}

/// The first two numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.').map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// How rows are inserted, from the columns the table has.
async fn plan(sink: &mut HttpSink, table: &ClickHouseSettings) -> Result<Arc<InsertPlan>, Failure> {
    if let Some(known) = &sink.seen.0.lock().plan
        && known.since.elapsed() < COLUMNS_FOR
    {
        return Ok(Arc::clone(&known.plan));
    }
    let version = version(sink, table).await?;
    let columns = columns(sink, table).await?;
    found(table, &columns)?;
    let plan = Arc::new(InsertPlan::new(table, &columns, version)?);
    let known = KnownPlan { plan: Arc::clone(&plan), since: Instant::now() };
    sink.seen.0.lock().plan = Some(known);
    Ok(plan)
}

async fn version(sink: &mut HttpSink, table: &ClickHouseSettings) -> Result<Version, Failure> {
    if let Some(version) = sink.seen.0.lock().version {
        return Ok(version);
    }
    let said = Query::new("SELECT version()").ask(sink, table).await?;
    let version = Version::parse(&said).ok_or_else(|| {
        Failure::refused("the target tells no version of ClickHouse", "look at url")
    })?;
    sink.seen.0.lock().version = Some(version);
    Ok(version)
}

/// Makes the table if that is asked for, and finds out whether it has the columns that are needed.
pub(super) async fn prepare(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
) -> Result<(), Failure> {
    let version = version(sink, table).await?;
    if table.create {
        Query::new(table.create_statement(version)).ask(sink, table).await?;
    }
    plan(sink, table).await.map(drop)
}

/// Whether the table is there, and has what is written.
fn found(table: &ClickHouseSettings, columns: &[TableColumn]) -> Result<(), Failure> {
    if columns.is_empty() {
        return Err(Failure::refused(
            format!("there is no table {}", table.name()),
            "make it, or set create = true in [to.http.clickhouse]",
        ));
    }
    let missing = table.missing(columns);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::refused(
            format!("table {} has no column {}", table.name(), missing.join(", ")),
            table.advice(&missing),
        )),
    }
}

pub(super) async fn check(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
) -> Result<Vec<Finding>, Failure> {
    let Version(major, minor) = version(sink, table).await?;
    let mut findings = vec![Finding::good(format!("ClickHouse {major}.{minor} answers"))];
    let columns = columns(sink, table).await?;
    let name = table.name();
    let missing = table.missing(&columns);
    findings.push(match (columns.is_empty(), table.create) {
        (true, true) => Finding::good(format!("table {name} is not there; a run makes it")),
        (true, false) => Finding::fault(
            format!("there is no table {name}"),
            "make it, or set create = true in [to.http.clickhouse]",
        ),
        (false, _) if missing.is_empty() => {
            Finding::good(format!("table {name} has the columns that are written"))
        }
        (false, _) => Finding::fault(
            format!("table {name} has no column {}", missing.join(", ")),
            table.advice(&missing),
        ),
    });
    let engine = Query::new(format!(
        "SELECT engine FROM system.tables WHERE database = {} AND name = {}",
        text_literal(&table.database),
        text_literal(&table.table)
    ));
    let engine = engine.ask(sink, table).await?;
    let engine = engine.trim();
    let many = ["Replicated", "Shared", "Distributed"].iter().any(|kind| engine.starts_with(kind));
    if many && !engine.contains("Replacing") {
        findings.push(Finding::warning(
            format!("table {name} is a {engine}: replicas may tell an old position, and rows come twice then"),
            "make it Replacing by the galgo_ columns, which drops what comes again",
        ));
    }
    Ok(findings)
}

/// The columns of the table.
async fn columns(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
) -> Result<Vec<TableColumn>, Failure> {
    TableColumn::read(&Query::new(TableColumn::query(table)).ask(sink, table).await?)
}

fn topic_of(lane: &LaneName) -> String {
    format!("{}/{}", lane.stream, lane.topic)
}

/// What the names of a lane's inserts begin with.
fn insert_prefix(lane: &LaneName) -> String {
    format!("galgo:{}/{lane}:", lane.pipeline)
}

/// Ends inserts of the lane that run, and tells where the lane is.
pub(super) async fn position(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
    lane: &LaneName,
) -> Result<Option<Position>, Failure> {
    let prefix = insert_prefix(lane);
    let kill = format!(
        "KILL QUERY WHERE substring(query_id, 1, {}) = {} SYNC",
        prefix.len(),
        text_literal(&prefix)
    );
    Query::new(kill).ask(sink, table).await?;
    newest(sink, table, lane).await
}

/// Where the newest row of a lane is.
async fn newest(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
    lane: &LaneName,
) -> Result<Option<Position>, Failure> {
    let (name, topic, partition) = (table.name(), text_literal(&topic_of(lane)), lane.partition);
    // Numbers alone are looked through, and the rest of the row is found by the key.
    let query = Query::new(format!(
        "SELECT galgo_offset, galgo_made, galgo_id, galgo_time FROM {name} \
         WHERE galgo_topic = {topic} AND galgo_partition = {partition} AND (galgo_made, galgo_offset) IN \
         (SELECT galgo_made, max(galgo_offset) FROM {name} WHERE galgo_topic = {topic} AND galgo_partition = {partition} \
         GROUP BY galgo_made ORDER BY galgo_made DESC LIMIT 1) LIMIT 1 FORMAT TabSeparated"
    ));
    let said = query.ask(sink, table).await?;
    if said.trim().is_empty() {
        return Ok(None);
    }
    let read = || {
        let mut fields = said.trim_end().split('\t');
        let offset: u64 = fields.next()?.parse().ok()?;
        Some(Position {
            topic_made_at: fields.next()?.parse().ok()?,
            last_id: fields.next()?.parse::<uuid::Uuid>().ok()?.as_u128(),
            last_time: fields.next()?.parse().ok()?,
            next: offset.checked_add(1)?,
        })
    };
    read().map(Some).ok_or_else(|| {
        Failure::refused(
            format!(
                "the newest row of {lane} in {} has no position that can be read",
                table.name()
            ),
            "nobody but the pipeline may write the galgo_ columns",
        )
    })
}

/// Where a row comes from, as a document.
fn place_of(lane: &LaneName, topic_made_at: u64, row: &Row) -> String {
    let place = serde_json::json!({
        "galgo_topic": topic_of(lane),
        "galgo_partition": lane.partition,
        "galgo_made": topic_made_at,
        "galgo_offset": row.place.offset,
        "galgo_part": row.place.part,
        "galgo_time": row.time,
        "galgo_id": uuid::Uuid::from_u128(row.id).to_string(),
    });
    place.to_string()
}

/// The document of a row as text in a column.
fn enveloped(place: &str, column: &str, document: &[u8]) -> Result<Bytes, String> {
    let text = str::from_utf8(document).map_err(|_| "it is no text".to_owned())?;
    let payload = serde_json::Value::from(text).to_string();
    let open = place.trim_end_matches('}').as_bytes();
    Ok([open, b",\"", column.as_bytes(), b"\":", payload.as_bytes(), b"}"].concat().into())
}

/// The fields of the document of a row.
fn fields_of(document: &[u8]) -> Result<DocumentFields<'_>, String> {
    let fields: DocumentFields<'_> = serde_json::from_slice(document).map_err(|_| {
        "it is no JSON object, and its fields are the columns of the row; set envelope = true, or add a transform".to_owned()
    })?;
    match fields.keys().any(|name| name.starts_with("galgo_")) {
        false => Ok(fields),
        true => Err("it has a field that begins with galgo_, as the columns that tell where a row comes from".to_owned()),
    }
}

/// A row as a line of JSON, for people: with all its fields, as the columns of the table are not known here.
pub(super) fn shown(
    table: &ClickHouseSettings,
    lane: &LaneName,
    row: &Row,
) -> Result<Bytes, String> {
    let place = place_of(lane, 0, row);
    let document = line_of(row)?;
    if table.envelope {
        return enveloped(&place, "payload", &document);
    }
    fields_of(&document)?;
    let fields = document.trim_ascii().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let open = place.trim_end_matches('}').as_bytes();
    Ok(match fields {
        Some(fields) if fields != b"}" => [open, b",", fields].concat().into(),
        _ => place.into(),
    })
}

pub(super) async fn write(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
    lane: &LaneName,
    batch: &Batch,
) -> Result<(), Failure> {
    let plan = plan(sink, table).await?;
    let version = version(sink, table).await?;
    let lines = each(batch, |row| plan.line(lane, batch.end().topic_made_at, row))?;
    let token = format!("{lane}/{}-{}", batch.begin(), batch.end().next);
    let insert = Query::new(plan.statement(table, lane, batch))
        .named(format!("{}{}", insert_prefix(lane), batch.begin()))
        .with(table.insert_settings(version, &token));
    let inserted = insert.send(sink, table, &plan.beside(), &joined(&lines)).await;
    if matches!(inserted, Err(Failure::Refused { .. } | Failure::Batch { .. })) {
        // Somebody may have changed the table.
        sink.seen.0.lock().plan = None;
    }
    inserted
}

/// A lane goes on with another topic of the same name behind its rows; it cannot be put anywhere else.
pub(super) async fn set_position(
    sink: &mut HttpSink,
    table: &ClickHouseSettings,
    lane: &LaneName,
    position: &Position,
) -> Result<(), Failure> {
    let newest = newest(sink, table, lane).await?;
    if newest.is_none_or(|it| it.topic_made_at < position.topic_made_at) {
        return Ok(());
    }
    Err(Failure::refused(
        format!("the position of {lane} is its newest row in {}", table.name()),
        format!(
            "delete the rows from there on: ALTER TABLE {} DELETE WHERE galgo_topic = {} AND galgo_partition = {} AND galgo_offset >= {}",
            table.name(),
            text_literal(&topic_of(lane)),
            lane.partition,
            position.next
        ),
    ))
}
