//! Whatever a client sends, it gets the exact code, the stream stays in step, and others notice nothing.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{PASSWORD, TestServer, USERNAME};
use crate::wire::*;

const INVALID_COMMAND: u32 = 3;
const UNAUTHENTICATED: u32 = 40;
const INVALID_CREDENTIALS: u32 = 42;
const USERS_LIMIT: u32 = 55;
const TOO_BIG_MESSAGE: u32 = 4022;

#[test]
fn a_length_below_four_is_answered_and_the_next_eight_bytes_are_a_header() {
    let server = TestServer::start();
    let mut wire = server.connect();
    for length in 0..4u32 {
        wire.write(&[length.to_le_bytes(), SEND.to_le_bytes()].concat());
        assert_eq!(wire.answer(), (INVALID_COMMAND, vec![]));
    }
    wire.assert_in_step();
}

#[test]
fn an_unknown_command_is_answered_after_its_payload() {
    let server = TestServer::start();
    for mut wire in [server.connect(), server.login()] {
        assert_eq!(wire.status(9_999_999, &[0; 1000]), INVALID_COMMAND);
        assert_eq!(wire.status(0, &[]), INVALID_COMMAND);
        assert_eq!(wire.status(u32::MAX, &[1]), INVALID_COMMAND);
        wire.assert_in_step();
    }
}

#[test]
fn an_oversize_command_is_refused_and_leaves_the_stream_in_step() {
    let server = TestServer::start();
    for mut wire in [server.connect(), server.login()] {
        wire.send(GET_STATS, &vec![0; (10 << 20) + 1]);
        assert_eq!(wire.answer().0, INVALID_COMMAND);
        wire.assert_in_step();
    }
}

#[test]
fn an_oversize_command_is_answered_before_its_payload_has_come() {
    let server = TestServer::start();
    let mut wire = server.connect();
    wire.write(b"GET / HTTP/1.1\r\nHost: galgo\r\n\r\n");
    assert_eq!(wire.answer().0, INVALID_COMMAND);
}

#[test]
fn an_oversize_send_is_refused_and_leaves_the_stream_in_step() {
    let server = TestServer::with(&[("GALGO_LIMITS_REQUEST_BYTES", "64 KiB")]);
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    let largest = send_payload(&[&vec![1; (64 << 10) - send_payload(&[b""]).len()]]);
    assert_eq!(largest.len(), 64 << 10);
    assert_eq!(wire.status(SEND, &largest), 0);
    assert_eq!(wire.status(SEND, &send_payload(&[&vec![1; 64 << 10]])), TOO_BIG_MESSAGE);
    assert_eq!(wire.status(SEND, &vec![1; 20 << 20]), TOO_BIG_MESSAGE);
    wire.assert_in_step();
    assert_eq!(polled(&wire.call(POLL, &poll_payload(0, 10)).1).len(), 1);
}

#[test]
fn a_send_before_the_login_is_refused_and_leaves_the_stream_in_step() {
    let server = TestServer::start();
    let mut wire = server.connect();
    assert_eq!(wire.status(SEND, &send_payload(&[b"hello"])), UNAUTHENTICATED);
    assert_eq!(wire.status(SEND, &vec![0xff; 5 << 20]), UNAUTHENTICATED);
    assert_eq!(wire.login(USERNAME, PASSWORD), 0);
}

