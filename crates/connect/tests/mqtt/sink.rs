//! Messages to a broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use galgo::UserHeaders;
use galgo_connect::conformance::{ReadBack, conformance};
use galgo_connect::lane::OnBad;
use galgo_connect::{Failure, LaneName, Row, SinkSpec, Weight};
use galgo_testkit::service::mosquitto::{Mosquitto, PACKET_BYTES_MAX, PASSWORD, USER};
use rumqttc::Publish;

use crate::other_side::OtherSide;
use crate::rig::{
    Buried, MARK, assert_log_is_mute, batch, delivery, first_times, lane, listen_to_log, number_of,
    numbered, row, sink_spec, with_headers,
};

const BY_COUNTRY: &str = r#"topic = '"orders/\(.country)"'"#;

/// Where the password is, for all tests.
fn password_file() -> String {
    let path = std::env::temp_dir().join(format!("galgo-mqtt-{}", std::process::id()));
    std::fs::write(&path, PASSWORD).unwrap();
    path.display().to_string()
}

pub(crate) fn section(port: u16, more: &str) -> String {
    let file = password_file();
    format!("url = 'mqtt://{USER}@127.0.0.1:{port}'\npassword = {{ file = '{file}' }}\n{more}")
}

fn spec(port: u16, more: &str) -> Arc<dyn SinkSpec> {
    sink_spec("mqtt", &section(port, more))
}

