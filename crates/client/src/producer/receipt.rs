//! What a producer says about messages it was given.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use crate::{CallError, InvalidRequest, SendError};

/// Why a message was not taken, or not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The message cannot be sent; nothing happened to the others.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The topic could not be looked up, so the partition of a key, or how the topic wants its messages, is not
    /// known.
    #[error("the topic could not be looked up: {0}")]
    Lookup(CallError),
    /// The topic does not exist.
    #[error("there is no topic {topic} to send to; create it first")]
    NoTopic {
        /// The topic and its stream.
        topic: String,
    },
    /// The batch of this message, or one the producer sent before it, was not acknowledged.
    ///
    /// All later messages fail too, so that no partition gets a hole, also those that were on their way to the
    /// server: it stores nothing behind a batch it refused. The producer takes messages again once
    /// [`Producer::flush`](crate::Producer::flush) has reported the failure.
    #[error(transparent)]
    Failed(SendError),
    /// The producer was closed or dropped.
    #[error("the producer is closed")]
    Closed,
}

/// Why not everything a producer had accepted was acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{unacknowledged} messages were not acknowledged: {cause}")]
pub struct FlushError {
    /// How many messages, accepted since the last flush, were not acknowledged.
    pub unacknowledged: u64,
    /// The first failure.
    pub cause: ProduceError,
}

pub(crate) type Verdict = Result<(), ProduceError>;

/// Resolves when the message is acknowledged, or certainly or possibly is not.
///
/// Dropping a receipt changes nothing for the message.
#[derive(Debug, Clone)]
pub struct Receipt(Shared<oneshot::Receiver<Verdict>>);

impl Receipt {
    pub(crate) fn pair() -> (oneshot::Sender<Verdict>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver.shared()))
    }
}

impl Future for Receipt {
    type Output = Result<(), ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(context).map(|verdict| verdict.unwrap_or(Err(ProduceError::Closed)))
    }
}
