//! Messages through the socket: pipelined, large, over a small receive budget, and back byte for byte.

use crate::server::TestServer;
use crate::wire::*;

fn numbered(from: usize, count: usize, bytes: usize) -> Vec<Vec<u8>> {
    (from..from + count)
        .map(|number| {
            let mut payload = number.to_le_bytes().to_vec();
            payload.resize(bytes.max(8), (number % 251) as u8);
            payload
        })
        .collect()
}

fn batch(messages: &[Vec<u8>]) -> Vec<u8> {
    send_payload(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// All messages of the partition, polled `count` at a time.
fn read_all(wire: &mut Wire, count: u32) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    loop {
        let (status, answer) = wire.call(POLL, &poll_payload(payloads.len() as u64, count));
        assert_eq!(status, 0);
        let messages = polled(&answer);
        if messages.is_empty() {
            return payloads;
        }
        for message in messages {
            assert_eq!(message.offset, payloads.len() as u64, "no gap, no repetition");
            payloads.push(message.payload);
        }
    }
}

/// INV-REPLY-ORDER, INV-ONE-JOB.
#[test]
fn a_client_that_sends_without_waiting_gets_every_answer_in_order() {
    for durability in ["fsync", "os"] {
        let server = TestServer::with(&[("GALGO_STORAGE_DURABILITY", durability)]);
        let mut wire = server.login();
        create_topic(&mut wire, 1);
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for round in 0..300 {
            let messages = numbered(round * 3, 3, 50);
            requests.extend(frame(SEND, &batch(&messages)));
            expected.extend(messages);
            if round % 7 == 3 {
                requests.extend(frame(9_999_999, b"unknown"));
            }
            if round % 50 == 49 {
                requests.extend(frame(POLL, &poll_payload(0, 1)));
            }
        }
        let mut reader = Wire { socket: wire.socket.try_clone().unwrap() };
        let writer = std::thread::spawn(move || {
            wire.write(&requests);
            wire
        });
        for round in 0..300 {
            assert_eq!(reader.answer(), (0, vec![]), "send {round}");
            if round % 7 == 3 {
                assert_eq!(reader.answer().0, 3, "after send {round}");
            }
            if round % 50 == 49 {
                assert_eq!(polled(&reader.answer().1).len(), 1, "after send {round}");
            }
        }
        let mut wire = writer.join().unwrap();
        assert_eq!(read_all(&mut wire, 1000), expected);
    }
}

#[test]
fn large_batches_come_back_as_they_went_and_survive_a_restart() {
    let mut server = TestServer::with(&[("GALGO_STORAGE_SEGMENT_BYTES", "3 MiB")]);
    let mut wire = server.login();
    create_topic(&mut wire, 1);
    let mut expected = Vec::new();
    for round in 0..8 {
        let messages = numbered(round * 1000, 1000, 1000);
        assert_eq!(wire.status(SEND, &batch(&messages)), 0);
        expected.extend(messages);
    }
    assert_eq!(read_all(&mut wire, 100_000), expected);
    assert_eq!(read_all(&mut wire, 777), expected);
    server.stop();
    server.restart();
    assert_eq!(read_all(&mut server.login(), 3000), expected);
}

#[test]
fn more_senders_than_the_receive_budget_holds_all_succeed() {
    let server = TestServer::with(&[
        ("GALGO_LIMITS_REQUEST_BYTES", "9 MiB"),
        ("GALGO_LIMITS_IN_FLIGHT_BYTES", "10 MiB"),
        ("GALGO_STORAGE_DURABILITY", "os"),
    ]);
    create_topic(&mut server.login(), 1);
    std::thread::scope(|scope| {
        for sender in 0..6 {
            let mut wire = server.login();
            scope.spawn(move || {
                for round in 0..4 {
                    let request = batch(&numbered(sender * 4 + round, 1, 4 << 20));
                    assert_eq!(wire.status(SEND, &request), 0);
                }
            });
        }
    });
    let mut wire = server.login();
    let mut numbers: Vec<u64> = read_all(&mut wire, 3)
        .iter()
        .map(|payload| u64::from_le_bytes(payload[..8].try_into().unwrap()))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..24).collect::<Vec<u64>>());
}

#[test]
fn a_reader_sees_what_another_connection_sent() {
    let server = TestServer::start();
    let (mut writer, mut reader) = (server.login(), server.login());
    create_topic(&mut writer, 1);
    for number in 0..20 {
        let messages = numbered(number, 1, 100);
        assert_eq!(writer.status(SEND, &batch(&messages)), 0);
        let (status, answer) = reader.call(POLL, &poll_payload(number as u64, 10));
        assert_eq!((status, polled(&answer).len()), (0, 1));
    }
}
