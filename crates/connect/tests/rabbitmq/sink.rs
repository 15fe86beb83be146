//! Messages to RabbitMQ.

use std::sync::Arc;

use amqprs::{FieldTable, FieldValue};
use galgo::UserHeaders;
use galgo_connect::lane::OnBad;
use galgo_connect::{Failure, Place, SinkSpec, Weight};
use galgo_testkit::service::rabbitmq::{MESSAGE_BYTES_MAX, Rabbitmq};

use crate::other_side::OtherSide;
use crate::rig::{
    Buried, MARK, assert_log_is_mute, batch, delivery, first_times, lane, listen_to_log, number_of,
    numbered, row, sink_spec, with_headers,
};

const BY_COUNTRY: &str = r#"
exchange = "shop"
routing_key = '"orders.\(.country)"'
"#;

fn spec(port: u16, more: &str) -> Arc<dyn SinkSpec> {
    sink_spec("rabbitmq", &format!("url = 'amqp://guest@127.0.0.1:{port}'\n{more}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rabbitmq_confirms_is_there_and_the_rest_is_named() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(rabbitmq) = Rabbitmq::start(folder.path()) else { return };
    let other = OtherSide::connect(rabbitmq.port).await;
    messages_arrive_in_order_with_their_headers(rabbitmq.port, &other).await;
    unroutable_messages_are_named_and_the_rest_is_sent_once(rabbitmq.port, &other).await;
    a_message_that_closes_the_channel_is_found(rabbitmq.port, &other).await;
    what_is_not_taken_is_away(rabbitmq.port, &other).await;
    what_is_missing_is_refused_in_words(rabbitmq.port, &other).await;
    a_check_changes_nothing(&rabbitmq, &other).await;
    a_server_short_of_memory_is_waited_for(&rabbitmq, &other).await;
    assert_log_is_mute();
}

async fn messages_arrive_in_order_with_their_headers(port: u16, other: &OtherSide) {
    other.make_queue("plain", FieldTable::new()).await;
    let spec = spec(port, "routing_key = 'plain'");
    spec.prepare().await.unwrap();
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    for begin in (0..3_000).step_by(1_000) {
        delivery.deliver(numbered(begin..begin + 1_000)).await.unwrap();
    }
    // What comes again has the same ids, whoever sends it.
    delivery.deliver(numbered(2_990..3_000)).await.unwrap();
    let got = other.drain("plain").await;
    let numbers: Vec<u64> = got.iter().map(|(_, payload)| number_of(payload)).collect();
    assert_eq!(numbers, Vec::from_iter((0..3_000).chain(2_990..3_000)));
    for (id, payload) in &got {
        let place = Place { offset: number_of(payload), part: 0 };
        assert_eq!(id.as_deref(), Some(lane().key(place).as_str()), "INV-PLACE-KEY");
    }

    let mut headers = UserHeaders::new();
    headers.insert("count".parse().unwrap(), 7_i32.into());
    headers.insert("content-type".parse().unwrap(), "text/plain".parse().unwrap());
    headers.insert("connect.via".parse().unwrap(), "earlier".parse().unwrap());
    let rows = vec![with_headers(row(3_000, "{}"), &headers)];
    delivery.deliver(batch(3_000..3_001, rows)).await.unwrap();
    let (_, properties, _) = other.get("plain").await.unwrap();
    assert_eq!(properties.delivery_mode(), Some(2), "it is kept on disk");
    assert_eq!(properties.content_type().unwrap(), "text/plain");
    assert_eq!(properties.timestamp(), Some(5_000));
    let table = properties.headers().unwrap();
    assert_eq!(table.get(&"count".try_into().unwrap()), Some(&FieldValue::I(7)));
    let via = table.get(&"connect.via".try_into().unwrap()).unwrap().to_string();
    assert_eq!(via, "earlier,bridge", "INV-NO-LOOP");
}

async fn unroutable_messages_are_named_and_the_rest_is_sent_once(port: u16, other: &OtherSide) {
    other.make_exchange("shop", "topic").await;
    other.make_queue("spain", FieldTable::new()).await;
    other.bind("spain", "shop", "orders.es").await;
    let spec = spec(port, BY_COUNTRY);
    let country = |n: u64| match n {
        0 | 5 | 9 => MARK,
        _ => "es",
    };
    let payload = |n: u64| format!("{{\"n\":{n},\"country\":\"{}\"}}", country(n));
    let mut rows: Vec<_> = (0..10).map(|n| row(n, &payload(n))).collect();
    rows[3] = row(3, "{\"n\":3,\"country\":null}");
    let whole = batch(0..10, rows);
    let mut sink = spec.sink();
    let failure = sink.write(&lane(), &whole).await.unwrap_err();
    let Failure::Bad { places, reason } = &failure else { panic!("{failure}") };
    assert_eq!(Vec::from_iter(places.iter().map(|it| it.offset)), [0, 3, 5, 9]);
    assert!(reason.contains("no queue is bound"), "{reason}");
    assert!(!format!("{failure:?}").contains(MARK), "INV-MUTE: {failure:?}");

    let buried = Arc::new(Buried::default());
    let (mut delivery, _stop) = delivery(&*spec, OnBad::DeadLetter(buried.clone()));
    delivery.deliver(whole).await.unwrap();
    let numbers: Vec<u64> =
        other.drain("spain").await.iter().map(|(_, payload)| number_of(payload)).collect();
    assert_eq!(numbers, [1, 2, 4, 6, 7, 8], "what was confirmed is not sent again");
    let dead: Vec<u64> = buried.0.lock().unwrap().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(dead, [0, 3, 5, 9]);

    let lost = batch(10..11, vec![row(10, &format!("{{\"country\":\"{MARK}\"}}"))]);
    let failure = sink.write(&lane(), &lost).await.unwrap_err().to_string();
    let named = r#"exchange "shop" with routing key "orders.\(.country)": bind one"#;
    assert!(failure.contains(named), "{failure}");
}

async fn a_message_that_closes_the_channel_is_found(port: u16, other: &OtherSide) {
    other.make_queue("small", FieldTable::new()).await;
    let spec = spec(port, "routing_key = 'small'");
    let buried = Arc::new(Buried::default());
    let (mut delivery, _stop) = delivery(&*spec, OnBad::DeadLetter(buried.clone()));
    let large = format!("{{\"n\":0,\"x\":\"{}\"}}", "x".repeat(MESSAGE_BYTES_MAX));
    for (begin, bad) in [(0, 0), (10, 15), (20, 29)] {
        let rows = (begin..begin + 10).map(|n| match n == bad {
            true => row(n, &large),
            false => row(n, &format!("{{\"n\":{n}}}")),
        });
        delivery.deliver(batch(begin..begin + 10, rows.collect())).await.unwrap();
    }
    let dead: Vec<u64> = buried.0.lock().unwrap().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(dead, [0, 15, 29]);
    let got = other.drain("small").await;
    let numbers: Vec<u64> = got.iter().map(|(_, payload)| number_of(payload)).collect();
    let expected: Vec<u64> = (0..30).filter(|n| ![0, 15, 29].contains(n)).collect();
    assert_eq!(first_times(&numbers), expected);
}

async fn what_is_not_taken_is_away(port: u16, other: &OtherSide) {
    let mut full = FieldTable::new();
    full.insert("x-max-length".try_into().unwrap(), FieldValue::l(5));
    full.insert("x-overflow".try_into().unwrap(), "reject-publish".into());
    other.make_queue("full", full).await;
    let spec = spec(port, "routing_key = 'full'");
    let mut sink = spec.sink();
    let failure = sink.write(&lane(), &numbered(0..10)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Away { .. }), "{failure}");
    let numbers: Vec<u64> =
        other.drain("full").await.iter().map(|(_, payload)| number_of(payload)).collect();
    sink.write(&lane(), &numbered(0..10)).await.unwrap();
    let more = other.drain("full").await;
    let all = numbers.into_iter().chain(more.iter().map(|(_, payload)| number_of(payload)));
    let mut all: Vec<u64> = all.collect();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..10), "each of them once");
}

