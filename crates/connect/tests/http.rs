//! Requests over HTTP against a server that answers by a script.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

use std::sync::Arc;

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::gate::Gate;
use galgo_connect::lane::{Delivery, OnBad};
use galgo_connect::sink::Sinks;
use galgo_connect::status::LaneStatus;
use galgo_connect::{Batch, Failure, Form, LaneName, Place, Position, Row, SinkSpec, Weight, kind};
use galgo_testkit::service::http::{ScriptedAnswer, ScriptedRequest, ScriptedServer};
use tokio::sync::watch;

fn target(file: &str) -> Box<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|kind| kind.name == "http").unwrap();
    let around = Surroundings { pipeline: "hooks".to_owned(), folder: std::env::temp_dir() };
    (kind.read)(file.parse().unwrap(), &around).unwrap()
}

fn refusal(file: &str) -> String {
    let kind = kind::sinks().iter().find(|kind| kind.name == "http").unwrap();
    let around = Surroundings { pipeline: "hooks".to_owned(), folder: std::env::temp_dir() };
    (kind.read)(file.parse().unwrap(), &around).err().unwrap().to_string()
}

fn lane() -> LaneName {
    LaneName {
        pipeline: "hooks".to_owned(),
        stream: "shop".to_owned(),
        topic: "orders".to_owned(),
        partition: 0,
    }
}

fn row(offset: u64) -> Row {
    Row {
        place: Place { offset, part: 0 },
        id: offset.into(),
        time: offset + 1,
        origin_time: offset,
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from(format!("{{\"n\":{offset},\"mark\":\"MARKED-VALUE\"}}")),
    }
}

fn batch(offsets: std::ops::Range<u64>) -> Batch {
    let end = Position { next: offsets.end, topic_made_at: 7, ..Position::default() };
    Batch::new(offsets.start, end, offsets.map(row).collect())
}

fn delivery(target: &dyn SinkSpec, on_bad: OnBad) -> (Delivery, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let delivery = Delivery {
        lane: lane(),
        sinks: Arc::new(Sinks::new(vec![target.sink()])),
        gate: Arc::new(Gate::default()),
        on_bad,
        retry_for: None,
        waits_for_people: true,
        stop: stopped,
        counts: Default::default(),
        status: Arc::new(LaneStatus::new(lane())),
        done: watch::Sender::new(0),
    };
    (delivery, stop)
}

fn bodies(seen: &[ScriptedRequest]) -> Vec<String> {
    seen.iter().map(|it| String::from_utf8(it.body.clone()).unwrap()).collect()
}

/// INV-PLACE-KEY: each has its place as key, whatever the server does, and they come in order.
#[tokio::test]
async fn each_message_is_a_request_with_its_place() {
    let mut asked = 0;
    let server = ScriptedServer::start(move |_| {
        asked += 1;
        match asked {
            5 => ScriptedAnswer::Hangs,
            9 => ScriptedAnswer::status(500),
            12 => ScriptedAnswer::Says(
                429,
                vec![("retry-after", "1".to_owned())],
                "MARKED-VALUE".to_owned(),
            ),
            _ => ScriptedAnswer::Says(202, Vec::new(), "x".repeat(200_000)),
        }
    });
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "Bearer s3cret\n").unwrap();
    let target = target(&format!(
        "url = '{}/in?x=1'\nmethod = 'PUT'\n[headers]\nX-Source = 'galgo'\nAuthorization = {{ file = '{}' }}",
        server.url(),
        secret.path().display()
    ));
    target.prepare().await.unwrap();
    assert!(!target.needs_json());
    let (mut delivery, _stop) = delivery(&*target, OnBad::Skip);
    delivery.deliver(batch(0..20)).await.unwrap();
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|it| it.headers["idempotency-key"].clone()).collect();
    // Those that failed come again at once; what was delivered does not.
    let mut expected: Vec<_> = (0..20).collect::<Vec<u64>>();
    for failed in [4, 7, 9] {
        let at = expected.iter().position(|it| *it == failed).unwrap();
        expected.insert(at, failed);
    }
    let expected: Vec<_> = expected.iter().map(|it| format!("shop/orders/0/{it}")).collect();
    assert_eq!(keys, expected);
    for request in &seen {
        assert_eq!((&request.method[..], &request.path[..]), ("PUT", "/in?x=1"));
        assert_eq!(request.headers["authorization"], "Bearer s3cret");
        assert_eq!(request.headers["x-source"], "galgo");
        assert_eq!(request.headers["content-type"], "application/json");
        assert!(request.headers.contains_key("content-length"));
    }
    assert_eq!(delivery.counts.delivered, 20);
    assert_eq!(delivery.counts.retries, 3);
}

