//! From a message of an origin to an acknowledged message of the topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
use galgo::{HeaderKey, MESSAGE_PAYLOAD_BYTES_MAX, Message};

use crate::batch::Form;
use crate::config::file::BadChoice;
use crate::dead_letter::Letter;
use crate::failure::Failure;
use crate::headers;
use crate::inbound::Inbound;
use crate::inbound::topic::{Acknowledgement, NotStored, TargetTopic};
use crate::shape::Shaped;
use crate::source::Incoming;
use crate::transform::{BadMessage, Expression, HeadersAtHand, Meta, TransformInput};

/// Sends messages, in order, and tells when they are acknowledged.
pub(super) struct Sender<'a> {
    pub(super) pipeline: &'a Inbound,
    pub(super) target: Box<dyn TargetTopic>,
    pub(super) key: Option<Expression>,
    pub(super) id: Option<Expression>,
    pub(super) pace: Arc<SendPace>,
}

/// How much is sent at once; outlives a connection.
///
/// A server may take less at once than a producer sends, and names no message when it refuses. So after a refusal less is sent
/// together, and for a while each message alone: one that is refused then is the bad one.
#[derive(Debug)]
pub(super) struct SendPace {
    batch_bytes: AtomicUsize,
    /// Chunks whose messages are sent alone.
    alone: AtomicU32,
}

const _: () = assert!(
    SendPace::BYTES_MIN < SendPace::BYTES_MAX,
    "what was refused is sent again in smaller pieces"
);
const _: () = assert!(
    super::source_loop::CHUNKS_MAX <= u32::MAX as usize,
    "all chunks that may be on their way are counted"
);

impl Default for SendPace {
    fn default() -> Self {
        Self { batch_bytes: AtomicUsize::new(SendPace::BYTES_MAX), alone: AtomicU32::new(0) }
    }
}

impl SendPace {
    const BYTES_MAX: usize = 1 << 20;
    /// The least a server can be told to take.
    const BYTES_MIN: usize = 1 << 10;
    /// Chunks sent alone after a refusal: as many as may have been on their way.
    const ALONE: u32 = super::source_loop::CHUNKS_MAX as u32;

    /// How many bytes may be sent together.
    pub(super) fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Ordering::Relaxed)
    }

    /// What was sent together was too large, or one message in it.
    pub(super) fn was_refused(&self) {
        let before = self.batch_bytes();
        let less = (before / 4).max(Self::BYTES_MIN);
        assert!(less <= before, "after a refusal no more is sent together");
        self.batch_bytes.store(less, Ordering::Relaxed);
        self.alone.store(Self::ALONE, Ordering::Relaxed);
    }

    /// The message is found that was to blame.
    fn is_found(&self) {
        let before = self.batch_bytes();
        let more = (before * 4).min(Self::BYTES_MAX);
        assert!(more >= before, "a message that is found slows nobody down");
        self.batch_bytes.store(more, Ordering::Relaxed);
        self.alone.store(0, Ordering::Relaxed);
    }

    fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed) > 0
    }

    fn chunk_is_sent(&self) {
        let alone = self.alone.load(Ordering::Relaxed);
        self.alone.store(alone.saturating_sub(1), Ordering::Relaxed);
    }
}

/// What was done with the messages of a chunk, before they are acknowledged.
pub(super) struct SentChunk {
    /// What tells when each is stored.
    pub(super) receipts: Vec<Acknowledgement>,
    /// Those of which nothing was made.
    pub(super) filtered: u64,
    /// Those that were left out, or buried.
    pub(super) bad: u64,
    pub(super) bytes: u64,
}

/// Why a chunk was not sent to its end.
pub(super) enum ChunkNotSent {
    /// The server says no, or nothing.
    Failed(Failure),
    /// A message is bad, and the pipeline stands in front of it.
    Stands(String),
}

impl<'a> Sender<'a> {
    /// Sends the messages of a chunk; returns when all are accepted.
    pub(super) async fn send(&self, messages: Vec<Incoming>) -> Result<SentChunk, ChunkNotSent> {
        let mut sent = SentChunk {
            receipts: Vec::with_capacity(messages.len()),
            filtered: 0,
            bad: 0,
            bytes: 0,
        };
        let inputs = messages.iter().map(|message| self.input(message)).collect();
        let shaped = self.pipeline.shape.shape_each(inputs).await;
        assert_eq!(shaped.len(), messages.len(), "INV-PREFIX: each message has a fate");
        for (message, shaped) in messages.iter().zip(shaped) {
            if let Err(bad) = self.send_rows(message, shaped, &mut sent).await? {
                self.set_aside(message, bad, &mut sent).await?;
            }
        }
        assert!(
            sent.filtered + sent.bad <= messages.len() as u64,
            "INV-ACKED-FIRST: a message is filtered or set aside once"
        );
        self.pace.chunk_is_sent();
        Ok(sent)
    }

    /// Waits until nothing is on its way; what failed is begun again by the caller.
    pub(super) async fn flush(&self) {
        self.target.flush().await;
    }

    fn input(&self, message: &Incoming) -> Result<Option<TransformInput>, BadMessage> {
        // INV-NO-LOOP
        if headers::is_loop(&message.headers, &self.pipeline.name) {
            return Ok(None);
        }
        let (form, payload) = match message.form {
            Form::Json => (Form::Json, message.payload.clone()),
            _ => self.pipeline.shape.decoded(&message.payload)?,
        };
        Ok(Some(TransformInput { payload, form, meta: self.meta(message) }))
    }

    fn meta(&self, message: &Incoming) -> Meta {
        Meta {
            time: message.made_at,
            id: message.id,
            key: message.key.clone(),
            headers: HeadersAtHand::Read(std::sync::Arc::new(message.headers.clone())),
            ..Meta::default()
        }
    }

