//! Messages to NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use futures_util::StreamExt as _;
use galgo::UserHeaders;
use galgo_connect::lane::OnBad;
use galgo_connect::{Failure, Place, SinkSpec, Weight};
use galgo_testkit::service::nats::{LESSER_USER, Nats, PASSWORD, PAYLOAD_BYTES_MAX, USER};

use crate::other_side::OtherSide;
use crate::rig::{
    Buried, MARK, assert_log_is_mute, batch, delivery, first_times, lane, listen_to_log, number_of,
    numbered, row, sink_spec, with_headers,
};

const BY_COUNTRY: &str = r#"subject = '"shop.orders.\(.country)"'"#;

/// Where the password is, for all tests.
fn password_file() -> String {
    let path = std::env::temp_dir().join(format!("galgo-nats-{}", std::process::id()));
    std::fs::write(&path, PASSWORD).unwrap();
    path.display().to_string()
}

pub(crate) fn section(user: &str, port: u16, more: &str) -> String {
    let file = password_file();
    format!("url = 'nats://{user}@127.0.0.1:{port}'\npassword = {{ file = '{file}' }}\n{more}")
}

fn spec(port: u16, more: &str) -> Arc<dyn SinkSpec> {
    sink_spec("nats", &section(USER, port, more))
}

fn numbers(messages: &[async_nats::Message]) -> Vec<u64> {
    messages.iter().map(|message| number_of(&message.payload)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_acknowledges_is_there_and_the_rest_is_named() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let other = OtherSide::connect(nats.port).await;
    messages_arrive_once_with_their_headers(nats.port, &other).await;
    what_no_stream_takes_is_named_and_the_rest_is_sent(nats.port, &other).await;
    a_message_that_is_too_large_is_named(nats.port, &other).await;
    a_full_stream_is_waited_for(nats.port, &other).await;
    what_is_missing_is_refused_in_words(nats.port, &other).await;
    a_check_changes_nothing(nats.port, &other).await;
    without_a_stream_messages_reach_who_listens(nats.port, &other).await;
    assert_log_is_mute();
}

async fn messages_arrive_once_with_their_headers(port: u16, other: &OtherSide) {
    other.make_stream("PLAIN", &["plain"]).await;
    let spec = spec(port, "subject = 'plain'");
    spec.prepare().await.unwrap();
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    for begin in (0..3_000).step_by(1_000) {
        delivery.deliver(numbered(begin..begin + 1_000)).await.unwrap();
    }
    // What comes again, from whomever, is dropped by the stream.
    delivery.deliver(numbered(0..1_000)).await.unwrap();
    let mut headers = UserHeaders::new();
    headers.insert("count".parse().unwrap(), 7_i32.into());
    headers.insert("Nats-Rollup".parse().unwrap(), "all".parse().unwrap());
    headers.insert("connect.via".parse().unwrap(), "earlier".parse().unwrap());
    let rows = vec![with_headers(row(3_000, "{\"n\":3000}"), &headers)];
    delivery.deliver(batch(3_000..3_001, rows)).await.unwrap();
    let messages = other.all("PLAIN").await;
    assert_eq!(numbers(&messages), Vec::from_iter(0..3_001));
    for message in &messages {
        let place = Place { offset: number_of(&message.payload), part: 0 };
        let id = message.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap();
        assert_eq!(id.as_str(), lane().key(place), "INV-PLACE-KEY");
    }
    let headers = messages.last().unwrap().headers.as_ref().unwrap();
    assert_eq!(headers.get("count").unwrap().as_str(), "7");
    assert_eq!(headers.get("connect.via").unwrap().as_str(), "earlier,bridge", "INV-NO-LOOP");
    assert!(headers.get("Nats-Rollup").is_none(), "or the stream would have been emptied");
}

async fn what_no_stream_takes_is_named_and_the_rest_is_sent(port: u16, other: &OtherSide) {
    other.make_stream("SPAIN", &["shop.orders.es"]).await;
    let spec = spec(port, BY_COUNTRY);
    let country = |n: u64| match n {
        0 | 5 | 9 => MARK,
        3 => "not a subject",
        _ => "es",
    };
    let payload = |n: u64| format!("{{\"n\":{n},\"country\":\"{}\"}}", country(n));
    let whole = batch(0..10, (0..10).map(|n| row(n, &payload(n))).collect());
    let failure = spec.sink().write(&lane(), &whole).await.unwrap_err();
    let Failure::Bad { places, reason } = &failure else { panic!("{failure}") };
    assert_eq!(Vec::from_iter(places.iter().map(|it| it.offset)), [0, 3, 5, 9]);
    assert!(reason.contains(r#""shop.orders.\(.country)""#), "{reason}");
    assert!(!format!("{failure:?}").contains(MARK), "INV-MUTE: {failure:?}");
    let buried = Arc::new(Buried::default());
    let (mut delivery, _stop) = delivery(&*spec, OnBad::DeadLetter(buried.clone()));
    delivery.deliver(whole).await.unwrap();
    assert_eq!(numbers(&other.all("SPAIN").await), [1, 2, 4, 6, 7, 8]);
    let dead: Vec<u64> = buried.0.lock().unwrap().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(dead, [0, 3, 5, 9]);
}

async fn a_message_that_is_too_large_is_named(port: u16, other: &OtherSide) {
    let subjects = vec!["small".to_owned()];
    let config =
        Config { name: "SMALL".into(), subjects, max_message_size: 1_000, ..Config::default() };
    other.make(config).await;
    let spec = spec(port, "subject = 'small'");
    let payload = |n: u64| match n {
        0 | 29 => format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES_MAX)),
        15 => format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(2_000)),
        n => format!("{{\"n\":{n}}}"),
    };
    let whole = batch(0..30, (0..30).map(|n| row(n, &payload(n))).collect());
    let buried = Arc::new(Buried::default());
    let (mut delivery, _stop) = delivery(&*spec, OnBad::DeadLetter(buried.clone()));
    delivery.deliver(whole).await.unwrap();
    let dead: Vec<u64> = buried.0.lock().unwrap().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(dead, [0, 15, 29]);
    let expected: Vec<u64> = (0..30).filter(|n| ![0, 15, 29].contains(n)).collect();
    assert_eq!(numbers(&other.all("SMALL").await), expected);
}

