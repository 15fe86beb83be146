//! Messages from RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use amqprs::{BasicProperties, FieldTable, FieldValue};
use galgo::HeaderField;
use galgo_connect::{Failure, Form, SourceSpec, Weight};
use galgo_testkit::service::rabbitmq::Rabbitmq;

use crate::origin::{FROM_NOW_ON, TO_THE_END, numbers_of, read};
use crate::other_side::OtherSide;
use crate::rig::{assert_log_is_mute, first_times, listen_to_log, number_of, source_spec};

fn spec(port: u16, more: &str) -> Arc<dyn SourceSpec> {
    source_spec("rabbitmq", &format!("url = 'amqp://guest@127.0.0.1:{port}'\n{more}"))
}

async fn fill(other: &OtherSide, queue: &str, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let mut properties = BasicProperties::default();
        properties.with_persistence(true).with_message_id(&format!("order {n}"));
        other.publish(queue, properties, format!("{{\"n\":{n}}}").as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_read_once_and_is_empty_then() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(rabbitmq) = Rabbitmq::start(folder.path()) else { return };
    let other = OtherSide::connect(rabbitmq.port).await;
    headers_and_ids_come_along(rabbitmq.port, &other).await;
    all_is_read_in_order_whatever_the_prefetch(rabbitmq.port, &other).await;
    what_is_not_settled_comes_again(rabbitmq.port, &other).await;
    a_run_to_the_end_ends(rabbitmq.port, &other).await;
    what_is_missing_is_refused_in_words(rabbitmq.port, &other).await;
    assert_log_is_mute();
}

async fn headers_and_ids_come_along(port: u16, other: &OtherSide) {
    other.make_queue("headers", FieldTable::new()).await;
    let mut table = FieldTable::new();
    table.insert("count".try_into().unwrap(), FieldValue::l(-7));
    table.insert("long".try_into().unwrap(), FieldValue::from("x".repeat(300)));
    table.insert("connect.via".try_into().unwrap(), "other".into());
    let mut properties = BasicProperties::default();
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    properties.with_message_id(id).with_timestamp(77).with_content_type("text/x");
    properties.with_headers(table);
    other.publish("headers", properties, b"text, not JSON").await;
    other.publish("headers", BasicProperties::default(), b"").await;
    other.wait_for("headers", 2).await;
    let source_spec = spec(port, "queue = 'headers'");
    let mut source = source_spec.source();
    source.begin(TO_THE_END).await.unwrap();
    let mut messages = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        messages.extend(chunk.messages);
        source.settled(&chunk.cursor).await.unwrap();
    }
    let [first, second] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(first.id, Some(0x67e5504410b1426f9247bb680e5fe0c8));
    assert_eq!((first.made_at, first.form), (Some(77_000_000), Form::Text));
    let header = |key: &str| first.headers.get(key).map(ToString::to_string);
    assert_eq!(header("count").as_deref(), Some("-7"));
    assert_eq!(header("content-type").as_deref(), Some("text/x"));
    assert_eq!(header("amqp.routing_key").as_deref(), Some("headers"));
    assert_eq!(header("connect.via").as_deref(), Some("other"));
    assert_eq!((header("long"), header("amqp.redelivered")), (None, None));
    assert_eq!((second.id, second.payload.len()), (None, 0));
    drop(source);

    let mut long = FieldTable::new();
    long.insert("long".try_into().unwrap(), FieldValue::from("x".repeat(300)));
    let mut properties = BasicProperties::default();
    other.publish("headers", properties.with_headers(long).finish(), b"[1.10]").await;
    other.wait_for("headers", 1).await;
    let mut source = spec(port, "queue = 'headers'\nheaders = 'envelope'").source();
    source.begin(TO_THE_END).await.unwrap();
    let chunk = source.next().await.unwrap().unwrap();
    let text = String::from_utf8(chunk.messages[0].payload.to_vec()).unwrap();
    assert!(text.contains(&"x".repeat(300)) && text.ends_with("\"payload\":[1.10]}"), "{text}");
    source.settled(&chunk.cursor).await.unwrap();
}

