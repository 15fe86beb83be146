//! A server, a pipeline that reads it, and a topic that drops repeats and is replayed.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use galgo_connect::config::Surroundings;
use galgo_connect::source::{Beginning, Cursor, Incoming, Source, SourceSpec};
use galgo_connect::{Failure, kind};
use galgo_testkit::service::postgres::Postgres;
use serde_json::Value;
use tokio::time::timeout;

pub(crate) use crate::postgres::{Server, let_in, start};

/// No server takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that replicates; none where PostgreSQL is not installed.
pub(crate) fn server(settings: &[&str]) -> Option<Server> {
    let mut all = vec!["wal_level=logical", "max_replication_slots=20", "max_wal_senders=20"];
    all.extend(settings);
    start(&all)
}

/// A source as the file of a pipeline describes it.
pub(crate) fn spec(pipeline: &str, section: &str) -> Box<dyn SourceSpec> {
    let kind = kind::sources().iter().find(|kind| kind.name == "postgres").unwrap();
    let surroundings = Surroundings { pipeline: pipeline.to_owned(), folder: "/".into() };
    (kind.read)(section.parse().unwrap(), &surroundings).unwrap()
}

/// The section for some tables of a server, with more keys.
pub(crate) fn section(server: &Postgres, tables: &str, more: &str) -> String {
    format!("url = \"{}\"\ntables = [{tables}]\nheartbeat = \"1s\"\n{more}\n", server.url())
}

/// What a pipeline keeps in Galgo, and what it has of the source at the moment.
pub(crate) struct Topic {
    spec: Box<dyn SourceSpec>,
    source: Box<dyn Source>,
    /// In order, each id once.
    pub(crate) messages: Vec<Value>,
    ids: HashSet<u128>,
    /// How many came that were there.
    pub(crate) repeats: usize,
    pub(crate) cursor: Option<Cursor>,
}

impl Topic {
    pub(crate) fn new(spec: Box<dyn SourceSpec>) -> Self {
        let source = spec.source();
        Self { spec, source, messages: Vec::new(), ids: HashSet::new(), repeats: 0, cursor: None }
    }

    /// The same topic, with a file that says something else.
    pub(crate) fn configured(self, spec: Box<dyn SourceSpec>) -> Self {
        Self { source: spec.source(), spec, ..self }
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Failure> {
        let beginning = Beginning { cursor: self.cursor.clone(), once: false };
        self.source.begin(beginning).await
    }

    /// The process is killed and started again.
    pub(crate) async fn restart(&mut self) {
        self.source = self.spec.source();
        self.begin().await.unwrap();
    }

    /// Takes a chunk: stored, its cursor stored, settled. Tells whether there was one.
    pub(crate) async fn step(&mut self) -> Result<bool, Failure> {
        let Some(cursor) = self.take().await? else { return Ok(false) };
        self.settle(cursor).await;
        Ok(true)
    }

    pub(crate) async fn settle(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor.clone());
        self.source.settled(&cursor).await.unwrap();
    }

    /// Takes a chunk and stores its messages, but not the cursor, as when the process is killed in between.
    pub(crate) async fn take(&mut self) -> Result<Option<Cursor>, Failure> {
        let next = timeout(PATIENCE, self.source.next()).await.expect("a chunk in time");
        let Some(chunk) = next? else { return Ok(None) };
        chunk.messages.iter().for_each(|message| self.store(message));
        assert!(chunk.cursor.0.to_string().len() < 2_000, "a cursor is small");
        Ok(Some(chunk.cursor))
    }

    fn store(&mut self, message: &Incoming) {
        match self.ids.insert(message.id.unwrap()) {
            true => self.messages.push(serde_json::from_slice(&message.payload).unwrap()),
            false => self.repeats += 1,
        }
    }

    /// Takes chunks until something is so.
    pub(crate) async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "still not so: {what}");
            assert!(self.step().await.unwrap(), "{what}");
        }
    }

    /// Takes everything that is committed by now.
    pub(crate) async fn catch_up(&mut self, server: &Postgres) {
        let end = server.sql("SELECT pg_current_wal_insert_lsn()");
        let end = lsn(&end);
        self.until("everything came", |topic| topic.place().is_some_and(|place| place >= end))
            .await;
    }

    /// How far it is, unless a copy or a transaction is in the middle.
    fn place(&self) -> Option<u64> {
        let cursor = &self.cursor.as_ref()?.0;
        let whole = cursor.get("inside").is_none() && cursor.get("copying").is_none();
        whole.then(|| lsn(cursor["lsn"].as_str().unwrap()))
    }

    pub(crate) fn retained_bytes(&self) -> Option<u64> {
        self.source.retained_bytes()
    }

    pub(crate) async fn finish(&mut self) {
        self.source.finish().await.unwrap();
    }

    pub(crate) fn ops(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message["op"].as_str().unwrap()).collect()
    }

    /// The rows of a table as the messages tell them, by the text of their `id`.
    pub(crate) fn replayed(&self, table: &str) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        let of_table = |message: &&Value| message["source"]["table"] == table;
        for message in self.messages.iter().filter(of_table) {
            let id = |row: &Value| row["id"].to_string();
            let (before, after) = (&message["before"], &message["after"]);
            match message["op"].as_str().unwrap() {
                "t" => rows.clear(),
                "d" => {
                    rows.remove(&id(before));
                }
                _ => {
                    let mut row = after.clone();
                    for name in message["unchanged"].as_array().into_iter().flatten() {
                        let name = name.as_str().unwrap();
                        let old = if before.is_null() { after } else { before };
                        let known: &Value = rows.get(&id(old)).unwrap_or(&Value::Null);
                        row[name] = known[name].clone();
                    }
                    rows.insert(id(after), row);
                }
            }
        }
        rows
    }

    /// That replaying the messages gives the table, row for row.
    pub(crate) fn assert_is(&self, server: &Postgres, table: &str, columns: &str) {
        let parts: Vec<String> =
            columns.split(' ').map(|column| format!("'{column}', {column}")).collect();
        let all = server.sql(&format!(
            "SELECT json_build_object({}) FROM {table} ORDER BY id",
            parts.join(", ")
        ));
        let rows = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let rows: BTreeMap<String, Value> = rows.map(|row| (row["id"].to_string(), row)).collect();
        let replayed = self.replayed(table);
        assert_eq!(replayed.len(), rows.len(), "rows of {table}");
        assert!(replayed == rows, "each row of {table}");
    }
}

/// A place in the log as a number.
pub(crate) fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    let half = |digits| u64::from_str_radix(digits, 16).unwrap();
    half(high) << 32 | half(low)
}

/// What a failure says that somebody has to do something about.
pub(crate) fn refused(result: Result<impl std::fmt::Debug, Failure>) -> String {
    match result.unwrap_err() {
        failure @ Failure::Refused { .. } => failure.to_string(),
        other => panic!("not refused: {other}"),
    }
}
