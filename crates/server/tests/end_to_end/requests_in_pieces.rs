//! Clients that write a request in pieces and leave Nagle's algorithm on, as the classic ones do.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::server::TestServer;
use crate::wire::{SEND, create_topic, frame, send_payload};

/// The kernel lets an acknowledgement wait for 40 ms, and the last piece of a request waited for it: each
/// send of such a client took 44 ms. The fastest of many is looked at: what else the machine has to do
/// can't make all of them slow, and a delayed acknowledgement does.
#[test]
fn a_request_in_pieces_does_not_wait_for_a_delayed_acknowledgement() {
    let server = TestServer::start();
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    wire.socket.set_nodelay(false).unwrap();
    let request = frame(SEND, &send_payload(&[&[7; 3_000]]));
    let send = |_| {
        let begun = Instant::now();
        for piece in [&request[..4], &request[4..8], &request[8..]] {
            wire.socket.write_all(piece).unwrap();
        }
        assert_eq!(wire.answer().0, 0);
        begun.elapsed()
    };
    // The first acknowledgements of a connection are never delayed.
    let times: Vec<Duration> = (0..60).map(send).skip(30).collect();
    let fastest = times.iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(30), "{times:?}");
}
