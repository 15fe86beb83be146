//! What requests and their answers go through, without a socket, a task or a thread: events in, effects out.
//!
//! Whatever carries requests (frames over a stream of bytes, QUIC, HTTP) tells what happened and does what it is told;
//! what a step of the broker ([`Outcome`]) means is known here alone.
//! - [`turn`]: one request, from its submission to its answer or to its wait. Every carrier has one.
//! - [`in_order`]: a connection on which answers leave in the order of the requests.
//! - [`side_by_side`]: a connection on which every request has a stream, and answers leave when they are ready.
//! - [`deadlines`]: when something is due although nothing happens.
//!
//! INV-ONE-JOB: while a request is with the broker, or with a job on another thread, nothing else of its connection is
//! submitted.
//! Time is asked of the clock that was handed in, and only where it is needed.

pub(crate) mod deadlines;
pub(crate) mod in_order;
pub(crate) mod side_by_side;
pub(crate) mod turn;

use std::io;
use std::time::Duration;

use galgo_broker::{Outcome, Waiting};
use galgo_wire::ErrorCode;
use tokio::time::Instant;

use self::deadlines::Patience;
use crate::transport::Grant;

/// How long the last answers of a connection that ends may take.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// What a conversation moves without looking inside; in a test, numbers.
pub(crate) trait Parts {
    /// Where an answer goes.
    type To;
    /// A request that is here in full.
    type Request;
    /// Work for a thread that may block.
    type Job;
    /// A poll that waits.
    type Wait: Wait;
}

/// A poll that waits.
pub(crate) trait Wait {
    /// How long it wants to wait.
    fn time(&self) -> Duration;
}

impl Wait for Waiting {
    fn time(&self) -> Duration {
        Self::time(self)
    }
}

/// What the broker, or a job, made of a request.
pub(crate) type OutcomeOf<P> = Outcome<<P as Parts>::Job, <P as Parts>::Wait>;

/// Covers what an answer has in memory, until it is written.
pub(crate) type Held = Option<Box<Grant>>;

/// A grant as it goes with an answer; few answers have one.
pub(crate) fn held(grant: Grant) -> Held {
    (!grant.is_empty()).then(|| Box::new(grant))
}

/// The grant that went with an answer.
pub(crate) fn grant(held: Held) -> Grant {
    held.map(|held| *held).unwrap_or_default()
}

/// What tells the time.
pub(crate) type Clock = fn() -> Instant;

/// What a conversation keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConversationRules {
    /// Most answers that are on their way at once.
    pub(crate) answers_max: usize,
    /// How long a poll may wait at most.
    pub(crate) poll_wait: Duration,
    /// How long the peer may take.
    pub(crate) patience: Patience,
    /// What tells the time.
    pub(crate) clock: Clock,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Peer,
    /// An answer asked for it.
    Refused(ErrorCode),
    /// The server stops.
    Stopping,
    /// A request stayed half sent for too long.
    FrameTimeout,
    /// Nobody logged in for too long.
    LoginTimeout,
    /// Reading or writing failed.
    Failed(io::Error),
}

/// A poll that waits, and until when.
pub(crate) struct Waited<W> {
    /// The poll.
    pub(crate) poll: W,
    /// When its wait is over at the latest.
    pub(crate) due: Instant,
}

/// How a poll that waited is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It may go on waiting if there is still too little.
    Again,
    /// It is answered with what there is.
    Last,
}

#[cfg(test)]
mod tests;
