//! Where a copied message came from, as headers of the copy.
//!
//! The headers of a copy are those of the original, byte for byte, with the two of the copy
//! behind them. A block that has no room for these, or is not made of pairs, so that nobody would find
//! them, is copied as it is; such a copy is recognized by what it holds.

use bytes::Bytes;
use galgo::{HeaderKind, Message, ReceivedMessage};
use galgo_wire::limits::{USER_HEADER_FIELD_BYTES_MAX, USER_HEADERS_BYTES_MAX};

/// Header with the offset the message has in the source, a `uint64`.
pub(crate) const OFFSET: &str = "mirror.offset";
/// Header with the time the source took the message, microseconds since 1970, a `uint64`.
pub(crate) const TIMESTAMP: &str = "mirror.timestamp";
const _: () = assert!(
    OFFSET.len() <= USER_HEADER_FIELD_BYTES_MAX && TIMESTAMP.len() <= USER_HEADER_FIELD_BYTES_MAX,
    "names of headers are as short as the protocol has them"
);

/// The place of a message in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MirrorOrigin {
    /// Its offset there.
    pub(crate) offset: u64,
    /// When the source took it.
    pub(crate) timestamp: u64,
}

impl MirrorOrigin {
    /// The place a copy tells; `None` for a message that tells none.
    pub(crate) fn of(message: &ReceivedMessage) -> Option<Self> {
        Self::in_block(message.user_headers())
    }

    fn in_block(block: &[u8]) -> Option<Self> {
        let pairs = pairs(block)?;
        let number = |key: &str| {
            let found = pairs.iter().rev().find(|pair| pair.has_key(key))?;
            let bytes = found.value.filter(HeaderKind::Uint64)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        Some(Self { offset: number(OFFSET)?, timestamp: number(TIMESTAMP)? })
    }

    /// `block` with this place behind it, in place of another; `None` when it cannot have one.
    fn behind(self, block: &[u8]) -> Option<Vec<u8>> {
        let mut marked = Vec::with_capacity(block.len() + MARK_BYTES);
        for pair in pairs(block)? {
            if !pair.has_key(OFFSET) && !pair.has_key(TIMESTAMP) {
                marked.extend_from_slice(pair.bytes);
            }
        }
        put(&mut marked, OFFSET, self.offset);
        put(&mut marked, TIMESTAMP, self.timestamp);
        (marked.len() <= USER_HEADERS_BYTES_MAX as usize).then_some(marked)
    }
}

/// Bytes of both headers: each has two fields of kind, length and content.
const MARK_BYTES: usize = 4 * 5 + OFFSET.len() + TIMESTAMP.len() + 2 * 8;
const _: () = assert!(
    MARK_BYTES < USER_HEADERS_BYTES_MAX as usize,
    "the mark of a copy leaves room for the headers of the original"
);

/// Whether the copy of `message` tells where it came from.
pub(crate) fn can_tell(message: &ReceivedMessage) -> bool {
    MirrorOrigin { offset: 0, timestamp: 0 }.behind(message.user_headers()).is_some()
}

/// The copy of a message: same id, payload, headers and time of origin, and where it came from.
///
/// A message that is a copy itself tells its last place only.
pub(crate) fn copy(message: &ReceivedMessage) -> Message {
    let origin = MirrorOrigin { offset: message.offset(), timestamp: message.timestamp() };
    let block = match origin.behind(message.user_headers()) {
        Some(marked) => Bytes::from(marked),
        None => message.user_headers().clone(),
    };
    Message::new(message.payload().clone())
        .id(message.id())
        .origin_timestamp(message.origin_timestamp())
        .header_block(block)
}

/// A header as it lies in a block, whatever its kinds and texts are.
struct Pair<'a> {
    bytes: &'a [u8],
    key: Field<'a>,
    value: Field<'a>,
}

#[derive(Clone, Copy)]
struct Field<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Field<'a> {
    fn filter(self, kind: HeaderKind) -> Option<&'a [u8]> {
        (self.kind == kind as u8).then_some(self.bytes)
    }

    fn read(block: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (kind, rest) = block.split_first()?;
        let (len, rest) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (bytes, rest) = rest.split_at_checked(len)?;
        Some((Self { kind: *kind, bytes }, rest))
    }
}

impl Pair<'_> {
    fn has_key(&self, key: &str) -> bool {
        self.key.filter(HeaderKind::String) == Some(key.as_bytes())
    }
}

/// The pairs of a block; `None` when it is not made of pairs.
fn pairs(mut block: &[u8]) -> Option<Vec<Pair<'_>>> {
    let mut pairs = Vec::new();
    while !block.is_empty() {
        let (key, rest) = Field::read(block)?;
        let (value, rest) = Field::read(rest)?;
        let bytes = block.get(..block.len() - rest.len())?;
        pairs.push(Pair { bytes, key, value });
        block = rest;
    }
    Some(pairs)
}

fn put(out: &mut Vec<u8>, key: &str, value: u64) {
    let value = value.to_le_bytes();
    for (kind, bytes) in [(HeaderKind::String, key.as_bytes()), (HeaderKind::Uint64, &value)] {
        out.push(kind as u8);
        // Both are a few bytes long.
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: MirrorOrigin = MirrorOrigin { offset: 7, timestamp: 9 };

    fn pair(kind: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
        let field = |kind: u8, bytes: &[u8]| {
            [&[kind][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
        };
        [field(2, key), field(kind, value)].concat()
    }

    /// Copying took a block apart and put it together again: one of two equal names was lost, the order
    /// changed, and what did not parse held up all messages behind it.
    #[test]
    fn a_block_of_pairs_stays_as_it_is_in_front_of_the_place() {
        let odd = [
            Vec::new(),
            [pair(2, b"b", b"1"), pair(2, b"a", b"2"), pair(2, b"b", b"3")].concat(),
            pair(2, b"text", b"\xff\xfe"),
            pair(200, b"", b""),
            vec![1; 10],
        ];
        for block in &odd[..4] {
            let marked = HERE.behind(block).unwrap();
            assert!(marked.starts_with(block) && marked.len() == block.len() + MARK_BYTES);
            assert_eq!(MirrorOrigin::in_block(&marked), Some(HERE));
            let next = MirrorOrigin { offset: 8, ..HERE }.behind(&marked).unwrap();
            assert_eq!(
                (next.len(), next.starts_with(block)),
                (marked.len(), true),
                "a copy's copy"
            );
        }
        let readable = galgo::UserHeaders::from_bytes(&HERE.behind(&odd[1]).unwrap()).unwrap();
        assert_eq!(readable.get(OFFSET).and_then(|it| u64::try_from(it).ok()), Some(7));
    }

    #[test]
    fn a_block_that_has_no_room_or_is_no_pairs_tells_no_place() {
        let max = USER_HEADERS_BYTES_MAX as usize;
        for (len, fits) in [(max - MARK_BYTES, true), (max - MARK_BYTES + 1, false), (max, false)] {
            let block = pair(1, b"k", &vec![0; len - 11]);
            assert_eq!((block.len(), HERE.behind(&block).is_some()), (len, fits));
        }
        for block in [&[0, 1, 2, 3][..], &pair(1, b"k", b"v")[..11], &[1, 255, 255, 255, 255, 0]] {
            assert_eq!((HERE.behind(block), MirrorOrigin::in_block(block)), (None, None));
        }
    }
}
