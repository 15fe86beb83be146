//! Messages: sent, polled and flushed.

use serde_json::{Value, json};

use crate::client::Http;
use crate::server::TestServer;

const MESSAGES: &str = "/streams/s/topics/t/messages";

fn send(http: &Http, messages: &Value) -> u16 {
    let balanced = json!({"kind": "balanced", "value": ""});
    http.post(MESSAGES, &json!({"partitioning": balanced, "messages": messages})).status
}

fn payloads(http: &Http, query: &str) -> Vec<String> {
    let answer = http.get(&format!("{MESSAGES}?{query}")).json();
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(answer["count"], messages.len());
    messages.iter().map(|message| message["payload"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_sent_is_polled_with_id_and_headers() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let headers = json!([{
        "key": {"kind": "string", "value": "aw=="}, "value": {"kind": "uint32", "value": "BwAAAA=="},
    }]);
    let message = json!({"id": 5, "payload": "dw==", "user_headers": headers});
    assert_eq!(send(&root, &json!([message, {"payload": "eA=="}])), 201);
    let polled = root.get(&format!("{MESSAGES}?value=0")).json();
    let header = &polled["messages"][0]["header"];
    let expected = json!({
        "partition_id": 0, "current_offset": 1, "count": 2,
        "messages": [
            {
                "header": {
                    "checksum": header["checksum"], "id": 5, "offset": 0,
                    "timestamp": header["timestamp"],
                    "origin_timestamp": header["origin_timestamp"],
                    "user_headers_length": 15, "payload_length": 1, "reserved": 0,
                },
                "payload": "dw==", "user_headers": headers,
            },
            {"header": polled["messages"][1]["header"], "payload": "eA==", "user_headers": []},
        ],
    });
    assert_eq!(polled, expected);
    assert!(header["origin_timestamp"].as_u64().unwrap() > 1_600_000_000_000_000);
}

#[test]
fn ids_of_128_bits_go_both_ways_in_every_form() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let largest = u128::MAX;
    let forms = [
        largest.to_string(),
        format!("\"{largest}\""),
        "\"ffffffff-ffff-ffff-ffff-ffffffffffff\"".to_owned(),
        "\"ffffffffffffffffffffffffffffffff\"".to_owned(),
    ];
    let messages: Vec<_> =
        forms.iter().map(|id| format!("{{\"id\":{id},\"payload\":\"YQ==\"}}")).collect();
    let body = format!(
        "{{\"partitioning\":{{\"kind\":\"balanced\",\"value\":\"\"}},\"messages\":[{}]}}",
        messages.join(",")
    );
    let sent = root.raw("POST", MESSAGES, &["content-type: application/json"], body.as_bytes());
    assert_eq!(sent.status, 201, "{}", sent.text());
    let text = root.get(&format!("{MESSAGES}?count=10")).text();
    assert_eq!(text.matches(&format!("\"id\":{largest},")).count(), forms.len(), "{text}");
    for id in ["-1", "1.5", "\"x\"", "true", "340282366920938463463374607431768211456"] {
        let body = format!(
            "{{\"partitioning\":{{\"kind\":\"balanced\",\"value\":\"\"}},\
             \"messages\":[{{\"id\":{id},\"payload\":\"YQ==\"}}]}}"
        );
        let json = ["content-type: application/json"];
        assert_eq!(root.raw("POST", MESSAGES, &json, body.as_bytes()).status, 422, "{id}");
    }
}

#[test]
fn a_poll_starts_where_it_is_told() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let messages: Vec<_> =
        ["YQ==", "Yg==", "Yw=="].iter().map(|payload| json!({"payload": payload})).collect();
    assert_eq!(send(&root, &json!(messages)), 201);
    assert_eq!(payloads(&root, "kind=first&count=1"), ["YQ=="]);
    assert_eq!(payloads(&root, "kind=last&count=1"), ["Yw=="]);
    assert_eq!(payloads(&root, "kind=offset&value=1"), ["Yg==", "Yw=="]);
    assert_eq!(payloads(&root, "kind=timestamp&value=1").len(), 3);
    assert_eq!(payloads(&root, "kind=next&count=2&auto_commit=true"), ["YQ==", "Yg=="]);
    assert_eq!(payloads(&root, "kind=next&count=2&auto_commit=true"), ["Yw=="]);
    assert!(payloads(&root, "kind=next&count=2&auto_commit=true").is_empty());
    assert_eq!(payloads(&root, "kind=next&consumer_id=other").len(), 3);
    for query in ["kind=Offset", "kind=x", "count=-1", "partition_id=x", "auto_commit=1"] {
        assert_eq!(root.get(&format!("{MESSAGES}?{query}")).status, 400, "{query}");
    }
    assert_eq!(root.get(&format!("{MESSAGES}?partition_id=9")).error(), (404, 3007));
    assert_eq!(root.get("/streams/x/topics/t/messages").error(), (404, 1009));
    assert_eq!(root.get("/streams/s/topics/x/messages").error(), (404, 2010));
}

