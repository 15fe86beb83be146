//! Copies of tables that are written to meanwhile, and reading on, with every kind of interruption.

use std::process::{Child, Command, Stdio};

use galgo_testkit::service::postgres::Postgres;

use crate::rig::{Topic, section, server, spec};

const COLUMNS: &str = "id n doc";

fn table(server: &Postgres, rows: u32) {
    server.sql(&format!(
        "CREATE TABLE items (id bigint PRIMARY KEY, n int NOT NULL, doc text);
         ALTER TABLE items ALTER doc SET STORAGE EXTERNAL;
         CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, n int);
         INSERT INTO items SELECT i, 0, CASE WHEN i % 10 = 0 THEN repeat('a' || i, 1500) ELSE 'b' END FROM generate_series(1, {rows}) i"
    ));
}

/// Six clients that insert, change (also values that are stored apart), delete, and put rows back.
struct Writers(Child);

impl Writers {
    fn start(server: &Postgres, folder: &std::path::Path, rows: u32) -> Self {
        let script = folder.join("writers.sql");
        let text = format!(
            "\\set id random(1, {rows})
             \\set other random(1, {rows})
             BEGIN;
             UPDATE items SET n = n + 1 WHERE id = :id;
             UPDATE items SET doc = repeat('c' || :id, 1500) WHERE id = :other AND id % 10 = 0;
             DELETE FROM items WHERE id = :other AND id % 7 = 0;
             INSERT INTO items VALUES (:id, :other, repeat('d', :other % 5000)) ON CONFLICT (id) DO UPDATE SET n = items.n + 1;
             INSERT INTO log (n) VALUES (:id);
             END;"
        );
        std::fs::write(&script, text).unwrap();
        let mut pgbench: Command = server.client("pgbench");
        pgbench.args(["-n", "-c", "6", "-j", "2", "-T", "600", "--max-tries=1000", "-f"]);
        pgbench.arg(&script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let writers = Self(pgbench.spawn().unwrap());
        galgo_testkit::service::wait_until("something is written", || {
            server.sql("SELECT count(*) > 20 FROM log") == "t"
        });
        writers
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A copied row is told again as a change, or a change is missing, if the copy and the slot do not agree on a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_written_to_is_copied_without_a_gap_or_a_repeat() {
    let Some(server) = server(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    table(&server, 3_000);
    server.sql("CREATE PUBLICATION logs FOR TABLE log, items WITH (publish = 'insert')");
    let writers = Writers::start(&server, folder.path(), 3_000);
    let mut rounds = Vec::new();
    for round in 0..3 {
        let settings = section(&server, "'public.items'", "");
        let mut topic = Topic::new(spec(&format!("round-{round}"), &settings));
        topic.begin().await.unwrap();
        topic.until("changes come", |topic| topic.ops().contains(&"c")).await;
        let more = "publication = 'logs'\nslot = 'logs'\ncreate = false";
        if round == 0 {
            server.sql("SELECT pg_create_logical_replication_slot('logs', 'pgoutput')");
            let mut logs = Topic::new(spec("logs", &section(&server, "'log'", more)));
            logs.begin().await.unwrap();
            logs.until("changes come", |topic| topic.ops().contains(&"c")).await;
            rounds.push(logs);
        }
        rounds.push(topic);
    }
    drop(writers);
    server.sql("SELECT count(*) FROM log");
    for topic in rounds.iter_mut().skip(1) {
        topic.catch_up(&server).await;
        topic.assert_is(&server, "public.items", COLUMNS);
        assert_eq!(topic.repeats, 0);
        assert!(!topic.ops().contains(&"t"), "a first copy empties nothing");
    }
    // Rows without a key: each of them once, copied or told, and nothing else.
    let logs = &mut rounds[0];
    logs.catch_up(&server).await;
    let mut ids: Vec<u64> =
        logs.messages.iter().filter_map(|message| message["after"]["id"].as_u64()).collect();
    assert!(logs.ops().contains(&"r") && logs.ops().contains(&"c"));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "no row of the log is there twice");
    assert_eq!(count.to_string(), server.sql("SELECT count(*) FROM log"));
}

/// The process is killed at any point, with messages that were stored and a cursor that was not, also while it copies; so the
/// topic has parts of copies that were never finished.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_killed_again_and_again_leaves_the_table() {
    let Some(server) = server(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    table(&server, 4_000);
    server.sql("CREATE PUBLICATION galgo_killed FOR TABLE items; ALTER TABLE log REPLICA IDENTITY FULL; ALTER PUBLICATION galgo_killed ADD TABLE log");
    let writers = Writers::start(&server, folder.path(), 4_000);
    let mut topic = Topic::new(spec("killed", &section(&server, "'items', 'log'", "")));
    topic.begin().await.unwrap();
    // In the middle of the first copy: before any cursor was stored, and behind one.
    for stored in [false, true, true] {
        for _ in 0..3 {
            let cursor = topic.take().await.unwrap().unwrap();
            assert!(cursor.0.get("copying").is_some());
            if stored {
                topic.settle(cursor).await;
            }
        }
        topic.restart().await;
    }
    topic.until("the copy is over", |topic| topic.ops().ends_with(&["u"])).await;
    for round in 0..12_usize {
        for _ in 0..round {
            topic.step().await.unwrap();
        }
        // A chunk is stored, its cursor is not.
        topic.take().await.unwrap();
        topic.restart().await;
    }
    drop(writers);
    topic.restart().await;
    topic.catch_up(&server).await;
    topic.assert_is(&server, "public.items", COLUMNS);
    topic.assert_is(&server, "public.log", "id n");
    assert!(topic.repeats > 0, "something was read again, and dropped");
    assert!(topic.ops().contains(&"t"), "what was told of rows without a key is void");
}

/// A chunk ends inside a transaction; a reader that goes on there gets the rest of it, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_read_in_parts() {
    let Some(server) = server(&["logical_decoding_work_mem=64kB"]) else { return };
    table(&server, 10);
    let mut topic = Topic::new(spec("large", &section(&server, "'items'", "")));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    let confirmed = || server.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
    let before = confirmed();
    server.sql("INSERT INTO items SELECT i, 1, 'x' FROM generate_series(11, 20010) i");
    let mut parts = 0;
    while topic.messages.len() < 20_010 {
        topic.step().await.unwrap();
        let inside = topic.cursor.as_ref().unwrap().0.get("inside").is_some();
        if inside && parts < 4 {
            parts += 1;
            topic.restart().await;
        }
    }
    assert_eq!(parts, 4);
    assert_eq!(topic.repeats, 0, "what is settled is passed over");
    // Now a part of it is stored, and no cursor.
    server.sql("UPDATE items SET n = 2");
    topic.take().await.unwrap();
    topic.take().await.unwrap();
    topic.restart().await;
    topic.catch_up(&server).await;
    assert!(topic.repeats > 0);
    topic.assert_is(&server, "public.items", COLUMNS);
    assert_ne!(before, confirmed());
}

/// A slot cannot be made while a transaction is open, and what such a transaction does comes when it commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_open_for_long_is_not_lost() {
    let Some(server) = server(&[]) else { return };
    table(&server, 100);
    let open = |statements: &str| -> Child {
        let mut psql = server.client("psql");
        psql.args(["-X", "-q", "-c", statements]).stdin(Stdio::null());
        psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = open("BEGIN; UPDATE items SET n = 7 WHERE id = 1; SELECT pg_sleep(3); COMMIT");
    galgo_testkit::service::wait_until("a transaction is open", || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; UPDATE%' AND backend_xid IS NOT NULL") == "1"
    });
    let mut topic = Topic::new(spec("long", &section(&server, "'items'", "")));
    topic.begin().await.unwrap();
    assert!(first.wait().unwrap().success(), "the slot was made behind it");
    let mut second = open("BEGIN; UPDATE items SET n = 8 WHERE id = 2; SELECT pg_sleep(4); COMMIT");
    topic.catch_up(&server).await;
    // Others commit while it is open, and the reader is started again.
    server.sql("UPDATE items SET n = 9 WHERE id = 3");
    topic.catch_up(&server).await;
    topic.restart().await;
    assert!(second.wait().unwrap().success());
    topic.catch_up(&server).await;
    topic.assert_is(&server, "public.items", COLUMNS);
    assert_eq!(topic.repeats, 0);
}
