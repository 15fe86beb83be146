//! Polls of more than the server has in memory of an answer, over every carrier of frames.
//!
//! What a client gets does not depend on what carries it, nor on where it is read from.

use rustls::SignatureScheme;
use rustls::version::TLS13;

use crate::certificates::{connect, trusting};
use crate::frames::{Frames, run};
use crate::server::TestServer;
use crate::wire::*;
use crate::{quic, websocket};

const KEYS: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const COUNT: u64 = 600;
const BYTES: usize = 20_000;

/// By offset, by time, the first, the last: numbers of the protocol.
const STRATEGIES: [u8; 4] = [1, 2, 3, 4];

fn request(strategy: u8) -> Vec<u8> {
    let mut payload = poll_payload(0, 5_000);
    let at = payload.len() - 1 - 4 - 8 - 1;
    payload[at] = strategy;
    payload
}

fn check(strategy: u8, (status, answer): (u32, Vec<u8>)) {
    assert_eq!(status, 0);
    let polled = polled(&answer);
    assert_eq!(polled.len() as u64, COUNT, "strategy {strategy}");
    for (number, message) in (0..).zip(&polled) {
        assert_eq!(message.offset, number);
        assert!(message.payload == payload(number), "message {number}");
    }
}

fn payload(number: u64) -> Vec<u8> {
    vec![(number % 251) as u8; BYTES + number as usize % 100]
}

/// A program that takes fewer than it asked for as the end stopped at 4 MiB wherever messages were not in
/// the page cache, or were asked for by time, or were encrypted.
async fn gives_all(server: &TestServer) {
    let tls = trusting(&[&TLS13], vec![SignatureScheme::ECDSA_NISTP256_SHA256]);
    let mut frames = Frames::new(connect(server.address(), tls).await.unwrap());
    frames.login().await;
    let client = quic::connect(server).await;
    client.login().await;
    let mut socket = websocket::connect(server, "/").await;
    websocket::login(&mut socket).await;
    for strategy in STRATEGIES {
        check(strategy, frames.call(POLL, &request(strategy)).await);
        check(strategy, client.call(POLL, &request(strategy)).await);
        check(strategy, websocket::call(&mut socket, POLL, &request(strategy)).await);
    }
    frames.assert_in_step().await;
}

fn everywhere(more: &[(&str, &str)]) {
    let mut settings = vec![
        ("GALGO_TCP_TLS_ENABLED", "true"),
        ("GALGO_QUIC_ENABLED", "true"),
        ("GALGO_WEBSOCKET_ENABLED", "true"),
        // Less than one of the answers has.
        ("GALGO_LIMITS_ANSWER_BYTES", "8 MiB"),
    ];
    settings.extend(more);
    let mut server = TestServer::with(&settings);
    run(async {
        let client = quic::connect(&server).await;
        client.login().await;
        client.create_topic().await;
        for batch in 0..COUNT / 100 {
            let payloads: Vec<Vec<u8>> = (batch * 100..(batch + 1) * 100).map(payload).collect();
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            assert_eq!(client.call(SEND, &send_payload(&payloads)).await.0, 0);
        }
        gives_all(&server).await;
    });
    server.stop();
    // Nothing that was written by another process is sent unchecked.
    server.restart();
    run(async { gives_all(&server).await });
}

#[test]
fn a_poll_gives_all_that_was_asked_for() {
    everywhere(&[]);
}

#[test]
fn a_poll_gives_all_that_was_asked_for_of_encrypted_messages() {
    everywhere(&[("GALGO_ENCRYPTION_ENABLED", "true"), ("GALGO_ENCRYPTION_KEYS", KEYS)]);
}