/// An answer ended at 8 MiB, and `last` with the oldest of what was asked for; now it is written in pieces,
/// as the client takes it.
#[test]
fn a_poll_gives_all_that_was_asked_for_and_last_the_newest() {
    const COUNT: u64 = 60;
    for encrypted in [false, true] {
        let keys = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let sealing = [("GALGO_ENCRYPTION_ENABLED", "true"), ("GALGO_ENCRYPTION_KEYS", keys)];
        let settings = if encrypted { &sealing[..] } else { &[] };
        let mut server = TestServer::with(settings);
        let root = server.with_topic(1);
        for number in 0..COUNT / 5 {
            let message = json!({"payload": "QUFB".repeat(50_000 + number as usize)});
            assert_eq!(send(&root, &json!([message, message, message, message, message])), 201);
        }
        for cold in [false, true] {
            if cold {
                server.restart();
            }
            let root = server.root();
            for query in
                ["kind=last", "kind=first", "kind=timestamp", "kind=offset&auto_commit=true"]
            {
                let answer = root.get(&format!("{MESSAGES}?{query}&count=1000"));
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.header("content-length"), None, "it comes in pieces");
                let polled = answer.json();
                assert_eq!(polled["count"], COUNT);
                let messages = polled["messages"].as_array().unwrap();
                for (number, message) in (0..).zip(messages) {
                    assert_eq!(message["header"]["offset"], number);
                    let payload = message["payload"].as_str().unwrap();
                    assert_eq!(payload.len() as u64, 4 * (50_000 + number / 5));
                }
                assert_eq!(messages.len() as u64, COUNT);
            }
            assert!(payloads(&root, "kind=next").is_empty(), "all were committed");
        }
    }
}

/// `last` with a limit gave the oldest messages that fit, and left out the newest.
#[test]
fn last_with_more_than_the_limit_gives_the_newest_that_fit() {
    let server = TestServer::with(&[("GALGO_HTTP_MAX_POLL_SIZE", "1 KiB")]);
    let root = server.with_topic(1);
    for text in ["YQ==", "Yg==", "Yw==", "ZA=="] {
        let message = json!({"payload": text, "user_headers": "AAAA".repeat(75)});
        assert_eq!(send(&root, &json!([message])), 201);
    }
    assert_eq!(payloads(&root, "kind=last&count=10"), ["Yg==", "Yw==", "ZA=="]);
    let large = json!({"payload": "QUFB".repeat(1_000)});
    assert_eq!(send(&root, &json!([large])), 201);
    assert_eq!(payloads(&root, "kind=last&count=10").len(), 1, "a large one comes alone");
}

/// A poll answers what fits its limit, and commits no message it did not answer.
#[test]
fn a_poll_that_is_cut_short_commits_only_what_it_answers() {
    let server = TestServer::with(&[("GALGO_HTTP_MAX_POLL_SIZE", "1 KiB")]);
    let root = server.with_topic(1);
    let large = "QUFB".repeat(1000);
    let small = json!({"payload": "QUFB".repeat(100)});
    let messages = json!([small, small, small, {"payload": large}, small]);
    assert_eq!(send(&root, &messages), 201);
    let mut sizes = Vec::new();
    loop {
        let polled = payloads(&root, "kind=next&count=100&auto_commit=true");
        if polled.is_empty() {
            break;
        }
        sizes.push(polled.len());
    }
    assert_eq!(sizes, [2, 1, 1, 1], "two small ones fit, a large one comes alone");
}

#[test]
fn a_batch_goes_where_it_is_told() {
    let server = TestServer::start();
    let root = server.with_topic(3);
    let to = |kind: &str, value: &str| {
        let partitioning = json!({"kind": kind, "value": value});
        let messages = json!([{"payload": "YQ=="}]);
        root.post(MESSAGES, &json!({"partitioning": partitioning, "messages": messages}))
    };
    assert_eq!(to("partition_id", "AgAAAA==").status, 201);
    assert_eq!(payloads(&root, "partition_id=2").len(), 1);
    assert_eq!(to("messages_key", "YWJj").status, 201);
    assert_eq!(to("partition_id", "CQAAAA==").error(), (404, 3007));
    assert_eq!(to("partition_id", "AgA=").error(), (400, 3));
    assert_eq!(to("messages_key", "").error(), (400, 3));
    assert_eq!(to("Balanced", "").status, 422);
    assert_eq!(to("balanced", "no base64").status, 422);
}

#[test]
fn a_body_that_does_not_fit_is_refused() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let balanced = json!({"kind": "balanced", "value": ""});
    let empty = json!({"partitioning": balanced, "messages": []});
    assert_eq!(root.post(MESSAGES, &empty).error(), (400, 4009));
    let extra = json!({"partitioning": balanced, "messages": [{"payload": "YQ=="}], "x": 1});
    assert_eq!(root.post(MESSAGES, &extra).status, 422);
    for message in [
        json!({}),
        json!({"payload": ""}),
        json!({"payload": "*"}),
        json!({"payload": "YQ==", "user_headers": {"a": 1}}),
        json!({"payload": "YQ==", "user_headers": [{"key": 1, "value": 2}]}),
    ] {
        assert_eq!(send(&root, &json!([message.clone()])), 422, "{message}");
    }
    let too_many = json!([{"payload": "YQ==", "user_headers": "AAAA".repeat(33_334)}]);
    let answer = root.post(MESSAGES, &json!({"partitioning": balanced, "messages": too_many}));
    assert_eq!(answer.error(), (400, 4017));
    assert_eq!(send(&root, &json!([{"payload": "YQ==", "user_headers": null}])), 201);
    assert_eq!(send(&root, &json!([{"payload": "YQ==", "user_headers": "AAAA"}])), 201);
    let polled = root.get(&format!("{MESSAGES}?value=1")).json();
    assert_eq!(polled["messages"][0]["user_headers"], "AAAA", "a block that can't be read");
}

#[test]
fn both_forms_of_a_flush_are_understood() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    for path in ["true", "false", "fsync=true", "fsync=false?partition_id=0&fsync=false"] {
        assert_eq!(root.get(&format!("{MESSAGES}/flush/0/{path}")).status, 200, "{path}");
    }
    assert_eq!(root.get(&format!("{MESSAGES}/flush/0/maybe")).status, 400);
    assert_eq!(root.get(&format!("{MESSAGES}/flush/x/true")).status, 400);
    assert_eq!(root.get(&format!("{MESSAGES}/flush/9/true")).error(), (404, 3007));
}
