//! Streams, topics, partitions, groups and offsets: what comes back, and what is refused.

use serde_json::{Value, json};

use crate::server::{TestServer, topic};

/// The generic body of something that is missing.
fn missing() -> Value {
    json!({"id": 404, "code": "not_found", "reason": "Resource not found", "field": null})
}

/// Takes a time out of an answer, so that the rest can be compared.
fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("created_at");
            fields.values_mut().for_each(|field| *field = without_times(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_times(item.take())),
        _ => {}
    }
    value
}

#[test]
fn a_stream_lives_from_creation_to_deletion() {
    let server = TestServer::start();
    let root = server.root();
    let created = root.post("/streams", &json!({"name": "orders"}));
    assert_eq!(created.status, 200);
    assert!(created.json()["created_at"].as_u64().unwrap() > 1_600_000_000_000_000);
    let empty = json!({
        "id": 0, "name": "orders", "size": "0 B", "messages_count": 0, "topics_count": 0,
        "topics": [],
    });
    assert_eq!(without_times(created.json()), empty);
    assert_eq!(root.get("/streams/orders").json(), root.get("/streams/0").json());
    assert_eq!(root.get("/streams").json().as_array().unwrap().len(), 1);

    assert_eq!(root.post("/streams", &json!({"name": "orders"})).error(), (400, 1012));
    assert_eq!(root.post("/streams", &json!({"name": ""})).error(), (400, 1013));
    assert_eq!(root.post("/streams", &json!({"name": "a".repeat(256)})).error(), (400, 1013));

    assert_eq!(root.put("/streams/0", &json!({"name": "bought goods"})).status, 204);
    assert_eq!(root.get("/streams/bought%20goods").json()["id"], 0);
    assert_eq!(root.put("/streams/9", &json!({"name": "x"})).error(), (404, 1009));
    assert_eq!(root.delete("/streams/0/purge").status, 204);
    assert_eq!(root.delete("/streams/9/purge").error(), (404, 1009));
    let gone = root.delete("/streams/0");
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    let error = root.delete("/streams/0");
    assert_eq!(error.status, 404);
    let reason = error.json()["reason"].clone();
    let body = json!({
        "id": 1009, "code": "stream_id_not_found", "reason": reason, "field": "stream_id",
    });
    assert_eq!(error.json(), body);
    let answer = root.get("/streams/0");
    assert_eq!((answer.status, answer.json()), (404, missing()));
}

#[test]
fn a_topic_lives_from_creation_to_deletion() {
    let server = TestServer::start();
    let root = server.root();
    root.post("/streams", &json!({"name": "s"}));
    let created = root.post("/streams/s/topics", &topic("t", 2));
    assert_eq!(created.status, 200);
    let partition = |id: u32| {
        json!({
            "id": id, "segments_count": 1, "current_offset": 0, "size": "0 B", "messages_count": 0,
        })
    };
    let expected = json!({
        "id": 0, "name": "t", "size": "0 B", "message_expiry": created.json()["message_expiry"],
        "compression_algorithm": "none", "max_topic_size": u64::MAX, "replication_factor": 1,
        "messages_count": 0, "partitions_count": 2, "partitions": [partition(0), partition(1)],
    });
    assert_eq!(without_times(created.json()), expected);
    assert_eq!(root.get("/streams/s/topics/t").json(), created.json());
    assert_eq!(root.get("/streams/s/topics").json()[0]["name"], "t");
    assert_eq!(root.get("/streams/s").json()["topics"][0]["partitions_count"], 2);

    assert_eq!(root.post("/streams/s/topics", &topic("t", 1)).error(), (400, 2013));
    assert_eq!(root.post("/streams/s/topics", &topic("u", 1001)).error(), (400, 2015));
    assert_eq!(root.post("/streams/s/topics", &topic("", 1)).error(), (400, 2014));
    let answer = root.post("/streams/x/topics", &topic("u", 1));
    assert_eq!((answer.status, answer.json()), (404, missing()));
    let mut bad = topic("u", 1);
    bad["replication_factor"] = json!(0);
    assert_eq!(root.post("/streams/s/topics", &bad).error(), (400, 2018));
    bad["replication_factor"] = json!(null);
    bad["max_topic_size"] = json!(1);
    assert_eq!(root.post("/streams/s/topics", &bad).error(), (400, 1019));
    bad["max_topic_size"] = json!("unlimited");
    assert_eq!(root.post("/streams/s/topics", &bad).status, 422);

    let mut update = topic("renamed", 1);
    update["message_expiry"] = json!(u64::MAX);
    assert_eq!(root.put("/streams/s/topics/t", &update).status, 204);
    let shown = root.get("/streams/s/topics/renamed").json();
    assert_eq!(
        (&shown["message_expiry"], &shown["partitions_count"]),
        (&json!(u64::MAX), &json!(2))
    );
    assert_eq!(root.put("/streams/x/topics/t", &update).error(), (404, 1009));
    assert_eq!(root.put("/streams/s/topics/x", &update).error(), (404, 2010));
    assert_eq!(root.delete("/streams/s/topics/0/purge").status, 204);
    assert_eq!(root.delete("/streams/s/topics/x/purge").error(), (404, 2010));
    assert_eq!(root.delete("/streams/s/topics/0").status, 204);
    assert_eq!(root.delete("/streams/s/topics/0").error(), (404, 2010));
    assert_eq!(root.get("/streams/s/topics/0").json(), missing());
}

