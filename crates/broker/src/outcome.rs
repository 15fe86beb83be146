//! What a submitted command comes to: an answer now, an answer once durable, or work to be done
//! off the connection's thread.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use galgo_storage::disk::DiskFile;
use galgo_wire::command::SendReply;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::limits::{LIFE_HEADER_BYTES, POLLED_HEADER_BYTES};

use crate::broker::Broker;
use crate::partition::Rest;
use crate::session::Session;
use crate::ticket::Ticket;
use crate::waiting::Waiting;

/// What [`Broker::submit`] returns: the answer, or a step on the way to it.
///
/// Whoever takes the steps moves jobs and waiting polls without looking inside; a test of that moves
/// something else.
#[derive(Debug)]
pub enum Outcome<J = Job, W = Waiting> {
    /// The answer is made.
    Answer(Answer),
    /// Work that may block (a disk read, a metadata write, a password hash). It is run on a thread
    /// that may block; nothing else of its connection runs meanwhile.
    Offload(J),
    /// Work as in [`Outcome::Offload`], but not before this much time has passed: how guessing passwords
    /// is slowed. Whoever waits holds no thread.
    Delay(Duration, J),
    /// A poll that found too little and waits for more. Nothing else of its connection depends on it.
    Wait(W),
}

/// An answer, and what has to be durable before it leaves.
///
/// Meanwhile the connection's next sends may be submitted; their answers keep the order of the requests.
#[derive(Debug)]
pub struct Answer {
    /// What the answer waits for. When it fails, its error is the answer.
    pub after: Option<Ticket>,
    /// What is answered then.
    pub reply: Reply,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Reply {
    /// Success without payload.
    Empty,
    /// Success with these payload bytes.
    Bytes(Vec<u8>),
    /// Success of a send that tells what became of its messages.
    Sent(SendReply),
    /// Success with polled messages.
    Messages(MessagesReply),
    /// Failure: the number of the code, no payload.
    Error(ErrorCode),
    /// Failure; the connection is closed once it has been written.
    Close(ErrorCode),
}

/// Polled messages, as ranges of segment files that already hold the bytes of the answer.
///
/// All of them were found good before the answer was made; those of which the memory for an answer has
/// no room come later, piece by piece.
#[derive(Debug)]
pub struct MessagesReply {
    /// What is in front of the messages.
    pub header: MessagesHead,
    /// The first of the messages, in order.
    pub slices: Vec<Slice>,
    /// What comes behind them.
    pub rest: Option<Rest>,
    /// Bytes of all messages together.
    pub len: u64,
}

/// The encoded header in front of polled messages.
#[derive(Clone, Copy, Debug)]
pub enum MessagesHead {
    /// Of a poll as every client knows it.
    Plain([u8; POLLED_HEADER_BYTES]),
    /// Of a poll that tells the life of the partition.
    InLife([u8; LIFE_HEADER_BYTES]),
}

impl std::ops::Deref for MessagesHead {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::InLife(bytes) => bytes,
        }
    }
}

/// A run of message bytes.
#[derive(Clone)]
pub enum Slice {
    /// A range of a file that is in the page cache and whose checksums are known to be good.
    File {
        /// The segment's `.log`.
        file: Arc<dyn DiskFile>,
        /// First byte.
        position: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Bytes that were read from the disk and verified.
    Memory(Vec<u8>),
}

impl MessagesReply {
    /// Bytes of the messages that are in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        memory_bytes(&self.slices)
    }
}

/// Bytes of those slices that are in memory.
#[must_use]
pub fn memory_bytes(slices: &[Slice]) -> u64 {
    // A range of a file costs the page cache, which is the system's to bound.
    let in_memory = slices.iter().filter(|slice| matches!(slice, Slice::Memory(_)));
    in_memory.map(Slice::len).sum()
}

impl Slice {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { position, len, .. } => {
                f.debug_struct("File").field("position", position).field("len", len).finish()
            }
            Self::Memory(bytes) => f.debug_tuple("Memory").field(&bytes.len()).finish(),
        }
    }
}

