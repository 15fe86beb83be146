//! Batches of many pieces: rows are on their way before it is known whether they may be there.

use galgo_connect::{Batch, Failure, LaneName, Place};
use galgo_testkit::service::postgres::Postgres;

use crate::postgres::start;
use crate::rig::{batch, lane, numbered, row};
use crate::table::{NUMBERED, deliver, spec};

fn count(server: &Postgres) -> String {
    server.sql("SELECT count(*), max(n) FROM numbers")
}

/// Rows of 5,000 to 9,999, some of them other ones.
fn with(others: &[(u64, &str)]) -> Batch {
    let mut rows = numbered(5_000..10_000).rows().to_vec();
    for (offset, payload) in others {
        rows[usize::try_from(offset - 5_000).unwrap()] = row(*offset, payload);
    }
    batch(5_000..10_000, rows)
}

fn bad(said: &Failure) -> Vec<u64> {
    match said {
        Failure::Bad { places, .. } => places.iter().map(|Place { offset, .. }| *offset).collect(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_many_pieces_is_there_whole_or_not_at_all() {
    let Some(server) = start(&[]) else { return };
    let spec = spec(&server, "numbers", NUMBERED);
    deliver(&*spec, &[numbered(0..5_000)]).await.unwrap();
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    let backends =
        "SELECT count(*), min(pid) FROM pg_stat_activity WHERE application_name LIKE 'galgo:%'";
    let before = server.sql(backends);

    let moved = sink.write(&lane(), &numbered(9_000..14_000)).await;
    assert_eq!(moved, Err(Failure::Moved), "INV-ONE-STEP");
    // No row can be made of it: found out when others are sent.
    let said = sink.write(&lane(), &with(&[(7_000, "{"), (9_999, "none")])).await.unwrap_err();
    assert_eq!(bad(&said), [7_000, 9_999]);
    // The lane is elsewhere, and rows are bad: what is bad is of no account.
    let mut rows = numbered(9_000..14_000).rows().to_vec();
    rows[4_000] = row(13_000, "{");
    let moved = sink.write(&lane(), &batch(9_000..14_000, rows)).await;
    assert_eq!(moved, Err(Failure::Moved), "INV-ONE-STEP");
    // The server takes no such row.
    let said = sink.write(&lane(), &with(&[(8_123, r#"{"n":"no number"}"#)])).await.unwrap_err();
    assert_eq!(bad(&said), [8_123]);
    assert_eq!(count(&server), "5000|4999");
    assert_eq!(sink.position(&lane()).await.unwrap().unwrap().next, 5_000);

    sink.write(&lane(), &with(&[])).await.unwrap();
    assert_eq!(count(&server), "10000|9999");
    assert_eq!(server.sql(backends), before, "it is the same session");
    let log = std::fs::read_to_string(server.data().with_file_name("log")).unwrap();
    assert!(!log.contains("no transaction in progress"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_name_of_a_lane_ends_it() {
    let Some(server) = start(&[]) else { return };
    let spec = spec(&server, "numbers", NUMBERED);
    spec.prepare().await.unwrap();
    let mut sink = spec.sink();
    for pipeline in ["it's", "back\\slash", "$1 'both' \\'", "\"quoted\"; --"] {
        let lane = LaneName { pipeline: pipeline.to_owned(), ..lane() };
        assert_eq!(sink.position(&lane).await, Ok(None));
        sink.write(&lane, &numbered(0..5)).await.unwrap();
        assert_eq!(sink.write(&lane, &numbered(0..5)).await, Err(Failure::Moved), "INV-ONE-STEP");
        sink.write(&lane, &numbered(5..7)).await.unwrap();
        assert_eq!(sink.position(&lane).await.unwrap().unwrap().next, 7);
    }
    assert_eq!(count(&server), "28|6");
}
