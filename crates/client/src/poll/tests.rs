//! Replies to a poll: whole, cut short, damaged.

use crate::message::ReceivedMessage;
use bytes::Bytes;
use galgo_wire::batch::{BatchBuilder, NewMessage, StampOptions, stamp};
use galgo_wire::command::messages::PolledHeader;
use galgo_wire::id::{Offset, PartitionId, Timestamp};
use galgo_wire::limits::POLLED_HEADER_BYTES;
use galgo_wire::primitive::Payload;

use super::*;

/// The reply to a poll that found three messages at offset 5.
pub(crate) fn reply() -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for payload in [&b"one"[..], b"", b"three"] {
        batch.push(&NewMessage { payload, ..NewMessage::default() }).unwrap();
    }
    let (indexes, messages) = batch.parts();
    let mut messages = messages.to_vec();
    let options = StampOptions {
        first_offset: Offset::new(5),
        timestamp: Timestamp::new(1),
        new_id: &mut |_| 9,
    };
    stamp(indexes, &mut messages, 3, options).unwrap();
    let partition_id = PartitionId::new(2);
    let mut out =
        PolledHeader { partition_id, current_offset: Offset::new(7), count: 3 }.to_bytes();
    out.extend(messages);
    out
}

#[test]
fn payloads_are_slices_of_the_reply() {
    let reply = Bytes::from(reply());
    let range = reply.as_ptr() as usize..reply.as_ptr() as usize + reply.len();
    let polled = PolledMessages::decode(&reply).unwrap();
    let payloads: Vec<_> = polled.messages().iter().map(ReceivedMessage::payload).collect();
    assert_eq!(payloads, [&b"one"[..], b"", b"three"]);
    assert!(range.contains(&(payloads[0].as_ptr() as usize)));
}

#[test]
fn every_truncation_is_an_error_or_fewer_messages() {
    let whole = reply();
    for len in 0..whole.len() {
        let cut = PolledMessages::decode(&Bytes::copy_from_slice(&whole[..len]));
        let on_boundary = len == POLLED_HEADER_BYTES || len == 16 + 67 || len == 16 + 67 + 64;
        assert_eq!(cut.is_ok(), on_boundary, "{len}");
    }
    assert_eq!(PolledMessages::decode(&whole.into()).unwrap().len(), 3);
}

#[test]
fn an_absurd_count_takes_no_memory() {
    let mut reply = reply();
    reply[12..16].fill(255);
    assert_eq!(PolledMessages::decode(&reply.into()).unwrap().len(), 3);
}

#[test]
fn from_the_first_damaged_message_on_everything_is_cut() {
    let mut polled = PolledMessages::decode(&reply().into()).unwrap();
    assert_eq!((polled.cut_damaged(), polled.len()), (None, 3));
    let mut damaged = reply();
    let in_second_header = 16 + 67 + 20;
    damaged[in_second_header] ^= 1;
    let mut polled = PolledMessages::decode(&damaged.into()).unwrap();
    assert_eq!((polled.cut_damaged(), polled.len()), (Some(6), 1));
}
