//! Malformed sends: each gets its code, and nothing of it is appended.

use galgo_wire::batch::NewMessage;
use galgo_wire::command::CommandCode;
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{create_stream, create_topic, get_topic, poll, to};
use crate::rig::{Connection, Rig, send_payload};

/// Where things are in the payload of [`good`]: the metadata is `s`, `t` and partition 0.
const METADATA_BYTES: usize = 3 + 3 + 6 + 4;
const PARTITIONING: usize = 4 + 6;
const COUNT: usize = 4 + METADATA_BYTES - 4;
const INDEXES: usize = 4 + METADATA_BYTES;
const MESSAGES: usize = INDEXES + 3 * 16;
const MESSAGE_BYTES: usize = 64 + 3;

/// A send of three messages of three bytes.
fn good() -> Vec<u8> {
    let message = NewMessage { payload: b"abc", ..NewMessage::default() };
    let payload = send_payload("t", to(0), &[message; 3]);
    assert_eq!(payload.len(), MESSAGES + 3 * MESSAGE_BYTES);
    payload
}

fn put_u32(payload: &mut [u8], position: usize, value: u32) {
    payload[position..position + 4].copy_from_slice(&value.to_le_bytes());
}

struct Target {
    rig: Rig,
    root: Connection,
}

impl Target {
    /// A topic with one message, to see that refused batches leave no gap.
    fn new() -> Self {
        let rig = Rig::new();
        let mut root = rig.root();
        root.call(&create_stream("s")).unwrap();
        root.call(&create_topic("s", "t", 1)).unwrap();
        root.send("t", to(0), &["before"]).unwrap();
        Self { rig, root }
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), ErrorCode> {
        self.root.call_bytes(CommandCode::SendMessages, payload)
    }

    /// Sends a changed payload of [`good`]; it is refused with `error`.
    fn refuses(&mut self, error: ErrorCode, change: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = good();
        change(&mut payload);
        assert_eq!(self.send(&payload), Err(error));
    }

    /// Nothing refused was appended, and the partition takes the next good batch where it was.
    fn assert_untouched(mut self) {
        let files = self.rig.disk.files();
        let details = self.root.call(&get_topic("s", "t")).unwrap().unwrap().topic;
        assert_eq!((details.messages_count, details.size), (1, 64 + 6));
        assert!(files.iter().any(|(path, len)| path.ends_with(FIRST_LOG) && *len == 64 + 6));
        self.send(&good()).unwrap();
        let polled = self.root.poll(&poll("t", 0, PollingStrategy::First)).unwrap();
        assert_eq!(polled.texts(), ["before", "abc", "abc", "abc"]);
        assert_eq!(polled.offsets(), [0, 1, 2, 3]);
        let counters = self.rig.broker.counters();
        assert_eq!((counters.messages_appended, counters.partitions_fenced), (4, 0));
    }
}

const FIRST_LOG: &str = "00000000000000000000.log";

#[test]
fn a_batch_without_messages_is_refused() {
    let mut target = Target::new();
    target.refuses(ErrorCode::InvalidMessagesCount, |payload| put_u32(payload, COUNT, 0));
    target.refuses(ErrorCode::InvalidMessagesCount, |payload| {
        put_u32(payload, COUNT, 0);
        payload.truncate(INDEXES);
    });
    target.assert_untouched();
}

#[test]
fn a_count_that_is_not_that_of_the_messages_is_refused() {
    let mut target = Target::new();
    target.refuses(ErrorCode::InvalidMessagesSize, |payload| put_u32(payload, COUNT, 2));
    for count in [4, 5, 6] {
        let mut payload = good();
        put_u32(&mut payload, COUNT, count);
        assert!(target.send(&payload).is_err(), "{count}");
    }
    for count in [1_000, u32::MAX] {
        target.refuses(ErrorCode::InvalidIndexesCount, |payload| put_u32(payload, COUNT, count));
    }
    target.assert_untouched();
}

#[test]
fn indexes_that_do_not_delimit_the_messages_are_refused() {
    let mut target = Target::new();
    let missing = ErrorCode::MissingIndex;
    target.refuses(missing, |payload| put_u32(payload, INDEXES + 4, 66));
    target.refuses(missing, |payload| put_u32(payload, INDEXES + 4, 0));
    target.refuses(missing, |payload| put_u32(payload, INDEXES + 16 + 4, 200));
    // The last one too, though classic servers do not look at it.
    target.refuses(missing, |payload| put_u32(payload, INDEXES + 32 + 4, 202));
    target.refuses(missing, |payload| put_u32(payload, INDEXES + 32 + 4, u32::MAX));
    target.refuses(ErrorCode::CannotReadIndexPosition, |payload| {
        put_u32(payload, INDEXES + 16 + 4, 60);
    });
    target.refuses(ErrorCode::NonZeroOffset, |payload| put_u32(payload, INDEXES, 1));
    target.refuses(ErrorCode::NonZeroTimestamp, |payload| put_u32(payload, INDEXES + 12, 1));
    target.assert_untouched();
}

