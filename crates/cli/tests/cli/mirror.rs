//! A topic copied from one server to another: nothing twice, nothing missing, whatever breaks.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Done, Server, eventually, galgo, run};

/// `galgo mirror` between the topics `s t` of two servers.
fn mirror(from: &Server, to: &Server, options: &[&str]) -> Command {
    let mut command = galgo();
    command.arg("mirror").arg(format!("galgo://{}", from.address())).args(["s", "t"]);
    command.arg(format!("galgo://{}", to.address())).args(["s", "t"]).args(options);
    command
}

fn copy(from: &Server, to: &Server) -> Value {
    run(mirror(from, to, &["--output", "json"])).ok().json()
}

fn start(from: &Server, to: &Server, options: &[&str]) -> Child {
    let mut command = mirror(from, to, options);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn lines(count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| format!("k{} line {number}\n", number % 7).into_bytes()).collect()
}

/// The messages of each partition, in the order of their offsets.
fn messages(server: &Server) -> BTreeMap<u64, Vec<Value>> {
    let all = server.ok("tail s t --from start --format json").out;
    let mut partitions: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for line in all.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        partitions.entry(message["partition"].as_u64().unwrap()).or_default().push(message);
    }
    partitions
}

/// Whether both hold the same, and every copy tells where it came from.
#[track_caller]
fn assert_same(from: &Server, to: &Server) {
    let (originals, copies) = (messages(from), messages(to));
    assert_eq!(originals.len(), copies.len());
    for (originals, copies) in originals.values().zip(copies.values()) {
        assert_eq!(originals.len(), copies.len());
        for (original, copy) in originals.iter().zip(copies) {
            for field in ["partition", "payload", "id", "origin_timestamp"] {
                assert_eq!(original[field], copy[field], "{field}");
            }
            assert_eq!(copy["headers"]["mirror.offset"], original["offset"]);
            for (key, value) in original["headers"].as_object().into_iter().flatten() {
                assert_eq!(&copy["headers"][key], value);
            }
        }
    }
}

fn count(server: &Server) -> u64 {
    let topic = server.run("--output json topic get s t");
    if topic.code != 0 {
        return 0;
    }
    topic.json()["messages_count"].as_u64().unwrap()
}

#[test]
fn a_copy_has_everything_and_a_second_one_has_nothing_to_do() {
    let (from, to) = (Server::start(), Server::start());
    from.ok("stream create s");
    from.ok("topic create s t --partitions 3 --durability os --expiry 7days");
    from.send("--key-field 1 --header source=web", &lines(2_500));
    let done = copy(&from, &to);
    assert_eq!((&done["messages"], &done["verified"]), (&2_500.into(), &true.into()));
    assert_eq!((&done["created"], &done["complete"]), (&true.into(), &true.into()));
    assert_same(&from, &to);
    let (original, made) = (from.json("topic get s t"), to.json("topic get s t"));
    for field in ["partitions_count", "expiry_us", "max_size_bytes", "durability"] {
        assert_eq!(original[field], made[field], "{field}");
    }
    let again = copy(&from, &to);
    assert_eq!((&again["messages"], &again["created"]), (&0.into(), &false.into()));
    from.send("--key-field 1", &lines(10));
    assert_eq!(copy(&from, &to)["messages"], 10);
    assert_same(&from, &to);
    let text = run(mirror(&from, &to, &[])).ok().out;
    assert!(text.contains("0 messages copied") && text.contains("the target agrees"), "{text}");
}

