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