#[test]
fn messages_that_do_not_add_up_are_refused() {
    let mut target = Target::new();
    let size = ErrorCode::InvalidMessagesSize;
    target.refuses(size, |payload| payload.truncate(payload.len() - 1));
    target.refuses(size, |payload| payload.push(0));
    target.refuses(size, |payload| payload.truncate(MESSAGES + MESSAGE_BYTES));
    target.refuses(size, |payload| put_u32(payload, MESSAGES + 52, 4));
    target.refuses(size, |payload| put_u32(payload, MESSAGES + 52, 2));
    target.refuses(size, |payload| put_u32(payload, MESSAGES + 48, 1));
    target.refuses(size, |payload| put_u32(payload, MESSAGES + 2 * MESSAGE_BYTES + 52, 1_000));
    target.refuses(size, |payload| payload.truncate(MESSAGES));
    target.refuses(ErrorCode::TooSmallMessage, |payload| payload.truncate(MESSAGES + 10));
    target.assert_untouched();
}

#[test]
fn messages_over_their_limits_are_refused() {
    let mut target = Target::new();
    let last = MESSAGES + 2 * MESSAGE_BYTES;
    target.refuses(ErrorCode::TooBigUserHeaders, |payload| put_u32(payload, last + 48, 100_001));
    target.refuses(ErrorCode::TooBigUserHeaders, |payload| put_u32(payload, last + 48, u32::MAX));
    let too_big = ErrorCode::TooBigMessagePayload;
    target.refuses(too_big, |payload| put_u32(payload, last + 52, 64_000_001));
    target.refuses(too_big, |payload| put_u32(payload, last + 52, u32::MAX));
    target.assert_untouched();
}

#[test]
fn messages_at_their_limits_are_taken() {
    let mut target = Target::new();
    let headers = vec![1; 100_000];
    let payload = vec![7; 64_000_000];
    let message = NewMessage { payload: &payload, user_headers: &headers, ..NewMessage::default() };
    target.send(&send_payload("t", to(0), &[message])).unwrap();
    let polled = target.root.poll(&poll("t", 0, PollingStrategy::Last)).unwrap();
    let last = polled.messages.last().unwrap();
    assert_eq!((last.offset, last.payload.len()), (1, 64_000_000));
    assert!(last.payload == payload && last.user_headers == headers);
}

#[test]
fn offsets_of_the_client_that_go_back_are_refused() {
    let mut target = Target::new();
    target.refuses(ErrorCode::InvalidOffset, |payload| {
        put_u32(payload, MESSAGES + 24, 7);
        put_u32(payload, MESSAGES + 2 * MESSAGE_BYTES + 24, 6);
    });
    target.assert_untouched();
}

#[test]
fn metadata_that_does_not_parse_is_refused() {
    let mut target = Target::new();
    let invalid = ErrorCode::InvalidCommand;
    target.refuses(invalid, |payload| put_u32(payload, 0, METADATA_BYTES as u32 + 1));
    target.refuses(invalid, |payload| put_u32(payload, 0, METADATA_BYTES as u32 - 1));
    target.refuses(invalid, |payload| put_u32(payload, 0, u32::MAX));
    target.refuses(invalid, |payload| payload[PARTITIONING] = 0);
    target.refuses(invalid, |payload| payload[PARTITIONING] = 4);
    target.refuses(invalid, |payload| payload[PARTITIONING + 1] = 3);
    for kind in [0, 3] {
        let mut payload = good();
        payload[4] = kind;
        let answer = target.send(&payload);
        assert!(matches!(answer, Err(ErrorCode::InvalidIdentifier | ErrorCode::InvalidCommand)));
    }
    for cut in 0..INDEXES + 3 * 16 {
        assert!(target.send(&good()[..cut]).is_err(), "cut to {cut} bytes");
    }
    target.assert_untouched();
}

#[test]
fn every_truncation_of_a_send_is_refused() {
    let mut target = Target::new();
    for cut in MESSAGES..good().len() {
        assert!(target.send(&good()[..cut]).is_err(), "cut to {cut} bytes");
    }
    target.assert_untouched();
}
