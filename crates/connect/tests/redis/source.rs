//! Messages from Redis.

use std::sync::Arc;
use std::time::Duration;

use galgo::HeaderField;
use galgo_connect::source::Source;
use galgo_connect::{Chunk, Failure, Form, SourceSpec, Weight};
use galgo_testkit::service::redis::{Redis, USER};

use crate::origin::{FROM_NOW_ON, TO_THE_END, numbers_of, read};
use crate::other_side::OtherSide;
use crate::rig::{
    assert_log_holds, assert_log_is_mute, first_times, listen_to_log, number_of, source_spec,
};
use crate::sink::section;

fn spec(port: u16, more: &str) -> Arc<dyn SourceSpec> {
    source_spec("redis", &section(USER, port, more))
}

/// Takes so many, and settles none.
async fn hold(source: &mut dyn Source, count: usize) -> Vec<Chunk> {
    let mut held: Vec<Chunk> = Vec::new();
    while held.iter().map(|chunk| chunk.messages.len()).sum::<usize>() < count {
        held.push(source.next().await.unwrap().unwrap());
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_once() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(redis) = Redis::start(folder.path()) else { return };
    let other = OtherSide::connect(redis.port).await;
    headers_and_ids_come_along(redis.port, &other).await;
    all_is_read_in_order_within_the_prefetch(redis.port, &other).await;
    what_is_held_is_kept_and_comes_again_on_a_new_connection(redis.port, &other).await;
    what_a_member_that_is_gone_has_left_is_taken_over(redis.port, &other).await;
    a_run_to_the_end_ends(redis.port, &other).await;
    what_was_trimmed_unread_is_told_once(redis.port, &other).await;
    a_stream_that_is_made_again_is_read_from_its_beginning(redis.port, &other).await;
    what_is_missing_is_refused_in_words(redis.port, &other).await;
    assert_log_is_mute();
}

async fn headers_and_ids_come_along(port: u16, other: &OtherSide) {
    let long = "x".repeat(300);
    let words = ["XADD", "headers", "1700000000000-5", "count", "7", "connect.via", "other"];
    let words = [&words[..], &["payload", "text, not JSON", "long", &long]].concat();
    other.ask::<()>(&words).await;
    other.ask::<()>(&["XADD", "headers", "1700000000000-6", "t", "20", "connect.via", "a"]).await;
    let more = "stream = 'headers'";
    let first_id = {
        let source_spec = spec(port, more);
        let mut source = source_spec.source();
        source.begin(TO_THE_END).await.unwrap();
        let held = hold(&mut *source, 2).await;
        let messages: Vec<_> = held.iter().flat_map(|chunk| &chunk.messages).collect();
        let [message, without] = messages.as_slice() else { panic!("{held:?}") };
        assert_eq!((message.form, message.payload.as_ref()), (Form::Text, &b"text, not JSON"[..]));
        assert_eq!(message.made_at, Some(1_700_000_000_000_000));
        let header = |key: &str| message.headers.get(key).map(ToString::to_string);
        assert_eq!(header("count").as_deref(), Some("7"));
        assert_eq!(header("redis.id").as_deref(), Some("1700000000000-5"));
        assert_eq!(header("redis.stream").as_deref(), Some("headers"));
        assert_eq!(header("connect.via").as_deref(), Some("other"));
        assert_eq!((header("long"), header("redis.redelivered")), (None, None));
        assert_eq!((without.form, without.payload.as_ref()), (Form::Json, &br#"{"t":"20"}"#[..]));
        let via = without.headers.get("connect.via").and_then(HeaderField::as_str);
        assert_eq!(via, Some("a"), "INV-NO-LOOP");
        assert_eq!(source.next().await.unwrap(), None);
        assert_eq!(other.pending("headers").await, 2, "INV-SETTLED");
        // It is not settled; what the pipeline made is removed.
        assert_eq!(source_spec.cleanup().await.unwrap().len(), 1);
        assert!(source_spec.cleanup().await.unwrap().is_empty());
        message.id.unwrap()
    };
    let mut source = spec(port, &format!("{more}\nheaders = 'envelope'")).source();
    source.begin(TO_THE_END).await.unwrap();
    let held = hold(&mut *source, 2).await;
    let messages: Vec<_> = held.iter().flat_map(|chunk| &chunk.messages).collect();
    let message = messages[0];
    assert_eq!(message.id, Some(first_id), "the same message has the same id");
    assert_ne!(messages[1].id, Some(first_id));
    assert!(String::from_utf8_lossy(&message.payload).contains(&long));
    source.settled(&held.last().unwrap().cursor).await.unwrap();
    assert_eq!(other.pending("headers").await, 0);
    assert_eq!(other.members("headers").await, 1);
    source.finish().await.unwrap();
    assert_eq!(other.members("headers").await, 0, "who stops is no member any more");
}

async fn all_is_read_in_order_within_the_prefetch(port: u16, other: &OtherSide) {
    other.fill("many", 0..6_000).await;
    let source_spec = spec(port, "stream = 'many'\nprefetch = '64KiB'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let first = source.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(other.pending("many").await < 1_000, "no more than the prefetch is taken");
    source.settled(&first.cursor).await.unwrap();
    let mut numbers = numbers_of(&first);
    let left = 6_000 - numbers.len();
    numbers.extend(read(&mut *source, left).await);
    assert_eq!(numbers, Vec::from_iter(0..6_000));
    let waited = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(waited.is_err(), "there is no more");
    other.fill("many", 6_000..6_001).await;
    assert_eq!(read(&mut *source, 1).await, [6_000], "a wait that is given up loses nothing");
    assert_eq!(other.pending("many").await, 0, "all is acknowledged");
}

async fn what_is_held_is_kept_and_comes_again_on_a_new_connection(port: u16, other: &OtherSide) {
    other.fill("held", 0..50).await;
    let more = "stream = 'held'\nclaim_after = '1s'";
    let (source_spec, other_process) = (spec(port, more), spec(port, more));
    let (mut source, mut second) = (source_spec.source(), other_process.source());
    source.begin(FROM_NOW_ON).await.unwrap();
    let mut held = hold(&mut *source, 50).await;
    second.begin(FROM_NOW_ON).await.unwrap();
    // Galgo is away for several times what a silence may be.
    let stolen = tokio::time::timeout(Duration::from_secs(4), second.next()).await;
    assert!(stolen.is_err(), "nothing of it is taken over");
    drop(second);
    let first = held.remove(0);
    source.settled(&first.cursor).await.unwrap();
    let settled = first.messages.len();
    // The connection breaks: to a source that is made anew, as a pipeline does, what was not settled comes again, with its ids.
    drop(source);
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let mut again = Vec::new();
    while again.len() < 50 - settled {
        let chunk = source.next().await.unwrap().unwrap();
        source.settled(&chunk.cursor).await.unwrap();
        again.extend(chunk.messages);
    }
    let lost = held.iter().flat_map(|chunk| &chunk.messages).map(|message| message.id);
    assert_eq!(Vec::from_iter(lost), Vec::from_iter(again.iter().map(|message| message.id)));
    assert_eq!(other.pending("held").await, 0);
}

async fn what_a_member_that_is_gone_has_left_is_taken_over(port: u16, other: &OtherSide) {
    other.fill("left", 0..1_200).await;
    let more = "stream = 'left'\nclaim_after = '1s'";
    let mut gone = spec(port, more).source();
    gone.begin(FROM_NOW_ON).await.unwrap();
    let held = hold(&mut *gone, 1_200).await;
    // It is killed: nothing of it is left but what it holds.
    drop(gone);
    other.fill("left", 1_200..1_210).await;
    let mut source = spec(port, more).source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let mut messages = Vec::new();
    while messages.len() < 1_210 {
        let chunk = source.next().await.unwrap().unwrap();
        source.settled(&chunk.cursor).await.unwrap();
        messages.extend(chunk.messages);
    }
    let id_of = |n: u64| {
        let found = messages.iter().find(|message| number_of(&message.payload) == n);
        found.unwrap().id
    };
    let left = held.iter().flat_map(|chunk| &chunk.messages);
    for message in left {
        assert_eq!(id_of(number_of(&message.payload)), message.id, "it has the id it had");
    }
    let again = messages.iter().filter(|message| {
        message.headers.get("redis.redelivered").and_then(HeaderField::as_bool) == Some(true)
    });
    assert_eq!(again.count(), 1_200);
    assert_eq!(other.pending("left").await, 0);
    // A member that holds nothing is in nobody's way, and nobody takes a second time what is settled.
    let waited = tokio::time::timeout(Duration::from_millis(1_500), source.next()).await;
    assert!(waited.is_err(), "there is no more");
}

async fn a_run_to_the_end_ends(port: u16, other: &OtherSide) {
    other.fill("end", 0..300).await;
    let source_spec = spec(port, "stream = 'end'");
    let mut source = source_spec.source();
    source.begin(TO_THE_END).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        numbers.extend(numbers_of(&chunk));
        source.settled(&chunk.cursor).await.unwrap();
        other.fill("end", 300..301).await;
    }
    assert_eq!(numbers, Vec::from_iter(0..300), "up to the end that was there at the beginning");
}

async fn what_was_trimmed_unread_is_told_once(port: u16, other: &OtherSide) {
    other.fill("short", 0..100).await;
    other.ask::<()>(&["XTRIM", "short", "MAXLEN", "90"]).await;
    let source_spec = spec(port, "stream = 'short'");
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    assert_eq!(read(&mut *source, 90).await, Vec::from_iter(10..100));
    drop(source);
    other.fill("short", 100..200).await;
    other.ask::<()>(&["XTRIM", "short", "MAXLEN", "57"]).await;
    for _ in 0..2 {
        let mut source = source_spec.source();
        source.begin(TO_THE_END).await.unwrap();
        while let Some(chunk) = source.next().await.unwrap() {
            source.settled(&chunk.cursor).await.unwrap();
        }
    }
    assert_log_holds("count=43", 1);
    // What a member holds may be trimmed, too.
    other.fill("short", 200..220).await;
    let mut source = source_spec.source();
    source.begin(FROM_NOW_ON).await.unwrap();
    let held = hold(&mut *source, 20).await;
    other.ask::<()>(&["XTRIM", "short", "MAXLEN", "3"]).await;
    source.begin(FROM_NOW_ON).await.unwrap();
    assert_eq!(read(&mut *source, 3).await, [217, 218, 219]);
    assert_log_holds("count=17", 1);
    assert_eq!(other.pending("short").await, 0);
    drop(held);
}

async fn a_stream_that_is_made_again_is_read_from_its_beginning(port: u16, other: &OtherSide) {
    other.fill("again", 0..3).await;
    let mut source = spec(port, "stream = 'again'\nstart = 'next'").source();
    source.begin(FROM_NOW_ON).await.unwrap();
    other.fill("again", 3..5).await;
    assert_eq!(read(&mut *source, 2).await, [3, 4]);
    other.ask::<()>(&["DEL", "again"]).await;
    other.fill("again", 5..9).await;
    let failure = source.next().await.unwrap_err();
    assert!(matches!(&failure, Failure::Away { .. }), "{failure:?}");
    source.begin(FROM_NOW_ON).await.unwrap();
    assert_eq!(read(&mut *source, 4).await, [5, 6, 7, 8]);
}

async fn what_is_missing_is_refused_in_words(port: u16, other: &OtherSide) {
    other.ask::<()>(&["SET", "text", "text"]).await;
    let text = spec(port, "stream = 'text'");
    let failure = text.source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refused { .. }), "{failure:?}");
    assert!(failure.to_string().contains("is no stream"), "{failure}");
    assert_eq!(text.check().await.unwrap()[0].weight, Weight::Fault);
    let before = other.dump().await;
    let findings = spec(port, "stream = 'end'").check().await.unwrap();
    assert!(findings.iter().all(|finding| finding.weight == Weight::Good), "{findings:?}");
    let findings = spec(port, "stream = 'nothing'").check().await.unwrap();
    assert_eq!(findings[0].weight, Weight::Warning, "{findings:?}");
    assert_eq!(before, other.dump().await, "a check changes nothing");
    let nobody = spec(1, "stream = 'end'").source().begin(FROM_NOW_ON).await.unwrap_err();
    assert!(matches!(&nobody, Failure::Away { .. }), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_origin_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut redis) = Redis::start(folder.path()) else { return };
    let port = redis.port;
    OtherSide::connect(port).await.fill("durable", 0..5_000).await;
    let source_spec = spec(port, "stream = 'durable'\nprefetch = '256KiB'\nclaim_after = '2s'");
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
        if kills < 3 && numbers.len() > 1_000 * (kills + 1) {
            kills += 1;
            redis.kill();
            redis.start_again();
        }
        if source.settled(&chunk.cursor).await.is_err() {
            is_begun = false;
        }
    }
    assert_eq!(kills, 3);
    assert_eq!(ids.len(), 5_000, "what comes again has the id it had");
    let mut all = first_times(&numbers);
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..5_000), "nothing is lost");
    assert_log_is_mute();
}
