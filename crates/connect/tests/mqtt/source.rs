//! Messages from a broker.

use std::sync::Arc;
use std::time::Duration;

use galgo::HeaderField;
use galgo::UserHeaders;
use galgo_connect::headers::is_loop;
use galgo_connect::{Chunk, Failure, Form, SourceSpec, Weight};
use galgo_testkit::service::mosquitto::{Mosquitto, PASSWORD};

use crate::origin::{FROM_NOW_ON, TO_THE_END, numbers_of, read};
use crate::other_side::OtherSide;
use crate::rig::{
    assert_log_is_mute, batch, first_times, lane, listen_to_log, row, sink_spec, source_spec,
    with_headers,
};
use crate::sink::section;

fn spec(port: u16, more: &str) -> Arc<dyn SourceSpec> {
    source_spec("mqtt", &section(port, more))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_read_and_nothing_waits_then() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(folder.path()) else { return };
    let port = mosquitto.port;
    let other = OtherSide::connect(port, "other", None).await;
    headers_come_along(port, &other).await;
    a_message_meets_its_own_pipeline(port).await;
    what_came_while_it_was_away_comes_in_order(port, &other).await;
    what_is_not_settled_comes_again(port, &other).await;
    a_run_to_the_end_ends(port, &other).await;
    what_is_missing_is_refused_in_words(port).await;
    assert_log_is_mute();
}