#[test]
fn a_send_that_can_not_be_read_leaves_the_stream_in_step() {
    let server = TestServer::start();
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    let good = send_payload(&[b"hello", b"world"]);
    for cut in 0..good.len() {
        assert_ne!(wire.status(SEND, &good[..cut]), 0, "cut to {cut} bytes");
    }
    let mut absurd = good.clone();
    let count_at = good.len() - 2 * (16 + 64 + 5) - 4;
    absurd[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_ne!(wire.status(SEND, &absurd), 0);
    absurd[count_at..count_at + 4].copy_from_slice(&0u32.to_le_bytes());
    assert_eq!(wire.status(SEND, &absurd), 4009);
    assert_ne!(wire.status(SEND, &[0xff; 4096]), 0);
    wire.assert_in_step();
    assert_eq!(polled(&wire.call(POLL, &poll_payload(0, 10)).1), []);
}

#[test]
fn absurd_numbers_of_a_poll_give_what_is_there() {
    let server = TestServer::start();
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    assert_eq!(wire.status(SEND, &send_payload(&[b"hello"])), 0);
    assert_eq!(polled(&wire.call(POLL, &poll_payload(0, u32::MAX)).1).len(), 1);
    assert_eq!(polled(&wire.call(POLL, &poll_payload(u64::MAX, u32::MAX)).1).len(), 0);
    assert_eq!(polled(&wire.call(POLL, &poll_payload(0, 0)).1).len(), 0);
}

#[test]
fn a_wrong_password_is_refused_and_an_earlier_login_stays() {
    let server = TestServer::start();
    let mut wire = server.connect();
    assert_eq!(wire.login(USERNAME, "wrong-password"), INVALID_CREDENTIALS);
    assert_eq!(wire.login("nobody", PASSWORD), INVALID_CREDENTIALS);
    assert_eq!(wire.login("ab", PASSWORD), 43);
    assert_eq!(wire.login(USERNAME, "ab"), 44);
    assert_eq!(wire.status(GET_ME, &[]), UNAUTHENTICATED);
    assert_eq!(wire.login(USERNAME, PASSWORD), 0);
    assert_eq!(wire.login(USERNAME, "wrong-password"), INVALID_CREDENTIALS);
    assert_eq!(wire.status(GET_ME, &[]), 0);
}

#[test]
fn a_login_cut_anywhere_is_refused() {
    let server = TestServer::start();
    let mut wire = server.connect();
    let good = login_payload(USERNAME, PASSWORD);
    for cut in 0..good.len() {
        assert_ne!(wire.status(LOGIN, &good[..cut]), 0, "cut to {cut} bytes");
    }
    assert_eq!(wire.status(LOGIN, &vec![0; 1 << 20]), INVALID_COMMAND);
    assert_eq!(wire.status(LOGIN, &good), 0);
}

#[test]
fn everything_but_ping_and_login_wants_a_login() {
    let server = TestServer::start();
    let mut wire = server.connect();
    for code in [10, 12, 20, 22, 32, 39, 41, 201] {
        assert_eq!(wire.status(code, &[]), UNAUTHENTICATED, "command {code}");
    }
    assert_eq!(wire.status(CREATE_STREAM, &name("s")), UNAUTHENTICATED);
    assert_eq!(wire.status(POLL, &poll_payload(0, 1)), UNAUTHENTICATED);
    assert_eq!(wire.status(LOGIN_WITH_TOKEN, &name("no-such-token")), 20);
    wire.assert_in_step();
}

#[test]
fn a_request_cut_by_the_end_of_the_stream_is_dropped_quietly() {
    let server = TestServer::start();
    let whole = frame(LOGIN, &login_payload(USERNAME, PASSWORD));
    for cut in 1..whole.len() {
        let mut wire = server.connect();
        wire.write(&whole[..cut]);
        wire.finish_sending();
        wire.assert_closed();
    }
    server.login().assert_in_step();
}

#[test]
fn requests_before_the_end_of_the_stream_are_answered() {
    let server = TestServer::start();
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    wire.send(SEND, &send_payload(&[b"last words"]));
    wire.send(PING, &[]);
    wire.finish_sending();
    assert_eq!(wire.answer().0, 0);
    assert_eq!(wire.answer().0, 0);
    wire.assert_closed();
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let server = TestServer::start();
    let mut wire = server.connect();
    for byte in frame(LOGIN, &login_payload(USERNAME, PASSWORD)) {
        wire.write(&[byte]);
    }
    assert_eq!(wire.answer().0, 0);
}

#[test]
fn a_half_sent_request_is_given_up_after_its_time() {
    let server = TestServer::with(&[("GALGO_LIMITS_FRAME_TIMEOUT", "300ms")]);
    let mut idle = server.login();
    let mut header = server.login();
    let mut body = server.login();
    let mut refused = server.connect();
    let begun = Instant::now();
    header.write(&[1, 0, 0]);
    body.write(&frame(SEND, &vec![0; 1 << 20])[..1000]);
    refused.write(&frame(SEND, &vec![0; 1 << 20])[..1000]);
    header.assert_closed();
    body.assert_closed();
    refused.assert_closed();
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(250), "{took:?}");
    idle.assert_in_step();
}