#[tokio::test]
async fn several_at_a_time_lose_nothing() {
    let mut asked = 0;
    let server = ScriptedServer::start(move |_| {
        asked += 1;
        ScriptedAnswer::status(if asked == 30 { 503 } else { 200 })
    });
    let target = target(&format!("url = '{}'\nconcurrency = 8", server.url()));
    let (mut delivery, _stop) = delivery(&*target, OnBad::Skip);
    delivery.deliver(batch(0..100)).await.unwrap();
    let mut bodies = bodies(&server.seen());
    assert_eq!(bodies.len(), 101, "only the one that failed comes again");
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 100);
}

#[tokio::test]
async fn the_address_can_be_made_of_the_message() {
    let server = ScriptedServer::start(|_| ScriptedAnswer::status(204));
    let target =
        target(&format!("url = '\"{}/orders/\\(.n)?p=\\($meta.partition)\"'", server.url()));
    let mut sink = target.sink();
    sink.write(&lane(), &batch(3..5)).await.unwrap();
    let paths: Vec<_> = server.seen().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/orders/3?p=0", "/orders/4?p=0"]);
    let elsewhere = self::target("url = '.mark'");
    let failure = elsewhere.sink().write(&lane(), &batch(3..5)).await.unwrap_err();
    assert_eq!(failure.class(), "bad");
    assert!(!failure.to_string().contains("MARKED"), "INV-MUTE");
}

#[tokio::test]
async fn batches_are_lines_or_a_list_and_are_halved_for_the_bad_one() {
    for (body, content_type) in [("lines", "application/x-ndjson"), ("array", "application/json")] {
        for bad in [vec![0_u64], vec![7], vec![15], vec![0, 15], (0..16).collect()] {
            let poison = bad.clone();
            let server = ScriptedServer::start(move |request| {
                let text = String::from_utf8(request.body.clone()).unwrap();
                let hit = poison.iter().any(|it| text.contains(&format!("\"n\":{it},")));
                let echo = if hit { text } else { String::new() };
                ScriptedAnswer::Says(if hit { 422 } else { 200 }, Vec::new(), echo)
            });
            let target = target(&format!("url = '{}'\nbody = '{body}'", server.url()));
            assert!(target.needs_json());
            let (mut delivery, _stop) = delivery(&*target, OnBad::Skip);
            delivery.deliver(batch(0..16)).await.unwrap();
            assert_eq!(delivery.counts.skipped, bad.len() as u64);
            assert_eq!(delivery.counts.delivered, 16 - bad.len() as u64);
            let seen = server.seen();
            assert_eq!(seen[0].headers["idempotency-key"], "shop/orders/0/0-15/0");
            assert_eq!(seen[0].headers["content-type"], content_type);
            let text = String::from_utf8(seen[0].body.clone()).unwrap();
            match body {
                "lines" => assert_eq!(text.lines().count(), 16),
                _ => assert_eq!(
                    serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(),
                    16
                ),
            }
        }
    }
    // A document of several lines is one line.
    let server = ScriptedServer::start(|_| ScriptedAnswer::status(200));
    let target = target(&format!("url = '{}'\nbody = 'lines'", server.url()));
    let mut pretty = row(0);
    pretty.payload = Bytes::from_static(b"{\n  \"a\": \"x\\ny\"\r\n}");
    let end = Position { next: 1, ..Position::default() };
    target.sink().write(&lane(), &Batch::new(0, end, vec![pretty])).await.unwrap();
    assert_eq!(bodies(&server.seen()), ["{   \"a\": \"x\\ny\"  }\n"]);
}

