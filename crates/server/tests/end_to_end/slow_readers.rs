//! Clients that ask for much and read nothing.
//!
//! INV-ANSWER-MEMORY: what they asked for is read into memory a few at a time, and others get their turn.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::TestServer;
use crate::wire::{
    PING, POLL, SEND, Wire, create_topic, frame, poll_payload, polled, send_payload,
};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// Clients that read nothing: more than there is memory for.
const SILENT: usize = 6;

/// Polls of each, so many that no socket buffers take all their answers.
const POLLS: usize = 8;

/// Whether the server closed this connection, found out without reading from it.
fn closed_in_time(wire: &mut Wire) -> bool {
    let patience = Instant::now() + Duration::from_secs(60);
    while wire.socket.write_all(&frame(PING, &[])).is_ok() {
        if Instant::now() > patience {
            return false;
        }
        // A close is seen by the next write only.
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Each connection that polled and did not read kept an answer of megabytes, for as many as there are
/// connections; and a byte now and then kept it for ever.
#[test]
fn those_who_do_not_read_lose_their_connection_and_the_others_are_served() {
    let keys = format!("1:{KEY}");
    let server = TestServer::with(&[
        // Sealed messages pass through memory, however lately they were written.
        ("GALGO_ENCRYPTION_ENABLED", "true"),
        ("GALGO_ENCRYPTION_KEYS", &keys),
        ("GALGO_LIMITS_ANSWER_BYTES", "16 MiB"),
        ("GALGO_LIMITS_WRITE_TIMEOUT", "1s"),
    ]);
    let mut reader = server.login();
    create_topic(&mut reader, 1);
    let message = vec![7; 500 << 10];
    for _ in 0..8 {
        assert_eq!(reader.status(SEND, &send_payload(&[&message])), 0);
    }
    let mut silent: Vec<Wire> = (0..SILENT).map(|_| server.login()).collect();
    for wire in &mut silent {
        wire.write(&frame(POLL, &poll_payload(0, 10)).repeat(POLLS));
    }
    let mut read = || {
        let (status, answer) = reader.call(POLL, &poll_payload(0, 10));
        assert_eq!((status, polled(&answer).len()), (0, 8));
    };
    read();
    for wire in &mut silent {
        assert!(closed_in_time(wire));
    }
    // All of the memory came back.
    for _ in 0..SILENT {
        read();
    }
}
