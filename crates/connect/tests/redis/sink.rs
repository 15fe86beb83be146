//! Messages to Redis.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use galgo::UserHeaders;
use galgo_connect::conformance::{ReadBack, conformance};
use galgo_connect::lane::OnBad;
use galgo_connect::{Failure, LaneName, Row, SinkSpec, Weight};
use galgo_testkit::service::redis::{LESSER_USER, PASSWORD, Redis, USER};

use crate::other_side::{OtherSide, SeenEntry};
use crate::rig::{
    Buried, MARK, assert_log_is_mute, batch, delivery, lane, listen_to_log, number_of, numbered,
    row, sink_spec, with_headers,
};

const BY_COUNTRY: &str = r#"stream = '"orders:\(.country)"'"#;
const POSITIONS: &str = "galgo:positions:bridge";

/// Where the password is, for all tests.
fn password_file() -> String {
    let path = std::env::temp_dir().join(format!("galgo-redis-{}", std::process::id()));
    std::fs::write(&path, PASSWORD).unwrap();
    path.display().to_string()
}

pub(crate) fn section(user: &str, port: u16, more: &str) -> String {
    let file = password_file();
    format!("url = 'redis://{user}@127.0.0.1:{port}'\npassword = {{ file = '{file}' }}\n{more}")
}

fn spec(port: u16, more: &str) -> Arc<dyn SinkSpec> {
    sink_spec("redis", &section(USER, port, more))
}

fn numbers(entries: &[SeenEntry]) -> Vec<u64> {
    entries.iter().map(|entry| number_of(&entry.fields["payload"])).collect()
}

fn refused(failure: Failure) -> String {
    match failure {
        Failure::Refused { reason, advice } => format!("{reason}; {advice}"),
        other => panic!("{other:?}"),
    }
}

struct Back(OtherSide);

#[async_trait]
impl ReadBack for Back {
    async fn numbers(&self, lane: &LaneName) -> Result<Vec<u64>, String> {
        let payloads = self.0.all("good").await.into_iter().map(|entry| {
            serde_json::from_slice::<serde_json::Value>(&entry.fields["payload"]).unwrap()
        });
        let ours = payloads.filter(|payload| payload["lane"] == lane.to_string());
        Ok(ours.map(|payload| payload["number"].as_u64().unwrap()).collect())
    }

