//! What only Galgo has, over HTTP: what a topic is like, what retention does, offsets with names, receipts and lives.

use serde_json::{Value, json};

use crate::client::Http;
use crate::server::{TestServer, topic};

const T: &str = "/streams/s/topics/t";

/// Messages for partition 0.
fn messages(payloads: &[&str]) -> Value {
    let messages: Vec<_> = payloads.iter().map(|payload| json!({"payload": payload})).collect();
    json!({"partitioning": {"kind": "partition_id", "value": "AAAAAA=="}, "messages": messages})
}

/// The reason a request is refused for, with its status.
fn refused(http: &Http, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    let answer = http.request(method, path, body);
    let reason = match answer.header("content-type").as_deref() {
        Some("application/json") => answer.json()["reason"].as_str().unwrap().to_owned(),
        _ => answer.text(),
    };
    (answer.status, reason)
}

#[test]
fn a_topic_tells_its_senders_and_readers_what_they_have_to_know() {
    let server = TestServer::start();
    let root = server.root();
    root.post("/streams", &json!({"name": "s"}));
    let mut new = topic("t", 2);
    new["options"] = json!({"durability": "os", "deduplication": "on"});
    assert_eq!(root.post("/streams/s/topics", &new).status, 200);
    let settings = root.get(&format!("{T}/settings")).json();
    let window = json!({"entries": 100_000, "seconds": 300});
    let expected = json!({"durability": "os", "deduplication": "on", "window": window});
    assert_eq!(settings, expected);
    let outline = root.get(&format!("{T}/outline")).json();
    assert_eq!(outline["partitions_count"], 2);
    assert_eq!(outline["deduplication"], "on");
    assert_eq!(outline["partitions"][1]["size"], "0 B");
    let features = root.get("/features").json();
    assert_eq!(features["server_name"], "galgo");
    assert!(features["flags"].as_u64().unwrap() > 1000, "{features}");

    new["options"] = json!({"durability": "fsync"});
    assert_eq!(root.put(T, &new).status, 204);
    let settings = root.get(&format!("{T}/settings")).json();
    assert_eq!(
        (&settings["durability"], &settings["deduplication"]),
        (&json!("fsync"), &json!("on"))
    );
}

#[test]
fn retention_is_planned_and_explained() {
    let server = TestServer::with(&[("GALGO_STORAGE_SEGMENT_BYTES", "4 KiB")]);
    let root = server.with_topic(1);
    for _ in 0..3 {
        let sent = root.post(&format!("{T}/messages"), &messages(&[&"QUFB".repeat(1500)]));
        assert_eq!(sent.status, 201);
    }
    let plan = root.get(&format!("{T}/retention/plan")).json();
    assert_eq!((&plan["enabled"], &plan["segments"]), (&json!(true), &json!([])));
    let stricter =
        format!("{T}/retention/plan?message_expiry=18446744073709551615&max_topic_size=1");
    let segments = root.get(&stricter).json()["segments"].clone();
    assert_eq!(segments[0]["reason"], "size");
    assert!(segments[0]["bytes"].as_str().unwrap().ends_with(" B"), "{segments}");
    let state = root.get(&format!("{T}/retention")).json();
    assert_eq!(state, json!({"clock_lead": 0, "clock_waits": 0, "ahead": 0, "holders": []}));

    let half = refused(&root, "GET", &format!("{T}/retention/plan?message_expiry=1"), None);
    let needed = "`max_topic_size` is missing; with `message_expiry` it is needed, too, and 0 is the server's default";
    assert_eq!(half, (400, needed.to_owned()));
}

#[test]
fn stored_offsets_are_listed_page_by_page() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    assert_eq!(root.post(&format!("{T}/messages"), &messages(&["YQ==", "Yg=="])).status, 201);
    let listed = |query: &str| root.get(&format!("{T}/offsets{query}")).json();
    assert_eq!(listed(""), json!({"offsets": [], "next": null}));
    for consumer in 1..=1001 {
        let stored = json!({"offset": 1, "consumer_id": consumer});
        assert_eq!(root.put(&format!("{T}/consumer-offsets"), &stored).status, 204);
    }
    let first = listed("");
    assert_eq!(first["offsets"].as_array().unwrap().len(), 1000);
    let next = first["next"].as_str().unwrap().to_owned();
    let rest = listed(&format!("?partition_id=0&after={next}"));
    assert_eq!(rest["offsets"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next"], Value::Null);
    let last = &rest["offsets"][0];
    assert_eq!(
        (&last["kind"], &last["offset"], &last["user"]),
        (&json!("consumer"), &json!(1), &json!("iggy"))
    );
}

#[test]
fn a_batch_has_a_receipt() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let path = format!("{T}/batches");
    let first = root.post(&path, &messages(&["YQ==", "Yg=="]));
    assert_eq!(first.status, 201);
    let mut receipt = first.json();
    assert!(receipt["timestamp"].take().as_u64().unwrap() > 0);
    let expected = json!({
        "outcome": "stored", "partition_id": 0, "first_offset": 0, "stored": 2, "timestamp": null,
        "end": 2, "throttle_us": 0,
    });
    assert_eq!(receipt, expected);
    assert_eq!(root.post(&path, &messages(&["Yw=="])).json()["first_offset"], 2);

    let mut deduplicated = topic("once", 1);
    deduplicated["options"] = json!({"deduplication": "on"});
    root.post("/streams/s/topics", &deduplicated);
    let mut body = messages(&["YQ=="]);
    body["messages"][0]["id"] = json!(7);
    let path = "/streams/s/topics/once/batches";
    assert_eq!(root.post(path, &body).json()["outcome"], "stored");
    let again = root.post(path, &body).json();
    assert_eq!((&again["outcome"], &again["first_offset"]), (&json!("stored_before"), &json!(0)));
}

