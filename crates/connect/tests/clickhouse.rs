//! Batches for a real ClickHouse.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::gate::Gate;
use galgo_connect::lane::{Delivery, OnBad};
use galgo_connect::sink::Sinks;
use galgo_connect::status::LaneStatus;
use galgo_connect::{Batch, Failure, Form, LaneName, Place, Position, Row, SinkSpec, Weight, kind};
use galgo_testkit::service::clickhouse::ClickHouse;
use tokio::sync::watch;

const COLUMNS: &str = "columns = { n = 'UInt64', name = 'String' }";

fn target(url: &str, more: &str) -> Box<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|kind| kind.name == "http").unwrap();
    let around = Surroundings { pipeline: "ch".to_owned(), folder: std::env::temp_dir() };
    let file = format!(
        "url = '{url}'\nbody = 'clickhouse'\ntimeout = '20s'\n[clickhouse]\ntable = 'orders'\n{more}"
    );
    (kind.read)(file.parse().unwrap(), &around).unwrap()
}

fn lane(partition: u32) -> LaneName {
    LaneName {
        pipeline: "ch".to_owned(),
        stream: "shop".to_owned(),
        topic: "it's".to_owned(),
        partition,
    }
}

fn row(offset: u64) -> Row {
    Row {
        place: Place { offset, part: 0 },
        id: u128::from(offset) + 1,
        time: offset + 1,
        origin_time: offset,
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from(format!("{{\"n\": {offset}, \"name\": \"x\", \"unknown\": [1]}}")),
    }
}

fn position(next: u64) -> Position {
    Position { next, topic_made_at: 7, last_id: next.into(), last_time: next }
}

fn batch(offsets: std::ops::Range<u64>) -> Batch {
    Batch::new(offsets.start, position(offsets.end), offsets.map(row).collect())
}

