//! Sending, flushing: one method per command.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use galgo_wire::batch::{BatchBuilder, NewMessage};
use galgo_wire::command::CommandCode;
use galgo_wire::command::messages::FlushUnsavedBuffer;
use galgo_wire::frame::put_request;
use galgo_wire::id::{PartitionId, Timestamp};
use galgo_wire::limits::{REQUEST_HEADER_BYTES, SEND_METADATA_BYTES_MAX};

use crate::call::too_large;
use crate::connection::Replay;
use crate::error::{Fate, NotSent};
use crate::message::{EncodedMessage, Message};
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
    /// A producer's batch was refused for the moment, and later messages of its partition were
    /// stored meanwhile: sending it again would break their order. It was not stored.
    #[error(
        "messages to topic {topic} were refused while later ones of their partition were stored"
    )]
    Overtaken {
        /// The topic and its stream.
        topic: String,
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
        let mut batch = BatchBuilder::new();
        let origin_timestamp = now();
        for message in messages {
            push(&mut batch, &message.encode()?, origin_timestamp)?;
        }
        let frame = send_frame(stream, topic, &partitioning, &batch)?;
        let answer = self.connection.exchange(frame, Replay::Never).await;
        answer.map(drop).map_err(|failure| failure.into_send(path(stream, topic)))
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

/// The request frame that sends `batch`.
pub(crate) fn send_frame(
    stream: &Identifier,
    topic: &Identifier,
    partitioning: &Partitioning,
    batch: &BatchBuilder,
) -> Result<Bytes, InvalidRequest> {
    let room = REQUEST_HEADER_BYTES + 4 + SEND_METADATA_BYTES_MAX + batch.bytes();
    let mut out = Vec::with_capacity(room);
    let code = CommandCode::SendMessages.as_u32();
    put_request(&mut out, code, |out| {
        batch.encode_send(stream.borrowed(), topic.borrowed(), partitioning.borrowed(), out);
    })
    .map_err(|_| too_large())?;
    Ok(out.into())
}

/// Appends `message` to `batch`.
pub(crate) fn push(
    batch: &mut BatchBuilder,
    message: &EncodedMessage<'_>,
    origin_timestamp: Timestamp,
) -> Result<(), InvalidRequest> {
    let new = NewMessage {
        id: message.id,
        payload: message.payload,
        user_headers: &message.headers,
        origin_timestamp: message.origin_timestamp.unwrap_or(origin_timestamp),
    };
    // An encoded message keeps the limits of one, so only the whole can be too large.
    batch.push(&new).map_err(|_| too_large())
}

/// The time by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}