/// Work for a thread that may block, by what makes it block.
pub enum Job {
    /// Looks for messages on the disk and reads them.
    Read {
        /// The memory that the answer may take until it is written, as far as can be told before; 0 for an
        /// answer that is small whatever comes of the work.
        answer_bytes: u64,
        /// What is to be done.
        work: Work,
    },
    /// Gets a partition what it lacks to take a send: the ids it stored lately, or room among the open files.
    Load(Work),
    /// Changes the metadata, or deletes what they name.
    Change(Work),
    /// Hashes a password. No more than [`HASHES_AT_ONCE_MAX`](crate::HASHES_AT_ONCE_MAX) of these are to run
    /// at a time, for the memory they take.
    Hash {
        /// For whom.
        who: Hashing,
        /// What is to be done.
        work: Work,
    },
    /// Proves an identity without a hash, later than it was asked for.
    Prove(Work),
    /// Syncs a partition.
    Sync(Work),
    /// Puts together what is told of the whole server, or of all segments of a topic.
    Report(Work),
}

type Deed = dyn FnOnce(&Broker, &mut Session) -> Outcome + Send;

/// What is to be done in a [`Job`].
pub struct Work(Box<Deed>);

/// For whom a password is hashed: whose turn it is among all who wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Whether the caller is logged in, or asks for a user that has logged in from there before and has not
    /// failed much since.
    pub known: bool,
    /// Where the caller is.
    pub address: IpAddr,
}

impl Work {
    pub(crate) fn new(
        work: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static,
    ) -> Self {
        Self(Box::new(work))
    }
}

impl Job {
    /// A read of up to `answer_bytes` of messages into memory.
    pub(crate) fn read(
        answer_bytes: u64,
        work: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static,
    ) -> Self {
        Self::Read { answer_bytes, work: Work::new(work) }
    }

    /// The kind of work in one word, for logs and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Load(_) => "load",
            Self::Change(_) => "change",
            Self::Hash { .. } => "hash",
            Self::Prove(_) => "prove",
            Self::Sync(_) => "sync",
            Self::Report(_) => "report",
        }
    }

    /// The memory that the answer may take until it is written; 0 for one that is small.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        match self {
            Self::Read { answer_bytes, .. } => *answer_bytes,
            _ => 0,
        }
    }

    /// For whom it hashes passwords, if it does.
    #[must_use]
    pub fn hashing(&self) -> Option<Hashing> {
        match self {
            Self::Hash { who, .. } => Some(*who),
            _ => None,
        }
    }

    /// Does the work; may block on the disk or the processor.
    #[must_use]
    pub fn run(self, broker: &Broker, session: &mut Session) -> Outcome {
        let (Self::Read { work, .. }
        | Self::Load(work)
        | Self::Change(work)
        | Self::Hash { work, .. }
        | Self::Prove(work)
        | Self::Sync(work)
        | Self::Report(work)) = self;
        (work.0)(broker, session)
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Job").field(&self.kind()).finish()
    }
}

impl Answer {
    /// One that may leave at once.
    #[must_use]
    pub fn now(reply: Reply) -> Self {
        Self { after: None, reply }
    }

    /// Waits until what it needs is durable; why it never will be is the reply then.
    pub async fn settled(self) -> Reply {
        match self.after {
            None => self.reply,
            // The reply was made when the request was; only whether it may leave was open.
            Some(ticket) => ticket.await.map_or_else(Reply::Error, |()| self.reply),
        }
    }
}

impl Outcome {
    /// An answer that may leave at once.
    pub(crate) fn done(reply: Reply) -> Self {
        Self::Answer(Answer::now(reply))
    }

    /// An empty answer that waits for a commit.
    pub(crate) fn commit(ticket: Ticket) -> Self {
        Self::after(ticket, Reply::Empty)
    }

    /// An answer that waits for a commit.
    pub(crate) fn after(ticket: Ticket, reply: Reply) -> Self {
        Self::Answer(Answer { after: Some(ticket), reply })
    }
}

impl From<Result<Reply, ErrorCode>> for Outcome {
    fn from(result: Result<Reply, ErrorCode>) -> Self {
        Self::done(result.unwrap_or_else(Reply::Error))
    }
}