async fn headers_come_along(port: u16, other: &OtherSide) {
    other.publish("headers/a", true, "text, not JSON").await;
    let source_spec = spec(port, "topics = ['headers/#', 'more/+']\nclient_id = 'headers'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let chunk = source.next().await.unwrap().unwrap();
    let message = &chunk.messages[0];
    assert_eq!((message.form, message.id), (Form::Text, None));
    let header = |key: &str| message.headers.get(key).map(ToString::to_string);
    assert_eq!(header("mqtt.topic").as_deref(), Some("headers/a"));
    assert_eq!(header("mqtt.retained").as_deref(), Some("true"));
    assert_eq!(header("mqtt.redelivered"), None);
    source.settled(&chunk.cursor).await.unwrap();
    other.publish("more/b", false, "[1.10]").await;
    let chunk = source.next().await.unwrap().unwrap();
    assert_eq!(chunk.messages[0].payload, b"[1.10]".as_slice());
    assert_eq!(chunk.messages[0].headers.get("mqtt.retained"), None);
    source.settled(&chunk.cursor).await.unwrap();
    source.finish().await.unwrap();
    // What the pipeline made is removed.
    assert_eq!(source_spec.cleanup().await.unwrap().len(), 1);
    assert!(source_spec.cleanup().await.unwrap().is_empty());
}

async fn a_message_meets_its_own_pipeline(port: u16) {
    let mut source = spec(port, "topics = ['loop']\nenvelopes = true").source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let mut headers = UserHeaders::new();
    headers.insert("count".parse().unwrap(), 7_i64.into());
    let sent = vec![with_headers(row(0, "{\"n\":1.10}"), &headers)];
    let out = sink_spec("mqtt", &section(port, "topic = 'loop'\nheaders = 'envelope'"));
    out.sink().write(&lane(), &batch(0..1, sent)).await.unwrap();
    let chunk = source.next().await.unwrap().unwrap();
    let message = &chunk.messages[0];
    assert_eq!(message.payload, b"{\"n\":1.10}".as_slice());
    assert_eq!(message.headers.get("count").unwrap().to_string(), "7");
    assert!(is_loop(&message.headers, "bridge"), "INV-NO-LOOP");
    source.settled(&chunk.cursor).await.unwrap();
    source.finish().await.unwrap();
}

async fn what_came_while_it_was_away_comes_in_order(port: u16, other: &OtherSide) {
    let source_spec = spec(port, "topics = ['away']\nclient_id = 'away'\nprefetch = '16KiB'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    source.finish().await.unwrap();
    other.fill("away", 0..3_000).await;
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    assert_eq!(read(&mut *source, 3_000).await, Vec::from_iter(0..3_000));
    let waited = tokio::time::timeout(Duration::from_millis(300), source.next()).await;
    assert!(waited.is_err(), "there is no more");
    other.fill("away", 3_000..3_001).await;
    assert_eq!(read(&mut *source, 1).await, [3_000], "a wait that is given up loses nothing");
    source.finish().await.unwrap();
    let mut source = source_spec.source();
    source.begin(TO_THE_END).await.unwrap();
    assert_eq!(source.next().await.unwrap(), None, "all was acknowledged");
}

async fn what_is_not_settled_comes_again(port: u16, other: &OtherSide) {
    let source_spec = spec(port, "topics = ['again']\nclient_id = 'again'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    other.fill("again", 0..100).await;
    let mut held: Vec<Chunk> = Vec::new();
    while held.iter().map(|chunk| chunk.messages.len()).sum::<usize>() < 100 {
        held.push(source.next().await.unwrap().unwrap());
    }
    let first = held.remove(0);
    source.settled(&first.cursor).await.unwrap();
    let settled = first.messages.len() as u64;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The connection breaks.
    source.begin(FROM_NOW_ON).await.unwrap();
    if let Some(lost) = held.last() {
        source.settled(&lost.cursor).await.unwrap();
    }
    let mut numbers = Vec::new();
    while numbers.len() < (100 - settled) as usize {
        let chunk = source.next().await.unwrap().unwrap();
        for message in &chunk.messages {
            let again = message.headers.get("mqtt.redelivered").and_then(HeaderField::as_bool);
            assert_eq!(again, Some(true));
        }
        numbers.extend(numbers_of(&chunk));
        source.settled(&chunk.cursor).await.unwrap();
    }
    assert_eq!(numbers, Vec::from_iter(settled..100));
}

async fn a_run_to_the_end_ends(port: u16, other: &OtherSide) {
    let source_spec = spec(port, "topics = ['end']\nclient_id = 'end'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    other.fill("end", 0..300).await;
    drop(source);
    let mut source = source_spec.source();
    source.begin(TO_THE_END).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        numbers.extend(numbers_of(&chunk));
        source.settled(&chunk.cursor).await.unwrap();
    }
    assert_eq!(numbers, Vec::from_iter(0..300));
    assert_eq!(source.next().await.unwrap(), None);
}

async fn what_is_missing_is_refused_in_words(port: u16) {
    let findings = spec(port, "topics = ['end']").check().await.unwrap();
    let weights: Vec<Weight> = findings.iter().map(|finding| finding.weight).collect();
    assert_eq!(weights, [Weight::Good, Weight::Warning, Weight::Warning], "{findings:?}");
    assert!(findings[1].text.contains("may drop messages it has acknowledged"), "{findings:?}");
    let anonymous = format!("url = 'mqtt://127.0.0.1:{port}'\ntopics = ['end']");
    let stranger = source_spec("mqtt", &anonymous);
    let failure = stranger.source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refused { .. }), "{failure:?}");
    assert!(!failure.to_string().contains(PASSWORD), "INV-MUTE");
    assert_eq!(stranger.check().await.unwrap()[0].weight, Weight::Fault);
    let nobody = spec(1, "topics = ['end']").source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&nobody, Failure::Away { .. }), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_the_broker_keeps_is_lost_when_it_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut mosquitto) = Mosquitto::start(folder.path()) else { return };
    let port = mosquitto.port;
    let source_spec = spec(port, "topics = ['durable']\nprefetch = '64KiB'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    source.finish().await.unwrap();
    OtherSide::connect(port, "other", None).await.fill("durable", 0..5_000).await;
    // It stores each second what it keeps.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut numbers = Vec::new();
    let mut kills = 0;
    let mut is_begun = false;
    while first_times(&numbers).len() < 5_000 {
        if !is_begun {
            is_begun = source.begin(FROM_NOW_ON).await.is_ok();
            continue;
        }
        let chunk = match source.next().await {
            Ok(chunk) => chunk.unwrap(),
            Err(failure) => {
                assert!(matches!(&failure, Failure::Away { .. }), "{failure:?}");
                is_begun = false;
                continue;
            }
        };
        numbers.extend(numbers_of(&chunk));
        if kills < 2 && numbers.len() > 1_500 * (kills + 1) {
            kills += 1;
            mosquitto.kill();
            mosquitto.start_again();
        }
        if source.settled(&chunk.cursor).await.is_err() {
            is_begun = false;
        }
    }
    assert_eq!(kills, 2);
    let mut all = first_times(&numbers);
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..5_000), "nothing is lost");
    assert_log_is_mute();
}