fn delivery(target: &dyn SinkSpec, lane: LaneName) -> (Delivery, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let delivery = Delivery {
        status: Arc::new(LaneStatus::new(lane.clone())),
        lane,
        sinks: Arc::new(Sinks::new(vec![target.sink()])),
        gate: Arc::new(Gate::default()),
        on_bad: OnBad::Skip,
        retry_for: None,
        waits_for_people: true,
        stop: stopped,
        counts: Default::default(),
        done: watch::Sender::new(0),
    };
    (delivery, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_position_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = ClickHouse::start(dir.path()) else { return };
    let before = server.query("SELECT count() FROM system.tables WHERE database = 'default'");
    let target = target(&server.url(), &format!("create = true\n{COLUMNS}"));
    let findings = target.check(&[row(0)]).await.unwrap();
    assert!(findings.iter().all(|it| it.weight == Weight::Good), "{findings:?}");
    let after = server.query("SELECT count() FROM system.tables WHERE database = 'default'");
    assert_eq!(before, after, "a check changes nothing");

    target.prepare().await.unwrap();
    target.prepare().await.unwrap();
    let mut sink = target.sink();
    assert_eq!(sink.position(&lane(0)).await.unwrap(), None);
    sink.write(&lane(0), &batch(0..500)).await.unwrap();
    assert_eq!(sink.position(&lane(0)).await.unwrap(), Some(position(500)));
    assert_eq!(sink.position(&lane(1)).await.unwrap(), None);
    // Somebody who does not know of it comes with the same batch.
    let mut other = self::target(&server.url(), COLUMNS).sink();
    assert_eq!(other.write(&lane(0), &batch(0..500)).await, Err(Failure::Moved));
    sink.write(&lane(0), &batch(500..600)).await.unwrap();
    assert_eq!(server.query("SELECT count(), uniq(n), sum(n) FROM orders"), "600\t600\t179700\n");
    // A topic made anew has rows behind these.
    let fresh = Position { next: 0, topic_made_at: 8, ..Position::default() };
    sink.set_position(&lane(0), &fresh).await.unwrap();
    let again = Batch::new(0, Position { topic_made_at: 8, ..position(2) }, vec![row(0), row(1)]);
    other.write(&lane(0), &again).await.unwrap();
    assert_eq!(sink.position(&lane(0)).await.unwrap().unwrap().topic_made_at, 8);
    let failure = sink.set_position(&lane(0), &Position { next: 1, ..fresh }).await.unwrap_err();
    assert!(failure.to_string().contains("ALTER TABLE default.orders DELETE"), "{failure}");
    // The positions are kept by what the table keeps, and merges change nothing.
    server.query("OPTIMIZE TABLE orders FINAL");
    assert_eq!(server.query("SELECT count() FROM orders"), "602\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_found_and_refusals_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = ClickHouse::start(dir.path()) else { return };
    let refused = |failure: Failure| {
        assert_eq!(failure.class(), "refused", "{failure}");
        failure.to_string()
    };
    let missing = target(&server.url(), COLUMNS).prepare().await.unwrap_err();
    assert!(refused(missing).contains("set create = true"));
    server.query("CREATE TABLE orders (n UInt64, name String) ENGINE = Log");
    let missing = refused(target(&server.url(), COLUMNS).prepare().await.unwrap_err());
    assert!(missing.contains("ADD COLUMN galgo_topic String"), "{missing}");
    server.query("DROP TABLE orders");
    let wrong =
        target(&server.url(), "user = 'writer'\npassword = { env = 'HOME' }").prepare().await;
    assert!(refused(wrong.unwrap_err()).contains("wrong user or password"));
    let setting = format!("create = true\n{COLUMNS}\nsettings = {{ no_such = '1' }}");
    let setting = target(&server.url(), &setting);
    setting.prepare().await.unwrap();
    let failure = setting.sink().write(&lane(0), &batch(0..1)).await.unwrap_err();
    assert!(refused(failure).contains("look at settings"));

    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s3cret").unwrap();
    let login = format!(
        "user = 'writer'\npassword = {{ file = '{}' }}\n{COLUMNS}",
        secret.path().display()
    );
    let target = target(&server.url(), &login);
    target.prepare().await.unwrap();
    for (partition, bad) in [(1, vec![0_u64]), (2, vec![7]), (3, vec![15]), (4, vec![0, 9, 15])] {
        let mut rows: Vec<Row> = (0..16).map(row).collect();
        let poison: [&[u8]; 3] =
            [b"{\"n\":\"MARKED-VALUE\"}", b"[1]", b"{\"n\":1,\"galgo_offset\":5}"];
        for (at, poison) in bad.iter().zip(poison) {
            rows[usize::try_from(*at).unwrap()].payload = Bytes::from_static(poison);
        }
        let (mut delivery, _stop) = delivery(&*target, lane(partition));
        delivery.deliver(Batch::new(0, position(16), rows)).await.unwrap();
        assert_eq!(delivery.counts.skipped, bad.len() as u64, "{bad:?}");
        let stored = server.query(&format!(
            "SELECT groupArray(galgo_offset) FROM (SELECT galgo_offset FROM orders WHERE galgo_partition = {partition} ORDER BY galgo_offset)"
        ));
        let expected: Vec<_> =
            (0..16).filter(|it| !bad.contains(it)).map(|it: u64| it.to_string()).collect();
        assert_eq!(stored.trim(), format!("[{}]", expected.join(",")));
    }
    let envelope = self::target(&server.url(), "envelope = true");
    let shown = envelope.preview(&lane(0), &row(3)).unwrap();
    assert!(shown.contains(r#""payload":"{\"n\": 3"#), "{shown}");
}

/// What a row does not have is what the table says, also where that is made of other columns.
#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_missing_are_what_the_table_makes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = ClickHouse::start(dir.path()) else { return };
    let place = "galgo_topic String, galgo_partition UInt32, galgo_made UInt64, galgo_offset UInt64, galgo_part UInt32, \
                 galgo_time UInt64, galgo_id String";
    server.query(&format!(
        "CREATE TABLE orders ({place}, n UInt64, `twice n` UInt64 DEFAULT n * 2, price Decimal(9, 2) DEFAULT toDecimal32(n, 2), \
         after UInt64 DEFAULT `twice n` + 1, sum UInt64 MATERIALIZED n + 100) ENGINE = MergeTree() ORDER BY galgo_offset"
    ));
    let target = target(&server.url(), "");
    target.prepare().await.unwrap();
    let payloads: [&[u8]; 3] = [
        b"{\"n\": 5}",
        b"{\"n\": 6, \"twice n\": 1, \"price\": 1.50}",
        b"{\"n\": 7, \"after\": null, \"sum\": 1}",
    ];
    let rows = (0..)
        .zip(payloads)
        .map(|(offset, payload)| Row { payload: Bytes::from_static(payload), ..row(offset) });
    let mut sink = target.sink();
    sink.write(&lane(0), &Batch::new(0, position(3), rows.collect())).await.unwrap();
    let stored = server.query("SELECT n, `twice n`, price, after, sum FROM orders ORDER BY n");
    assert_eq!(stored, "5\t10\t5.00\t11\t105\n6\t1\t1.50\t2\t106\n7\t14\t7.00\t15\t107\n");
    // An envelope has its payload, whatever the table has for those that have none.
    server.query("DROP TABLE orders");
    server.query(&format!(
        "CREATE TABLE orders ({place}, payload String DEFAULT 'none') ENGINE = MergeTree() ORDER BY galgo_offset"
    ));
    let envelope = self::target(&server.url(), "envelope = true");
    envelope.prepare().await.unwrap();
    envelope.sink().write(&lane(0), &batch(0..1)).await.unwrap();
    assert!(server.query("SELECT payload FROM orders").contains("\"name\": \"x\""));
}

/// INV-ONE-STEP: whatever is killed, each row is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_the_middle_has_each_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut server) = ClickHouse::start(dir.path()) else { return };
    let target = target(&server.url(), &format!("create = true\n{COLUMNS}"));
    target.prepare().await.unwrap();
    let (mut delivery, _stop) = delivery(&*target, lane(0));
    let writing = tokio::spawn(async move {
        for begin in 0..200_u64 {
            let mut next = begin * 50;
            while next < begin * 50 + 50 {
                match delivery.deliver(batch(next..begin * 50 + 50)).await {
                    Ok(()) => break,
                    Err(galgo_connect::lane::DeliveryEnd::Elsewhere(at)) => next = at,
                    Err(end) => panic!("{end:?}"),
                }
            }
        }
        delivery.counts
    });
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(300 + 170 * round)).await;
        server.kill();
        server.start_again();
    }
    let counts = writing.await.unwrap();
    let stored =
        server.query("SELECT count(), uniqExact(galgo_offset), max(galgo_offset) FROM orders");
    assert_eq!(stored, "10000\t10000\t9999\n", "{counts:?}");
}

