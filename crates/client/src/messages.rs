//! Sending, flushing: one method per command.

use galgo_wire::batch::builder::BatchBuilder;
use galgo_wire::command::messages::FlushUnsavedBuffer;
use galgo_wire::id::PartitionId;

use crate::error::{Fate, NotSent};
use crate::message::Message;
use crate::topics::path;
use crate::{CallError, Client, Identifier, InvalidRequest, Partitioning, ServerError};

/// Why a batch was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server refused; no message was stored.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The batch was sent and not answered: all of its messages are stored, or none is.
    #[error(
        "it is unknown whether the messages to topic {topic} are stored: {fate}; sending them again \
         may store them twice"
    )]
    Unknown {
        /// The topic and its stream.
        topic: String,
        /// What happened instead of an answer.
        fate: Fate,
    },
    /// The batch never left the client; no message was stored.
    #[error("the messages to topic {topic} were not sent: {reason}")]
    NotSent {
        /// The topic and its stream.
        topic: String,
        /// What kept it.
        reason: NotSent,
    },
    /// The batch cannot be sent; nothing was stored.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
}

impl SendError {
    /// Whether certainly no message of the batch was stored.
    pub fn is_certainly_not_stored(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}

impl Client {
    /// Sends `messages` as one batch: all go to one partition, next to each other, or none does.
    ///
    /// Returns when the server has acknowledged them. Concurrent calls are pipelined and carried out
    /// in the order they were first polled. A batch whose fate is unknown is never sent again; use a
    /// [`Producer`](crate::Producer) for that.
    ///
    /// # Errors
    /// [`SendError`]; in every case but [`SendError::Unknown`] nothing was stored.
    pub async fn send(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        partitioning: Partitioning,
        messages: &[Message],
    ) -> Result<(), SendError> {
        crate::messages::send(self, stream, topic, (partitioning, messages)).await
    }

    /// Makes the messages of a partition as durable as they can be, now; `fsync`: against power loss.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn flush(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        partition: u32,
        fsync: bool,
    ) -> Result<(), CallError> {
        let command = FlushUnsavedBuffer {
            stream: stream.clone(),
            topic: topic.clone(),
            partition_id: PartitionId::new(partition),
            fsync,
        };
        self.call(&command, "flush", || format!("partition {partition} of {}", path(stream, topic)))
            .await
    }
}