#[tokio::test]
async fn bad_messages_are_named_and_nothing_is_sent_behind_them() {
    let server = ScriptedServer::start(|request| {
        let bad = request.headers["idempotency-key"] == "shop/orders/0/3";
        ScriptedAnswer::Says(if bad { 400 } else { 200 }, Vec::new(), "MARKED-VALUE".to_owned())
    });
    let target = target(&format!("url = '{}'", server.url()));
    let failure = target.sink().write(&lane(), &batch(0..10)).await.unwrap_err();
    let Failure::Bad { places, reason } = &failure else { panic!("{failure}") };
    assert_eq!(places, &[Place { offset: 3, part: 0 }]);
    assert!(reason.contains("400") && !format!("{failure:?}").contains("MARKED"), "INV-MUTE");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn what_is_no_answer_is_no_success() {
    let other = ScriptedServer::start(|_| ScriptedAnswer::status(200));
    let elsewhere = other.url();
    let server = ScriptedServer::start(move |request| match &request.path[..] {
        "/moved" => ScriptedAnswer::Says(307, vec![("location", elsewhere.clone())], String::new()),
        "/login" => ScriptedAnswer::status(401),
        "/sleeps" => ScriptedAnswer::Sleeps,
        _ => ScriptedAnswer::Hangs,
    });
    for (path, class, said) in [
        ("/moved", "refused", "not followed"),
        ("/login", "refused", "look at the secret"),
        ("/hangs", "away", ""),
        ("/sleeps", "away", "no answer within 0.3 s"),
    ] {
        let target = target(&format!("url = '{}{path}'\ntimeout = '300ms'", server.url()));
        let failure = target.sink().write(&lane(), &batch(0..3)).await.unwrap_err();
        assert_eq!(failure.class(), class, "{path}: {failure}");
        assert!(failure.to_string().contains(said), "{path}: {failure}");
    }
    assert!(other.seen().is_empty(), "a redirection is not followed");
    let nobody = target("url = 'http://127.0.0.1:1/'");
    let failure = nobody.sink().write(&lane(), &batch(0..1)).await.unwrap_err();
    assert_eq!(failure.class(), "away", "{failure}");
    let no_secret =
        target("url = 'http://127.0.0.1:1/'\nheaders = { A = { env = 'GALGO_NO_SUCH' } }");
    let failure = no_secret.prepare().await.unwrap_err();
    assert!(failure.to_string().contains("GALGO_NO_SUCH is not set"), "{failure}");
}

/// Answers as the bulk interface does: a status for each entry.
fn bulk(statuses: impl Fn(u64) -> u16 + Send + 'static) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if request.method == "HEAD" {
            return ScriptedAnswer::status(404);
        }
        let text = String::from_utf8(request.body.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let items: Vec<_> = lines
            .chunks(2)
            .map(|pair| {
                let action: serde_json::Value = serde_json::from_str(pair[0]).unwrap();
                let (word, about) = action.as_object().unwrap().iter().next().unwrap();
                let id = about["_id"].as_str().unwrap();
                let offset = id.rsplit('/').next().unwrap().parse().unwrap();
                let status = statuses(offset);
                let error = serde_json::json!({ "type": "mapper_parsing_exception", "reason": "MARKED-VALUE" });
                let error = if status < 300 { serde_json::Value::Null } else { error };
                serde_json::json!({ (word.clone()): { "status": status, "error": error } })
            })
            .collect();
        let answer = serde_json::json!({ "errors": true, "items": items });
        ScriptedAnswer::Says(200, Vec::new(), answer.to_string())
    })
}

fn elastic(server: &ScriptedServer, more: &str) -> Box<dyn SinkSpec> {
    target(&format!(
        "url = '{}'\nbody = 'elasticsearch'\n[elasticsearch]\nindex = 'orders'\n{more}",
        server.url()
    ))
}

#[tokio::test]
async fn each_document_of_a_bulk_has_a_fate_of_its_own() {
    let server = bulk(|offset| if offset % 5 == 2 { 400 } else { 201 });
    let target = elastic(&server, "");
    let failure = target.sink().write(&lane(), &batch(0..10)).await.unwrap_err();
    let Failure::Bad { places, reason } = &failure else { panic!("{failure}") };
    assert_eq!(places.iter().map(|it| it.offset).collect::<Vec<_>>(), [2, 7]);
    assert!(reason.contains("mapper_parsing_exception"), "{reason}");
    assert!(!format!("{failure:?}").contains("MARKED"), "INV-MUTE");
    let request = &server.seen()[0];
    assert!(request.path.starts_with("/orders/_bulk?filter_path="), "{}", request.path);
    let text = String::from_utf8(request.body.clone()).unwrap();
    assert!(text.starts_with("{\"index\":{\"_id\":\"shop/orders/0/0\"}}\n{\"n\":0,"), "{text}");
    assert!(text.ends_with('\n'));

    let (mut delivery, _stop) = delivery(&*target, OnBad::Skip);
    delivery.deliver(batch(0..10)).await.unwrap();
    assert_eq!((delivery.counts.delivered, delivery.counts.skipped), (8, 2));

    for (status, class) in
        [(429, "away"), (503, "away"), (403, "refused"), (404, "refused"), (409, "bad")]
    {
        let server = bulk(move |offset| if offset == 5 { status } else { 200 });
        let failure = elastic(&server, "").sink().write(&lane(), &batch(0..10)).await.unwrap_err();
        assert_eq!(failure.class(), class, "{status}");
    }
    let there = bulk(|_| 409);
    elastic(&there, "op = 'create'").sink().write(&lane(), &batch(0..3)).await.unwrap();

    let silent = ScriptedServer::start(|_| {
        ScriptedAnswer::Says(200, Vec::new(), "{\"items\":[]}".to_owned())
    });
    let failure = elastic(&silent, "").sink().write(&lane(), &batch(0..3)).await.unwrap_err();
    assert_eq!(failure.class(), "away", "what is not told of is not there");
}

