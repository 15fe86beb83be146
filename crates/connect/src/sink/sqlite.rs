//! `[to.sqlite]`: rows of a table in a file.
//!
//! Part of INV-ONE-STEP: rows and the row of the lane in `galgo_positions` are written in one transaction, which is durable
//! (`synchronous = FULL`) and fails when the lane is not where the batch begins.
//!
//! All lanes share one connection, on a thread that may block; one process writes a file, and a second one is told so.

mod cells;
mod database;
mod schema;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use toml::Table;

use crate::batch::{Batch, Row};
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SinkKind;
use crate::place::{LaneName, Position};
use crate::sink::{Promise, Sink, SinkSpec};
use crate::table::envelope::EnvelopeTypes;
use crate::table::rows::preview;
use crate::table::{Dialect, Evolve, Layout, Mode, Nul, PayloadForm, TableSettings};

use self::database::Database;

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "sqlite",
    promise: "exactly once: rows and position are in one transaction",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "[to.sqlite]";

const EXAMPLE: &str = r#"[to.sqlite]
file = "orders.db"                # made if it is not there
table = "orders"                  # one process writes to a file
# mode = "append"                 # append, upsert (a row takes the place of the one with its key), mirror (changes of a database)
# key = ["order_id"]              # columns a row is found by
# newer = "updated"               # upsert: a row with less in this column changes nothing
# create = true                   # make the table if it is not there
# evolve = "none"                 # add: add columns that the file has and the table has not
# rest = "doc"                    # a column for what no other column takes
# nul = "bad"                     # strip: leave a NUL in a text out, in place of calling its message bad
# payload = "json"                # without columns: json, text, blob
# timeout = "5s"                  # how long to wait for another program that writes

# Without columns a row is the message: topic, partition, offset, part, time, id, headers, payload.
# [to.sqlite.columns]
# order_id = { from = ".id", type = "text" }
# total = { from = ".total", type = "text" }
# seen = { from = "@time", type = "text", null = false }
"#;

const DIALECT: Dialect = Dialect {
    document: "json",
    envelope: EnvelopeTypes {
        text: "TEXT",
        integer: "INTEGER",
        big_integer: "INTEGER",
        time: "TEXT",
        id: "TEXT",
        json: "TEXT",
        bytes: "BLOB",
    },
    refuses_nul: None,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqliteSettings {
    file: PathBuf,
    table: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    key: Vec<String>,
    #[serde(default)]
    newer: Option<String>,
    #[serde(default = "yes")]
    create: bool,
    #[serde(default)]
    evolve: Evolve,
    #[serde(default)]
    columns: Option<Table>,
    #[serde(default)]
    rest: Option<String>,
    #[serde(default)]
    nul: Nul,
    #[serde(default)]
    payload: SqlitePayload,
    #[serde(default = "wait")]
    timeout: Span,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SqlitePayload {
    #[default]
    Json,
    Text,
    Blob,
}

fn yes() -> bool {
    true
}

fn wait() -> Span {
    Span(Duration::from_secs(5))
}

fn read(table: Table, around: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    Ok(Box::new(SqliteSpec::read(table, around)?))
}

struct SqliteSpec {
    database: Arc<Database>,
    pipeline: String,
}

impl SqliteSpec {
    fn read(table: Table, around: &Surroundings) -> Result<Self, ConfigError> {
        let settings: SqliteSettings = settings("to.sqlite", table)?;
        let payload = match settings.payload {
            SqlitePayload::Json => PayloadForm::Json,
            SqlitePayload::Text => PayloadForm::Text,
            SqlitePayload::Blob => PayloadForm::Bytes,
        };
        let layout = TableSettings {
            section: SECTION.to_owned(),
            table: settings.table,
            mode: settings.mode,
            key: settings.key,
            newer: settings.newer,
            columns: settings.columns,
            rest: settings.rest,
            nul: settings.nul,
            evolve: settings.evolve,
            payload,
        };
        let layout = Layout::new(layout, &DIALECT)?;
        if layout.name.schema.is_some() {
            let what = "table: SQLite has no schemas; write the name alone, or in quotes if it has a dot in it".to_owned();
            return Err(ConfigError { at: SECTION.to_owned(), what });
        }
        let file = around.path(&settings.file);
        let database = Arc::new(Database::new(file, layout, settings.create, settings.timeout.0));
        Ok(Self { database, pipeline: around.pipeline.clone() })
    }
}

#[async_trait]
impl SinkSpec for SqliteSpec {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn needs_json(&self) -> bool {
        self.database.layout.needs_json()
    }

    fn connections(&self) -> usize {
        1
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(SqliteSink(Arc::clone(&self.database)))
    }

    async fn prepare(&self) -> Result<(), Failure> {
        self.database.run(schema::prepare).await
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        let (pipeline, sample) = (self.pipeline.clone(), sample.to_vec());
        let database = Arc::clone(&self.database);
        database::blocking(move || schema::check(&database, &pipeline, &sample)).await
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        preview(&self.database.layout, lane, row)
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        let pipeline = self.pipeline.clone();
        self.database.run(move |_, connection| write::cleanup(connection, &pipeline)).await
    }
}

/// One of the users of the connection.
struct SqliteSink(Arc<Database>);

#[async_trait]
impl Sink for SqliteSink {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        let lane = lane.clone();
        self.0.run(move |database, connection| write::position(database, connection, &lane)).await
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        // What the rows hold is shared, not copied.
        let (lane, batch) = (lane.clone(), batch.clone());
        self.0
            .run(move |database, connection| write::write(database, connection, &lane, &batch))
            .await
    }

    async fn set_position(&mut self, lane: &LaneName, position: &Position) -> Result<(), Failure> {
        let (lane, position) = (lane.clone(), *position);
        self.0
            .run(move |database, connection| {
                write::set_position(database, connection, &lane, &position)
            })
            .await
    }
}

#[cfg(test)]
mod tests;
