//! The bytes a running server sends, held to the vectors of the protocol.
//!
//! The vectors were held to encoders which the server did not use, so a change of its own would not have been
//! seen.

use std::io::Read as _;

use crate::server::{PASSWORD, TestServer, USERNAME};
use crate::wire::{GET_STATS, LOGIN, PING, POLL, Wire, create_topic, login_payload, poll_payload};

/// The frame of that name in the vectors.
fn vector(name: &str) -> Vec<u8> {
    let vectors = include_str!("../../../wire/fixtures/replies.txt");
    let line = vectors.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Checks that what comes next is that frame; whatever came too much is found by the next call.
fn assert_answer(wire: &mut Wire, name: &str) {
    let expected = vector(name);
    let mut answer = vec![0; expected.len()];
    wire.socket.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected, "{name}");
}

#[test]
fn a_server_sends_the_vectors_of_the_protocol() {
    let mut server = TestServer::with(&[("GALGO_LIMITS_CONNECTIONS", "1")]);
    let mut wire = server.connect();
    wire.send(PING, &[]);
    assert_answer(&mut wire, "empty");
    wire.write(&[3, 0, 0, 0, 9, 9, 9, 9]);
    assert_answer(&mut wire, "not_a_request");
    wire.send(GET_STATS, &[]);
    assert_answer(&mut wire, "unauthenticated");
    wire.send(LOGIN, &login_payload(USERNAME, PASSWORD));
    assert_answer(&mut wire, "logged_in");
    create_topic(&mut wire, 1);
    // Several at once, which are gathered into one write.
    wire.send(PING, &[]);
    wire.send(POLL, &poll_payload(0, 10));
    wire.send(PING, &[]);
    assert_answer(&mut wire, "empty");
    assert_answer(&mut wire, "nothing_polled");
    assert_answer(&mut wire, "empty");
    let mut refused = server.connect();
    assert_answer(&mut refused, "limit_reached");
    refused.assert_closed();
    server.stop();
    assert_answer(&mut wire, "disconnected");
    wire.assert_closed();
}