#[tokio::test]
async fn a_check_changes_nothing_and_tells_what_is_wrong() {
    let server = bulk(|_| 200);
    let target = elastic(&server, "");
    let mut list = row(0);
    list.payload = Bytes::from_static(b"[\"MARKED-VALUE\"]");
    let findings = target.check(&[row(1), list]).await.unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!(findings[0].weight, Weight::Warning);
    assert_eq!(findings[1].weight, Weight::Fault);
    assert!(!format!("{findings:?}").contains("MARKED"), "INV-MUTE");
    assert!(server.seen().iter().all(|it| it.method == "HEAD"));

    let server = ScriptedServer::start(|_| ScriptedAnswer::status(405));
    let target = self::target(&format!("url = '{}'", server.url()));
    let findings = target.check(&[row(1)]).await.unwrap();
    assert_eq!(findings[0].weight, Weight::Good);
    assert_eq!(server.seen()[0].method, "OPTIONS");
    assert_eq!(target.preview(&lane(), &row(1)).unwrap(), "{\"n\":1,\"mark\":\"MARKED-VALUE\"}");
}

#[test]
fn a_file_that_does_not_fit_together_says_so() {
    for (file, said) in [
        ("url = 'ftp://x'", "begins with http:// or https://"),
        ("url = 'http://u:p@x/'", "use headers with a secret"),
        ("url = 'http://x'\nmethod = 'no method'", "is no method"),
        ("url = 'http://x'\nbody = 'yaml'", "unknown variant"),
        ("url = 'http://x'\nconcurrency = 0", "between 1 and 64"),
        ("url = 'http://x'\nbody = 'lines'\nconcurrency = 2", "a batch is one request"),
        ("url = '.x'\nbody = 'lines'", "only with body = \"message\""),
        ("url = 'http://x'\nbody = 'clickhouse'", "needs a section [to.http.clickhouse]"),
        ("url = 'http://x'\n[elasticsearch]\nindex = 'a'", "needs body = \"elasticsearch\""),
        (
            "url = 'http://x'\nbody = 'elasticsearch'\n[elasticsearch]\nindex = 'a b'",
            "letters, digits",
        ),
        ("url = 'http://x'\nbody = 'clickhouse'\n[clickhouse]\ntable = 'a;b'", "is no name"),
        (
            "url = 'http://x'\nbody = 'clickhouse'\n[clickhouse]\ntable = 'a'\ncreate = true",
            "needs clickhouse.columns",
        ),
        ("url = 'http://x'\ncert_file = 'a'", "belong together"),
        ("url = 'http://x'\ntimout = '1s'", "did you mean \"timeout\"?"),
        ("url = 'http://x'\nheaders = { 'a b' = 'c' }", "is no header"),
        ("url = 'http://x'\nheaders = { a = 1 }", "a header is a text, {"),
    ] {
        let what = refusal(file);
        assert!(what.contains(said), "{file}: {what}");
    }
}

#[test]
fn the_example_can_be_read() {
    let kind = kind::sinks().iter().find(|kind| kind.name == "http").unwrap();
    let read = |text: &str| {
        let whole: toml::Table = text.parse().unwrap();
        let section = whole["to"]["http"].as_table().unwrap().clone();
        let around = Surroundings { pipeline: "p".to_owned(), folder: std::env::temp_dir() };
        (kind.read)(section, &around).map(|_| ()).unwrap();
    };
    read(kind.example);
    // Every key that is commented out is one, too.
    let (head, sections) = kind.example.split_once("# With body = \"clickhouse\":").unwrap();
    let (clickhouse, elastic) = sections.split_once("# With body = \"elasticsearch\":").unwrap();
    let bare = |text: &str| -> String {
        let line = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n";
        text.lines().map(line).collect()
    };
    read(&bare(head));
    for (body, section) in [("clickhouse", clickhouse), ("elasticsearch", elastic)] {
        let head = head.replace("body = \"message\"", &format!("body = \"{body}\""));
        read(&format!("{head}{}", bare(section)));
    }
}
