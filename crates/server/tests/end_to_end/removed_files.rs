//! Space of what was removed is free at once: no file stays open behind its removal, and none stays.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::TestServer;
use crate::wire::{
    CREATE_STREAM, CREATE_TOPIC, POLL, SEND, Wire, create_topic, named, poll_payload, send_payload,
    topic_requests,
};

const DELETE_STREAM: u32 = 203;
const PURGE_STREAM: u32 = 205;
const DELETE_TOPIC: u32 = 303;
const PURGE_TOPIC: u32 = 305;
const DELETE_PARTITIONS: u32 = 403;
const DELETE_SEGMENTS: u32 = 503;
const PATIENCE: Duration = Duration::from_secs(30);

const DURABILITIES: [&str; 2] = ["os", "fsync"];

fn start(durability: &str) -> TestServer {
    TestServer::with(&[
        ("GALGO_STORAGE_SEGMENT_BYTES", "1 MiB"),
        ("GALGO_STORAGE_DURABILITY", durability),
        ("GALGO_RETENTION_INTERVAL", "1s"),
    ])
}

/// Files of this data directory that are removed and still open.
fn open_removed(data_dir: &Path) -> Vec<String> {
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let targets = targets.map(|target| target.display().to_string());
    let own = data_dir.display().to_string();
    targets.filter(|target| target.starts_with(&own) && target.ends_with("(deleted)")).collect()
}

fn logs(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let of = |path: &Path| match path.is_dir() {
        true => logs(path),
        false => usize::from(path.extension().is_some_and(|extension| extension == "log")),
    };
    entries.map(|entry| of(&entry.path())).sum()
}

/// Waits until so many segments are left, and nothing of the others.
fn assert_freed(server: &TestServer, left: impl Fn(usize) -> bool, how: &str) {
    let (data_dir, begun) = (server.data_dir(), Instant::now());
    loop {
        let (open, logs) = (open_removed(&data_dir), logs(&data_dir.join("partitions")));
        if open.is_empty() && left(logs) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{how}: {logs} segments, and still open: {open:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn fill(wire: &mut Wire) {
    let message = vec![7; 100_000];
    for _ in 0..12 {
        assert_eq!(wire.status(SEND, &send_payload(&[message.as_slice(); 5])), 0);
    }
    // What was read lately is kept open for the next reader.
    assert_eq!(wire.call(POLL, &poll_payload(0, 5_000)).0, 0);
}

/// Segments of a topic with durability `os` that retention or a command removed stayed open, as nothing had
/// synced them: the disk was full until the next start.
///
/// INV-SPACE.
#[test]
fn removed_segments_and_partitions_are_not_open_any_more() {
    for durability in DURABILITIES {
        let server = start(durability);
        let mut wire = server.login();
        create_topic(&mut wire, 1);
        let place = [named("s"), named("t")].concat();
        fill(&mut wire);
        let segments = [place.as_slice(), &[0; 4], &1_000u32.to_le_bytes()].concat();
        assert_eq!(wire.status(DELETE_SEGMENTS, &segments), 0);
        assert_freed(&server, |logs| logs == 1, "segments");
        assert_eq!(wire.status(PURGE_TOPIC, &place), 0);
        assert_freed(&server, |logs| logs == 0, "purge of a topic");
        fill(&mut wire);
        assert_eq!(wire.status(PURGE_STREAM, &named("s")), 0);
        assert_freed(&server, |logs| logs == 0, "purge of a stream");
        fill(&mut wire);
        let partitions = [place.as_slice(), &1u32.to_le_bytes()].concat();
        assert_eq!(wire.status(DELETE_PARTITIONS, &partitions), 0);
        assert_freed(&server, |logs| logs == 0, "deletion of a partition");
        assert_eq!(wire.status(DELETE_TOPIC, &place), 0);
        let topic = &topic_requests(1)[1];
        assert_eq!(wire.status(CREATE_TOPIC, topic), 0);
        fill(&mut wire);
        assert_eq!(wire.status(DELETE_TOPIC, &place), 0);
        assert_freed(&server, |logs| logs == 0, "deletion of a topic");
        assert_eq!(wire.status(CREATE_TOPIC, topic), 0);
        fill(&mut wire);
        assert_eq!(wire.status(DELETE_STREAM, &named("s")), 0);
        assert_freed(&server, |logs| logs == 0, "deletion of a stream");
    }
}

#[test]
fn what_retention_removes_is_not_open_any_more() {
    for durability in DURABILITIES {
        let server = start(durability);
        let mut wire = server.login();
        let [stream, mut topic] = topic_requests(1);
        // The most bytes the topic keeps: behind its stream, partitions, compression and expiry.
        let at = named("s").len() + 4 + 1 + 8;
        topic[at..at + 8].copy_from_slice(&(2u64 << 20).to_le_bytes());
        assert_eq!(wire.status(CREATE_STREAM, &stream), 0);
        assert_eq!(wire.status(CREATE_TOPIC, &topic), 0);
        fill(&mut wire);
        assert_freed(&server, |logs| (1..=3).contains(&logs), "retention");
    }
}
