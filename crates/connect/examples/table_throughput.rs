//! How fast rows come into a table, compared with the plainest way there is.
//!
//! `cargo run --release -p galgo-connect --example table_throughput -- 200000 5` starts a PostgreSQL of its own, if one is installed, with
//! `fsync` on, and writes 200,000 rows in each of 5 rounds: with the sink, with `psql \copy` in transactions of the same size, and with
//! `psql \copy` in one transaction for each lane; then with the SQLite sink, and with a loop of `INSERT` in transactions of the same size.
//! Those that are compared take turns within a round; a line has the medians of their rates and of the ratios of a round.
//!
//! What is not counted: to connect, to make tables, to start `psql`. What is counted on the side of the sinks only: to parse payloads,
//! to cut values out of them, and to move the position. A third argument is a part of the names of what is measured: the rest is left out.

#![expect(clippy::unwrap_used, reason = "it measures or ends")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::{Batch, Form, LaneName, Place, Position, Row, SinkSpec, kind};
use galgo_testkit::service::postgres::Postgres;
use rusqlite::{Connection, params};

const COLUMNS: &str = "[columns]\nid = { from = '.id', type = 'bigint' }\ncustomer = { from = '.customer', type = 'text' }\n\
    total = { from = '.total', type = 'numeric(12,2)' }\nplaced = { from = '.placed', type = 'timestamptz' }\n\
    note = { from = '.note', type = 'text' }";
const TABLE: &str =
    "(id bigint, customer text, total numeric(12,2), placed timestamptz, note text)";

/// An order of about 180 bytes.
struct Order {
    id: u64,
    customer: String,
    total: String,
    placed: String,
    note: String,
}

impl Order {
    fn new(id: u64) -> Self {
        Self {
            id,
            customer: format!("customer-{:05}", id % 10_007),
            total: format!("{}.{:02}", id % 9_999, id % 100),
            placed: format!("2026-11-30T{:02}:{:02}:{:02}Z", id / 3600 % 24, id / 60 % 60, id % 60),
            note: format!(
                "order {id}, to be left at the door, \"second\" floor; call 555-{:04}",
                id % 10_000
            ),
        }
    }

    fn json(&self) -> String {
        let Self { id, customer, total, placed, note } = self;
        let note = note.replace('"', "\\\"");
        format!(
            r#"{{"id":{id},"customer":"{customer}","total":{total},"placed":"{placed}","note":"{note}"}}"#
        )
    }

    /// As a line of a copy: there is nothing in it that has to be escaped.
    fn line(&self) -> String {
        let Self { id, customer, total, placed, note } = self;
        format!("{id}\t{customer}\t{total}\t{placed}\t{note}\n")
    }
}

/// What is written at once, and by how many.
#[derive(Clone, Copy)]
struct Load {
    lanes: usize,
    batch: usize,
}

/// The orders of each lane.
fn of_lanes(orders: &[Order], lanes: usize) -> Vec<&[Order]> {
    orders.chunks(orders.len().div_ceil(lanes)).collect()
}

fn lane(partition: usize) -> LaneName {
    let (pipeline, stream, topic) = ("bench".to_owned(), "shop".to_owned(), "orders".to_owned());
    LaneName { pipeline, stream, topic, partition: u32::try_from(partition).unwrap() }
}

fn batches(orders: &[Order], size: usize) -> Vec<Batch> {
    let row = |order: &Order| Row {
        place: Place { offset: order.id, part: 0 },
        id: order.id.into(),
        time: order.id,
        origin_time: order.id,
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from(order.json()),
    };
    let batch = |orders: &[Order]| {
        let rows: Vec<Row> = orders.iter().map(row).collect();
        let begin = rows[0].place.offset;
        let end = Position { next: begin + rows.len() as u64, ..Position::default() };
        Batch::new(begin, end, rows)
    };
    orders.chunks(size).map(batch).collect()
}

fn spec(kind: &str, folder: &Path, section: &str) -> Box<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|it| it.name == kind).unwrap();
    let around = Surroundings { pipeline: "bench".to_owned(), folder: folder.to_owned() };
    (kind.read)(section.parse().unwrap(), &around).unwrap()
}