async fn what_is_missing_is_refused_in_words(port: u16, _: &OtherSide) {
    let refused = |failure: Failure| match failure {
        Failure::Refused { reason, advice } => format!("{reason}; {advice}"),
        other => panic!("{other:?}"),
    };
    let missing = spec(port, "exchange = 'nothing'\nrouting_key = 'a'");
    let said = refused(missing.prepare().await.unwrap_err());
    assert!(said.contains("no exchange 'nothing'"), "{said}");
    let said = refused(missing.sink().write(&lane(), &numbered(0..1)).await.unwrap_err());
    assert!(said.contains("no exchange 'nothing'"), "{said}");
    let findings = missing.check(&[]).await.unwrap();
    assert_eq!(findings[0].weight, Weight::Fault);
    let said = refused(spec(port, "routing_key = 'no.queue'").prepare().await.unwrap_err());
    assert!(said.contains("no queue 'no.queue'"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, MARK).unwrap();
    let more = format!("routing_key = 'plain'\npassword = {{ file = '{}' }}", path.display());
    let wrong = spec(port, &more);
    let said = refused(wrong.prepare().await.unwrap_err());
    assert!(said.contains("does not let guest log in"), "{said}");
    assert!(!said.contains(MARK), "INV-MUTE");
    // Mended while it runs.
    let mut sink = wrong.sink();
    refused(sink.write(&lane(), &numbered(0..1)).await.unwrap_err());
    std::fs::write(&path, "guest\n").unwrap();
    sink.write(&lane(), &numbered(0..1)).await.unwrap();

    let elsewhere = sink_spec(
        "rabbitmq",
        &format!("url = 'amqp://guest@127.0.0.1:{port}/nowhere'\nrouting_key = 'plain'"),
    );
    let said = refused(elsewhere.prepare().await.unwrap_err());
    assert!(said.contains("into virtual host \"nowhere\""), "{said}");
}

async fn a_check_changes_nothing(rabbitmq: &Rabbitmq, other: &OtherSide) {
    let state = || {
        rabbitmq.ctl(&["-q", "list_queues", "name", "messages"])
            + &rabbitmq.ctl(&["-q", "list_bindings"])
            + &rabbitmq.ctl(&["-q", "list_exchanges"])
    };
    other.drain("plain").await;
    let before = state();
    let spec = spec(rabbitmq.port, BY_COUNTRY);
    let sample = [row(1, "{\"country\":\"es\"}"), row(2, &format!("\"{MARK}\""))];
    let findings = spec.check(&sample).await.unwrap();
    let weights: Vec<Weight> = findings.iter().map(|finding| finding.weight).collect();
    assert_eq!(weights, [Weight::Good, Weight::Fault], "{findings:?}");
    assert!(!format!("{findings:?}").contains(MARK), "INV-MUTE: {findings:?}");
    assert!(spec.preview(&lane(), &sample[0]).unwrap().contains("routing key \"orders.es\""));
    assert_eq!(before, state());
}

async fn a_server_short_of_memory_is_waited_for(rabbitmq: &Rabbitmq, other: &OtherSide) {
    other.make_queue("patient", FieldTable::new()).await;
    let spec = spec(rabbitmq.port, "routing_key = 'patient'\ntimeout = '2s'\nconnections = 1");
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
    let mut sink = spec.sink();
    for _ in 0..3 {
        let failure = sink.write(&lane(), &numbered(0..100)).await.unwrap_err();
        assert!(matches!(&failure, Failure::Away { .. }), "{failure}");
    }
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.8"]);
    while sink.write(&lane(), &numbered(0..100)).await.is_err() {}
    let numbers: Vec<u64> =
        other.drain("patient").await.iter().map(|(_, payload)| number_of(payload)).collect();
    assert_eq!(numbers, Vec::from_iter(0..100), "once, however often it was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_rabbitmq_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut rabbitmq) = Rabbitmq::start(folder.path()) else { return };
    let port = rabbitmq.port;
    OtherSide::connect(port).await.make_queue("durable", FieldTable::new()).await;
    let spec = spec(port, "routing_key = 'durable'");
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    let sender = tokio::spawn(async move {
        for begin in (0..40_000).step_by(200) {
            delivery.deliver(numbered(begin..begin + 200)).await.unwrap();
        }
        delivery.counts
    });
    for _ in 0..2 {
        let begun = OtherSide::connect(port).await;
        let before = begun.waiting("durable").await;
        while !sender.is_finished() && begun.waiting("durable").await < before + 2_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        rabbitmq.kill();
        rabbitmq.start_again();
    }
    let counts = sender.await.unwrap();
    assert_eq!(counts.delivered, 40_000);
    let other = OtherSide::connect(port).await;
    let numbers: Vec<u64> =
        other.drain("durable").await.iter().map(|(_, payload)| number_of(payload)).collect();
    assert_eq!(first_times(&numbers), Vec::from_iter(0..40_000), "nothing is lost, in order");
    assert!(counts.retries > 0, "it was killed while it was written to");
    assert_log_is_mute();
}