/// A connector that dies while its insert is on the way: the next one ends it and goes on from what is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_is_left_behind_is_ended_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = ClickHouse::start(dir.path()) else { return };
    let target = target(&server.url(), &format!("create = true\n{COLUMNS}"));
    target.prepare().await.unwrap();
    // How long one takes that is left alone: the others are left behind at any moment of that, and some right after it.
    let begun = Instant::now();
    target.sink().write(&lane(0), &batch(0..20_000)).await.unwrap();
    let took = begun.elapsed();
    let mut next = 20_000;
    for round in 0..30_u32 {
        let mut sink = target.sink();
        let end = next + 20_000;
        let writing = tokio::spawn(async move { sink.write(&lane(0), &batch(next..end)).await });
        tokio::time::sleep(took * round / 25).await;
        // As if the process was killed: nothing more is sent, and nobody reads the answer.
        writing.abort();
        let _ = writing.await;
        let position = loop {
            match target.sink().position(&lane(0)).await {
                Ok(position) => break position,
                // It cannot be ended at this moment; the runner asks again, too.
                Err(Failure::Away { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(failure) => panic!("{failure}"),
            }
        };
        let at = position.map_or(0, |it| it.next);
        assert!(at == next || at == end, "INV-ONE-STEP: {next} {at} {end}");
        next = at;
    }
    let stored = server.query("SELECT count(), uniqExact(galgo_offset) FROM orders");
    assert_eq!(stored, format!("{next}\t{next}\n"));
    assert!(next > 20_000, "none came through");
}