/// Seconds in which the sink writes all orders, each lane on a connection of its own.
async fn sink(spec: &dyn SinkSpec, orders: &[Order], load: Load) -> f64 {
    spec.prepare().await.unwrap();
    let mut lanes = Vec::new();
    for (partition, orders) in of_lanes(orders, load.lanes).into_iter().enumerate() {
        let mut sink = spec.sink();
        sink.position(&lane(partition)).await.unwrap();
        lanes.push((lane(partition), sink, batches(orders, load.batch)));
    }
    let begun = Instant::now();
    let write = |(lane, mut sink, batches): (LaneName, Box<dyn galgo_connect::Sink>, Vec<_>)| {
        tokio::spawn(async move {
            for batch in &batches {
                sink.write(&lane, batch).await.unwrap();
            }
        })
    };
    for lane in lanes.into_iter().map(write).collect::<Vec<_>>() {
        lane.await.unwrap();
    }
    begun.elapsed().as_secs_f64()
}

/// What is measured beside one another, in seconds of each round.
struct Rounds {
    what: String,
    rows: usize,
    sink: Vec<f64>,
    plain: Vec<(String, Vec<f64>)>,
}

impl Rounds {
    fn report(&self) {
        let rate = |seconds: &[f64]| self.rows as f64 / median(seconds.to_vec());
        for (name, plain) in &self.plain {
            let ratios = self.sink.iter().zip(plain).map(|(sink, plain)| plain / sink).collect();
            println!(
                "{}: {:.0} rows/s; {name}: {:.0} rows/s; ratio {:.2}",
                self.what,
                rate(&self.sink),
                rate(plain),
                median(ratios)
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A PostgreSQL and what is copied into it.
struct Rig {
    server: Postgres,
    folder: PathBuf,
}

impl Rig {
    /// An empty table, and a server with nothing left to do.
    fn clear(&self, table: &str) {
        self.server
            .sql(&format!("DROP TABLE IF EXISTS {table}; DROP TABLE IF EXISTS galgo_positions"));
        self.server.sql("CHECKPOINT");
    }

    /// A script for each lane that copies its orders, with the time before and behind that.
    fn scripts(&self, orders: &[Order], load: Load) -> Vec<PathBuf> {
        let script = |(number, orders): (usize, &[Order])| {
            const CLOCK: &str = "SELECT extract(epoch FROM clock_timestamp());\n";
            let mut script = CLOCK.to_owned();
            for (part, orders) in orders.chunks(load.batch).enumerate() {
                let rows = self.folder.join(format!("rows-{number}-{part}"));
                std::fs::write(&rows, orders.iter().map(Order::line).collect::<String>()).unwrap();
                writeln!(script, "\\copy plain FROM '{}'", rows.display()).unwrap();
            }
            script.push_str(CLOCK);
            let file = self.folder.join(format!("script-{number}"));
            std::fs::write(&file, script).unwrap();
            file
        };
        of_lanes(orders, load.lanes).into_iter().enumerate().map(script).collect()
    }

    /// Seconds in which `psql` copies all orders, one for each lane.
    fn copy(&self, orders: &[Order], load: Load, table: &str) -> f64 {
        self.clear("plain");
        let scripts = self.scripts(orders, load);
        self.server.sql(&format!("CREATE TABLE plain {table}"));
        let start = |script: &PathBuf| {
            let mut psql = self.server.client("psql");
            psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f"]).arg(script);
            psql.stdout(Stdio::piped()).spawn().unwrap()
        };
        let started: Vec<_> = scripts.iter().map(start).collect();
        let times = started.into_iter().flat_map(|psql| {
            let said = psql.wait_with_output().unwrap();
            assert!(said.status.success());
            let text = String::from_utf8(said.stdout).unwrap();
            text.lines().map(|line| line.parse::<f64>().unwrap()).collect::<Vec<_>>()
        });
        let times: Vec<f64> = times.collect();
        assert_eq!(self.server.sql("SELECT count(*) FROM plain"), orders.len().to_string());
        let (first, last) = (times.iter().copied(), times.iter().copied());
        last.fold(f64::MIN, f64::max) - first.fold(f64::MAX, f64::min)
    }

    /// Rounds of a mode of the sink and of `\copy`.
    async fn compare(&self, orders: &[Order], load: Load, mode: &str, rounds: usize) -> Rounds {
        let section = format!("url = '{}'\ntable = 'orders'\n{mode}{COLUMNS}", self.server.url());
        let table = match mode.is_empty() {
            true => TABLE.to_owned(),
            false => TABLE.replace("id bigint", "id bigint PRIMARY KEY"),
        };
        let Load { lanes, batch } = load;
        let (mut sinking, mut parts, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            self.clear("orders");
            sinking.push(sink(&*spec("postgres", &self.folder, &section), orders, load).await);
            assert_eq!(self.server.sql("SELECT count(*) FROM orders"), orders.len().to_string());
            parts.push(self.copy(orders, load, &table));
            whole.push(self.copy(orders, Load { batch: orders.len(), ..load }, &table));
        }
        let name = if mode.is_empty() { "append" } else { "upsert" };
        let plain = [
            (format!("\\copy in transactions of {batch}"), parts),
            ("\\copy in one transaction".to_owned(), whole),
        ];
        let what = format!("postgres, {name}, lanes {lanes}, batches of {batch}");
        Rounds { what, rows: orders.len(), sink: sinking, plain: plain.into() }
    }
}

/// Seconds of a loop of `INSERT`.
fn insert(folder: &Path, orders: &[Order], batch: usize) -> f64 {
    let mut plain = Connection::open(folder.join("plain.db")).unwrap();
    plain.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = full").unwrap();
    let table = "CREATE TABLE orders (id INTEGER, customer TEXT, total TEXT, placed TEXT, note TEXT) STRICT";
    plain.execute_batch(table).unwrap();
    let begun = Instant::now();
    for orders in orders.chunks(batch) {
        let transaction = plain.transaction().unwrap();
        let mut insert =
            transaction.prepare_cached("INSERT INTO orders VALUES (?, ?, ?, ?, ?)").unwrap();
        for Order { id, customer, total, placed, note } in orders {
            let id = i64::try_from(*id).unwrap();
            insert.execute(params![id, customer, total, placed, note]).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }
    begun.elapsed().as_secs_f64()
}

async fn sqlite(orders: &[Order], batch: usize, rounds: usize) -> Rounds {
    let section = format!("file = 'sink.db'\ntable = 'orders'\n{COLUMNS}");
    let section = section
        .replace("numeric(12,2)", "text")
        .replace("timestamptz", "text")
        .replace("bigint", "integer");
    let (mut sinking, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let load = Load { lanes: 1, batch };
        sinking.push(sink(&*spec("sqlite", folder.path(), &section), orders, load).await);
        plain.push(insert(folder.path(), orders, batch));
    }
    let what = format!("sqlite, append, batches of {batch}");
    let plain = vec![(format!("INSERT in transactions of {batch}"), plain)];
    Rounds { what, rows: orders.len(), sink: sinking, plain }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(200_000, |text| text.parse().unwrap());
    let rounds = arguments.next().map_or(3, |text| text.parse().unwrap());
    let only = arguments.next().unwrap_or_default();
    let is_wanted = |what: String| what.contains(&only);
    let orders: Vec<Order> = (0..count).map(Order::new).collect();
    let bytes: usize = orders.iter().map(|order| order.json().len()).sum();
    println!("{count} rows, {} bytes of JSON each, {rounds} rounds", bytes / orders.len().max(1));
    let folder = tempfile::tempdir().unwrap();
    // As a server that keeps what it was told.
    let started = Postgres::start(folder.path(), &["fsync=on", "max_wal_size=4GB"]);
    if let Some(server) = started {
        let rig = Rig { server, folder: folder.path().to_owned() };
        for lanes in [1, 4] {
            for batch in [1_000, 10_000] {
                let load = Load { lanes, batch };
                if is_wanted(format!("postgres append {lanes} {batch}")) {
                    rig.compare(&orders, load, "", rounds).await.report();
                }
            }
        }
        let load = Load { lanes: 1, batch: 1_000 };
        if is_wanted("postgres upsert 1 1000".to_owned()) {
            rig.compare(&orders, load, "mode = 'upsert'\nkey = ['id']\n", rounds).await.report();
        }
    }
    if is_wanted("sqlite append 1 1000".to_owned()) {
        sqlite(&orders, 1_000, rounds).await.report();
    }
}