    fn poison(&self, row: &Row) -> Option<Bytes> {
        let mut payload: serde_json::Value = serde_json::from_slice(&row.payload).unwrap();
        payload["stream"] = "no stream".into();
        Some(payload.to_string().into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_what_it_promises() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(redis) = Redis::start(folder.path()) else { return };
    let other = OtherSide::connect(redis.port).await;
    other.ask::<()>(&["SET", "no stream", "text"]).await;
    let spec = spec(redis.port, "stream = '.stream // \"good\"'");
    conformance(&*spec, &Back(other)).await.unwrap();
    assert_log_is_mute();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_is_given_is_there_once_and_the_rest_is_named() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(redis) = Redis::start(folder.path()) else { return };
    let other = OtherSide::connect(redis.port).await;
    messages_arrive_once_with_their_headers(redis.port, &other).await;
    what_is_no_stream_is_named_and_nothing_is_added(redis.port, &other).await;
    a_stream_is_kept_short(redis.port, &other).await;
    a_full_memory_is_waited_for(redis.port, &other).await;
    what_is_missing_is_refused_in_words(redis.port, &other).await;
    a_check_changes_nothing(redis.port, &other).await;
    what_the_pipeline_made_is_removed(redis.port, &other).await;
    assert_log_is_mute();
}

async fn messages_arrive_once_with_their_headers(port: u16, other: &OtherSide) {
    let spec = spec(port, "stream = 'plain'");
    spec.prepare().await.unwrap();
    assert_eq!(spec.sink().position(&lane()).await, Ok(None));
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    for begin in (0..3_000).step_by(1_000) {
        delivery.deliver(numbered(begin..begin + 1_000)).await.unwrap();
    }
    // Whoever comes with what is there already is told where to go on.
    let again = spec.sink().write(&lane(), &numbered(0..1_000)).await;
    assert_eq!(again, Err(Failure::Moved), "INV-ONE-STEP");
    let mut headers = UserHeaders::new();
    headers.insert("count".parse().unwrap(), 7_i32.into());
    headers.insert("payload".parse().unwrap(), "mine".parse().unwrap());
    headers.insert("connect.via".parse().unwrap(), "earlier".parse().unwrap());
    let rows = vec![with_headers(row(3_000, "{\"n\":3000}"), &headers)];
    delivery.deliver(batch(3_000..3_001, rows)).await.unwrap();
    let entries = other.all("plain").await;
    assert_eq!(numbers(&entries), Vec::from_iter(0..3_001));
    let last = entries.last().unwrap();
    assert_eq!(last.text("count"), Some("7"));
    assert_eq!(last.text("connect.via"), Some("earlier,bridge"), "INV-NO-LOOP");
    assert_eq!(last.text("payload"), Some("{\"n\":3000}"));
    let position = spec.sink().position(&lane()).await.unwrap().unwrap();
    assert_eq!((position.next, position.topic_made_at), (3_001, 7));
    // A position that was set back, as in a Redis that was restored, is where it goes on.
    let back = galgo_connect::Position { next: 2_990, ..position };
    spec.sink().set_position(&lane(), &back).await.unwrap();
    let end = delivery.deliver(numbered(3_001..3_010)).await.unwrap_err();
    assert_eq!(format!("{end:?}"), "Elsewhere(2990)", "INV-TARGET-TRUTH");
    other.ask::<()>(&["DEL", POSITIONS]).await;
}

async fn what_is_no_stream_is_named_and_nothing_is_added(port: u16, other: &OtherSide) {
    other.ask::<()>(&["SET", &format!("orders:{MARK}"), "text"]).await;
    let spec = spec(port, BY_COUNTRY);
    let country = |n: u64| if [0, 5, 9].contains(&n) { MARK } else { "es" };
    let payload = |n: u64| format!("{{\"n\":{n},\"country\":\"{}\"}}", country(n));
    let whole = batch(0..10, (0..10).map(|n| row(n, &payload(n))).collect());
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    let failure = sink.write(&lane(), &whole).await.unwrap_err();
    let Failure::Bad { places, reason } = &failure else { panic!("{failure}") };
    assert_eq!(Vec::from_iter(places.iter().map(|it| it.offset)), [0, 5, 9]);
    assert!(reason.contains("is no stream"), "{reason}");
    assert!(!format!("{failure:?}").contains(MARK), "INV-MUTE: {failure:?}");
    assert!(other.all("orders:es").await.is_empty(), "INV-ONE-STEP");
    assert_eq!(sink.position(&lane()).await, Ok(None), "INV-ONE-STEP");
    let buried = Arc::new(Buried::default());
    let (mut delivery, _stop) = delivery(&*spec, OnBad::DeadLetter(buried.clone()));
    delivery.deliver(whole).await.unwrap();
    assert_eq!(numbers(&other.all("orders:es").await), [1, 2, 3, 4, 6, 7, 8]);
    let dead: Vec<u64> = buried.0.lock().unwrap().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(dead, [0, 5, 9]);
    other.ask::<()>(&["DEL", POSITIONS]).await;
}

async fn a_stream_is_kept_short(port: u16, other: &OtherSide) {
    let spec = spec(port, "stream = 'short'\nmax_entries = 100");
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    sink.write(&lane(), &numbered(0..1_000)).await.unwrap();
    let numbers = numbers(&other.all("short").await);
    assert!((100..400).contains(&numbers.len()), "{}", numbers.len());
    assert_eq!(numbers.last(), Some(&999));
    other.ask::<()>(&["DEL", POSITIONS]).await;
}

async fn a_full_memory_is_waited_for(port: u16, other: &OtherSide) {
    let spec = spec(port, "stream = 'full'");
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    other.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let failure = sink.write(&lane(), &numbered(0..10)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Away { .. }), "{failure:?}");
    assert!(failure.to_string().contains("its memory is full"), "{failure}");
    assert!(other.all("full").await.is_empty());
    other.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    sink.write(&lane(), &numbered(0..10)).await.unwrap();
    assert_eq!(numbers(&other.all("full").await), Vec::from_iter(0..10));
    other.ask::<()>(&["DEL", POSITIONS]).await;
}

async fn what_is_missing_is_refused_in_words(port: u16, other: &OtherSide) {
    let text = spec(port, "stream = '\"no stream\"'");
    other.ask::<()>(&["SET", "no stream", "text"]).await;
    let said = refused(text.prepare().await.unwrap_err());
    assert!(said.contains("the key \"no stream\" is there already and is no stream"), "{said}");
    assert_eq!(text.check(&[]).await.unwrap()[0].weight, Weight::Fault);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, MARK).unwrap();
    let wrong = format!(
        "url = 'redis://{USER}@127.0.0.1:{port}'\npassword = {{ file = '{}' }}\nstream = 'late'",
        path.display()
    );
    let wrong = sink_spec("redis", &wrong);
    let said = refused(wrong.prepare().await.unwrap_err());
    assert!(said.contains("does not let us log in"), "{said}");
    assert!(!said.contains(MARK), "INV-MUTE");
    let mut sink = wrong.sink();
    refused(sink.position(&lane()).await.unwrap_err());
    std::fs::write(&path, PASSWORD).unwrap();
    sink.position(&lane()).await.unwrap();
    sink.write(&lane(), &numbered(0..1)).await.unwrap();
    other.ask::<()>(&["DEL", POSITIONS]).await;