#[test]
fn a_connection_without_a_login_is_closed_when_that_is_asked_for() {
    let server = TestServer::with(&[("GALGO_LIMITS_LOGIN_TIMEOUT", "2s")]);
    let mut anonymous = server.connect();
    anonymous.assert_in_step();
    let mut known = server.login();
    let mut later = server.connect();
    anonymous.assert_closed();
    // Its time ends behind that of the one that has logged in.
    later.assert_closed();
    known.assert_in_step();
}

#[test]
fn a_client_that_reads_nothing_is_dropped_and_others_are_served() {
    let server = TestServer::with(&[("GALGO_LIMITS_WRITE_TIMEOUT", "300ms")]);
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    let block = vec![5; 1 << 20];
    for _ in 0..8 {
        assert_eq!(wire.status(SEND, &send_payload(&[&block])), 0);
    }
    let mut slow = server.login();
    slow.socket.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let poll = frame(POLL, &poll_payload(0, 8));
    let asked = Instant::now();
    // More answers than any socket buffer takes, so the server has to wait for this client.
    while slow.socket.write_all(&poll).is_ok() {
        assert!(asked.elapsed() < Duration::from_secs(10), "the connection was never dropped");
        thread::sleep(Duration::from_millis(20));
    }
    wire.assert_in_step();
}

#[test]
fn one_connection_too_many_is_told_and_closed() {
    let server = TestServer::with(&[("GALGO_LIMITS_CONNECTIONS", "2")]);
    let mut first = server.login();
    let second = server.login();
    let mut third = server.connect();
    third.send(PING, &[]);
    assert_eq!(third.answer(), (USERS_LIMIT, vec![]));
    third.assert_closed();
    first.assert_in_step();
    drop(second);
    // The place is free once the server has seen the other connection go.
    let begun = Instant::now();
    while server.connect().status(PING, &[]) != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the place is not free");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn noise_harms_nobody() {
    let server = TestServer::with(&[("GALGO_LIMITS_FRAME_TIMEOUT", "200ms")]);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for round in 0..50 {
        let mut wire = server.connect();
        let mut noise: Vec<u8> = (0..round * 40).map(|_| byte()).collect();
        if round % 2 == 0 && noise.len() > 8 {
            // Plausible lengths get further than random ones.
            let length = noise.len() as u32 - 4;
            noise[..4].copy_from_slice(&length.to_le_bytes());
            noise[4..8].copy_from_slice(&u32::from(byte()).to_le_bytes());
        }
        let _ = wire.socket.write_all(&noise);
    }
    server.login().assert_in_step();
}

/// Whoever tried passwords from many connections at once took all threads for blocking work, on which
/// metadata changes and reads from the disk then waited behind them.
#[test]
fn a_crowd_of_wrong_logins_does_not_hold_up_those_who_are_logged_in() {
    let server = TestServer::start();
    let mut wire = server.login();
    let mut crowd: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for stranger in &mut crowd {
        stranger.send(LOGIN, &login_payload(USERNAME, "wrong"));
    }
    create_topic(&mut wire, 1);
    let waiting = crowd.iter().filter(|stranger| {
        stranger.socket.set_nonblocking(true).unwrap();
        stranger.socket.peek(&mut [0]).is_err()
    });
    assert!(waiting.count() > 50, "the topic was made only after most logins were answered");
}