#[test]
fn options_of_a_topic_are_set_and_shown_by_name() {
    let server = TestServer::start();
    let root = server.root();
    root.post("/streams", &json!({"name": "s"}));
    let mut new = topic("t", 1);
    new["options"] = json!({"durability": "os", "segment.max_age": "90m"});
    assert_eq!(root.post("/streams/s/topics", &new).status, 200);
    let option = |name: &str| {
        let options = root.get("/streams/s/topics/t/options").json();
        let found = options.as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
        found.map(|it| (it["value"].clone(), it["default"].clone()))
    };
    assert_eq!(option("durability"), Some((json!("os"), json!(false))));
    assert_eq!(option("segment.max_age"), Some((json!("1h 30m"), json!(false))));
    assert_eq!(option("retention.hold_for"), Some((json!("7days"), json!(true))));

    let path = "/streams/s/topics/t/options";
    let set = |values| root.request("PATCH", path, Some(&values));
    let values = json!({"durability": "", "retention.hold_for": "never", "max_size": "1 GiB"});
    assert_eq!(set(values).status, 204);
    assert_eq!(option("durability").unwrap().0, json!("fsync"));
    assert_eq!(option("segment.max_age").unwrap().0, json!("1h 30m"));
    assert_eq!(option("retention.hold_for"), Some((json!("never"), json!(false))));
    assert_eq!(root.get("/streams/s/topics/t").json()["max_topic_size"], 1_u64 << 30);

    assert_eq!(set(json!({"compression": "zstd"})).error(), (400, 4));
    assert_eq!(set(json!({"durability": "raid"})).error(), (400, 4));
    assert_eq!(set(json!({"max_size": "1 KiB"})).status, 204, "as every update takes it");
    assert_eq!(set(json!({"durability": 1})).status, 422);
    new["name"] = json!("u");
    new["options"] = json!({"max_size": "1 KiB"});
    assert_eq!(root.post("/streams/s/topics", &new).error(), (400, 1019));
    new["options"] = json!({"compression": "zstd"});
    assert_eq!(root.post("/streams/s/topics", &new).error(), (400, 4));
    assert_eq!(root.get("/streams/s/topics/x/options").status, 404);
}

#[test]
fn lists_tell_what_is_missing_from_what_is_empty() {
    let server = TestServer::start();
    let root = server.root();
    assert_eq!(root.get("/streams").json(), json!([]));
    root.post("/streams", &json!({"name": "s"}));
    let topics = root.get("/streams/s/topics");
    assert_eq!((topics.status, topics.json()), (200, json!([])));
    let answer = root.get("/streams/x/topics");
    assert_eq!((answer.status, answer.json()), (404, missing()));
}

