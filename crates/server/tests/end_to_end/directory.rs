//! The data directory as an operator sees it: who can read it, what a failed start leaves, what happens when
//! it goes away.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use galgo_server::ServeError;

use crate::server::{PASSWORD, TestServer, USERNAME, start};
use crate::wire::{CREATE_STREAM, POLL, SEND, Wire, create_topic, poll_payload, send_payload};

const PATIENCE: Duration = Duration::from_secs(30);

fn all_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.collect();
    let dirs: Vec<PathBuf> = found.iter().filter(|path| path.is_dir()).cloned().collect();
    dirs.iter().for_each(|dir| found.extend(all_below(dir)));
    found
}

/// Directories were 755, logs and metadata with its password hashes 644.
#[test]
fn everything_in_the_directory_is_for_its_owner_alone() {
    let server = TestServer::with(&[("GALGO_QUIC_ENABLED", "true")]);
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    assert_eq!(wire.status(SEND, &send_payload(&[b"secret"])), 0);
    let data_dir = server.data_dir();
    for path in all_below(&data_dir).into_iter().chain([data_dir]) {
        let metadata = fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
    }
}

/// The directory and the root user were made all the same, and the only copy of its password printed by a
/// start that had failed.
#[test]
fn a_first_start_that_cannot_listen_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listener in ["TCP", "WEBSOCKET", "HTTP"] {
        let (enabled, at) =
            (format!("GALGO_{listener}_ENABLED"), format!("GALGO_{listener}_ADDRESS"));
        let settings =
            [(enabled.as_str(), "true"), (at.as_str(), &*address), ("GALGO_QUIC_ENABLED", "true")];
        let data_dir = dir.path().join("data");
        let error = start(&data_dir, &settings).unwrap_err();
        assert!(matches!(error, ServeError::AddressInUse { .. }), "{error}");
        assert!(!data_dir.exists(), "{listener}");
    }
}

#[test]
fn a_used_directory_is_named_before_a_taken_port() {
    let server = TestServer::start();
    let address = server.address().to_string();
    let error = start(&server.data_dir(), &[("GALGO_TCP_ADDRESS", &address)]).unwrap_err();
    assert!(matches!(error, ServeError::DataDirLocked { .. }), "{error}");
}

fn until_refused(wire: &mut Wire) {
    let begun = Instant::now();
    while wire.status(SEND, &send_payload(&[b"into nowhere"])) == 0 {
        assert!(begun.elapsed() < PATIENCE, "still acknowledged");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Files that are open can be written for ever after their directory is gone, and all of it is lost.
///
/// INV-ANCHOR.
#[test]
fn a_directory_that_is_replaced_stops_acknowledging_and_is_not_written_to() {
    for durability in ["fsync", "os"] {
        let dir = tempfile::tempdir().unwrap();
        let (data_dir, moved) = (dir.path().join("data"), dir.path().join("moved"));
        let settings = [("GALGO_STORAGE_DURABILITY", durability)];
        let server = start(&data_dir, &settings).unwrap();
        let mut wire = Wire::connect(server.tcp_address().unwrap());
        assert_eq!(wire.login(USERNAME, PASSWORD), 0);
        create_topic(&mut wire, 1);
        assert_eq!(wire.status(SEND, &send_payload(&[b"kept"])), 0);
        fs::rename(&data_dir, &moved).unwrap();
        // A change looks for itself.
        assert_eq!(wire.status(CREATE_STREAM, &[1, b'x']), 10005);
        until_refused(&mut wire);
        assert_eq!(wire.call(POLL, &poll_payload(0, 10)).0, 0, "what is open is still read");
        // Another server begins in its place.
        let other = start(&data_dir, &[]).unwrap();
        let before: Vec<_> = all_below(&data_dir.join("shards"));
        let stopped = server.stop().unwrap_err();
        assert_eq!(stopped.exit_code(), 1);
        assert!(stopped.to_string().contains("removed or replaced"), "{stopped}");
        assert_eq!(all_below(&data_dir.join("shards")), before);
        other.stop().unwrap();
        // What was moved is whole.
        let again = start(&moved, &settings).unwrap();
        let mut wire = Wire::connect(again.tcp_address().unwrap());
        assert_eq!(wire.login(USERNAME, PASSWORD), 0);
        assert_eq!(wire.call(POLL, &poll_payload(0, 10)).0, 0);
        again.stop().unwrap();
    }
}

#[test]
fn a_directory_that_is_removed_stops_acknowledging() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    for removed in [data_dir.clone(), data_dir.join("partitions"), data_dir.join("shards")] {
        let server = start(&data_dir, &[]).unwrap();
        let mut wire = Wire::connect(server.tcp_address().unwrap());
        assert_eq!(wire.login(USERNAME, PASSWORD), 0);
        create_topic(&mut wire, 1);
        assert_eq!(wire.status(SEND, &send_payload(&[b"kept"])), 0);
        fs::remove_dir_all(&removed).unwrap();
        until_refused(&mut wire);
        assert!(server.stop().is_err());
        let _ = fs::remove_dir_all(&data_dir);
    }
}

#[test]
fn a_part_that_is_missing_is_4_and_says_what_to_do() {
    let mut server = TestServer::start();
    server.stop();
    let data_dir = server.data_dir();
    fs::rename(data_dir.join("metadata"), data_dir.join("copy/other")).unwrap();
    let error = start(&data_dir, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    let text = error.to_string();
    assert!(text.contains("metadata is missing or empty"), "{text}");
    assert!(text.contains("galgo repair --data-dir"), "{text}");
    assert!(!data_dir.join("metadata").exists());
}

fn ask(address: SocketAddr, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// HTTP answered only after recovery, so a liveness probe that ran out of patience killed a long recovery, which
/// then began again.
#[test]
fn probes_are_answered_while_it_recovers() {
    let mut server = TestServer::start();
    server.stop();
    let data_dir = server.data_dir();
    // Reading a pipe waits for whoever writes to it, as a slow disk would.
    let slow = data_dir.join("shards/0000/boot");
    fs::remove_file(&slow).unwrap();
    assert!(Command::new("mkfifo").arg(&slow).status().unwrap().success());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let starting = std::thread::spawn({
        let (data_dir, at) = (data_dir.clone(), address.to_string());
        move || start(&data_dir, &[("GALGO_HTTP_ENABLED", "true"), ("GALGO_HTTP_ADDRESS", &at)])
    });
    let begun = Instant::now();
    let live = loop {
        if let Some(answer) = ask(address, "/health/live").filter(|answer| !answer.is_empty()) {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE && !starting.is_finished(), "nobody answers");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(live.starts_with("HTTP/1.1 200") && live.ends_with("live"), "{live}");
    let ready = ask(address, "/health/ready").unwrap();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("starting"), "{ready}");
    let metrics = ask(address, "/metrics").unwrap();
    assert!(
        metrics.starts_with("HTTP/1.1 200") && metrics.contains("\ngalgo_ready 0\n"),
        "{metrics}"
    );
    let other = ask(address, "/streams").unwrap();
    assert!(other.starts_with("HTTP/1.1 503") && other.contains("retry-after: 1"), "{other}");
    assert!(!starting.is_finished(), "it was still recovering");

    drop(fs::OpenOptions::new().write(true).open(&slow).unwrap());
    let server = starting.join().unwrap().unwrap();
    assert_eq!(server.http_address(), Some(address));
    let ready = ask(address, "/health/ready").unwrap();
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready"), "{ready}");
    assert!(ask(address, "/metrics").unwrap().contains("\ngalgo_ready 1\n"));
    server.stop().unwrap();
}
