//! Somebody else has the lane's row.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Instant;

use galgo_connect::Failure;
use galgo_testkit::service::postgres::Postgres;
use galgo_testkit::service::wait_until;

use crate::postgres::start;
use crate::rig::{lane, numbered};
use crate::table::{NUMBERED, deliver, spec};

/// A process that says these statements and then nothing more, as one that is frozen.
fn frozen(server: &Postgres, name: &str, statements: &str) -> Child {
    let mut psql = server.client("psql");
    psql.args(["-X", "-q"]).env("PGAPPNAME", name).stdin(Stdio::piped());
    let mut psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    psql.stdin.as_mut().unwrap().write_all(statements.as_bytes()).unwrap();
    psql
}

const COPYING: &str = "BEGIN;\nUPDATE galgo_positions SET next = 9, moved_at = now();\nCOPY numbers FROM STDIN;\n5\tx\n";

fn copies(server: &Postgres) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY numbers%' AND state = 'active'";
    server.sql(sql) == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_is_ended_by_the_next_one_and_nobody_else_is() {
    let Some(server) = start(&[]) else { return };
    let spec = spec(&server, "numbers", NUMBERED);
    deliver(&*spec, &[numbered(0..5)]).await.unwrap();
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();

    // Of another name: it is left alone, however long it takes.
    let mut stranger = frozen(&server, "somebody", COPYING);
    wait_until("the stranger copies", || copies(&server));
    for _ in 0..5 {
        let said = sink.write(&lane(), &numbered(5..9)).await.unwrap_err();
        assert!(matches!(said, Failure::Away { .. }), "{said}");
        assert!(said.to_string().contains("is locked by another session"), "{said}");
    }
    assert!(copies(&server), "it is not ours to end");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    wait_until("the stranger is gone", || !copies(&server));
    sink.write(&lane(), &numbered(5..9)).await.unwrap();

    // Of the lane's own name.
    let mut owner = frozen(&server, "galgo:bridge/shop/orders/3", COPYING);
    wait_until("the frozen one copies", || copies(&server));
    let begun = Instant::now();
    let mut tries = 1;
    while let Err(said) = sink.write(&lane(), &numbered(9..12)).await {
        assert!(matches!(said, Failure::Away { .. }), "{said}");
        tries += 1;
        assert!(begun.elapsed().as_secs() < 30, "still not: {said}");
    }
    assert_eq!(tries, 4, "it was waited for three times");
    assert_eq!(
        server.sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM numbers"),
        "0,1,2,3,4,5,6,7,8,9,10,11"
    );
    owner.kill().unwrap();
    owner.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_a_transaction_has_the_name_of_its_lane() {
    let Some(server) = start(&[]) else { return };
    let spec = spec(&server, "numbers", NUMBERED);
    deliver(&*spec, &[numbered(0..5)]).await.unwrap();
    let mut holder = frozen(&server, "holder", "BEGIN;\nLOCK galgo_positions;\n");
    let holds = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'galgo_positions'::regclass";
    wait_until("it is locked", || server.sql(holds) == "1");
    let writing = tokio::spawn(async move {
        let mut sink = spec.sink();
        sink.write(&lane(), &numbered(5..9)).await
    });
    let named = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'galgo:bridge/shop/orders/3' AND wait_event_type = 'Lock'";
    wait_until("it waits", || server.sql(named) == "1");
    holder.kill().unwrap();
    holder.wait().unwrap();
    // Within the limit of the wait, or behind it.
    let written = writing.await.unwrap();
    assert!(matches!(written, Ok(()) | Err(Failure::Away { .. })), "{written:?}");
}
