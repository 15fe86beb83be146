//! The server's one pass over a sent batch: check it, fill in what is the server's to say.
//!
//! Sizes come from the headers of the messages; the index block only has to agree.
//! Part of INV-CHECKSUM: a checksum is taken after the last other byte of its message was set.
//! A batch that fails may be stamped in part; it must not be stored.

use super::header::{CHECKSUM_BYTES, MESSAGE_HEADER_BYTES, MessageHeader};
use crate::error_code::ErrorCode;
use crate::id::{Offset, Timestamp};
use crate::limits::{INDEX_ENTRY_BYTES, MESSAGE_PAYLOAD_BYTES_MAX, USER_HEADERS_BYTES_MAX};
use twox_hash::XxHash3_64;

/// What the server says about the messages of a batch.
pub struct StampOptions<'a> {
    /// The offset of the first message; the others follow without gaps.
    pub first_offset: Offset,
    /// The time of the whole batch.
    pub timestamp: Timestamp,
    /// Makes an id for a message without one.
    pub new_id: &'a mut dyn FnMut(Offset) -> u128,
}

/// What a stamped batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// How many messages.
    pub count: u32,
    /// How many bytes they take.
    pub bytes: u32,
    /// The sum of their checksums, wrapped.
    pub checksums: u64,
}

/// Checks the batch and sets offset, timestamp, id (where it is 0), reserved (to 0) and checksum
/// of each message, in place. On success the index block agrees with the messages: where each of
/// them ends is what [`index_end`] reads of its entry.
///
/// # Errors
/// - [`ErrorCode::InvalidMessagesCount`]: there are none.
/// - [`ErrorCode::InvalidIndexesByteSize`], [`ErrorCode::InvalidIndexesCount`]: the index block is
///   not `count` entries.
/// - [`ErrorCode::NonZeroOffset`], [`ErrorCode::NonZeroTimestamp`],
///   [`ErrorCode::CannotReadIndexPosition`], [`ErrorCode::MissingIndex`]: an index entry is wrong.
/// - [`ErrorCode::TooBigUserHeaders`], [`ErrorCode::TooBigMessagePayload`],
///   [`ErrorCode::TooSmallMessage`], [`ErrorCode::InvalidMessagesSize`]: a message is wrong.
/// - [`ErrorCode::InvalidOffset`]: offsets set by the client decrease, or the partition is full.
pub fn stamp(
    indexes: &[u8],
    messages: &mut [u8],
    count: u32,
    options: StampOptions<'_>,
) -> Result<Stamped, ErrorCode> {
    let (entries, bytes) = check_sizes(indexes, messages, count)?;
    let mut previous_end = 0;
    let mut position = 0_u32;
    let mut client_offset = 0;
    let mut checksums = 0_u64;
    let mut offset = options.first_offset;
    let mut rest = &mut *messages;
    for entry in entries {
        let index_end = read_index(entry, previous_end)?;
        previous_end = index_end;

        if rest.is_empty() {
            return Err(ErrorCode::InvalidMessagesSize);
        }
        let header = MessageHeader::read(rest).ok_or(ErrorCode::TooSmallMessage)?;
        let size = message_size(&header)?;
        if header.offset.get() != 0 {
            if header.offset.get() < client_offset {
                return Err(ErrorCode::InvalidOffset);
            }
            client_offset = header.offset.get();
        }
        // The header is believed, as it is what a reader will go by; the index only has to agree.
        if position.checked_add(size) != Some(index_end) {
            return Err(disagreement(messages, count));
        }
        let Some((message, tail)) = rest.split_at_mut_checked(size as usize) else {
            return Err(ErrorCode::InvalidMessagesSize);
        };
        // 0 asks for an id; any other is the producer's, by which what is sent again is known.
        let id = if header.id == 0 { (options.new_id)(offset) } else { header.id };
        let stamped = MessageHeader { id, offset, timestamp: options.timestamp, ..header };
        checksums = checksums.wrapping_add(seal(message, stamped));

        position = index_end;
        offset = offset.plus(1).ok_or(ErrorCode::InvalidOffset)?;
        rest = tail;
    }
    if position != bytes {
        return Err(ErrorCode::InvalidMessagesSize);
    }
    // What is stored is found again by these sizes alone: a byte behind the last message would be read as the
    // header of the next batch.
    assert!(rest.is_empty(), "INV-CHECKSUM: every byte of the batch belongs to a stamped message");
    Ok(Stamped { count, bytes, checksums })
}

