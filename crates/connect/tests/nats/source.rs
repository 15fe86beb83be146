//! Messages from NATS.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use galgo::HeaderField;
use galgo_connect::{Failure, Form, SourceSpec, Weight};
use galgo_testkit::service::nats::{Nats, USER};

use crate::origin::{FROM_NOW_ON, TO_THE_END, numbers_of, read};
use crate::other_side::OtherSide;
use crate::rig::{assert_log_is_mute, first_times, listen_to_log, number_of, source_spec};
use crate::sink::section;

fn spec(port: u16, more: &str) -> Arc<dyn SourceSpec> {
    source_spec("nats", &section(USER, port, more))
}

async fn fill(other: &OtherSide, subject: &str, numbers: std::ops::Range<u64>) {
    let mut answers = VecDeque::new();
    for n in numbers {
        let payload = format!("{{\"n\":{n}}}");
        let sent = other.jetstream.publish(subject.to_owned(), payload.into()).await.unwrap();
        answers.push_back(sent);
        // The library takes no more than so many that nobody waits for.
        if answers.len() > 1_000 {
            answers.pop_front().unwrap().await.unwrap();
        }
    }
    for answer in answers {
        answer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_once() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let other = OtherSide::connect(nats.port).await;
    headers_and_ids_come_along(nats.port, &other).await;
    all_is_read_in_order_within_the_prefetch(nats.port, &other).await;
    what_is_held_is_kept_alive_and_what_is_dropped_comes_again(nats.port, &other).await;
    a_run_to_the_end_ends(nats.port, &other).await;
    what_is_missing_is_refused_in_words(nats.port, &other).await;
    assert_log_is_mute();
}

async fn headers_and_ids_come_along(port: u16, other: &OtherSide) {
    other.make_stream("HEADERS", &["headers.>"]).await;
    let mut headers = HeaderMap::new();
    headers.insert("count", "7");
    headers.insert("long", "x".repeat(300).as_str());
    headers.insert("connect.via", "other");
    other.publish("headers.a", headers, "text, not JSON").await;
    other.publish("headers.b", HeaderMap::new(), "").await;
    other.publish("headers.c", HeaderMap::new(), "not of this subject").await;
    let more = "stream = 'HEADERS'\nsubject = 'headers.a'";
    let first_id = {
        let source_spec = spec(port, more);
        let mut source = source_spec.source();
        source.begin(TO_THE_END).await.unwrap();
        let chunk = source.next().await.unwrap().unwrap();
        let [message] = chunk.messages.as_slice() else { panic!("{chunk:?}") };
        assert_eq!(message.form, Form::Text);
        assert!(message.made_at.unwrap() > 1_600_000_000_000_000);
        let header = |key: &str| message.headers.get(key).map(ToString::to_string);
        assert_eq!(header("count").as_deref(), Some("7"));
        assert_eq!(header("nats.subject").as_deref(), Some("headers.a"));
        assert_eq!(header("connect.via").as_deref(), Some("other"));
        assert_eq!((header("long"), header("nats.redelivered")), (None, None));
        assert_eq!(source.next().await.unwrap(), None);
        // It is not settled, so whoever comes next gets it; what the pipeline made is removed.
        assert_eq!(source_spec.cleanup().await.unwrap().len(), 1);
        assert!(source_spec.cleanup().await.unwrap().is_empty());
        message.id.unwrap()
    };
    let mut source = spec(port, &format!("{more}\nheaders = 'envelope'")).source();
    source.begin(TO_THE_END).await.unwrap();
    let chunk = source.next().await.unwrap().unwrap();
    let message = &chunk.messages[0];
    assert_eq!(message.id, Some(first_id), "the same message has the same id");
    assert!(String::from_utf8_lossy(&message.payload).contains(&"x".repeat(300)));
    source.settled(&chunk.cursor).await.unwrap();

    // A stream that is made again counts from 1 again, and is another one.
    other.jetstream.delete_stream("HEADERS").await.unwrap();
    other.make_stream("HEADERS", &["headers.>"]).await;
    other.publish("headers.a", HeaderMap::new(), "{}").await;
    source.begin(TO_THE_END).await.unwrap();
    let chunk = source.next().await.unwrap().unwrap();
    assert_ne!(chunk.messages[0].id, Some(first_id));
}

async fn all_is_read_in_order_within_the_prefetch(port: u16, other: &OtherSide) {
    other.make_stream("MANY", &["many"]).await;
    fill(other, "many", 0..6_000).await;
    let source_spec = spec(port, "stream = 'MANY'\nprefetch = '256KiB'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    assert_eq!(read(&mut *source, 6_000).await, Vec::from_iter(0..6_000));
    let waited = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(waited.is_err(), "there is no more");
    fill(other, "many", 6_000..6_001).await;
    assert_eq!(read(&mut *source, 1).await, [6_000], "a wait that is given up loses nothing");
    let stream = other.jetstream.get_stream("MANY").await.unwrap();
    let info = stream.consumer_info("galgo-bridge").await.unwrap();
    assert_eq!((info.num_pending, info.num_ack_pending), (0, 0), "all is acknowledged");
}

async fn what_is_held_is_kept_alive_and_what_is_dropped_comes_again(port: u16, other: &OtherSide) {
    let stream = other.make_stream("HELD", &["held"]).await;
    fill(other, "held", 0..50).await;
    let source_spec = spec(port, "stream = 'HELD'\nack_wait = '1s'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let mut held = Vec::new();
    while held.iter().map(|chunk: &galgo_connect::Chunk| chunk.messages.len()).sum::<usize>() < 50 {
        held.push(source.next().await.unwrap().unwrap());
    }
    // Galgo is away for several times what NATS waits.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let info = stream.consumer_info("galgo-bridge").await.unwrap();
    assert_eq!((info.num_ack_pending, info.num_redelivered), (50, 0), "none is delivered again");
    let first = held.remove(0);
    source.settled(&first.cursor).await.unwrap();
    let settled = first.messages.len();
    // The connection breaks: what was not settled comes again, with its ids.
    source.begin(FROM_NOW_ON).await.unwrap();
    if let Some(lost) = held.last() {
        source.settled(&lost.cursor).await.unwrap();
    }
    let mut again = Vec::new();
    while again.len() < 50 - settled {
        let chunk = source.next().await.unwrap().unwrap();
        source.settled(&chunk.cursor).await.unwrap();
        again.extend(chunk.messages);
    }
    let numbers: Vec<u64> = again.iter().map(|message| number_of(&message.payload)).collect();
    assert_eq!(numbers, Vec::from_iter(settled as u64..50));
    let lost = held.iter().flat_map(|chunk| &chunk.messages).map(|message| message.id);
    assert_eq!(Vec::from_iter(lost), Vec::from_iter(again.iter().map(|message| message.id)));
    for message in &again {
        let header = message.headers.get("nats.redelivered").and_then(HeaderField::as_bool);
        assert_eq!(header, Some(true));
    }
}

async fn a_run_to_the_end_ends(port: u16, other: &OtherSide) {
    other.make_stream("END", &["end"]).await;
    fill(other, "end", 0..300).await;
    let source_spec = spec(port, "stream = 'END'");
    let mut source = source_spec.source();
    source.begin(TO_THE_END).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        numbers.extend(numbers_of(&chunk));
        source.settled(&chunk.cursor).await.unwrap();
        fill(other, "end", 300..301).await;
    }
    assert_eq!(numbers, Vec::from_iter(0..300), "up to the end that was there at the beginning");
}

async fn what_is_missing_is_refused_in_words(port: u16, _: &OtherSide) {
    let missing = spec(port, "stream = 'NOTHING'");
    let failure = missing.source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refused { .. }), "{failure:?}");
    assert!(failure.to_string().contains("there is no stream \"NOTHING\""), "{failure}");
    assert_eq!(missing.check().await.unwrap()[0].weight, Weight::Fault);
    let findings = spec(port, "stream = 'END'").check().await.unwrap();
    assert!(findings.iter().all(|finding| finding.weight == Weight::Good), "{findings:?}");
    let nobody = spec(1, "stream = 'END'").source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&nobody, Failure::Away { .. }), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_origin_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    let port = nats.port;
    let other = OtherSide::connect(port).await;
    other.make_stream("DURABLE", &["durable"]).await;
    fill(&other, "durable", 0..5_000).await;
    let source_spec = spec(port, "stream = 'DURABLE'\nprefetch = '256KiB'\nack_wait = '2s'");
    let mut source = source_spec.source();
    let mut numbers = Vec::new();
    let mut ids = std::collections::HashSet::new();
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
        ids.extend(chunk.messages.iter().map(|message| message.id.unwrap()));
        if kills < 2 && numbers.len() > 1_500 * (kills + 1) {
            kills += 1;
            nats.kill();
            nats.start_again();
        }
        if source.settled(&chunk.cursor).await.is_err() {
            is_begun = false;
        }
    }
    assert_eq!(kills, 2);
    assert_eq!(ids.len(), 5_000, "what comes again has the id it had");
    let mut all = first_times(&numbers);
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..5_000), "nothing is lost");
    assert_log_is_mute();
}
