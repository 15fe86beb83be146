//! What Galgo's commands do: sessions, metadata, partitions, consumer offsets. Knows no transport.
//!
//! [`broker::Broker::submit`] takes a session and a request and gives an [`outcome::Outcome`].
//! The crate owns no thread and no socket: the server (or a simulator) runs its
//! [`broker::Worker`]s and [`outcome::Job`]s, and waits for its [`ticket::Ticket`]s.
//!
//! The promises and where they are kept:
//! - P-ACK: [`shard`] (group commit, checkpoints), [`partition`] (stage, commit, publish).
//! - P-ORDER: [`partition`].
//! - P-TRUTH: [`partition`] reads and `galgo_storage::log`.

pub mod access;
mod alarm;
pub mod broker;
mod catalog;
mod causes;
mod chain;
pub mod clients;
mod command;
pub mod environment;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod group;
pub mod lives;
pub mod metadata;
pub mod offset_book;
pub mod outcome;
pub mod partition;
pub mod session;
pub mod shard;
pub mod snapshot;
pub mod stats;
pub mod ticket;
pub mod trail;
pub mod upkeep;
pub mod vault;
mod waiting;

pub use access::guard::AccessOptions;
pub use access::password::HASHES_AT_ONCE_MAX;
pub use access::throttle::ThrottleOptions;
pub use broker::{
    Broker, BrokerOptions, FirstUser, GroupOptions, ListenAddresses, LogBounds, OfflineLog,
    OpenError, OpenReport, RecoveredLog, Worker,
};
pub use causes::Causes;
pub use clients::Peer;
pub use metadata::UserSerial;
pub use outcome::{
    Answer, Hashing, Job, MessagesHead, MessagesReply, Outcome, Reply, Slice, Work, memory_bytes,
};
pub use partition::{AnswerBounds, COLD_PIECE_BYTES_MAX, Piece, PollError, Rest};
pub use session::Session;
pub use ticket::Ticket;
pub use trail::{Refusal, Trail};
pub use waiting::Waiting;