async fn a_full_stream_is_waited_for(port: u16, other: &OtherSide) {
    let config = Config {
        name: "FULL".into(),
        subjects: vec!["full".to_owned()],
        max_messages: 5,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    let stream = other.make(config).await;
    let spec = spec(port, "subject = 'full'");
    let mut sink = spec.sink();
    let failure = sink.write(&lane(), &numbered(0..10)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Away { .. }), "{failure:?}");
    let before = numbers(&other.all("FULL").await);
    stream.purge().await.unwrap();
    let mut all = before;
    let written = sink.write(&lane(), &numbered(0..10)).await;
    all.extend(numbers(&other.all("FULL").await));
    written.unwrap();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..10), "each of them once");
}

async fn what_is_missing_is_refused_in_words(port: u16, other: &OtherSide) {
    let refused = |failure: Failure| match failure {
        Failure::Refused { reason, advice } => format!("{reason}; {advice}"),
        other => panic!("{other:?}"),
    };
    let missing = spec(port, "subject = 'nobody.takes.it'");
    let said = refused(missing.prepare().await.unwrap_err());
    assert!(said.contains("no stream takes subject \"nobody.takes.it\""), "{said}");
    assert_eq!(missing.check(&[]).await.unwrap()[0].weight, Weight::Fault);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, MARK).unwrap();
    let wrong = format!(
        "url = 'nats://{USER}@127.0.0.1:{port}'\npassword = {{ file = '{}' }}\nsubject = 'plain'",
        path.display()
    );
    let wrong = sink_spec("nats", &wrong);
    let said = refused(wrong.prepare().await.unwrap_err());
    assert!(said.contains("does not let us log in"), "{said}");
    assert!(!said.contains(MARK), "INV-MUTE");
    let mut sink = wrong.sink();
    refused(sink.write(&lane(), &numbered(0..1)).await.unwrap_err());
    std::fs::write(&path, PASSWORD).unwrap();
    sink.write(&lane(), &numbered(0..1)).await.unwrap();

    other.make_stream("FORBIDDEN", &["forbidden.>"]).await;
    let lesser = sink_spec("nats", &section(LESSER_USER, port, "subject = 'forbidden.x'"));
    let said = refused(lesser.sink().write(&lane(), &numbered(0..1)).await.unwrap_err());
    assert!(said.contains("lacks a right"), "{said}");
}