    let nobody = sink_spec("redis", &format!("url = 'redis://127.0.0.1:{port}'\nstream = 'x'"));
    assert!(refused(nobody.prepare().await.unwrap_err()).contains("does not let us log in"));
    let none = format!(
        "url = 'redis://{USER}@127.0.0.1:{port}/99'\npassword = {{ file = '{}' }}\nstream = 'x'",
        path.display()
    );
    let said = refused(sink_spec("redis", &none).prepare().await.unwrap_err());
    assert!(said.contains("there is no database 99"), "{said}");

    let lesser = sink_spec("redis", &section(LESSER_USER, port, "stream = 'forbidden'"));
    let mut sink = lesser.sink();
    assert_eq!(sink.position(&lane()).await, Ok(None));
    let said = refused(sink.write(&lane(), &numbered(0..1)).await.unwrap_err());
    assert!(said.contains("lacks a right"), "{said}");
    assert!(other.all("forbidden").await.is_empty());
    let position = sink.position(&lane()).await.unwrap();
    assert!(position.is_none_or(|position| position.next == 0), "INV-ONE-STEP: {position:?}");
    let elsewhere = spec(port, "stream = 'another'").sink().position(&lane()).await.unwrap_err();
    assert!(refused(elsewhere).contains("to stream forbidden, and this file says another"));
    other.ask::<()>(&["DEL", POSITIONS]).await;
}

async fn a_check_changes_nothing(port: u16, other: &OtherSide) {
    let before = other.dump().await;
    let spec = spec(port, BY_COUNTRY);
    let sample = [row(1, "{\"country\":\"es\"}"), row(2, &format!("{{\"country\":\"{MARK}\"}}"))];
    let findings = spec.check(&sample).await.unwrap();
    let weights: Vec<Weight> = findings.iter().map(|finding| finding.weight).collect();
    assert_eq!(weights, [Weight::Good, Weight::Good, Weight::Fault], "{findings:?}");
    assert!(!format!("{findings:?}").contains(MARK), "INV-MUTE: {findings:?}");
    assert!(spec.preview(&lane(), &sample[0]).unwrap().contains("stream \"orders:es\""));
    other.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    other.ask::<()>(&["CONFIG", "SET", "appendonly", "no"]).await;
    let findings = spec.check(&[]).await.unwrap();
    let warnings = findings.iter().filter(|finding| finding.weight == Weight::Warning).count();
    assert_eq!(warnings, 2, "{findings:?}");
    other.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    assert_eq!(before, other.dump().await);
}

async fn what_the_pipeline_made_is_removed(port: u16, other: &OtherSide) {
    let spec = spec(port, "stream = 'kept'");
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    sink.write(&lane(), &numbered(0..3)).await.unwrap();
    assert_eq!(spec.cleanup().await.unwrap().len(), 1);
    assert!(spec.cleanup().await.unwrap().is_empty());
    assert_eq!(numbers(&other.all("kept").await), [0, 1, 2], "what was delivered stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_there_twice_when_redis_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut redis) = Redis::start(folder.path()) else { return };
    let port = redis.port;
    let spec = spec(port, "stream = 'durable'");
    spec.sink().position(&lane()).await.unwrap();
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    let sender = tokio::spawn(async move {
        for begin in (0..60_000).step_by(100) {
            delivery.deliver(numbered(begin..begin + 100)).await.unwrap();
        }
        delivery.counts
    });
    for kill in 1..=4 {
        let other = OtherSide::connect(port).await;
        while !sender.is_finished() && other.ask::<u64>(&["XLEN", "durable"]).await < kill * 5_000 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        redis.kill();
        redis.start_again();
    }
    let counts = sender.await.unwrap();
    assert_eq!(counts.delivered, 60_000);
    assert!(counts.retries > 0, "it was killed while it was written to");
    let numbers = numbers(&OtherSide::connect(port).await.all("durable").await);
    assert_eq!(numbers, Vec::from_iter(0..60_000), "each once, in order");
    assert_log_is_mute();
}
