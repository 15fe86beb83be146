//! Data directories that earlier versions wrote open as they are.

use std::path::Path;

use crate::harness::Server;

/// Written by the version whose checkpoints had no sections, and whose stored offsets no times: a clean stop,
/// then more of it and a `kill -9`. Lines are `file NAME LENGTH` and `POSITION HEX`; what is not told is zeros.
const VERSION_1: &str = include_str!("../../fixtures/v1/data_dir.txt");

fn unpack(text: &str, data: &Path) {
    let mut name = None;
    let mut bytes: Vec<u8> = Vec::new();
    for line in text.lines().chain(["end"]) {
        let words: Vec<&str> = line.split(' ').collect();
        if let [position, hex] = words[..] {
            let position: usize = position.parse().unwrap();
            for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
                let pair = std::str::from_utf8(pair).unwrap();
                bytes[position + at] = u8::from_str_radix(pair, 16).unwrap();
            }
            continue;
        }
        if let Some(name) = name.take() {
            let path = data.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &bytes).unwrap();
        }
        if let ["file", next, length] = words[..] {
            name = Some(next.to_owned());
            bytes = vec![0; length.parse().unwrap()];
        }
    }
}

fn check(server: &Server) {
    for (partition, count) in [(0, 6), (1, 3)] {
        let polled = server.json(&format!("poll s t --partition {partition} --first --count 10"));
        assert_eq!(polled["messages"].as_array().map(Vec::len), Some(count), "{polled}");
    }
    let offset = |of: &str| server.json(&format!("offset get s t {of}"))["stored_offset"].clone();
    assert_eq!(offset("--partition 0 --consumer 7"), 4, "from the journal, over the checkpoint");
    assert_eq!(offset("--partition 0 --group g"), 3, "from the journal");
    assert_eq!(offset("--partition 1 --group g"), 1, "from the checkpoint");
    server.run("offset get s t --partition 0 --consumer 8").fails(4);
    let listed = server.json("offset list s t");
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 3);
    for stored in listed {
        let at = stored["stored_at"].as_str().unwrap();
        assert!(at.starts_with("20"), "the time of the first start that writes it down: {stored}");
        assert_eq!(stored["user"], serde_json::Value::Null, "who stored it was not written down");
    }
}

#[test]
fn a_directory_of_version_1_opens_with_all_that_is_in_it() {
    let mut server = Server::start_on(|data| unpack(VERSION_1, data));
    check(&server);
    // And what this version makes of it, after a stop in order and without one.
    server.stop_and_start(&[]);
    check(&server);
    server.kill();
    server.restart();
    check(&server);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

/// Written by the version whose checkpoints are in sections and whose topics have options: as the other one, of a topic
/// that was made with `--durability os --segment-max-age 2h --set retention.hold_for=30days`, and set to `fsync` later.
const VERSION_2: &str = include_str!("../../fixtures/v2/data_dir.txt");

fn check_2(server: &Server) {
    for (partition, expected) in [
        (0, &["message 0", "message 1", "message 2", "message 3", "message 4", "message 5"][..]),
        (1, &["one", "two", "three"]),
    ] {
        let polled = server.json(&format!("poll s t --partition {partition} --first --count 10"));
        let messages = polled["messages"].as_array().unwrap();
        let texts: Vec<_> = messages.iter().map(|it| it["payload"].as_str().unwrap()).collect();
        assert_eq!(texts, expected);
    }
    let topic = server.json("topic get s t");
    let option = |name: &str| {
        let options = topic["options"].as_array().unwrap();
        options.iter().find(|it| it["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(option("durability"), "fsync");
    assert_eq!(option("segment.max_age"), "2h");
    assert_eq!(option("retention.hold_for"), "30days");
}

fn check_offsets_2(server: &Server) {
    let offset = |of: &str| server.json(&format!("offset get s t {of}"))["stored_offset"].clone();
    assert_eq!(offset("--partition 0 --consumer 7"), 4, "from the journal, over the checkpoint");
    assert_eq!(offset("--partition 0 --group g"), 3, "from the journal");
    assert_eq!(offset("--partition 1 --group g"), 1, "from the checkpoint");
    for stored in server.json("offset list s t").as_array().unwrap() {
        let at = stored["stored_at"].as_str().unwrap();
        assert!(at.starts_with("2026-11-30"), "when it was written: {stored}");
        let by = if stored["kind"] == "group" { serde_json::Value::Null } else { "galgo".into() };
        assert_eq!(stored["user"], by, "by whom: {stored}");
    }
}

#[test]
fn a_directory_of_version_2_opens_with_all_that_is_in_it() {
    let mut server = Server::start_on(|data| unpack(VERSION_2, data));
    check_2(&server);
    check_offsets_2(&server);
    server.stop_and_start(&[]);
    check_2(&server);
    server.kill();
    server.restart();
    check_2(&server);
    check_offsets_2(&server);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

/// A bit of any one of the files that are kept twice, are hints or can be made again is damaged: nothing is missing.
#[test]
fn a_directory_of_version_2_opens_with_any_of_its_small_files_damaged() {
    let metadata = "metadata/00000000000000000001.log";
    let twin = format!("copy/{metadata}");
    let index = "partitions/0000000000000000/00000000000000000000.index";
    let others =
        ["clock", "features", "identity", "copy/features", "copy/identity", metadata, &twin, index];
    let shard =
        ["shards/0000/boot", "shards/0000/checkpoint/a.ckpt", "shards/0000/checkpoint/b.ckpt"];
    for name in others.into_iter().chain(shard) {
        let mut server = Server::start_on(|data| {
            unpack(VERSION_2, data);
            let path = data.join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        });
        check_2(&server);
        server.kill();
        server.restart();
        check_2(&server);
        // The older checkpoint has older offsets, which the log says.
        let is_checkpoint = name.contains("checkpoint");
        assert!(is_checkpoint || !server.log().contains("ERROR"), "{name}: {}", server.log());
        if !is_checkpoint {
            check_offsets_2(&server);
        }
    }
}
