//! Sending, flushing: one method per command.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use galgo_wire::batch::{BatchBuilder, NewMessage};
use galgo_wire::command::CommandCode;
use galgo_wire::command::messages::FlushUnsavedBuffer;
use galgo_wire::command::send_with::{ChainLink, SEND_WITH_HEAD_BYTES_MAX, SendWithHeader};
use galgo_wire::frame::put_request;
use galgo_wire::id::{PartitionId, Timestamp};
use galgo_wire::index::part_mut;
use galgo_wire::limits::{REQUEST_HEADER_BYTES, SEND_METADATA_BYTES_MAX};
use galgo_wire::measure::micros;

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
    /// The answer came, but it is none to a send: the messages may be stored or not.
    #[error(
        "it is unknown whether the messages to topic {topic} are stored: the server's answer does not make \
         sense: {reason}; is it a Galgo server?"
    )]
    Reply {
        /// The topic and its stream.
        topic: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The batch cannot be sent; nothing was stored.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
}

impl SendError {
    /// Whether certainly no message of the batch was stored.
    pub fn is_certainly_not_stored(&self) -> bool {
        !matches!(self, Self::Unknown { .. } | Self::Reply { .. })
    }
}

impl Client {
    /// Sends `messages` as one batch: all go to one partition, next to each other, or none does.
    ///
    /// Returns when the server has acknowledged them. Concurrent calls are pipelined and carried out
    /// in the order they were first polled, each for itself: when one is refused, those behind it that were
    /// polled before its answer came are stored all the same. A batch whose fate is unknown is never sent
    /// again. A [`Producer`](crate::Producer) sends again, and stores nothing behind a refusal.
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
        let to = SendTo { stream, topic, partitioning: &partitioning };
        let frame = send_frame(to, SendFrame::Classic, &batch)?;
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

/// Where a batch goes.
#[derive(Clone, Copy)]
pub(crate) struct SendTo<'a> {
    pub(crate) stream: &'a Identifier,
    pub(crate) topic: &'a Identifier,
    pub(crate) partitioning: &'a Partitioning,
}

/// The command a batch is sent with.
#[derive(Clone, Copy)]
pub(crate) enum SendFrame {
    /// The one every server knows.
    Classic,
    /// Galgo's own, as part of a chain.
    Chained(ChainLink),
}

/// The request frame that sends `batch`.
pub(crate) fn send_frame(
    to: SendTo<'_>,
    form: SendFrame,
    batch: &BatchBuilder,
) -> Result<Bytes, InvalidRequest> {
    let head = REQUEST_HEADER_BYTES + SEND_WITH_HEAD_BYTES_MAX + 4 + SEND_METADATA_BYTES_MAX;
    let mut out = Vec::with_capacity(head + batch.bytes());
    let code = match form {
        SendFrame::Classic => CommandCode::SendMessages,
        SendFrame::Chained(_) => CommandCode::SendWith,
    };
    let SendTo { stream, topic, partitioning } = to;
    put_request(&mut out, code.as_u32(), |out| {
        if let SendFrame::Chained(link) = form {
            SendWithHeader::encode(Some(link), out);
        }
        batch.encode_send(stream.borrowed(), topic.borrowed(), partitioning.borrowed(), out);
    })
    .map_err(|_| too_large())?;
    assert!(out.len() <= head + batch.bytes(), "INV-BOUND: the head of a send is within its limit");
    Ok(out.into())
}

/// Lets the chain of a frame that [`send_frame`] made begin with it. The frame is copied where somebody else
/// still holds it.
pub(crate) fn begin_chain(frame: Bytes) -> Bytes {
    let mut frame = BytesMut::from(frame);
    SendWithHeader::begin(part_mut(
        &mut frame,
        REQUEST_HEADER_BYTES..,
        "a frame begins with its header",
    ));
    frame.freeze()
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
    Timestamp::new(micros(since_epoch))
}