const _: () = assert!(
    CHECKSUM_BYTES < MESSAGE_HEADER_BYTES,
    "the checksum lies in the header, whose other bytes it covers"
);
const _: () = assert!(
    MESSAGE_HEADER_BYTES as u64 + MESSAGE_PAYLOAD_BYTES_MAX as u64 + USER_HEADERS_BYTES_MAX as u64
        <= u32::MAX as u64,
    "the size of a message does not overflow before it is compared"
);
const _: () = assert!(INDEX_ENTRY_BYTES == 4 + 4 + 8, "an entry is offset, end and time");

/// The entry of one message in the index block of a batch.
pub type BatchIndexEntry = [u8; INDEX_ENTRY_BYTES];

/// Where the message of an entry ends, counted from the start of the batch.
#[must_use]
#[inline]
pub fn index_end(entry: &BatchIndexEntry) -> u32 {
    let [_, _, _, _, p0, p1, p2, p3, ..] = *entry;
    u32::from_le_bytes([p0, p1, p2, p3])
}

/// The entries of the index block, and the bytes of the messages.
fn check_sizes<'a>(
    indexes: &'a [u8],
    messages: &[u8],
    count: u32,
) -> Result<(&'a [BatchIndexEntry], u32), ErrorCode> {
    if count == 0 {
        return Err(ErrorCode::InvalidMessagesCount);
    }
    let (entries, remainder) = indexes.as_chunks();
    if !remainder.is_empty() {
        return Err(ErrorCode::InvalidIndexesByteSize);
    }
    if u32::try_from(entries.len()) != Ok(count) {
        return Err(ErrorCode::InvalidIndexesCount);
    }
    let bytes = u32::try_from(messages.len()).map_err(|_| ErrorCode::InvalidMessagesSize)?;
    Ok((entries, bytes))
}

/// The end of a message as the index block has it.
fn read_index(entry: &BatchIndexEntry, previous_end: u32) -> Result<u32, ErrorCode> {
    let [o0, o1, o2, o3, _, _, _, _, timestamp @ ..] = *entry;
    if u32::from_le_bytes([o0, o1, o2, o3]) != 0 {
        return Err(ErrorCode::NonZeroOffset);
    }
    if u64::from_le_bytes(timestamp) != 0 {
        return Err(ErrorCode::NonZeroTimestamp);
    }
    let end = index_end(entry);
    if end < previous_end { Err(ErrorCode::CannotReadIndexPosition) } else { Ok(end) }
}

/// Bytes of a message, by its header.
fn message_size(header: &MessageHeader) -> Result<u32, ErrorCode> {
    if header.user_headers_length > USER_HEADERS_BYTES_MAX {
        return Err(ErrorCode::TooBigUserHeaders);
    }
    if header.payload_length > MESSAGE_PAYLOAD_BYTES_MAX {
        return Err(ErrorCode::TooBigMessagePayload);
    }
    // The two limits above keep the sum far from the end of the range.
    Ok(MESSAGE_HEADER_BYTES as u32 + header.payload_length + header.user_headers_length)
}

/// Writes the header, reserved zeroed, and the checksum over everything behind it; returns that.
fn seal(message: &mut [u8], header: MessageHeader) -> u64 {
    let header = MessageHeader { checksum: 0, reserved: 0, ..header };
    let Some(room) = message.first_chunk_mut::<MESSAGE_HEADER_BYTES>() else {
        unreachable!("INV-CHECKSUM: a message of a stamped size has its header")
    };
    header.write(room);
    // INV-CHECKSUM: only now, as the header is part of what it covers.
    let Some((room, covered)) = message.split_first_chunk_mut::<CHECKSUM_BYTES>() else {
        unreachable!("INV-CHECKSUM: a header is longer than the checksum in it")
    };
    let checksum = XxHash3_64::oneshot(covered);
    *room = checksum.to_le_bytes();
    checksum
}

/// Tells who is wrong when the index block and the headers disagree: if the headers alone add up to
/// the block, the index is.
#[cold]
fn disagreement(messages: &[u8], count: u32) -> ErrorCode {
    let mut rest = messages;
    for _ in 0..count {
        let tail = MessageHeader::read(rest)
            .and_then(|header| header.message_bytes())
            .and_then(|size| rest.get(size..));
        match tail {
            Some(tail) => rest = tail,
            None => return ErrorCode::InvalidMessagesSize,
        }
    }
    if rest.is_empty() { ErrorCode::MissingIndex } else { ErrorCode::InvalidMessagesSize }
}
