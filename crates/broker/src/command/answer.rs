//! The answers to polls, in the two forms there are.
//!
//! Part of INV-LIFE: an answer in a life tells which one the messages come from, taken from the same partition they
//! were read from.

use galgo_storage::log::ReadError;
use galgo_wire::command::{LifeHeader, PollFlags, PolledHeader};
use galgo_wire::id::{Life, Offset};

use super::messages::ResolvedPoll;
use crate::outcome::{MessagesHead, MessagesReply, Outcome, Reply};
use crate::partition::{AnswerBounds, PollError, PolledRange};

/// In which form a poll is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerForm {
    /// As every client knows it.
    Plain,
    /// With the life of the partition, to a reader who is in this one.
    InLife(Life),
}

/// How a poll is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) bounds: AnswerBounds,
    pub(crate) form: AnswerForm,
}

impl Manner {
    /// As every client knows it.
    pub(crate) const CLASSIC: Self =
        Self { bounds: AnswerBounds::CLASSIC, form: AnswerForm::Plain };

    /// To clients that go on by themselves where an answer ends.
    pub(crate) const fn extension(form: AnswerForm) -> Self {
        Self { bounds: AnswerBounds::EXTENSION, form }
    }
}

/// Messages that cannot be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DamagedMessages {
    from: Offset,
    to: Offset,
}

impl DamagedMessages {
    /// The damage an error tells of.
    pub(super) fn of(error: &PollError) -> Option<Self> {
        match error {
            PollError::Read(ReadError::Damaged { from, to }) => Some(Self { from: *from, to: *to }),
            _ => None,
        }
    }
}

/// The answer to a member of a group that may poll nothing now.
pub(super) fn nothing(form: AnswerForm) -> Outcome {
    let header = match form {
        AnswerForm::Plain => MessagesHead::Plain(PolledHeader::default().to_array()),
        AnswerForm::InLife(_) => MessagesHead::InLife(LifeHeader::default().to_array()),
    };
    Outcome::done(Reply::Messages(MessagesReply { header, slices: Vec::new(), rest: None, len: 0 }))
}

impl ResolvedPoll {
    /// The answer with these messages.
    pub(super) fn reply(&self, range: PolledRange) -> Reply {
        let polled = PolledHeader {
            partition_id: self.partition_id,
            current_offset: self.partition.current_offset(),
            count: range.count,
        };
        let header = match self.form {
            AnswerForm::Plain => MessagesHead::Plain(polled.to_array()),
            AnswerForm::InLife(_) => MessagesHead::InLife(self.head(polled, &range).to_array()),
        };
        let PolledRange { slices, rest, bytes: len, .. } = range;
        Reply::Messages(MessagesReply { header, slices, rest, len })
    }

    fn head(&self, polled: PolledHeader, range: &PolledRange) -> LifeHeader {
        // Asked after the messages were found, so that none of them is at the end or behind it.
        let end = self.partition.high_watermark();
        let behind = range.last().and_then(|last| last.plus(1));
        // Where nothing was found, that was looked for: what came since is not to be passed over.
        let next = behind.unwrap_or(range.first);
        let is_cut = behind.is_some() && range.count < self.count && next < end;
        LifeHeader {
            polled,
            life: self.partition.life(),
            start: self.partition.start(),
            end,
            next,
            flags: if is_cut { PollFlags::CUT } else { PollFlags::default() },
            ..LifeHeader::default()
        }
    }

    /// The answer to a reader who is in another life than the partition.
    pub(super) fn other_life(&self) -> Reply {
        let flags = PollFlags::OTHER_LIFE;
        self.without_messages(self.partition.start(), |header| LifeHeader { flags, ..header })
    }

    /// The answer to a reader who comes upon damage.
    pub(super) fn damaged(&self, damage: DamagedMessages) -> Reply {
        // Where it asked, and not behind the damage: the reader decides whether it goes on there.
        let next = self.partition.begins_at(&self.request());
        self.without_messages(next, |header| LifeHeader {
            damaged_from: damage.from,
            damaged_to: damage.to,
            flags: PollFlags::DAMAGED,
            ..header
        })
    }

    fn without_messages(
        &self,
        next: Offset,
        change: impl FnOnce(LifeHeader) -> LifeHeader,
    ) -> Reply {
        let polled = PolledHeader {
            partition_id: self.partition_id,
            current_offset: self.partition.current_offset(),
            count: 0,
        };
        // With no message its first offset is where reading goes on.
        let none = PolledRange { first: next, ..PolledRange::default() };
        let head = change(self.head(polled, &none));
        Reply::Messages(MessagesReply {
            header: MessagesHead::InLife(head.to_array()),
            slices: Vec::new(),
            rest: None,
            len: 0,
        })
    }
}