    /// Sends what was made of a message.
    async fn send_rows(
        &self,
        message: &Incoming,
        shaped: Shaped,
        sent: &mut SentChunk,
    ) -> Result<Result<(), BadMessage>, ChunkNotSent> {
        let rows = match shaped {
            Ok(rows) => rows,
            Err(bad) => return Ok(Err(bad)),
        };
        if rows.is_empty() {
            sent.filtered += 1;
        }
        // All or none, as far as it is known here: a message that is bad in its second row has no first one in the topic. What only
        // the server knows, its limit for a request, may leave rows in front of one that it refuses there.
        let mut ready = Vec::with_capacity(rows.len());
        for (part, (form, payload)) in (0_u32..).zip(rows) {
            match self.message(message, part, form, payload) {
                Ok(row) => ready.push(row),
                Err(bad) => return Ok(Err(bad)),
            }
        }
        for ready in ready {
            let bytes = ready.bytes;
            match self.send_row(ready).await {
                Ok(receipt) => sent.receipts.extend(receipt),
                Err(NotStored::Unfit(reason)) => return Ok(Err(BadMessage { reason })),
                Err(NotStored::BehindUnfit(reason)) => {
                    self.pace.was_refused();
                    return Err(ChunkNotSent::Failed(Failure::away(reason)));
                }
                Err(NotStored::Failed(failure)) => return Err(ChunkNotSent::Failed(failure)),
            }
            sent.bytes += bytes;
        }
        Ok(Ok(()))
    }

    /// Sends a row; waits for its acknowledgement if messages are sent alone.
    async fn send_row(&self, row: ReadyMessage) -> Result<Option<Acknowledgement>, NotStored> {
        let receipt = self.target.send(row.key.as_ref(), row.message).await?;
        if !self.pace.is_alone() {
            return Ok(Some(receipt));
        }
        let stored = receipt.await;
        if let Err(NotStored::Unfit(_)) = &stored {
            // It takes nothing more before that was told.
            self.target.flush().await;
            self.pace.is_found();
        }
        stored.map(|()| None)
    }

    /// A row as a message of the topic.
    fn message(
        &self,
        from: &Incoming,
        part: u32,
        form: Form,
        payload: Bytes,
    ) -> Result<ReadyMessage, BadMessage> {
        let input = TransformInput { payload: payload.clone(), form, meta: self.meta(from) };
        let key = match &self.key {
            Some(key) => key.evaluate_input(&input)?.map(|key| Bytes::from(key.into_bytes())),
            None => from.key.clone(),
        };
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 255) {
            return Err(BadMessage { reason: "its key does not have 1 to 255 bytes".to_owned() });
        }
        let id = match &self.id {
            Some(id) => id.evaluate_input(&input)?.map(|text| id_of_text(&text)),
            None => from.id,
        };
        let bytes = payload.len();
        if bytes > MESSAGE_PAYLOAD_BYTES_MAX as usize {
            let reason = format!(
                "its payload has {bytes} bytes, over the limit of {MESSAGE_PAYLOAD_BYTES_MAX}"
            );
            return Err(BadMessage { reason });
        }
        let mut message = Message::new(payload);
        if let Some(id) = id {
            message = message.id(id_of_part(id, part));
        }
        if let Some(made_at) = from.made_at {
            message = message.origin_timestamp(made_at);
        }
        for (name, value) in from.headers.iter() {
            message = message.typed_header(name.clone(), value.clone());
        }
        let Ok(via) = headers::VIA.parse::<HeaderKey>() else {
            unreachable!("INV-NO-LOOP: the name of the header is one")
        };
        message = message.typed_header(via, headers::via(&from.headers, &self.pipeline.name));
        if let Err(error) = message.user_headers().to_bytes() {
            return Err(BadMessage {
                reason: format!("its headers are none of a message: {error}"),
            });
        }
        Ok(ReadyMessage { key, message, bytes: bytes as u64 })
    }

    /// Does with a message that is bad as the file says.
    async fn set_aside(
        &self,
        message: &Incoming,
        bad: BadMessage,
        sent: &mut SentChunk,
    ) -> Result<(), ChunkNotSent> {
        let pipeline = &self.pipeline.name;
        match (self.pipeline.on_bad, &self.pipeline.dead) {
            (BadChoice::Skip, _) => {
                tracing::warn!(pipeline, reason = bad.reason, "message skipped");
            }
            (BadChoice::DeadLetter, Some(dead)) => {
                let letter = Letter::incoming(pipeline, message, &bad.reason);
                let stored = dead.store(&[letter]).await;
                stored.map_err(|error| ChunkNotSent::Failed(Failure::away(error)))?;
            }
            (BadChoice::Pause | BadChoice::DeadLetter, _) => {
                return Err(ChunkNotSent::Stands(format!(
                    "a message is not taken: {}; correct the file, or set errors.on_bad",
                    bad.reason
                )));
            }
        }
        sent.bad += 1;
        Ok(())
    }
}

/// A message with what chooses its partition.
struct ReadyMessage {
    key: Option<Bytes>,
    message: Message,
    bytes: u64,
}

/// The id of a row: that of the message for the first one, and one of its own for each of the others.
fn id_of_part(id: u128, part: u32) -> u128 {
    match part {
        0 => id,
        part => {
            twox_hash::XxHash3_128::oneshot(&[&id.to_le_bytes()[..], &part.to_le_bytes()].concat())
        }
    }
}

/// The id that a text stands for: a UUID as it is, anything else by its hash.
fn id_of_text(text: &str) -> u128 {
    match uuid::Uuid::parse_str(text) {
        Ok(uuid) => uuid.as_u128(),
        Err(_) => twox_hash::XxHash3_128::oneshot(text.as_bytes()),
    }
}