async fn all_is_read_in_order_whatever_the_prefetch(port: u16, other: &OtherSide) {
    other.make_queue("many", FieldTable::new()).await;
    fill(other, "many", 0..5_000).await;
    let source_spec = spec(port, "queue = 'many'\nprefetch = '64KiB'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    assert_eq!(read(&mut *source, 5_000).await, Vec::from_iter(0..5_000));
    // Nothing is lost by a wait that is given up.
    let waited = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(waited.is_err(), "the queue is empty");
    fill(other, "many", 5_000..5_001).await;
    assert_eq!(read(&mut *source, 1).await, [5_000]);
    // Whoever comes next finds nothing: all of it was acknowledged.
    source.begin(TO_THE_END).await.unwrap();
    assert_eq!(source.next().await.unwrap(), None);
}

async fn what_is_not_settled_comes_again(port: u16, other: &OtherSide) {
    other.make_queue("again", FieldTable::new()).await;
    fill(other, "again", 0..100).await;
    let source_spec = spec(port, "queue = 'again'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let mut ids = std::collections::HashMap::new();
    let first = source.next().await.unwrap().unwrap();
    let settled = first.messages.len();
    assert!(settled < 100, "RabbitMQ sends few ahead at first");
    source.settled(&first.cursor).await.unwrap();
    let lost = source.next().await.unwrap().unwrap();
    for message in &lost.messages {
        ids.insert(number_of(&message.payload), message.id);
    }
    // A connection that breaks: the numbers of the old channel mean nothing on the new one.
    source.begin(FROM_NOW_ON).await.unwrap();
    source.settled(&lost.cursor).await.unwrap();
    let chunk = source.next().await.unwrap().unwrap();
    let first = &chunk.messages[0];
    assert_eq!(number_of(&first.payload), settled as u64, "where it was settled up to");
    assert_eq!(first.id, ids[&(settled as u64)], "with the id it had");
    let redelivered = first.headers.get("amqp.redelivered").and_then(HeaderField::as_bool);
    assert_eq!(redelivered, Some(true));
    let got = chunk.messages.len();
    source.settled(&chunk.cursor).await.unwrap();
    read(&mut *source, 100 - settled - got).await;
}

async fn a_run_to_the_end_ends(port: u16, other: &OtherSide) {
    other.make_queue("end", FieldTable::new()).await;
    fill(other, "end", 0..300).await;
    other.wait_for("end", 300).await;
    let source_spec = spec(port, "queue = 'end'");
    let mut source = source_spec.source();
    source.begin(TO_THE_END).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        numbers.extend(numbers_of(&chunk));
        source.settled(&chunk.cursor).await.unwrap();
        fill(other, "end", 300..301).await;
    }
    assert_eq!(numbers, Vec::from_iter(0..300), "up to the end that was there at the beginning");
    source.begin(TO_THE_END).await.unwrap();
    while let Some(chunk) = source.next().await.unwrap() {
        source.settled(&chunk.cursor).await.unwrap();
    }
}

async fn what_is_missing_is_refused_in_words(port: u16, _: &OtherSide) {
    let missing = spec(port, "queue = 'nothing'");
    let failure = missing.source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refused { .. }), "{failure:?}");
    assert!(failure.to_string().contains("no queue 'nothing'"), "{failure}");
    let findings = missing.check().await.unwrap();
    assert_eq!(findings[0].weight, Weight::Fault);
    let findings = spec(port, "queue = 'end'").check().await.unwrap();
    assert_eq!(findings[0].weight, Weight::Good, "{findings:?}");
    let nobody = spec(1, "queue = 'end'").source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&nobody, Failure::Away { .. }), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_origin_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut rabbitmq) = Rabbitmq::start(folder.path()) else { return };
    let port = rabbitmq.port;
    let other = OtherSide::connect(port).await;
    other.make_queue("durable", FieldTable::new()).await;
    fill(&other, "durable", 0..5_000).await;
    other.wait_for("durable", 5_000).await;
    let source_spec = spec(port, "queue = 'durable'\nprefetch = '64KiB'");
    let mut source = source_spec.source();
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
            rabbitmq.kill();
            rabbitmq.start_again();
        }
        if source.settled(&chunk.cursor).await.is_err() {
            is_begun = false;
        }
    }
    assert_eq!(kills, 2);
    assert_eq!(first_times(&numbers), Vec::from_iter(0..5_000), "nothing is lost, in order");
    assert_log_is_mute();
}
