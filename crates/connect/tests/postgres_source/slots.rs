//! The slot: missing, lost, ahead, busy, idle, removed; and servers that cannot be read at all.

use galgo_connect::{Finding, Weight};
use galgo_testkit::service::postgres::Postgres;
use galgo_testkit::service::wait_until;

use crate::rig::{Topic, refused, section, server, spec};

const COLUMNS: &str = "id n";

fn table(server: &Postgres) {
    server.sql(
        "CREATE TABLE items (id bigint PRIMARY KEY, n int);
         INSERT INTO items SELECT i, 0 FROM generate_series(1, 50) i",
    );
}

async fn caught_up(server: &Postgres, more: &str) -> Topic {
    let mut topic = Topic::new(spec("shop", &section(server, "'items'", more)));
    topic.begin().await.unwrap();
    topic.catch_up(server).await;
    topic
}

/// Each way to lose changes stops with the same words and heals with the same answer; rows that were deleted in the
/// meantime are gone afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_missing_stop_it_until_somebody_asks_for_a_copy() {
    let Some(server) =
        server(&["max_slot_wal_keep_size=2MB", "min_wal_size=32MB", "max_wal_size=32MB"])
    else {
        return;
    };
    table(&server);
    let mut topic = caught_up(&server, "").await;
    let drop_slot = "SELECT pg_drop_replication_slot('galgo_shop')";
    let make_slot = "SELECT pg_create_logical_replication_slot('galgo_shop', 'pgoutput')";
    let much = "INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 30000)";
    server.sql("CREATE TABLE noise (text text)");
    for (name, statements) in [
        ("dropped", &[drop_slot, "DELETE FROM items WHERE id = 1"][..]),
        ("ahead", &[drop_slot, "DELETE FROM items WHERE id = 2", make_slot]),
        ("lost", &["DELETE FROM items WHERE id = 3", much]),
        ("not published", &["DROP PUBLICATION galgo_shop", "DELETE FROM items WHERE id = 4"]),
    ] {
        topic.finish().await;
        wait_until("the slot is free", || {
            server.sql("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"
        });
        statements.iter().for_each(|statement| drop(server.sql(statement)));
        if name == "lost" {
            for _ in 0..3 {
                server.sql("SELECT pg_switch_wal(); CHECKPOINT");
            }
            assert_eq!(server.sql("SELECT wal_status FROM pg_replication_slots"), "lost");
        }
        let count = topic.messages.len();
        topic = topic.configured(spec("shop", &section(&server, "'items'", "")));
        let said = match topic.begin().await {
            Ok(()) => loop {
                match topic.step().await {
                    Ok(true) => {}
                    other => break refused(other),
                }
            },
            refusal => refused(refusal),
        };
        assert!(said.contains("changes are missing"), "INV-NO-GAP: {name}: {said}");
        assert!(said.contains("snapshot = \"again\""), "{name}: {said}");
        topic = topic.configured(spec("shop", &section(&server, "'items'", "snapshot = 'again'")));
        topic.begin().await.unwrap();
        if name == "not published" {
            // The slot seems well until it is read; the next try knows better.
            while topic.step().await.is_ok() {}
            topic.begin().await.unwrap();
        }
        topic.catch_up(&server).await;
        assert_eq!(topic.messages[count]["op"], "t", "{name}");
        topic.assert_is(&server, "public.items", COLUMNS);
        // It is copied once, not at each start.
        let count = topic.messages.len();
        topic.restart().await;
        topic.catch_up(&server).await;
        assert_eq!(topic.messages.len(), count, "{name}");
    }
}

/// While only other tables are written to, the server must be able to forget its log.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_slot_lets_the_server_forget() {
    let Some(server) = server(&["wal_sender_timeout=2s"]) else { return };
    table(&server);
    server.sql("CREATE TABLE other (text text)");
    let mut topic = caught_up(&server, "").await;
    server.sql("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 30000)");
    topic
        .until("little is kept", |topic| {
            topic.retained_bytes().is_some_and(|it| it > 0 && it < 1 << 20)
        })
        .await;
    let retained = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < 16000000 FROM pg_replication_slots";
    topic.until("the server forgets", |_| server.sql(retained) == "t").await;
    assert_eq!(topic.ops(), ["r"; 50]);
}

