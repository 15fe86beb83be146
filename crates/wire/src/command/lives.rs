//! Polls and offsets that say which life of a partition they are about.
//!
//! A partition that is purged, or deleted and made again, begins again at offset 0, so that an offset alone
//! does not tell what it is the place of. Its life does: a number that another life never has, and that
//! tells nothing of how the server keeps it.
//!
//! INV-LIFE: a reader that says in which life it reads gets no message of another one, and moves no offset
//! in it.

use crate::batch::MessagesView;
use crate::error_code::ErrorCode;
use crate::id::{Life, Offset};
use crate::index::part;
#[cfg(feature = "json")]
use crate::json::LifeText;
use crate::layout::{command, layout};
use crate::limits::{LIFE_HEADER_BYTES, POLLED_HEADER_BYTES};
use crate::primitive::{Payload, Reader};

use super::messages::{PollMessages, PolledHeader};
use super::offsets::StoreConsumerOffset;

command! {
    /// Reads messages of a partition in one of its lives; waits for them when there are too few.
    pub struct PollInLife -> LifePollReply {
        /// What to read.
        poll: PollMessages,
        /// At most how long to wait, in microseconds; 0 for not at all. The server has a limit of its own.
        wait: u64,
        /// How many messages there have to be before the wait is over; 0 is as good as 1.
        count_min: u32,
        /// The life to read in; unknown for whichever it is. Heeded only where a partition is named.
        life: Life,
        /// 0; kept for what may come.
        reserved: u64,
    }
    right: |this| this.poll.right();
}

command! {
    /// Stores the offset of the last message that was processed, if the partition is still in the life the
    /// message comes from.
    pub struct StoreOffsetInLife -> StoredInLife {
        /// What to store.
        store: StoreConsumerOffset,
        /// The life the message comes from; unknown for whichever it is.
        life: Life,
    }
    right: |this| this.store.right();
}

layout! {
    /// What came of storing an offset.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StoredInLife {
        /// The life of the partition.
        life: Life => LifeText,
        /// Whether the offset is stored; if not, it is one of another life.
        stored: bool,
    }
    json;
}

// The fields of the diagram below, and that no two flags share a bit: a client tests them one by one.
const _: () = assert!(
    POLLED_HEADER_BYTES + 6 * 8 + 4 + 12 == LIFE_HEADER_BYTES,
    "the fields of the header and its reserved bytes are all of it"
);
const _: () = assert!(
    PollFlags::CUT.0.count_ones()
        + PollFlags::OTHER_LIFE.0.count_ones()
        + PollFlags::DAMAGED.0.count_ones()
        == PollFlags::CUT.with(PollFlags::OTHER_LIFE).with(PollFlags::DAMAGED).0.count_ones(),
    "each flag has bits of its own"
);

/// What an answer to [`PollInLife`] says of itself, one bit each; unknown bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PollFlags(u32);

impl PollFlags {
    /// Fewer messages came than were asked for, and more follow: the answer was full, or damage is next.
    pub const CUT: Self = Self(1);
    /// The partition is in another life than the reader: nothing was read, and nothing stored.
    pub const OTHER_LIFE: Self = Self(2);
    /// The next messages are damaged, as the two offsets say; those before them came.
    pub const DAMAGED: Self = Self(4);

    /// Wraps the bits.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is in front of the messages of a [`PollInLife`].
///
/// ```text
/// | as of any poll: 16 bytes | life u64 | start u64 | end u64 | next u64 |
/// | damaged from u64 | damaged to u64 | flags u32 | 12 bytes, reserved |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifeHeader {
    /// What is in front of the messages of any poll.
    pub polled: PolledHeader,
    /// The life the messages come from; unknown when there is no partition to answer for.
    pub life: Life,
    /// The oldest offset the partition keeps.
    pub start: Offset,
    /// The offset that the next message gets.
    pub end: Offset,
    /// Where reading goes on: behind the last message, or, without one, where the poll began.
    pub next: Offset,
    /// The first damaged offset, with [`PollFlags::DAMAGED`].
    pub damaged_from: Offset,
    /// The first one that can be read again, with [`PollFlags::DAMAGED`].
    pub damaged_to: Offset,
    /// What the answer says of itself.
    pub flags: PollFlags,
}

impl LifeHeader {
    /// The bytes of the header.
    #[must_use]
    pub fn to_array(self) -> [u8; LIFE_HEADER_BYTES] {
        let mut bytes = [0; LIFE_HEADER_BYTES];
        bytes[..POLLED_HEADER_BYTES].copy_from_slice(&self.polled.to_array());
        let words = [
            self.life.get(),
            self.start.get(),
            self.end.get(),
            self.next.get(),
            self.damaged_from.get(),
            self.damaged_to.get(),
        ];
        for (place, word) in bytes[POLLED_HEADER_BYTES..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[64..68].copy_from_slice(&self.flags.get().to_le_bytes());
        bytes
    }
}

impl Payload for LifeHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_array());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let header = Self {
            polled: PolledHeader::decode(reader)?,
            life: Life::decode(reader)?,
            start: Offset::decode(reader)?,
            end: Offset::decode(reader)?,
            next: Offset::decode(reader)?,
            damaged_from: Offset::decode(reader)?,
            damaged_to: Offset::decode(reader)?,
            flags: PollFlags(reader.u32()?),
        };
        // Reserved bytes may mean something to a later version.
        reader.array::<12>()?;
        Ok(header)
    }
}

/// Messages as a poll in a life returned them.
#[derive(Clone, PartialEq, Eq)]
pub struct LifePollReply {
    header: LifeHeader,
    payload: Vec<u8>,
}

impl LifePollReply {
    /// Takes the payload of a response over, without copying.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCommand`] when even the header is cut off.
    pub fn from_payload(payload: Vec<u8>) -> Result<Self, ErrorCode> {
        let header = LifeHeader::from_bytes(&payload)?;
        Ok(Self { header, payload })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> LifeHeader {
        self.header
    }

    /// The bytes of the messages.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        part(
            &self.payload,
            LIFE_HEADER_BYTES..,
            "INV-NOT-EMPTY: the header was read of these bytes",
        )
    }

    /// The messages, in order of their offsets.
    #[must_use]
    pub fn messages(&self) -> MessagesView<'_> {
        MessagesView::new(self.bytes())
    }
}

impl std::fmt::Debug for LifePollReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LifePollReply")
            .field("header", &self.header)
            .field("bytes", &self.bytes().len())
            .finish()
    }
}

impl Payload for LifePollReply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Self::from_payload(reader.rest().to_vec())
    }
}
