//! From a message of an origin to an acknowledged message of the topic.

use bytes::Bytes;
use galgo::{Client, HeaderKey, Identifier, Message, PartitionBy, ProduceError, Producer, Receipt};

use crate::batch::Form;
use crate::config::file::BadChoice;
use crate::failure::Failure;
use crate::headers;
use crate::inbound::Inbound;
use crate::shape::Shaped;
use crate::source::Incoming;
use crate::transform::{BadMessage, Expression, Headers, Meta, TransformInput};

/// Sends messages, in order, and tells when they are acknowledged.
pub(super) struct Sender<'a> {
    pipeline: &'a Inbound,
    producer: Producer,
    key: Option<Expression>,
    id: Option<Expression>,
}

/// What was done with the messages of a chunk, before they are acknowledged.
pub(super) struct Sent {
    /// What tells when each is stored.
    pub(super) receipts: Vec<Receipt>,
    /// Those of which nothing was made.
    pub(super) filtered: u64,
    /// Those that were left out, or buried.
    pub(super) bad: u64,
    pub(super) bytes: u64,
}

/// Why a chunk was not sent to its end.
pub(super) enum NotSent {
    /// The server says no, or nothing.
    Failed(Failure),
    /// A message is bad, and the pipeline stands in front of it.
    Stands(String),
}

impl<'a> Sender<'a> {
    pub(super) async fn new(
        pipeline: &'a Inbound,
        client: &Client,
        stream: Identifier,
        topic: Identifier,
        key: Option<Expression>,
        id: Option<Expression>,
    ) -> Result<Self, Failure> {
        // Without a key all goes to one partition: what is repeated has to come to where it was before.
        let by = PartitionBy::Key(pipeline.name.as_bytes().to_vec());
        let producer = client.producer(&stream, &topic).partition_by(by).build().await;
        let producer = producer.map_err(|error| failed(&error))?;
        Ok(Self { pipeline, producer, key, id })
    }

    /// Sends the messages of a chunk; returns when all are accepted.
    pub(super) async fn send(&self, messages: Vec<Incoming>) -> Result<Sent, NotSent> {
        let mut sent =
            Sent { receipts: Vec::with_capacity(messages.len()), filtered: 0, bad: 0, bytes: 0 };
        let inputs = messages.iter().map(|message| self.input(message)).collect();
        let shaped = self.pipeline.shape.shape_each(inputs).await;
        for (message, shaped) in messages.iter().zip(shaped) {
            if let Err(bad) = self.send_rows(message, shaped, &mut sent).await? {
                self.set_aside(message, bad, &mut sent).await?;
            }
        }
        Ok(sent)
    }

    /// Waits until nothing is on its way; what failed is begun again by the caller.
    pub(super) async fn flush(&self) {
        let _ = self.producer.close().await;
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
            headers: Headers::Read(std::sync::Arc::new(message.headers.clone())),
            ..Meta::default()
        }
    }

    /// Sends what was made of a message.
    async fn send_rows(
        &self,
        message: &Incoming,
        shaped: Shaped,
        sent: &mut Sent,
    ) -> Result<Result<(), BadMessage>, NotSent> {
        let rows = match shaped {
            Ok(rows) => rows,
            Err(bad) => return Ok(Err(bad)),
        };
        if rows.is_empty() {
            sent.filtered += 1;
        }
        // All or none: a message that is bad in its second row has no first one in the topic.
        let mut ready = Vec::with_capacity(rows.len());
        for (part, (form, payload)) in (0_u32..).zip(rows) {
            match self.message(message, part, form, payload) {
                Ok(row) => ready.push(row),
                Err(bad) => return Ok(Err(bad)),
            }
        }
        for Ready { key, message, bytes } in ready {
            let receipt = match &key {
                Some(key) => self.producer.send_keyed_with_receipt(key, message).await,
                None => self.producer.send_with_receipt(message).await,
            };
            sent.receipts.push(receipt.map_err(|error| NotSent::Failed(failed(&error)))?);
            sent.bytes += bytes;
        }
        Ok(Ok(()))
    }

    /// A row as a message of the topic.
    fn message(
        &self,
        from: &Incoming,
        part: u32,
        form: Form,
        payload: Bytes,
    ) -> Result<Ready, BadMessage> {
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
        let bytes = payload.len() as u64;
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
        Ok(Ready { key, message, bytes })
    }

    /// Does with a message that is bad as the file says.
    async fn set_aside(
        &self,
        message: &Incoming,
        bad: BadMessage,
        sent: &mut Sent,
    ) -> Result<(), NotSent> {
        let pipeline = &self.pipeline.name;
        match (self.pipeline.on_bad, &self.pipeline.dead) {
            (BadChoice::Skip, _) => {
                tracing::warn!(pipeline, reason = bad.reason, "message skipped");
            }
            (BadChoice::DeadLetter, Some(dead)) => {
                let letter = crate::dead_letter::incoming(pipeline, message, &bad.reason);
                let stored = dead.store(vec![letter]).await;
                stored.map_err(|error| NotSent::Failed(Failure::away(error)))?;
            }
            (BadChoice::Pause | BadChoice::DeadLetter, _) => {
                return Err(NotSent::Stands(format!(
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
struct Ready {
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

/// Why a message was not taken or not acknowledged.
pub(super) fn failed(error: &ProduceError) -> Failure {
    Failure::away(error.to_string())
}