/// INV-ONE-TO-ONE.
#[test]
fn a_killed_copy_goes_on_with_nothing_twice_and_nothing_missing() {
    let (from, to) = (Server::with_topic(3), Server::start());
    from.send("--key-field 1", &lines(60_000));
    for part in 1..4 {
        let mut child = start(&from, &to, &[]);
        eventually("the copy goes on", || {
            count(&to) >= part * 5_000 || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let done = copy(&from, &to);
    assert_eq!(done["verified"], true);
    assert_eq!(count(&to), 60_000);
    assert_same(&from, &to);
}

#[test]
fn a_following_copy_survives_the_death_of_the_target() {
    let (from, mut to) = (Server::with_topic(2), Server::start());
    from.send("--key-field 1", &lines(500));
    let mut command = mirror(&from, &to, &["--follow", "--output", "json"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notices = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["notice"].as_str().unwrap().to_owned()
    });
    eventually("the first part is there", || count(&to) == 500);
    to.kill();
    from.send("--key-field 1", &lines(700));
    let notice = notices.next().unwrap();
    assert!(notice.contains(to.address()) && notice.ends_with("trying again"), "{notice}");
    to.restart();
    eventually("the second part is there", || count(&to) == 1_200);
    assert_eq!(notices.next().unwrap(), "both servers answer again; going on");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_same(&from, &to);
    assert_eq!(copy(&from, &to)["messages"], 0);
}

#[test]
fn what_is_no_copy_is_not_written_to() {
    let (from, to) = (Server::with_topic(1), Server::with_topic(1));
    from.send("", b"one\ntwo\n");
    to.send("", b"mine\n");
    let refused = run(mirror(&from, &to, &[])).fails(2);
    assert!(refused.err.contains("no copies"), "{}", refused.err);
    to.ok("topic purge s t --yes");
    assert_eq!(copy(&from, &to)["messages"], 2);
    from.ok("topic purge s t --yes");
    from.send("", b"a\nb\nc\n");
    let refused = run(mirror(&from, &to, &[])).fails(2);
    assert!(refused.err.contains("another topic"), "{}", refused.err);
    to.ok("partition create s t --count 1");
    let refused = run(mirror(&from, &to, &[])).fails(2);
    assert!(refused.err.contains("1 partition"), "{}", refused.err);
    let refused = run(mirror(&from, &from, &[])).fails(2);
    assert!(refused.err.contains("to itself"), "{}", refused.err);
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let (from, to) = (Server::start(), Server::start());
    let refused: Done = run(mirror(&from, &to, &["--output", "json"])).fails(4);
    assert!(refused.error()["message"].as_str().unwrap().contains("stream s does not exist"));
    from.ok("stream create s");
    let refused = run(mirror(&from, &to, &[])).fails(4);
    assert!(refused.err.contains("topic t of stream s"), "{}", refused.err);
}

#[test]
fn options_of_one_connection_are_refused() {
    for option in [["--transport", "quic"], ["--tls-ca", "ca.pem"], ["--server", "galgo://h"]] {
        let mut command = galgo();
        command.args(["mirror", "galgo://a", "s", "t", "galgo://b", "s", "t"]).args(option);
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{option:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(option[0]) && said.contains("tls=true"), "{said}");
    }
}

/// Sends one message with these bytes for headers.
fn send_with_block(server: &Server, payload: &str, block: &[u8]) {
    let url = format!("galgo://galgo:galgo@{}", server.address());
    let message = galgo::Message::new(payload.to_owned()).header_block(block.to_vec());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = galgo::Client::connect(&url).await.unwrap();
        let to = galgo::Partitioning::PartitionId(0.into());
        let (stream, topic) = ("s".parse().unwrap(), "t".parse().unwrap());
        client.send(&stream, &topic, to, &[message]).await.unwrap();
    });
}

/// The payload and the bytes of the headers of each message.
fn blocks(server: &Server) -> Vec<(String, Vec<u8>)> {
    let url = format!("galgo://galgo:galgo@{}", server.address());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = galgo::Client::connect(&url).await.unwrap();
        let (stream, topic) = ("s".parse().unwrap(), "t".parse().unwrap());
        let polled = client.poll(galgo::PollRequest::new(&stream, &topic, 0)).await.unwrap();
        let shown = polled.messages().iter().map(|message| {
            let payload = String::from_utf8(message.payload().to_vec()).unwrap();
            (payload, message.user_headers().to_vec())
        });
        shown.collect()
    })
}

fn pair(kind: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let field = |kind: u8, bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap();
        [&[kind][..], &len.to_le_bytes(), bytes].concat()
    };
    [field(2, key), field(kind, value)].concat()
}

/// One message whose headers left no room for those of the copy, were no pairs or no UTF-8 held up all behind
/// it for good, and of two equal names one was lost.
#[test]
fn headers_of_every_kind_are_copied_byte_for_byte_and_gone_on_behind() {
    let (from, to) = (Server::with_topic(1), Server::start());
    // 399 pairs of 250 bytes and one of 243: no room for two more.
    let full = (0..399).flat_map(|_| pair(2, b"k", &[b'v'; 239]));
    let full: Vec<u8> = full.chain(pair(1, b"z", &[9; 232])).collect();
    let all = [
        pair(2, b"plain", b"text"),
        [pair(2, b"b", b"1"), pair(2, b"a", b"2"), pair(2, b"b", b"3")].concat(),
        pair(2, b"latin", b"caf\xe9"),
        vec![0, 1, 2, 3],
        full.clone(),
        vec![255; 100_000],
        Vec::new(),
        vec![7; 9],
        vec![7; 9],
        vec![7; 9],
    ];
    // Any of them may be the last when a copy is cut short.
    for (number, block) in all.iter().enumerate() {
        send_with_block(&from, &number.to_string(), block);
        assert_eq!(copy(&from, &to)["messages"], 1, "{number}");
    }
    assert_eq!(copy(&from, &to)["messages"], 0);
    let (originals, copies) = (blocks(&from), blocks(&to));
    assert_eq!(originals.len(), copies.len());
    for (number, (original, copied)) in originals.iter().zip(&copies).enumerate() {
        assert_eq!(original.0, copied.0);
        assert!(copied.1.starts_with(&original.1), "{number}: its own headers come first");
        let added = copied.1.len() - original.1.len();
        assert!(if (3..6).contains(&number) || number > 6 { added == 0 } else { added > 0 });
    }
    // A copy of a copy, which has the places of the first one in it.
    let third = Server::start();
    assert_eq!(copy(&to, &third)["messages"], 10);
    let lengths = |server: &Server| blocks(server).iter().map(|it| it.1.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&to), lengths(&third));
    // What the source has instead after a purge is no original of these.
    from.ok("topic purge s t --yes");
    (0..20).for_each(|number| send_with_block(&from, &number.to_string(), &[7; 9]));
    assert!(run(mirror(&from, &to, &[])).fails(2).err.contains("another topic"));
    // Nor is what somebody wrote a copy.
    to.send("", b"mine\n");
    assert!(run(mirror(&from, &to, &[])).fails(2).err.contains("no copies"));
}

#[test]
fn a_key_that_comes_twice_and_headers_that_are_none_are_shown() {
    let server = Server::with_topic(1);
    send_with_block(&server, "a", &[pair(2, b"k", b"1"), pair(2, b"k", b"2")].concat());
    send_with_block(&server, "b", &[0, 1, 2, 3]);
    let polled = server.json("poll s t --partition 0");
    let messages = polled["messages"].as_array().unwrap();
    assert_eq!(messages[0]["headers"], serde_json::json!([["k", "1"], ["k", "2"]]));
    assert_eq!(messages[1]["headers_base64"], "AAECAw==");
}
