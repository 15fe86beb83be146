//! What a poll brought.

use std::ops::Range;

use bytes::Bytes;
use galgo_wire::batch::{MESSAGE_HEADER_BYTES, MessageRef, MessagesView};
use galgo_wire::command::lives::{LifeHeader, PollFlags};
use galgo_wire::command::messages::PolledHeader;
use galgo_wire::id::Life;
use galgo_wire::limits::{LIFE_HEADER_BYTES, POLLED_HEADER_BYTES};
use galgo_wire::primitive::Payload;

use crate::message::ReceivedMessage;

/// The answer to a poll: messages with consecutive, ascending offsets.
///
/// The messages share the memory of the reply; no payload is copied.
#[derive(Debug, Clone, Default)]
pub struct PolledMessages {
    partition: u32,
    current_offset: u64,
    messages: Vec<ReceivedMessage>,
    /// The messages as they came, back to back, by reply.
    parts: Vec<Bytes>,
    /// What only a server tells that knows of lives.
    told: Option<LifeHeader>,
}

impl PolledMessages {
    /// The partition they come from.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The last offset in the partition when the poll was answered; 0 also when it is empty.
    pub fn current_offset(&self) -> u64 {
        self.current_offset
    }

    /// The life of the partition they come from; unknown when the server does not tell. A purge, or making
    /// the topic again, begins another one, at offset 0: an offset means nothing in another life than that
    /// it was learned in.
    pub fn life(&self) -> Life {
        self.told.map_or(Life::UNKNOWN, |told| told.life)
    }

    /// Whether the partition is in another life than the poll named; there are no messages then.
    pub fn is_of_other_life(&self) -> bool {
        self.has(PollFlags::OTHER_LIFE)
    }

    /// Whether the server, which tells of lives, had no partition to answer for: the caller, a member of a group, may
    /// not read the one it asked for.
    pub(crate) fn is_of_none(&self) -> bool {
        self.told.is_some_and(|told| !told.life.is_known())
    }

    /// Whether there was more to read than the answer holds, although more was asked for; `false` when the
    /// server does not tell. A poll for what follows brings it.
    pub fn is_cut(&self) -> bool {
        self.has(PollFlags::CUT)
    }

    /// The offsets, from the first to before the last, of messages that follow those that came and that the
    /// server found damaged; told to a poll that [asks](crate::PollRequest::tell_damage) for it.
    pub fn damaged(&self) -> Option<Range<u64>> {
        let told = self.told.filter(|told| told.flags.contains(PollFlags::DAMAGED))?;
        Some(told.damaged_from.get()..told.damaged_to.get())
    }

    /// The oldest offset of the partition and the one its next message gets, when the server tells.
    pub fn extent(&self) -> Option<Range<u64>> {
        let told = self.told.filter(|told| told.life.is_known())?;
        Some(told.start.get()..told.end.get())
    }

    /// Where reading goes on: behind the last message, or, without one, where the poll began. `None` when
    /// there is no message and the server does not tell.
    pub fn next_offset(&self) -> Option<u64> {
        let behind = self.messages.last().map(|message| message.offset().saturating_add(1));
        behind.or_else(|| self.told.filter(|told| told.life.is_known()).map(|told| told.next.get()))
    }

    /// The messages.
    pub fn messages(&self) -> &[ReceivedMessage] {
        &self.messages
    }

    /// The messages, taken out.
    pub fn into_messages(self) -> Vec<ReceivedMessage> {
        self.messages
    }

    /// Checks the checksum of every message; removes the first bad one and all after it, and returns
    /// its place.
    pub fn cut_damaged(&mut self) -> Option<u64> {
        let is_good = |message: Result<MessageRef<'_>, _>| message.is_ok_and(|it| it.verify());
        let views = self.parts.iter().flat_map(|part| MessagesView::new(part));
        let bad = { views }.position(|message| !is_good(message))?;
        let offset = self.messages.get(bad).map(ReceivedMessage::offset);
        self.messages.truncate(bad);
        offset
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes the messages have, headers included.
    pub(crate) fn bytes_len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn has(&self, flags: PollFlags) -> bool {
        self.told.is_some_and(|told| told.flags.contains(flags))
    }

    /// Takes in the answer to the poll for what follows.
    pub(super) fn append(&mut self, more: Self) {
        self.current_offset = more.current_offset;
        self.told = more.told;
        self.messages.extend(more.messages);
        self.parts.extend(more.parts);
    }

    /// Puts what came before in front, which was asked for later.
    pub(super) fn prepend(&mut self, mut before: Self) {
        before.messages.append(&mut self.messages);
        before.parts.append(&mut self.parts);
        (self.messages, self.parts) = (before.messages, before.parts);
    }

    /// Reads the answer to a poll as every client knows it.
    pub(crate) fn decode(payload: &Bytes) -> Result<Self, &'static str> {
        let Some((head, _)) = payload.split_first_chunk::<POLLED_HEADER_BYTES>() else {
            return Err("it is cut off");
        };
        let head = PolledHeader::from_bytes(head).map_err(|_| "its first bytes are wrong")?;
        Self::read(head, payload.slice(POLLED_HEADER_BYTES..), None)
    }

    /// Reads the answer to a poll that tells the life.
    pub(crate) fn decode_in_life(payload: &Bytes) -> Result<Self, &'static str> {
        let Some((head, _)) = payload.split_first_chunk::<LIFE_HEADER_BYTES>() else {
            return Err("it is cut off");
        };
        let told = LifeHeader::from_bytes(head).map_err(|_| "its first bytes are wrong")?;
        Self::read(told.polled, payload.slice(LIFE_HEADER_BYTES..), Some(told))
    }

    fn read(
        head: PolledHeader,
        bytes: Bytes,
        told: Option<LifeHeader>,
    ) -> Result<Self, &'static str> {
        let partition = head.partition_id.get();
        let life = told.map_or(Life::UNKNOWN, |told| told.life);
        // The count is a hint from outside: room is made for what the bytes can hold.
        let room = (head.count as usize).min(bytes.len() / MESSAGE_HEADER_BYTES);
        let mut messages = Vec::with_capacity(room);
        for message in MessagesView::new(&bytes) {
            let message = message.map_err(|_| "a message in it is cut off or too large")?;
            messages.push(ReceivedMessage::new(
                partition,
                life,
                message.header,
                bytes.slice_ref(message.payload),
                bytes.slice_ref(message.user_headers),
            ));
        }
        let current_offset = head.current_offset.get();
        Ok(Self { partition, current_offset, messages, parts: vec![bytes], told })
    }

    #[cfg(test)]
    pub(crate) fn for_test(current_offset: u64, messages: Vec<ReceivedMessage>) -> Self {
        Self { current_offset, messages, ..Self::default() }
    }

    #[cfg(test)]
    pub(crate) fn with_told(self, told: LifeHeader) -> Self {
        Self { told: Some(told), ..self }
    }
}