#[test]
fn partitions_are_added_and_removed() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let partitions = "/streams/s/topics/t/partitions";
    let added = root.post(partitions, &json!({"partitions_count": 2}));
    assert_eq!((added.status, added.body.len()), (201, 0));
    assert_eq!(root.post(partitions, &json!({"partitions_count": 0})).error(), (400, 2015));
    assert_eq!(root.delete(&format!("{partitions}?partitions_count=0")).error(), (400, 2015));
    assert_eq!(root.delete(&format!("{partitions}?partitions_count=9")).error(), (400, 2019));
    assert_eq!(root.delete(partitions).status, 400);
    assert_eq!(root.delete(&format!("{partitions}?partitions_count=1")).status, 204);
    assert_eq!(root.get("/streams/s/topics/t").json()["partitions_count"], 2);
    assert_eq!(root.delete(&format!("{partitions}/0")).status, 400, "the query is missing");
    assert_eq!(root.delete(&format!("{partitions}/x?segments_count=1")).status, 400);
}

#[test]
fn the_oldest_segments_of_a_partition_are_deleted() {
    let server = TestServer::with(&[("GALGO_STORAGE_SEGMENT_BYTES", "4 KiB")]);
    let root = server.with_topic(1);
    let to = json!({"kind": "partition_id", "value": "AAAAAA=="});
    let body = json!({"partitioning": to, "messages": [{"payload": "QUFB".repeat(1500)}]});
    for _ in 0..3 {
        assert_eq!(root.post("/streams/s/topics/t/messages", &body).status, 201);
    }
    // Segments, and the first message there is.
    let shape = || {
        let topic = root.get("/streams/s/topics/t").json();
        let polled = root.get("/streams/s/topics/t/messages?kind=first&count=1").json();
        let first = polled["messages"][0]["header"]["offset"].as_u64();
        (topic["partitions"][0]["segments_count"].as_u64().unwrap(), first)
    };
    let (segments, first) = shape();
    assert!(segments >= 3 && first == Some(0), "{segments} {first:?}");
    let partitions = "/streams/s/topics/t/partitions";
    let gone = root.delete(&format!("{partitions}/0?segments_count=1"));
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(shape(), (segments - 1, Some(1)));
    assert_eq!(root.delete(&format!("{partitions}/0?segments_count=0")).status, 204);
    assert_eq!(shape(), (segments - 1, Some(1)));
    let all = |path: &str| root.delete(&format!("{path}?segments_count=9")).error();
    assert_eq!(all(&format!("{partitions}/1")), (404, 3007));
    assert_eq!(all("/streams/s/topics/x/partitions/0"), (404, 2010));
    assert_eq!(all("/streams/x/topics/t/partitions/0"), (404, 1009));
}

#[test]
fn offsets_are_stored_shown_and_forgotten() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let message = json!({"payload": "YQ=="});
    let body = json!({
        "partitioning": {"kind": "balanced", "value": ""}, "messages": [message, message],
    });
    assert_eq!(root.post("/streams/s/topics/t/messages", &body).status, 201);
    let offsets = "/streams/s/topics/t/consumer-offsets";
    let none = root.get(offsets);
    assert_eq!((none.status, none.json()), (404, missing()));
    assert_eq!(root.put(offsets, &json!({"offset": 1})).status, 204);
    let stored = json!({"partition_id": 0, "current_offset": 1, "stored_offset": 1});
    assert_eq!(root.get(offsets).json(), stored);
    assert_eq!(root.get(&format!("{offsets}?consumer_id=1&partition_id=0")).json(), stored);
    assert_eq!(root.get(&format!("{offsets}?consumer_id=2")).status, 404);
    let named = json!({"offset": 0, "consumer_id": "reader", "partition_id": null});
    assert_eq!(root.put(offsets, &named).status, 204);
    assert_eq!(root.get(&format!("{offsets}?consumer_id=reader")).json()["stored_offset"], 0);
    assert_eq!(root.put(offsets, &json!({"offset": 2})).error(), (400, 4100));
    let elsewhere = json!({"offset": 0, "partition_id": 7});
    assert_eq!(root.put(offsets, &elsewhere).error(), (404, 3007));
    assert_eq!(root.delete(&format!("{offsets}/1")).status, 204);
    assert_eq!(root.delete(&format!("{offsets}/1?partition_id=0")).error(), (404, 3021));
}
