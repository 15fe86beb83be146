//! How fast rows come into a table, compared with the plainest way there is.
//!
//! `cargo run --release -p galgo-connect --example table_throughput -- 400000` starts a PostgreSQL of its own, if one is installed, and
//! prints rows a second of the sink and of `psql \copy` of the same rows into the same server, and of the SQLite sink and of a loop of
//! `INSERT` in transactions of 1,000. Payloads are parsed and values cut out of them on the side of the sinks only.

#![expect(clippy::unwrap_used, reason = "it measures or ends")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::{Batch, Form, LaneName, Place, Position, Row, SinkSpec, kind};
use galgo_testkit::service::postgres::Postgres;
use rusqlite::{Connection, params};

const BATCH: u64 = 1_000;
const COLUMNS: &str = "[columns]\nid = { from = '.id', type = 'bigint' }\ncustomer = { from = '.customer', type = 'text' }\n\
    total = { from = '.total', type = 'numeric(12,2)' }\nplaced = { from = '.placed', type = 'timestamptz' }\n\
    note = { from = '.note', type = 'text' }";

/// An order of about 200 bytes.
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
}

fn lane() -> LaneName {
    let (pipeline, stream, topic) = ("bench".to_owned(), "shop".to_owned(), "orders".to_owned());
    LaneName { pipeline, stream, topic, partition: 0 }
}

fn batches(orders: &[Order]) -> Vec<Batch> {
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
    orders.chunks(usize::try_from(BATCH).unwrap()).map(batch).collect()
}

fn spec(kind: &str, folder: &Path, section: &str) -> Box<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|it| it.name == kind).unwrap();
    let around = Surroundings { pipeline: "bench".to_owned(), folder: folder.to_owned() };
    (kind.read)(section.parse().unwrap(), &around).unwrap()
}

async fn sink(spec: &dyn SinkSpec, batches: &[Batch]) -> Duration {
    spec.prepare().await.unwrap();
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    let begun = Instant::now();
    for batch in batches {
        sink.write(&lane(), batch).await.unwrap();
    }
    begun.elapsed()
}

fn report(what: &str, count: usize, sink: Duration, plain: Duration) {
    let rate = |took: Duration| count as f64 / took.as_secs_f64();
    println!(
        "{what}: sink {:.0} rows/s, plain {:.0} rows/s, ratio {:.2}",
        rate(sink),
        rate(plain),
        rate(sink) / rate(plain)
    );
}

async fn postgres(batches: &[Batch], count: usize) {
    let folder = tempfile::tempdir().unwrap();
    // As a server that keeps what it was told.
    let Some(server) = Postgres::start(folder.path(), &["fsync=on", "max_wal_size=4GB"]) else {
        return;
    };
    let section = format!("url = '{}'\ntable = 'orders'\n{COLUMNS}", server.url());
    let sinking = sink(&*spec("postgres", folder.path(), &section), batches).await;
    assert_eq!(server.sql("SELECT count(*) FROM orders"), count.to_string());
    let file = folder.path().join("rows");
    server.sql(&format!("\\copy orders TO '{}'", file.display()));
    server.sql("CREATE TABLE plain (LIKE orders)");
    server.sql("CHECKPOINT");
    let begun = Instant::now();
    server.sql(&format!("\\copy plain FROM '{}'", file.display()));
    report("postgres, append", count, sinking, begun.elapsed());

    let keyed = format!(
        "url = '{}'\ntable = 'keyed'\nmode = 'upsert'\nkey = ['id']\n{COLUMNS}",
        server.url()
    );
    server.sql("DROP TABLE galgo_positions");
    let sinking = sink(&*spec("postgres", folder.path(), &keyed), batches).await;
    server.sql("CREATE TABLE plain_keyed (LIKE keyed INCLUDING ALL)");
    let begun = Instant::now();
    server.sql(&format!("\\copy plain_keyed FROM '{}'", file.display()));
    report("postgres, upsert (against \\copy)", count, sinking, begun.elapsed());
}

async fn sqlite(orders: &[Order], batches: &[Batch]) {
    let folder = tempfile::tempdir().unwrap();
    let section = format!("file = 'sink.db'\ntable = 'orders'\n{COLUMNS}");
    let section = section
        .replace("numeric(12,2)", "text")
        .replace("timestamptz", "text")
        .replace("bigint", "integer");
    let sinking = sink(&*spec("sqlite", folder.path(), &section), batches).await;
    let mut plain = Connection::open(folder.path().join("plain.db")).unwrap();
    plain.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = full").unwrap();
    let table = "CREATE TABLE orders (id INTEGER, customer TEXT, total TEXT, placed TEXT, note TEXT) STRICT";
    plain.execute_batch(table).unwrap();
    let begun = Instant::now();
    for orders in orders.chunks(usize::try_from(BATCH).unwrap()) {
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
    report("sqlite, append", orders.len(), sinking, begun.elapsed());
}

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1).map_or(200_000, |text| text.parse().unwrap());
    let orders: Vec<Order> = (0..count).map(Order::new).collect();
    let batches = batches(&orders);
    let bytes: usize = orders.iter().map(|order| order.json().len()).sum();
    println!("{count} rows in batches of {BATCH}, {} bytes each", bytes / orders.len().max(1));
    postgres(&batches, orders.len()).await;
    sqlite(&orders, &batches).await;
}
