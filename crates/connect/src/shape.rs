//! What is made of messages before they are delivered: decoded, and put through the transforms of the file.

use async_trait::async_trait;
use bytes::Bytes;
use galgo::UserHeaders;

use crate::batch::Form;
use crate::headers;
use crate::log::LogMessage;
use crate::place::LaneName;
use crate::transform::{
    BadMessage, HeadersAtHand, Meta, PayloadFormat, TransformInput, Transforms, as_json,
};

/// What was made of a message: nothing, one row or several; or what is wrong with it, without any value of it (INV-MUTE).
pub type Shaped = Result<Vec<(Form, Bytes)>, BadMessage>;

/// What a pipeline makes of messages.
#[async_trait]
pub trait Shape: Send + Sync {
    /// What is made of each of these messages, in their order.
    async fn shape(&self, lane: &LaneName, messages: &[LogMessage]) -> Vec<Shaped>;
}

/// The format and the transforms of a file.
#[derive(Debug)]
pub struct Shaper {
    /// How payloads are written.
    pub format: PayloadFormat,
    /// What is made of them.
    pub transforms: Transforms,
    /// Whether the target takes JSON only.
    pub needs_json: bool,
}

#[async_trait]
impl Shape for Shaper {
    async fn shape(&self, lane: &LaneName, messages: &[LogMessage]) -> Vec<Shaped> {
        let inputs = messages.iter().map(|message| self.input(lane, message));
        let shaped = self.shape_each(inputs.collect()).await;
        assert_eq!(shaped.len(), messages.len(), "INV-PREFIX: each message has a fate");
        shaped
    }
}

impl Shaper {
    /// What is made of messages that are decoded, or not to be had; `None` is one that is left out.
    pub async fn shape_each(
        &self,
        inputs: Vec<Result<Option<TransformInput>, BadMessage>>,
    ) -> Vec<Shaped> {
        let good = inputs.iter().filter_map(|input| input.as_ref().ok().cloned().flatten());
        let mut made = match self.transforms.is_empty() {
            true => good.map(|input| Ok(vec![(input.form, input.payload)])).collect(),
            false => self.transforms.apply_each(good.collect()).await,
        }
        .into_iter();
        let each = |input: Result<Option<TransformInput>, BadMessage>| match input? {
            None => Ok(Vec::new()),
            Some(_) => match made.next() {
                Some(made) => made.and_then(|rows| self.finished(rows)),
                None => unreachable!("INV-PREFIX: each message has a fate"),
            },
        };
        let shaped = inputs.into_iter().map(each).collect();
        assert!(made.next().is_none(), "INV-PREFIX: each fate is that of a message");
        shaped
    }

    /// A message as transforms see it; nothing for one that has passed this pipeline before.
    fn input(
        &self,
        lane: &LaneName,
        message: &LogMessage,
    ) -> Result<Option<TransformInput>, BadMessage> {
        if !message.headers_block.is_empty() {
            let headers = UserHeaders::from_bytes(&message.headers_block).ok();
            // INV-NO-LOOP
            if headers.is_some_and(|it| headers::is_loop(&it, &lane.pipeline)) {
                return Ok(None);
            }
        }
        let (form, payload) = self.decoded(&message.payload)?;
        let meta = Meta {
            stream: Some(lane.stream.as_str().into()),
            topic: Some(lane.topic.as_str().into()),
            partition: Some(lane.partition),
            offset: Some(message.offset),
            time: Some(message.time),
            id: Some(message.id),
            key: None,
            headers: HeadersAtHand::Block(message.headers_block.clone()),
        };
        Ok(Some(TransformInput { payload, form, meta }))
    }

    /// A payload as what it is. One that nobody looks into passes as it is, whatever the format says.
    ///
    /// # Errors
    /// It is not in the format, and somebody does look into it.
    pub fn decoded(&self, payload: &Bytes) -> Result<(Form, Bytes), BadMessage> {
        match self.transforms.is_empty() && !self.needs_json {
            true => Ok((form_of(payload), payload.clone())),
            false => self.format.decode(payload),
        }
    }

    fn finished(&self, rows: Vec<(Form, Bytes)>) -> Shaped {
        if !self.needs_json {
            return Ok(rows);
        }
        let json = |(form, payload)| as_json(form, &payload).map(|json| (Form::Json, json));
        rows.into_iter().map(json).collect()
    }
}

/// What a payload looks like.
fn form_of(payload: &[u8]) -> Form {
    if serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok() {
        return Form::Json;
    }
    match str::from_utf8(payload) {
        Ok(_) => Form::Text,
        Err(_) => Form::Bytes,
    }
}
