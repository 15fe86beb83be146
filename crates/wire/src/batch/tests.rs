//! Batches from the producer's push over the server's stamp to the consumer's view.

use super::*;
use crate::command::SendHeader;
use crate::consumer::{Partitioning, PartitioningRef};
use crate::error_code::ErrorCode;
use crate::id::{Offset, Timestamp};
use crate::identifier::IdentifierRef;
use crate::limits::{MESSAGE_PAYLOAD_BYTES_MAX, USER_HEADERS_BYTES_MAX};
use proptest::prelude::*;

const TIME: Timestamp = Timestamp::new(1_000);

/// A batch as it lies in a payload: index block, messages, count.
#[derive(Clone)]
struct Batch {
    indexes: Vec<u8>,
    messages: Vec<u8>,
    count: u32,
}

impl Batch {
    fn of(payloads: &[&[u8]]) -> Self {
        let mut builder = BatchBuilder::new();
        for payload in payloads {
            builder.push(&NewMessage { payload, ..NewMessage::default() }).unwrap();
        }
        Self::from(&builder)
    }

    fn from(builder: &BatchBuilder) -> Self {
        let (indexes, messages) = builder.parts();
        Self { indexes: indexes.to_vec(), messages: messages.to_vec(), count: builder.len() }
    }

    fn stamp(&mut self, first_offset: u64) -> Result<Stamped, ErrorCode> {
        let mut next_id = 100;
        let mut new_id = |_: Offset| {
            next_id += 1;
            next_id
        };
        let first_offset = Offset::new(first_offset);
        let options = StampOptions { first_offset, timestamp: TIME, new_id: &mut new_id };
        stamp(&self.indexes, &mut self.messages, self.count, options)
    }

    /// The code a batch of three messages gets after a change.
    fn refused(change: impl FnOnce(&mut Self)) -> ErrorCode {
        let mut batch = Self::of(&[b"one", b"three", b"two"]);
        change(&mut batch);
        batch.stamp(0).unwrap_err()
    }

