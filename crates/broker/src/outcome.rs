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

/// What [`Broker::submit`] returns.
#[derive(Debug)]
pub enum Outcome {
    /// The answer is ready.
    Done(Reply),
    /// An empty answer, due when the ticket resolves. Meanwhile the connection's next sends may be
    /// submitted; their answers keep the order of the requests.
    Commit(Ticket),
    /// The answer, due when the ticket resolves.
    CommitThen(Ticket, Reply),
    /// Work that may block (a disk read, a metadata write, a password hash). It is run on a thread
    /// that may block; nothing else of its connection runs meanwhile.
    Offload(Job),
    /// Work as in [`Outcome::Offload`], but not before this much time has passed: how guessing passwords
    /// is slowed. Whoever waits holds no thread.
    Delay(Duration, Job),
    /// A poll that found too little and waits for more. Nothing else of its connection depends on it.
    Wait(Waiting),
}

/// An answer to one request.
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

type Work = Box<dyn FnOnce(&Broker, &mut Session) -> Outcome + Send>;

/// Work for a thread that may block.
pub struct Job {
    work: Work,
    answer_bytes: u64,
    hashing: Option<Hashing>,
}

/// For whom a password is hashed: whose turn it is among all who wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Whether the caller is logged in, or asks for a user that has logged in from there before and has not
    /// failed much since.
    pub known: bool,
    /// Where the caller is.
    pub address: IpAddr,
}

impl Job {
    pub(crate) fn new(
        work: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static,
    ) -> Self {
        Self { work: Box::new(work), answer_bytes: 0, hashing: None }
    }

    /// The memory that the answer may take until it is written, as far as can be told before; 0 for an
    /// answer that is small whatever comes of the work.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        self.answer_bytes
    }

    /// For whom it hashes passwords, if it does. No more than [`HASHES_AT_ONCE_MAX`] such jobs are to run at a
    /// time, for the memory they take.
    ///
    /// [`HASHES_AT_ONCE_MAX`]: crate::HASHES_AT_ONCE_MAX
    #[must_use]
    pub fn hashing(&self) -> Option<Hashing> {
        self.hashing
    }

    /// Does the work; may block on the disk or the processor.
    #[must_use]
    pub fn run(self, broker: &Broker, session: &mut Session) -> Outcome {
        (self.work)(broker, session)
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Outcome {
    pub(crate) fn offload(
        work: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static,
    ) -> Self {
        Self::Offload(Job::new(work))
    }

    /// As [`Outcome::offload`], for work that reads up to `answer_bytes` of messages into memory.
    pub(crate) fn offload_read(
        answer_bytes: u64,
        work: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static,
    ) -> Self {
        Self::Offload(Job { answer_bytes, ..Job::new(work) })
    }

    pub(crate) fn delay(
        wait: Duration,
        work: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static,
    ) -> Self {
        Self::Delay(wait, Job::new(work))
    }

    /// Notes for whom its work hashes passwords; what is no work stays as it is.
    pub(crate) fn hashing(self, who: Hashing) -> Self {
        let note = |job| Job { hashing: Some(who), ..job };
        match self {
            Self::Offload(job) => Self::Offload(note(job)),
            Self::Delay(wait, job) => Self::Delay(wait, note(job)),
            done => done,
        }
    }
}

impl From<Result<Reply, ErrorCode>> for Outcome {
    fn from(result: Result<Reply, ErrorCode>) -> Self {
        Self::Done(result.unwrap_or_else(Reply::Error))
    }
}
