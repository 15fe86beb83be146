//! `[to.postgres]`: rows of a table in a PostgreSQL.
//!
//! Part of INV-ONE-STEP: rows and the row of the lane in `galgo_positions` are written in one transaction, which fails when the lane
//! is not where the batch begins. So neither two processes with one lane nor a server that was restored from a copy makes a row
//! be missing or be there twice.
//!
//! No statement has a name at the server and nothing is set for longer than a transaction: a pooler of connections may stand in
//! between.

mod array;
mod catalog;
mod cells;
mod check;
mod copy;
mod frozen;
mod merge;
mod positions;
mod schema;
mod statements;
mod target;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use toml::Table;

use crate::batch::Row;
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SinkKind;
use crate::place::LaneName;
use crate::postgres::NAME_BYTES_MAX;
use crate::postgres::address::PgAddress;
use crate::postgres::session::PgLogin;
use crate::secret::SecretSource;
use crate::sink::{Promise, Sink, SinkSpec};
use crate::table::envelope::EnvelopeTypes;
use crate::table::rows::preview;
use crate::table::{Dialect, Evolve, Layout, Mode, Nul, PayloadForm, TableSettings};

use self::target::{PgTarget, SESSION, session_name};
use self::write::PgSink;

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "postgres",
    promise: "exactly once: rows and position are in one transaction",
    example: EXAMPLE,
    read,
};

const EXAMPLE: &str = r#"[to.postgres]
# sslmode: disable, prefer (default), require, verify-full.
url = "postgres://app@127.0.0.1:5432/shop"
# { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "PGPASSWORD" }
table = "orders"                  # or SCHEMA.TABLE
# ca_file = "ca.pem"              # whom to trust, instead of the public authorities; then the certificate is verified with any sslmode
# mode = "append"                 # append, upsert (a row takes the place of the one with its key), mirror (changes of a database)
# key = ["order_id"]              # columns a row is found by
# newer = "updated"               # upsert, mirror: a row with less in this column changes nothing
# create = true                   # make the table, and galgo_positions beside it, if they are not there
# evolve = "none"                 # add: add columns that the file has and the table has not
# rest = "doc"                    # a column for what no other column takes
# nul = "bad"                     # strip: leave a NUL in a text out, in place of calling its message bad
# payload = "json"                # without columns: json, text, bytea
# connections = 4                 # shared by all partitions
# timeout = "30s"                 # for each answer of the server

# Without columns a row is the message: topic, partition, offset, part, time, id, headers, payload.
# [to.postgres.columns]
# order_id = { from = ".id", type = "text" }
# total = { from = ".total", type = "numeric(12,2)" }
# updated = { from = ".updated", type = "timestamptz" }
# seen = { from = "@time", type = "timestamptz", null = false }
"#;

const DIALECT: Dialect = Dialect {
    document: "jsonb",
    envelope: EnvelopeTypes {
        text: "text",
        integer: "integer",
        big_integer: "bigint",
        time: "timestamptz",
        id: "uuid",
        json: "jsonb",
        bytes: "bytea",
    },
    refuses_nul: Some("jsonb"),
};

/// More connections than this are of no use to the partitions of a topic.
const CONNECTIONS_MAX: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PgTableSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    table: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    key: Vec<String>,
    newer: Option<String>,
    #[serde(default = "yes")]
    create: bool,
    #[serde(default)]
    evolve: Evolve,
    columns: Option<Table>,
    rest: Option<String>,
    #[serde(default)]
    nul: Nul,
    #[serde(default)]
    payload: PgPayload,
    #[serde(default = "connections")]
    connections: usize,
    timeout: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PgPayload {
    #[default]
    Json,
    Text,
    Bytea,
}

fn yes() -> bool {
    true
}

fn connections() -> usize {
    4
}

fn read(table: Table, around: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    Ok(Box::new(PgTable::read(table, around)?))
}

struct PgTable {
    target: Arc<PgTarget>,
    pipeline: String,
}

impl PgTable {
    fn read(table: Table, around: &Surroundings) -> Result<Self, ConfigError> {
        const SECTION: &str = "to.postgres";
        let settings: PgTableSettings = settings(SECTION, table)?;
        let wrong = |what: String| ConfigError { at: format!("[{SECTION}]"), what };
        let patience = settings.timeout.map_or(TIMEOUT, |span| span.0);
        if patience < Duration::from_secs(1) {
            return Err(wrong("timeout is at least 1s".to_owned()));
        }
        if !(1..=CONNECTIONS_MAX).contains(&settings.connections) {
            return Err(wrong(format!("connections is 1 to {CONNECTIONS_MAX}")));
        }
        let login = PgLogin {
            address: PgAddress::parse(&settings.url).map_err(wrong)?,
            password: settings.password,
            ca_file: settings.ca_file.map(|path| around.path(&path)),
            application: session_name(&around.pipeline),
            settings: &SESSION,
            patience,
        };
        let payload = match settings.payload {
            PgPayload::Json => PayloadForm::Json,
            PgPayload::Text => PayloadForm::Text,
            PgPayload::Bytea => PayloadForm::Bytes,
        };
        let layout = TableSettings {
            section: format!("[{SECTION}]"),
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
        if let Some(name) = too_long(&layout) {
            return Err(wrong(format!(
                "\"{name}\" is longer than the {NAME_BYTES_MAX} bytes of a name"
            )));
        }
        let target = PgTarget::new(login, layout, settings.create, settings.connections);
        Ok(Self { target: Arc::new(target), pipeline: around.pipeline.clone() })
    }
}

/// A name that PostgreSQL would cut.
fn too_long(layout: &Layout) -> Option<&str> {
    let columns = layout.columns.iter().map(|column| &column.name);
    let names = columns.chain(&layout.name.schema).chain([&layout.name.table]);
    names.map(String::as_str).find(|name| name.len() > NAME_BYTES_MAX)
}

#[async_trait]
impl SinkSpec for PgTable {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn needs_json(&self) -> bool {
        self.target.layout.needs_json()
    }

    fn connections(&self) -> usize {
        self.target.connections
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(PgSink::new(Arc::clone(&self.target)))
    }

    async fn prepare(&self) -> Result<(), Failure> {
        schema::prepare(&self.target).await
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        check::check(&self.target, &self.pipeline, sample).await
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        preview(&self.target.layout, lane, row)
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        schema::cleanup(&self.target, &self.pipeline).await
    }
}

#[cfg(test)]
mod tests;
