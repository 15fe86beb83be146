//! Answers larger than the memory for answers, over plain TCP.

use crate::server::TestServer;
use crate::wire::{POLL, SEND, create_topic, frame, poll_payload, polled, send_payload};

const KEYS: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const COUNT: u64 = 5_000;
const BYTES: usize = 5_000;

/// The counts of the classic server's own tests, with messages small enough for many tests at once: polls
/// by time, from the disk and of encrypted messages ended at 4 MiB, all others at 64 MiB.
#[test]
fn five_thousand_messages_are_five_thousand_messages() {
    for sealed in [false, true] {
        let mut settings = vec![("GALGO_LIMITS_ANSWER_BYTES", "8 MiB")];
        if sealed {
            settings
                .extend([("GALGO_ENCRYPTION_ENABLED", "true"), ("GALGO_ENCRYPTION_KEYS", KEYS)]);
        }
        let mut server = TestServer::with(&settings);
        let mut wire = server.login();
        create_topic(&mut wire, 1);
        let message = vec![b'x'; BYTES];
        for _ in 0..COUNT / 1_000 {
            assert_eq!(wire.status(SEND, &send_payload(&[message.as_slice(); 1_000])), 0);
        }
        for cold in [false, true] {
            if cold {
                server.stop();
                server.restart();
            }
            let mut wire = server.login();
            for strategy in [1, 2, 3, 4, 5] {
                let mut request = poll_payload(0, COUNT as u32);
                let at = request.len() - 1 - 4 - 8 - 1;
                request[at] = strategy;
                let (status, answer) = wire.call(POLL, &request);
                let polled = polled(&answer);
                assert_eq!((status, polled.len() as u64), (0, COUNT), "strategy {strategy}");
                assert!((0..).zip(&polled).all(|(number, message)| message.offset == number
                    && message.payload == vec![b'x'; BYTES]));
            }
            wire.assert_in_step();
        }
    }
}

/// Each of them had all of its answer in memory; now it has a piece, and who reads gets past them.
#[test]
fn slow_readers_of_large_answers_hold_one_piece_each() {
    let server = TestServer::with(&[
        ("GALGO_ENCRYPTION_ENABLED", "true"),
        ("GALGO_ENCRYPTION_KEYS", KEYS),
        ("GALGO_LIMITS_ANSWER_BYTES", "24 MiB"),
    ]);
    let mut reader = server.login();
    create_topic(&mut reader, 1);
    let message = vec![7; 1 << 20];
    for _ in 0..20 {
        assert_eq!(reader.status(SEND, &send_payload(&[&message])), 0);
    }
    // Of 12 MiB that one user may have, each keeps 4 MiB, although its answer has 20.
    let mut slow: Vec<_> = (0..2).map(|_| server.login()).collect();
    for wire in &mut slow {
        wire.write(&frame(POLL, &poll_payload(0, 20)));
    }
    for _ in 0..3 {
        let (status, answer) = reader.call(POLL, &poll_payload(0, 20));
        assert_eq!((status, polled(&answer).len()), (0, 20));
    }
    for wire in &mut slow {
        assert_eq!(polled(&wire.answer().1).len(), 20, "and gets all of it in the end");
    }
}