    fn set(&mut self, message: usize, at: usize, bytes: &[u8]) {
        let start = [0, 67, 136][message] + at;
        self.messages[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

const OFFSET: usize = 24;
const HEADERS_LENGTH: usize = 48;
const PAYLOAD_LENGTH: usize = 52;
const RESERVED: usize = 56;

#[test]
fn stamping_fills_in_what_is_the_servers() {
    let mut batch = Batch::of(&[b"one", b"", b"two"]);
    batch.messages[8] = 7;
    batch.messages[RESERVED] = 9;
    let mut new_id = |_: Offset| 55;
    let options =
        StampOptions { first_offset: Offset::new(40), timestamp: TIME, new_id: &mut new_id };
    let stamped = stamp(&batch.indexes, &mut batch.messages, 3, options).unwrap();
    let messages: Vec<_> = MessagesView::new(&batch.messages).map(Result::unwrap).collect();
    let sum = messages.iter().fold(0, |sum: u64, it| sum.wrapping_add(it.header.checksum));
    assert_eq!(stamped, Stamped { count: 3, bytes: 198, checksums: sum });
    let ends: Vec<u32> = batch.indexes.as_chunks().0.iter().map(index_end).collect();
    assert_eq!(ends, [67, 131, 198]);
    let ids: Vec<u128> = messages.iter().map(|message| message.header.id).collect();
    assert_eq!(ids, [7, 55, 55]);
    for (message, offset) in messages.iter().zip(40..) {
        assert!(message.verify());
        assert_eq!(message.header.offset, Offset::new(offset));
        assert_eq!(message.header.timestamp, TIME);
        assert_eq!(message.header.reserved, 0);
    }
}

#[test]
fn a_wrong_count_or_index_block_is_named() {
    assert_eq!(Batch::refused(|batch| batch.count = 0), ErrorCode::InvalidMessagesCount);
    assert_eq!(Batch::refused(|batch| batch.count = 2), ErrorCode::InvalidIndexesCount);
    assert_eq!(Batch::refused(|batch| batch.count = u32::MAX), ErrorCode::InvalidIndexesCount);
    let cut = Batch::refused(|batch| batch.indexes.truncate(47));
    assert_eq!(cut, ErrorCode::InvalidIndexesByteSize);
    let none = Batch::refused(|batch| batch.messages.clear());
    assert_eq!(none, ErrorCode::InvalidMessagesSize);
}

#[test]
fn a_wrong_index_entry_is_named() {
    assert_eq!(Batch::refused(|batch| batch.indexes[0] = 1), ErrorCode::NonZeroOffset);
    assert_eq!(Batch::refused(|batch| batch.indexes[47] = 1), ErrorCode::NonZeroTimestamp);
    // The first, the middle and the last position, each a little off.
    assert_eq!(Batch::refused(|batch| batch.indexes[4] += 1), ErrorCode::MissingIndex);
    assert_eq!(Batch::refused(|batch| batch.indexes[20] -= 1), ErrorCode::MissingIndex);
    assert_eq!(Batch::refused(|batch| batch.indexes[36] -= 1), ErrorCode::MissingIndex);
    assert_eq!(Batch::refused(|batch| batch.indexes[39] = 255), ErrorCode::MissingIndex);
    let lower = Batch::refused(|batch| batch.indexes[20] = 1);
    assert_eq!(lower, ErrorCode::CannotReadIndexPosition);
}

#[test]
fn a_single_message_with_a_wrong_position_is_refused() {
    let mut batch = Batch::of(&[b"one"]);
    batch.indexes[4] = 1;
    assert_eq!(batch.stamp(0), Err(ErrorCode::MissingIndex));
}

#[test]
fn messages_that_do_not_add_up_are_named() {
    let longer = Batch::refused(|batch| batch.set(0, PAYLOAD_LENGTH, &[4]));
    assert_eq!(longer, ErrorCode::InvalidMessagesSize);
    let shorter = Batch::refused(|batch| batch.set(2, PAYLOAD_LENGTH, &[2]));
    assert_eq!(shorter, ErrorCode::InvalidMessagesSize);
    let cut = Batch::refused(|batch| batch.messages.truncate(202));
    assert_eq!(cut, ErrorCode::InvalidMessagesSize);
    let tail = Batch::refused(|batch| batch.messages.push(0));
    assert_eq!(tail, ErrorCode::InvalidMessagesSize);
    let stub = Batch::refused(|batch| batch.messages.truncate(150));
    assert_eq!(stub, ErrorCode::TooSmallMessage);
}

#[test]
fn lengths_over_their_limits_are_named() {
    let payload = (MESSAGE_PAYLOAD_BYTES_MAX + 1).to_le_bytes();
    let code = Batch::refused(|batch| batch.set(1, PAYLOAD_LENGTH, &payload));
    assert_eq!(code, ErrorCode::TooBigMessagePayload);
    let headers = (USER_HEADERS_BYTES_MAX + 1).to_le_bytes();
    let code = Batch::refused(|batch| batch.set(1, HEADERS_LENGTH, &headers));
    assert_eq!(code, ErrorCode::TooBigUserHeaders);
    let code = Batch::refused(|batch| batch.set(0, PAYLOAD_LENGTH, &[255; 4]));
    assert_eq!(code, ErrorCode::TooBigMessagePayload);
}

#[test]
fn user_headers_of_the_limit_are_taken() {
    let mut builder = BatchBuilder::new();
    let user_headers = vec![1; USER_HEADERS_BYTES_MAX as usize];
    let message = NewMessage { user_headers: &user_headers, ..NewMessage::default() };
    builder.push(&message).unwrap();
    assert!(Batch::from(&builder).stamp(0).is_ok());
    let user_headers = vec![1; USER_HEADERS_BYTES_MAX as usize + 1];
    let message = NewMessage { user_headers: &user_headers, ..NewMessage::default() };
    let error = BatchError::UserHeadersTooLarge { len: 100_001 };
    assert_eq!(builder.push(&message), Err(error));
    assert_eq!(builder.len(), 1);
}

#[test]
fn offsets_set_by_the_client_may_rise_or_be_zero_but_not_fall() {
    let mut batch = Batch::of(&[b"one", b"three", b"two"]);
    batch.set(0, OFFSET, &[5]);
    batch.set(2, OFFSET, &[5]);
    assert!(batch.clone().stamp(0).is_ok());
    batch.set(2, OFFSET, &[4]);
    assert_eq!(batch.stamp(0), Err(ErrorCode::InvalidOffset));
}

#[test]
fn a_partition_at_the_end_of_its_offsets_takes_nothing_more() {
    let mut batch = Batch::of(&[b"one", b"two"]);
    assert_eq!(batch.stamp(u64::MAX - 1), Err(ErrorCode::InvalidOffset));
    assert_eq!(batch.stamp(u64::MAX), Err(ErrorCode::InvalidOffset));
}

fn stamped(payloads: &[&[u8]], first_offset: u64) -> Vec<u8> {
    let mut batch = Batch::of(payloads);
    batch.stamp(first_offset).unwrap();
    batch.messages
}

#[test]
fn a_valid_prefix_says_why_it_ends() {
    let bytes = stamped(&[b"one", b"three", b"two"], 10);
    let whole = first_invalid(&bytes, Offset::new(10));
    assert_eq!((whole.bytes, whole.count, whole.stop), (203, 3, Stop::End));
    assert_eq!((whole.next_offset, whole.last_timestamp), (Offset::new(13), TIME));

    let cut = first_invalid(&bytes[..140], Offset::new(10));
    assert_eq!((cut.bytes, cut.count, cut.stop), (136, 2, Stop::Incomplete { needed: 64 }));
    let cut = first_invalid(&bytes[..201], Offset::new(10));
    assert_eq!((cut.bytes, cut.stop), (136, Stop::Incomplete { needed: 67 }));

    for at in [0, 70, 135] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let prefix = first_invalid(&damaged, Offset::new(10));
        assert_eq!((prefix.bytes, prefix.stop), (if at < 67 { 0 } else { 67 }, Stop::Damaged));
    }
    let moved = first_invalid(&bytes, Offset::new(11));
    assert_eq!((moved.bytes, moved.stop), (0, Stop::Misplaced));
    let older = first_invalid_after(&bytes, Offset::new(10), Timestamp::new(1_001));
    assert_eq!((older.bytes, older.stop), (0, Stop::Misplaced));
    let zeros = first_invalid(&[0; 200], Offset::ZERO);
    assert_eq!((zeros.bytes, zeros.stop), (0, Stop::Damaged));
    assert_eq!(first_invalid(&[], Offset::ZERO).stop, Stop::End);
}

#[test]
fn a_view_ends_after_its_first_error() {
    let mut bytes = stamped(&[b"one", b"two"], 0);
    bytes[67 + PAYLOAD_LENGTH + 3] = 255;
    let mut view = MessagesView::new(&bytes);
    assert_eq!(view.next().unwrap().unwrap().payload, b"one");
    assert_eq!(view.rest().len(), 67);
    assert_eq!(view.next(), Some(Err(ViewError::Length)));
    assert_eq!(view.next(), None);
}

#[derive(Clone, Debug)]
struct Sent {
    id: u128,
    payload: Vec<u8>,
    user_headers: Vec<u8>,
    origin: u64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    (prop_oneof![Just(0), any::<u128>()], bytes(200), bytes(40), any::<u64>())
        .prop_map(|(id, payload, user_headers, origin)| Sent { id, payload, user_headers, origin })
}

fn builder(batch: &[Sent]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for message in batch {
        let Sent { id, payload, user_headers, origin } = message;
        let origin_timestamp = Timestamp::new(*origin);
        builder.push(&NewMessage { id: *id, payload, user_headers, origin_timestamp }).unwrap();
    }
    builder
}

proptest! {
    #[test]
    fn a_batch_arrives_as_it_was_sent(
        batch in prop::collection::vec(sent(), 1..20),
        first_offset in 0..1_000_000_u64,
    ) {
        let builder = builder(&batch);
        let key = Partitioning::key(b"user-42").unwrap();
        let mut payload = Vec::new();
        let (stream, topic) = (IdentifierRef::Named("s1"), IdentifierRef::Numeric(7));
        builder.encode_send(stream, topic, key.borrowed(), &mut payload);
        let parts = SendHeader::parse(&mut payload).unwrap();
        prop_assert_eq!((parts.stream, parts.topic), (stream, topic));
        prop_assert_eq!(parts.partitioning, PartitioningRef::Key(b"user-42"));

        let mut new_id = |_: Offset| 99;
        let options = StampOptions {
            first_offset: Offset::new(first_offset), timestamp: TIME, new_id: &mut new_id,
        };
        let result = stamp(parts.indexes, parts.messages, parts.count, options);
        prop_assert_eq!(result.unwrap().count as usize, batch.len());
        let prefix = first_invalid(parts.messages, Offset::new(first_offset));
        prop_assert_eq!(prefix.stop, Stop::End);
        prop_assert_eq!(prefix.count as usize, batch.len());
        for (message, sent) in MessagesView::new(parts.messages).zip(&batch) {
            let message = message.unwrap();
            prop_assert_eq!(message.payload, &sent.payload);
            prop_assert_eq!(message.user_headers, &sent.user_headers);
            prop_assert_eq!(message.header.id, if sent.id == 0 { 99 } else { sent.id });
            prop_assert_eq!(message.header.origin_timestamp.get(), sent.origin);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_keeps_the_batch_whole(
        batch in prop::collection::vec(sent(), 1..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut batch = Batch::from(&builder(&batch));
        let index_bytes = batch.indexes.len();
        let at = at.index(index_bytes + batch.messages.len());
        match at.checked_sub(index_bytes) {
            None => batch.indexes[at] = byte,
            Some(at) => batch.messages[at] = byte,
        }
        if batch.stamp(5).is_ok() {
            let prefix = first_invalid(&batch.messages, Offset::new(5));
            prop_assert_eq!((prefix.stop, prefix.count), (Stop::End, batch.count));
        }
    }

    #[test]
    fn any_bytes_are_stamped_or_refused(
        indexes in prop::collection::vec(any::<u8>(), 0..64),
        messages in prop::collection::vec(prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], 0..300),
        count in 0..5_u32,
    ) {
        let _ = Batch { indexes, messages, count }.stamp(0);
    }

    #[test]
    fn every_prefix_of_stored_bytes_is_cut_at_a_message(
        batch in prop::collection::vec(sent(), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut batch = Batch::from(&builder(&batch));
        batch.stamp(3).unwrap();
        let ends: Vec<usize> = MessagesView::new(&batch.messages)
            .scan(0, |at, message| { *at += message.unwrap().bytes.len(); Some(*at) })
            .collect();
        let end = end.index(batch.messages.len() + 1);
        let prefix = first_invalid(&batch.messages[..end], Offset::new(3));
        let expected = ends.iter().copied().filter(|at| *at <= end).max().unwrap_or(0);
        prop_assert_eq!(prefix.bytes, expected);
    }

    #[test]
    fn any_bytes_are_viewed_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let viewed: usize = MessagesView::new(&bytes).flatten().map(|it| it.bytes.len()).sum();
        prop_assert!(viewed <= bytes.len());
        prop_assert_eq!(first_invalid(&bytes, Offset::ZERO).bytes, 0);
    }
}
