//! A server that is killed, restored, or shared by two files; and errors without values.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use galgo_connect::lane::OnBad;
use galgo_connect::{Failure, Position, Weight};
use galgo_testkit::service::postgres::Postgres;
use galgo_testkit::service::wait_until;

use crate::postgres::start;
use crate::rig::{
    MARK, assert_log_is_mute, delivery, lane, listen_to_log, numbered, row, sink_spec,
};
use crate::table::{NUMBERED, deliver, payloads, section, spec};

fn numbers(server: &Postgres) -> String {
    server.sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM numbers")
}

/// Writes a batch and kills the server while it commits.
async fn killed_in_commit(server: &Postgres, waits_in: &str) -> Position {
    let spec = spec(server, "numbers", NUMBERED);
    let mut sink = spec.sink();
    let begin = sink.position(&lane()).await.unwrap().unwrap().next;
    let writing = tokio::spawn(async move {
        let written = sink.write(&lane(), &numbered(begin..begin + 4)).await;
        (sink, written)
    });
    let commits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = '{waits_in}'"
    );
    wait_until("it commits", || server.sql(&commits) == "1");
    server.kill();
    let (mut sink, written) = writing.await.unwrap();
    assert!(matches!(written, Err(Failure::Unknown { .. })), "{written:?}");
    let away = sink.position(&lane()).await;
    assert!(matches!(away, Err(Failure::Away { .. })), "{away:?}");
    let config = server.data().join("postgresql.auto.conf");
    std::fs::write(config, "").unwrap();
    server.start_again();
    sink.position(&lane()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_commit_is_told_by_the_position() {
    let Some(server) = start(&[]) else { return };
    deliver(&*spec(&server, "numbers", NUMBERED), &[numbered(0..5)]).await.unwrap();
    // It was not committed yet.
    server.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    assert_eq!(killed_in_commit(&server, "PgSleep").await.next, 5);
    assert_eq!(numbers(&server), "0,1,2,3,4");
    // It was committed, and nobody was told.
    server.sql("DROP TRIGGER slow ON numbers");
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    server.sql("SELECT pg_reload_conf()");
    wait_until("a standby is waited for", || {
        server.sql("SHOW synchronous_standby_names") == "nobody"
    });
    assert_eq!(killed_in_commit(&server, "SyncRep").await.next, 9);
    assert_eq!(numbers(&server), "0,1,2,3,4,5,6,7,8");
    // The pipeline goes on by itself.
    let spec = spec(&server, "numbers", NUMBERED);
    let (mut delivery, _running) = delivery(&*spec, OnBad::Skip);
    delivery.deliver(numbered(9..12)).await.unwrap();
    assert_eq!(numbers(&server), "0,1,2,3,4,5,6,7,8,9,10,11");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_is_waited_for() {
    let Some(server) = start(&[]) else { return };
    let spec = spec(&server, "numbers", NUMBERED);
    deliver(&*spec, &[numbered(0..5)]).await.unwrap();
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    server.kill();
    let said = sink.write(&lane(), &numbered(5..7)).await.unwrap_err();
    assert!(matches!(said, Failure::Away { .. }), "{said}");
    let (mut delivery, _running) = delivery(&*spec, OnBad::Pause);
    let delivering = tokio::spawn(async move { delivery.deliver(numbered(5..7)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.start_again();
    delivering.await.unwrap().unwrap();
    assert_eq!(numbers(&server), "0,1,2,3,4,5,6");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_is_written_to_that_is_no_standby() {
    let (Some(standby), Some(primary)) = (start(&[]), start(&[])) else { return };
    standby.kill();
    std::fs::write(standby.data().join("standby.signal"), "").unwrap();
    standby.start_again();
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    let hosts = format!("127.0.0.1:1,127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let of = |hosts: &str| {
        let one = format!("127.0.0.1:{}", primary.port());
        sink_spec("postgres", &section(&primary, "numbers", NUMBERED).replace(&one, hosts))
    };
    deliver(&*of(&hosts), &[numbered(0..5)]).await.unwrap();
    assert_eq!(numbers(&primary), "0,1,2,3,4");
    let said = deliver(&*of(&format!("127.0.0.1:{}", standby.port())), &[]).await.unwrap_err();
    assert!(matches!(said, Failure::Away { .. }), "{said}");
    assert!(said.to_string().contains("read-only"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restored_fills_its_gap() {
    let Some(server) = start(&[]) else { return };
    let spec = spec(&server, "numbers", NUMBERED);
    deliver(&*spec, &[numbered(0..5)]).await.unwrap();
    let copy = server.dump();
    let mut sink = spec.sink();
    sink.write(&lane(), &numbered(5..9)).await.unwrap();
    server.sql("DROP TABLE numbers, galgo_positions");
    let mut psql = server.client("psql");
    psql.args(["-X", "-q"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut psql = psql.spawn().unwrap();
    psql.stdin.take().unwrap().write_all(copy.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
    assert_eq!(sink.write(&lane(), &numbered(9..12)).await, Err(Failure::Moved), "INV-ONE-STEP");
    let begin = sink.position(&lane()).await.unwrap().unwrap().next;
    assert_eq!(begin, 5);
    sink.write(&lane(), &numbered(begin..12)).await.unwrap();
    assert_eq!(numbers(&server), "0,1,2,3,4,5,6,7,8,9,10,11");

    // To before the lane began: nothing may be delivered as if it were the first.
    server.sql("DELETE FROM galgo_positions");
    assert_eq!(sink.write(&lane(), &numbered(12..13)).await, Err(Failure::Moved), "INV-ONE-STEP");
    assert_eq!(sink.position(&lane()).await, Ok(None));
    let elsewhere = Position { next: 40, topic_made_at: 1, last_id: u128::MAX, last_time: 2 };
    sink.set_position(&lane(), &elsewhere).await.unwrap();
    assert_eq!(sink.position(&lane()).await, Ok(Some(elsewhere)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_of_one_name_are_refused() {
    let Some(server) = start(&[]) else { return };
    deliver(&*spec(&server, "one", NUMBERED), &[numbered(0..5)]).await.unwrap();
    let other = spec(&server, "other", NUMBERED);
    other.prepare().await.unwrap();
    let refused = other.sink().position(&lane()).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("to table one, and this file says other"), "{refused}");
}

const FAULTS: [&str; 9] = [
    r#"{"a":"MARKED-VALUE"}"#,
    r#"{"b":"MARKED-VALUE"}"#,
    r#"{"c":"MARKED-VALUE"}"#,
    r#"{"d":"MARKED-VALUE"}"#,
    r#"{"e":"MARKED-VALUE"}"#,
    r#"{"f":"MARKED-VALUE"}"#,
    r#"{"g":["MARKED-VALUE",["x"]]}"#,
    r#"{"h":{"MARKED-VALUE":"\ud800"}}"#,
    r#"{"f":"MARKED-VALUE \u0000"}"#,
];

/// INV-MUTE: values are in no error, whatever the database says of them, and no log line; and each bad message is named.
#[tokio::test(flavor = "multi_thread")]
async fn no_value_is_in_an_error() {
    listen_to_log();
    let Some(server) = start(&[]) else { return };
    let columns: String = "abcdefgh"
        .chars()
        .map(|name| {
            let sql_type = match name {
                'a' => "int",
                'b' => "timestamptz",
                'g' => "text[]",
                'h' => "jsonb",
                _ => "text",
            };
            format!("{name} = {{ from = '.{name}', type = '{sql_type}' }}\n")
        })
        .collect();
    for mode in ["append", "upsert"] {
        server.sql("DROP TABLE IF EXISTS strict, other, galgo_positions");
        // One that is checked when the transaction ends takes the whole batch back.
        let when = if mode == "upsert" { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
        let tables = "CREATE TABLE other (d text PRIMARY KEY);
             CREATE TABLE strict (n int PRIMARY KEY, a int, b timestamptz, c varchar(3), d text REFERENCES other WHEN, e text CHECK (e <> 'MARKED-VALUE'),
                                  f text, g text[], h jsonb);
             CREATE OR REPLACE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF NEW.f IS NOT NULL THEN RAISE ''it is %'', NEW.f USING DETAIL = NEW.f; END IF; RETURN NEW; END';
             CREATE TRIGGER raise BEFORE INSERT ON strict FOR EACH ROW EXECUTE FUNCTION raise()";
        server.sql(&tables.replace("WHEN", when));
        let more = format!(
            "mode = '{mode}'\nkey = ['n']\n[columns]\nn = {{ from = '@offset', type = 'int' }}\n{columns}"
        );
        let strict = sink_spec("postgres", &section(&server, "strict", &more));
        strict.prepare().await.unwrap();
        let mut sink = strict.sink();
        sink.position(&lane()).await.unwrap();
        for fault in FAULTS {
            let said = sink.write(&lane(), &payloads(0, &["{}", fault])).await.unwrap_err();
            assert!(matches!(said, Failure::Bad { .. } | Failure::Batch { .. }), "{said}");
            assert!(!format!("{said} {said:?}").contains("MARKED"), "INV-MUTE: {said}");
        }
        // A whole batch of them, with good ones in between.
        let all: Vec<&str> = FAULTS.iter().flat_map(|fault| ["{}", *fault]).collect();
        let buried = std::sync::Arc::new(crate::rig::Buried::default());
        let (mut delivery, _running) = delivery(&*strict, OnBad::DeadLetter(buried.clone()));
        delivery.deliver(payloads(0, &all)).await.unwrap();
        let dead = buried.0.lock().unwrap().clone();
        let offsets: std::collections::BTreeSet<u64> =
            dead.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..18).filter(|offset| offset % 2 == 1).collect());
        assert!(!format!("{dead:?}").contains("MARKED"), "INV-MUTE: {dead:?}");
        let count = server.sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM strict");
        assert_eq!(count, "0,2,4,6,8,10,12,14,16", "{mode}");
        let findings = strict
            .check(&[row(99, FAULTS[0]), row(98, FAULTS[5]), row(97, FAULTS[3])])
            .await
            .unwrap();
        assert!(!format!("{findings:?}").contains(MARK), "INV-MUTE: {findings:?}");
        assert_eq!(
            findings.iter().filter(|it| it.weight == Weight::Fault).count(),
            3,
            "{findings:?}"
        );
    }
    assert_log_is_mute();
}