/// A purge begins the offsets anew: who goes by them alone reads and stores in the wrong messages.
#[test]
fn a_reader_that_keeps_to_a_life_learns_of_a_purge() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let path = format!("{T}/partitions/0/messages");
    root.post(&format!("{T}/messages"), &messages(&["YQ==", "Yg=="]));
    let read = root.get(&path).json();
    let life = read["life"].as_str().unwrap().to_owned();
    assert_ne!(life, "0");
    let shape = |answer: &Value| {
        let field = |name: &str| answer[name].clone();
        let places = json!([field("count"), field("start"), field("end"), field("next")]);
        (places, field("cut"), field("other_life"), field("damaged"))
    };
    let none = Value::Null;
    assert_eq!(shape(&read), (json!([2, 0, 2, 2]), json!(false), json!(false), none.clone()));
    assert_eq!(read["messages"][1]["payload"], "Yg==");
    let one = root.get(&format!("{path}?count=1&life={life}")).json();
    assert_eq!(shape(&one), (json!([1, 0, 2, 1]), json!(false), json!(false), none.clone()));

    let stores = format!("{T}/consumer-offsets/billing");
    let stored = root.put(&stores, &json!({"offset": 1, "life": life}));
    assert_eq!((stored.status, stored.json()), (200, json!({"life": life, "stored": true})));
    assert_eq!(root.delete(&format!("{T}/purge")).status, 204);
    root.post(&format!("{T}/messages"), &messages(&["Yw==", "ZA=="]));
    let other = root.get(&format!("{path}?life={life}")).json();
    assert_eq!(shape(&other).2, json!(true));
    assert_eq!(other["messages"], json!([]));
    let late = root.put(&stores, &json!({"offset": 1, "life": life})).json();
    assert_eq!(late, json!({"life": other["life"], "stored": false}));
    assert_ne!(other["life"], json!(life));
    assert_eq!(
        root.put(&stores, &json!({"offset": 1})).json()["stored"],
        true,
        "whichever it is in"
    );
}

#[test]
fn a_refusal_says_what_is_wrong_with_what_and_what_to_do() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let get = |path: &str| refused(&root, "GET", path, None);
    let no_stream = "there is no stream `x`: `GET /streams` lists those there are";
    let no_topic = "the stream `s` has no topic `x`: `GET /streams/s/topics` lists those there are";
    for route in [
        "settings",
        "outline",
        "retention",
        "retention/plan",
        "offsets",
        "options",
        "partitions/0/messages",
    ] {
        assert_eq!(
            get(&format!("/streams/x/topics/t/{route}")),
            (404, no_stream.to_owned()),
            "{route}"
        );
        assert_eq!(
            get(&format!("/streams/s/topics/x/{route}")),
            (404, no_topic.to_owned()),
            "{route}"
        );
    }
    let batch = refused(&root, "POST", "/streams/s/topics/x/batches", Some(&messages(&["YQ=="])));
    assert_eq!(batch, (404, no_topic.to_owned()));
    let no_partition = "the topic `t` of the stream `s` has no such partition: `GET /streams/s/topics/t` lists those there are";
    assert_eq!(get(&format!("{T}/partitions/7/messages")), (404, no_partition.to_owned()));
    let late =
        refused(&root, "PUT", &format!("{T}/consumer-offsets/c"), Some(&json!({"offset": 9})));
    let no_offset = "no message of the partition has that offset yet: `GET /streams/s/topics/t` tells the last one of each";
    assert_eq!(late, (400, no_offset.to_owned()));
    let cases = [
        (
            "/offsets?partition=0",
            "`partition` is no parameter of this route, which takes stream, topic, partition_id, after",
        ),
        ("/offsets?partition_id=x", "`partition_id` is `x`, not a number from 0 to 4294967295"),
        (
            "/offsets?after=0-1",
            "`after` is `0-1`, not what a page before called `next`, such as `0-1-77`",
        ),
        ("/offsets?partition_id=0&partition_id=1", "`partition_id` is given more than once"),
        (
            "/partitions/0/messages?life=x",
            "`life` is a number in digits, as the answer to a poll has it",
        ),
        (
            "/partitions/0/messages?wait=1",
            "Failed to deserialize query string: wait: unknown field `wait`, expected one of \
         `consumer_id`, `kind`, `value`, `count`, `auto_commit`, `life`",
        ),
    ];
    for (path, reason) in cases {
        assert_eq!(get(&format!("{T}{path}")), (400, reason.to_owned()));
    }
    let options = json!({"durability": "raid"});
    let (status, reason) = refused(&root, "PATCH", &format!("{T}/options"), Some(&options));
    assert_eq!(status, 400);
    let told = "durability cannot be \"raid\": expected \"fsync\" or \"os\"; \
        `GET /streams/{stream}/topics/{topic}/options` lists all options of a topic";
    assert_eq!(reason, told);
    let user = json!({"username": "nobody", "password": "secret", "status": "active"});
    root.post("/users", &user);
    let nobody = server.http().login("nobody", "secret");
    let lacking = "the caller lacks the permission `read_topic` for the stream `s` or its topic `t`, and any that includes it: \
        who has `manage_users` gives it with `PUT /users/{user}/permissions`";
    assert_eq!(refused(&nobody, "GET", &format!("{T}/settings"), None), (403, lacking.to_owned()));
    let (status, reason) = refused(&nobody, "GET", &format!("{T}/outline"), None);
    assert!(status == 403 && reason.contains("`send_messages` or `poll_messages` for"), "{reason}");
}
