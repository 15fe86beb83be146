//! Stopping in order: what is in flight is answered, everybody is told, nothing is lost.

use crate::server::{NO_STOP_TIMEOUT, TestServer};
use crate::wire::*;

const DISCONNECTED: u32 = 8;

#[test]
fn idle_connections_are_told_and_closed_at_once() {
    let mut server = TestServer::with(&[NO_STOP_TIMEOUT]);
    let mut anonymous = server.connect();
    anonymous.assert_in_step();
    let mut known = server.login();
    server.stop_in_time();
    for wire in [&mut anonymous, &mut known] {
        assert_eq!(wire.answer(), (DISCONNECTED, vec![]));
        wire.assert_closed();
    }
}

#[test]
fn a_half_sent_request_does_not_hold_up_the_stop() {
    let mut server = TestServer::with(&[NO_STOP_TIMEOUT]);
    let mut wire = server.login();
    // What is answered was read, and the half of a request that came with it.
    wire.write(&[&frame(PING, &[]), &frame(SEND, &[0; 1000])[..500]].concat());
    assert_eq!(wire.answer(), (0, vec![]));
    server.stop_in_time();
    assert_eq!(wire.answer(), (DISCONNECTED, vec![]));
}

/// INV-STOP.
#[test]
fn what_was_acknowledged_before_the_stop_is_there_after_it() {
    let mut server = TestServer::start();
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    let mut reader = Wire { socket: wire.socket.try_clone().unwrap() };
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        let mut sent = 0u64;
        while wire.socket.write_all(&frame(SEND, &send_payload(&[&sent.to_le_bytes()]))).is_ok() {
            sent += 1;
        }
        sent
    });
    let (some, enough) = std::sync::mpsc::channel();
    let acknowledged = std::thread::spawn(move || {
        let mut acknowledged = 0;
        loop {
            match reader.answer().0 {
                0 => {
                    acknowledged += 1;
                    if acknowledged == 100 {
                        some.send(()).unwrap();
                    }
                }
                status => {
                    assert_eq!(status, DISCONNECTED);
                    return acknowledged;
                }
            }
        }
    });
    enough.recv().unwrap();
    server.stop();
    let acknowledged = acknowledged.join().unwrap();
    assert!(sender.join().unwrap() >= acknowledged);

    server.restart();
    let mut wire = server.login();
    let mut found = 0;
    loop {
        let messages = polled(&wire.call(POLL, &poll_payload(found, 10_000)).1);
        if messages.is_empty() {
            break;
        }
        for message in messages {
            assert_eq!(message.offset, found);
            assert_eq!(message.payload, found.to_le_bytes());
            found += 1;
        }
    }
    // The stop takes no new request once it has begun, so what is there is what was answered.
    assert_eq!(found, acknowledged);
}

#[test]
fn new_connections_are_refused_once_the_server_is_down() {
    let mut server = TestServer::start();
    let address = server.address();
    server.stop();
    assert!(std::net::TcpStream::connect(address).is_err());
}