fn numbers(messages: &[Publish]) -> Vec<u64> {
    messages.iter().map(|message| number_of(&message.payload)).collect()
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
        let payloads =
            self.0.seen("good").await.into_iter().map(|message| {
                serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()
            });
        let ours = payloads.filter(|payload| payload["lane"] == lane.to_string());
        Ok(ours.map(|payload| payload["number"].as_u64().unwrap()).collect())
    }

    fn poison(&self, row: &Row) -> Option<Bytes> {
        let mut payload: serde_json::Value = serde_json::from_slice(&row.payload).unwrap();
        payload["topic"] = "not/a/+".into();
        Some(payload.to_string().into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_what_it_promises() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(folder.path()) else { return };
    let other = OtherSide::connect(mosquitto.port, "other", Some("#")).await;
    let spec = spec(mosquitto.port, "topic = '.topic // \"good\"'");
    conformance(&*spec, &Back(other)).await.unwrap();
    assert_log_is_mute();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_acknowledges_has_come_and_the_rest_is_named() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(folder.path()) else { return };
    let other = OtherSide::connect(mosquitto.port, "other", Some("#")).await;
    messages_arrive_in_order(mosquitto.port, &other).await;
    an_envelope_holds_what_mqtt_has_no_room_for(mosquitto.port, &other).await;
    what_is_no_topic_is_named_and_the_rest_is_sent(mosquitto.port, &other).await;
    what_is_too_large_is_named_where_it_is_known(mosquitto.port, &other).await;
    what_is_missing_is_refused_in_words(mosquitto.port).await;
    a_check_sends_nothing(mosquitto.port, &other).await;
    assert_log_is_mute();
}

async fn messages_arrive_in_order(port: u16, other: &OtherSide) {
    let spec = spec(port, "topic = 'plain'\nretain = true");
    spec.prepare().await.unwrap();
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    for begin in (0..3_000).step_by(1_000) {
        delivery.deliver(numbered(begin..begin + 1_000)).await.unwrap();
    }
    assert_eq!(numbers(&other.seen("plain").await), Vec::from_iter(0..3_000));
    // Whoever comes later finds the last one.
    let later = OtherSide::connect(port, "later", Some("plain")).await;
    let retained = later.seen("plain").await;
    assert_eq!(numbers(&retained), [2_999]);
    assert!(retained[0].retain);
}

async fn an_envelope_holds_what_mqtt_has_no_room_for(port: u16, other: &OtherSide) {
    let spec = spec(port, "topic = '@topic'\nheaders = 'envelope'");
    let mut headers = UserHeaders::new();
    headers.insert("count".parse().unwrap(), 7_i32.into());
    headers.insert("connect.via".parse().unwrap(), "earlier".parse().unwrap());
    let rows = vec![with_headers(row(0, "{\"n\":1.10}"), &headers)];
    spec.sink().write(&lane(), &batch(0..1, rows)).await.unwrap();
    let seen = other.seen("orders").await;
    let text = String::from_utf8(seen[0].payload.to_vec()).unwrap();
    assert!(text.ends_with(r#""payload":{"n":1.10}}"#), "{text}");
    assert!(text.contains(r#""connect.via":"earlier,bridge","count":7"#), "INV-NO-LOOP: {text}");
}

async fn what_is_no_topic_is_named_and_the_rest_is_sent(port: u16, other: &OtherSide) {
    let spec = spec(port, BY_COUNTRY);
    let country = |n: u64| match n {
        0 | 5 => "MARKED-VALUE/#",
        9 => "MARKED-VALUE\\u0000",
        _ => "es",
    };
    let payload = |n: u64| format!("{{\"n\":{n},\"country\":\"{}\"}}", country(n));
    let whole = batch(0..10, (0..10).map(|n| row(n, &payload(n))).collect());
    let failure = spec.sink().write(&lane(), &whole).await.unwrap_err();
    let Failure::Bad { places, reason } = &failure else { panic!("{failure}") };
    assert_eq!(Vec::from_iter(places.iter().map(|it| it.offset)), [0, 5, 9]);
    assert!(reason.contains("does not give a topic to publish to"), "{reason}");
    assert!(!format!("{failure:?}").contains(MARK), "INV-MUTE: {failure:?}");
    assert_eq!(other.seen("orders/es").await.len(), 7);
    let buried = Arc::new(Buried::default());
    let (mut delivery, _stop) = delivery(&*spec, OnBad::DeadLetter(buried.clone()));
    delivery.deliver(whole).await.unwrap();
    // What was confirmed in the first try of this target is not sent again.
    assert_eq!(numbers(&other.seen("orders/es").await), [1, 2, 3, 4, 6, 7, 8]);
    let dead: Vec<u64> = buried.0.lock().unwrap().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(dead, [0, 5, 9]);
}

async fn what_is_too_large_is_named_where_it_is_known(port: u16, other: &OtherSide) {
    let large = format!("{{\"n\":1,\"x\":\"{}\"}}", "x".repeat(PACKET_BYTES_MAX));
    let rows = || vec![row(0, "{\"n\":0}"), row(1, &large), row(2, "{\"n\":2}")];
    let known = spec(port, "topic = 'large'\nmax_payload = '128KiB'");
    let failure = known.sink().write(&lane(), &batch(0..3, rows())).await.unwrap_err();
    let Failure::Bad { places, .. } = &failure else { panic!("{failure}") };
    assert_eq!(Vec::from_iter(places.iter().map(|it| it.offset)), [1]);
    assert_eq!(numbers(&other.seen("large").await), [0, 2]);
    // The broker cuts off who sends it without a word.
    let unknown = spec(port, "topic = 'larger'\ntimeout = '5s'");
    let failure = unknown.sink().write(&lane(), &batch(0..3, rows())).await.unwrap_err();
    assert!(matches!(&failure, Failure::Away { .. }), "{failure:?}");
}

async fn what_is_missing_is_refused_in_words(port: u16) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, MARK).unwrap();
    let wrong = format!(
        "url = 'mqtt://{USER}@127.0.0.1:{port}'\npassword = {{ file = '{}' }}\ntopic = 'plain'",
        path.display()
    );
    let wrong = sink_spec("mqtt", &wrong);
    let said = refused(wrong.prepare().await.unwrap_err());
    assert!(said.contains("does not let us log in"), "{said}");
    assert!(!said.contains(MARK), "INV-MUTE");
    let mut sink = wrong.sink();
    refused(sink.write(&lane(), &numbered(0..1)).await.unwrap_err());
    std::fs::write(&path, PASSWORD).unwrap();
    sink.write(&lane(), &numbered(0..1)).await.unwrap();
    let nobody = spec(1, "topic = 'plain'").prepare().await.unwrap_err();
    assert!(matches!(&nobody, Failure::Away { .. }), "{nobody:?}");
}

async fn a_check_sends_nothing(port: u16, other: &OtherSide) {
    let before = other.seen("orders/es").await.len();
    let spec = spec(port, BY_COUNTRY);
    let sample = [row(1, "{\"country\":\"es\"}"), row(2, &format!("{{\"country\":\"{MARK}+\"}}"))];
    let findings = spec.check(&sample).await.unwrap();
    let weights: Vec<Weight> = findings.iter().map(|finding| finding.weight).collect();
    let expected = [Weight::Good, Weight::Warning, Weight::Warning, Weight::Fault];
    assert_eq!(weights, expected, "{findings:?}");
    assert!(!format!("{findings:?}").contains(MARK), "INV-MUTE: {findings:?}");
    assert!(spec.preview(&lane(), &sample[0]).unwrap().contains("topic \"orders/es\""));
    assert_eq!(before, other.seen("orders/es").await.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_broker_is_killed() {
    listen_to_log();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut mosquitto) = Mosquitto::start(folder.path()) else { return };
    let port = mosquitto.port;
    let other = OtherSide::connect(port, "other", Some("durable")).await;
    // It stores each second what it keeps.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spec = spec(port, "topic = 'durable'");
    let (mut delivery, _stop) = delivery(&*spec, OnBad::Pause);
    let sender = tokio::spawn(async move {
        for begin in (0..20_000).step_by(100) {
            delivery.deliver(numbered(begin..begin + 100)).await.unwrap();
        }
        delivery.counts
    });
    for kill in 1..=3 {
        while !sender.is_finished() && (other.count() as u64) < kill * 3_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        mosquitto.kill();
        mosquitto.start_again();
    }
    let counts = sender.await.unwrap();
    assert_eq!(counts.delivered, 20_000);
    assert!(counts.retries > 0, "it was killed while it was written to");
    let mut numbers = first_times(&numbers(&other.seen("durable").await));
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(0..20_000), "none is missing");
    assert_log_is_mute();
}