/// INV-CONFIRM: what is taken and not settled stays in the slot.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_settled_is_confirmed() {
    let Some(server) = server(&["wal_sender_timeout=2s"]) else { return };
    table(&server);
    let mut topic = caught_up(&server, "").await;
    let confirmed = || server.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
    topic.until("it is idle", |_| true).await;
    server.sql("UPDATE items SET n = 1 WHERE id = 1");
    let before = topic.messages.len();
    while topic.messages.len() == before {
        topic.take().await.unwrap();
    }
    // Longer than the server waits for a word: it hears of us, and what is not settled stays.
    let was = confirmed();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(confirmed(), was, "INV-CONFIRM");
    assert_eq!(server.sql("SELECT count(*) FROM pg_stat_replication"), "1");
    topic.restart().await;
    topic.catch_up(&server).await;
    assert_eq!(topic.repeats, 1);
    topic.finish().await;
    topic.assert_is(&server, "public.items", COLUMNS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing() {
    let Some(server) = server(&["fsync=on", "synchronous_commit=on"]) else { return };
    table(&server);
    let mut topic = caught_up(&server, "").await;
    for round in 0..3 {
        server.sql(&format!(
            "UPDATE items SET n = {round}; INSERT INTO items VALUES (100 + {round}, 1)"
        ));
        if round > 0 {
            topic.step().await.unwrap();
        }
        server.kill();
        let away = loop {
            match topic.step().await {
                Ok(_) => {}
                Err(failure) => break failure,
            }
        };
        assert_eq!(away.class(), "away", "{away}");
        assert_eq!(topic.begin().await.unwrap_err().class(), "away");
        server.start_again();
        topic.begin().await.unwrap();
        topic.catch_up(&server).await;
        topic.assert_is(&server, "public.items", COLUMNS);
    }
}

/// A reader that froze holds the slot; the next one of the same pipeline takes it over, another pipeline's is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_taken_over_from_a_reader_of_the_same_pipeline_only() {
    let Some(server) = server(&[]) else { return };
    table(&server);
    let mut frozen = caught_up(&server, "").await;
    let mut topic = Topic::new(spec("shop", &section(&server, "'items'", "")));
    topic.cursor = frozen.cursor.clone();
    topic.begin().await.unwrap();
    server.sql("UPDATE items SET n = 3");
    topic.catch_up(&server).await;
    assert_eq!(topic.messages.len(), 50);
    assert!(frozen.step().await.is_err());
    let other = "slot = 'galgo_shop'\npublication = 'galgo_shop'";
    let mut stranger = Topic::new(spec("stranger", &section(&server, "'items'", other)));
    stranger.cursor = topic.cursor.clone();
    let away = stranger.begin().await.unwrap_err();
    assert_eq!(away.class(), "away");
    assert!(
        away.to_string().contains("is being read by another session, \"galgo:shop\""),
        "{away}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_logical_log_is_refused() {
    let Some(server) = server(&["wal_level=replica"]) else { return };
    table(&server);
    let spec_of = || spec("shop", &section(&server, "'items'", ""));
    let said = refused(Topic::new(spec_of()).begin().await);
    assert!(
        said.contains("wal_level is replica") && said.contains("wal_level = logical"),
        "{said}"
    );
    assert!(faults(&spec_of().check().await.unwrap())[0].contains("wal_level is replica"));
    assert_eq!(server.sql("SELECT count(*) FROM pg_publication"), "0");
}

fn faults(findings: &[Finding]) -> Vec<&str> {
    let faults = findings.iter().filter(|finding| finding.weight == Weight::Fault);
    faults.map(|finding| finding.text.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_missing_and_changes_nothing() {
    let Some(server) = server(&[]) else { return };
    table(&server);
    server.sql(
        "CREATE TABLE bare (n int); CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); CREATE VIEW seen AS SELECT 1 AS id;
         CREATE ROLE reader LOGIN REPLICATION; CREATE ROLE plain LOGIN; CREATE SCHEMA sales; CREATE TABLE sales.a (id int PRIMARY KEY)",
    );
    let before = server.dump();
    let tables = "'items', 'bare', 'fast', 'seen', 'gone', 'sales.*'";
    let spec = |user: &str, tables: &str| {
        let text = section(&server, tables, "").replace("postgres@", &format!("{user}@"));
        spec("shop", &text)
    };
    let all = spec("postgres", tables).check().await.unwrap();
    let said = faults(&all).join("\n");
    for expected in [
        "table public.gone: there is none",
        "table public.bare: nothing tells its rows apart",
        "table public.fast: it is no table",
        "table public.seen: it is no table",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(faults(&all).len(), 4, "{said}");
    let warned: Vec<&Finding> = all.iter().filter(|it| it.weight == Weight::Warning).collect();
    assert!(warned[0].text.contains("max_slot_wal_keep_size is -1"));
    let good = spec("postgres", "'items', 'sales.*'").check().await.unwrap();
    assert!(faults(&good).is_empty(), "{good:?}");
    let said = spec("reader", "'items'").check().await.unwrap();
    assert!(faults(&said)[0].contains("only its owner can publish it"), "{said:?}");
    let said = spec("plain", "'items'").check().await.unwrap();
    assert!(faults(&said)[0].contains("for replication"), "{said:?}");
    assert_eq!(server.dump(), before);
    assert_eq!(server.sql("SELECT count(*) FROM pg_replication_slots"), "0");
    // What a check finds, a start refuses, before it changes anything.
    for tables in ["'bare'", "'fast'", "'gone'", "'nowhere.*'"] {
        refused(Topic::new(spec("postgres", tables)).begin().await);
    }
    assert_eq!(server.dump(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_removes_what_was_made_and_nothing_that_is_in_use() {
    let Some(server) = server(&[]) else { return };
    table(&server);
    let mut topic = caught_up(&server, "").await;
    let spec = spec("shop", &section(&server, "'items'", ""));
    assert!(refused(spec.cleanup().await).contains("stop the pipeline first"));
    topic.finish().await;
    drop(topic);
    wait_until("the slot is free", || {
        server.sql("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"
    });
    assert_eq!(
        spec.cleanup().await.unwrap(),
        ["replication slot galgo_shop", "publication galgo_shop"]
    );
    assert_eq!(server.sql("SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)"), "0");
    assert!(spec.cleanup().await.unwrap().is_empty());
}