async fn a_check_changes_nothing(port: u16, other: &OtherSide) {
    let state = async || {
        let mut states = Vec::new();
        let mut streams = other.jetstream.streams();
        while let Some(stream) = streams.next().await {
            let stream = stream.unwrap();
            let state = stream.state;
            states.push((stream.config.name, state.messages, state.consumer_count));
        }
        states.sort();
        states
    };
    let before = state().await;
    let spec = spec(port, BY_COUNTRY);
    let sample = [row(1, "{\"country\":\"es\"}"), row(2, &format!("{{\"country\":\"{MARK}\"}}"))];
    let findings = spec.check(&sample).await.unwrap();
    let weights: Vec<Weight> = findings.iter().map(|finding| finding.weight).collect();
    assert_eq!(weights, [Weight::Good, Weight::Fault], "{findings:?}");
    assert!(!format!("{findings:?}").contains(MARK), "INV-MUTE: {findings:?}");
    assert!(spec.preview(&lane(), &sample[0]).unwrap().contains("subject \"shop.orders.es\""));
    assert_eq!(before, state().await);
}

async fn without_a_stream_messages_reach_who_listens(port: u16, other: &OtherSide) {
    let mut listening = other.client.subscribe("loose.>").await.unwrap();
    other.client.flush().await.unwrap();
    let spec = spec(port, "subject = 'loose.a'\njetstream = false");
    let findings = spec.check(&[]).await.unwrap();
    assert!(findings.iter().any(|finding| finding.weight == Weight::Warning), "{findings:?}");
    spec.sink().write(&lane(), &numbered(0..100)).await.unwrap();
    for n in 0..100 {
        let received = tokio::time::timeout(Duration::from_secs(60), listening.next()).await;
        assert_eq!(number_of(&received.unwrap().unwrap().payload), n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_there_twice_when_nats_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    let port = nats.port;
    OtherSide::connect(port).await.make_stream("DURABLE", &["durable"]).await;
    let spec = spec(port, "subject = 'durable'");
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    let sender = tokio::spawn(async move {
        for begin in (0..40_000).step_by(200) {
            delivery.deliver(numbered(begin..begin + 200)).await.unwrap();
        }
        delivery.counts
    });
    for kill in 1..=3 {
        let other = OtherSide::connect(port).await;
        let mut stream = other.jetstream.get_stream("DURABLE").await.unwrap();
        while !sender.is_finished() && stream.info().await.unwrap().state.messages < kill * 5_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        nats.kill();
        nats.start_again();
    }
    let counts = sender.await.unwrap();
    assert_eq!(counts.delivered, 40_000);
    assert!(counts.retries > 0, "it was killed while it was written to");
    let numbers = numbers(&OtherSide::connect(port).await.all("DURABLE").await);
    assert_eq!(first_times(&numbers).len(), numbers.len(), "none is there twice");
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(sorted, Vec::from_iter(0..40_000), "none is missing");
    assert_log_is_mute();
}
