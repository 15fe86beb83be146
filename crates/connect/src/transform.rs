//! What is made of a message on its way: decoded, filtered, changed, one after the other.
//!
//! A message gives any number of outputs, which go on in one step at its place. INV-SAME-ROWS: a message gives the same outputs
//! whenever it is read, as no transform sees a clock, a file or the environment. What is delivered again after a kill is what was
//! delivered before.
//!
//! Part of INV-MUTE: what is wrong with a message is said without any of its values.

mod decode;
mod expression;
mod paths;

use std::sync::Arc;

use bytes::Bytes;
use galgo::UserHeaders;
use galgo_jq::{self as jq, Fault, Lost, Map, TEXT_MAX, Val, Watch};
use serde::Deserialize;

pub use decode::{PayloadFormat, as_json};
pub use expression::Expression;
pub use galgo_jq::given_up;

use crate::batch::{Form, Row};
use crate::config::ConfigError;
use crate::headers;
use crate::place::LaneName;
use paths::{Condition, Pointer};

/// A `[[transform]]` of a file: one of its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformSettings {
    /// A program in jq: it gives no, one or many values for a message.
    pub jq: Option<String>,
    /// Places of what is left out: `["/card", "/customer/email"]`.
    pub drop: Option<Vec<String>>,
    /// Places of the only things that are kept.
    pub keep: Option<Vec<String>>,
    /// A condition; messages for which it does not hold are left out.
    pub r#where: Option<String>,
}

/// Why nothing can be made of a message. It holds no value of it (INV-MUTE).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadMessage {
    /// What is wrong with it.
    pub reason: String,
}

impl From<Fault> for BadMessage {
    fn from(fault: Fault) -> Self {
        Self { reason: fault.0 }
    }
}

impl BadMessage {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A message, as transforms see it.
#[derive(Clone, Debug)]
pub struct TransformInput {
    /// Its payload, [decoded](PayloadFormat::decode).
    pub payload: Bytes,
    /// What the payload is.
    pub form: Form,
    /// Where it is.
    pub meta: Meta,
}

/// Where a message is, and what goes with it: `$meta` in jq. What is not known is null.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// The stream.
    pub stream: Option<Arc<str>>,
    /// The topic.
    pub topic: Option<Arc<str>>,
    /// The partition.
    pub partition: Option<u32>,
    /// The offset.
    pub offset: Option<u64>,
    /// When it was stored, or made by another system, in microseconds since the Unix epoch; text as in RFC 3339 in jq.
    pub time: Option<u64>,
    /// Its id: a UUID as text in jq.
    pub id: Option<u128>,
    /// Its key, which has to be text.
    pub key: Option<Bytes>,
    /// Its headers.
    pub headers: HeadersAtHand,
}

/// Headers as they are at hand.
#[derive(Clone, Debug, Default)]
pub enum HeadersAtHand {
    /// There are none.
    #[default]
    None,
    /// As they are in the log; read only when somebody asks.
    Block(Bytes),
    /// Read.
    Read(Arc<UserHeaders>),
}

impl TransformInput {
    /// A row of a lane.
    #[must_use]
    pub fn of_row(lane: &LaneName, row: &Row) -> Self {
        let meta = Meta {
            stream: Some(lane.stream.as_str().into()),
            topic: Some(lane.topic.as_str().into()),
            partition: Some(lane.partition),
            offset: Some(row.place.offset),
            time: Some(row.time),
            id: Some(row.id),
            key: None,
            headers: HeadersAtHand::Block(row.headers_block.clone()),
        };
        Self { payload: row.payload.clone(), form: row.form, meta }
    }
}

impl Meta {
    /// As a value of jq.
    fn value(&self) -> Result<Val, BadMessage> {
        let text = |text: &str| Val::utf8_str(text.to_owned());
        let number = |number: u64| usize::try_from(number).map_or(Val::Null, Val::from);
        let time = |micros: u64| {
            let micros = i64::try_from(micros).ok();
            let time = micros.and_then(|it| jiff::Timestamp::from_microsecond(it).ok());
            time.map_or(Val::Null, |it| text(&format!("{it:.6}")))
        };
        let key = self.key.as_deref().map(|key| {
            str::from_utf8(key).map(text).map_err(|_| BadMessage::new("its key is no text"))
        });
        let members = [
            ("stream", self.stream.as_deref().map(text)),
            ("topic", self.topic.as_deref().map(text)),
            ("partition", self.partition.map(|it| number(it.into()))),
            ("offset", self.offset.map(number)),
            ("time", self.time.map(time)),
            ("id", self.id.map(|it| text(&uuid::Uuid::from_u128(it).to_string()))),
            ("key", key.transpose()?),
            ("headers", Some(self.headers.value()?)),
        ];
        let members = members.into_iter();
        let map: Map =
            members.map(|(name, value)| (text(name), value.unwrap_or_default())).collect();
        Ok(Val::obj(map))
    }
}

impl HeadersAtHand {
    fn value(&self) -> Result<Val, BadMessage> {
        let json = match self {
            Self::None => return Ok(Val::obj(Map::default())),
            Self::Block(block) if block.is_empty() => return Ok(Val::obj(Map::default())),
            Self::Block(block) => {
                let read = UserHeaders::from_bytes(block);
                headers::to_json(&read.map_err(|_| BadMessage::new("its headers are none"))?)
            }
            Self::Read(read) => headers::to_json(read),
        };
        Ok(jq::read(json.to_string().as_bytes())?)
    }
}

/// The payload as a value of jq.
fn value_of(input: &TransformInput) -> Result<Val, BadMessage> {
    match input.form {
        Form::Json => Ok(jq::read(&input.payload)?),
        Form::Text if str::from_utf8(&input.payload).is_ok() => {
            Ok(Val::utf8_str(input.payload.clone()))
        }
        Form::Text | Form::Bytes => Ok(jq::read(&as_json(input.form, &input.payload)?)?),
    }
}

/// The transforms of a pipeline, in the order of its file.
#[derive(Clone, Default)]
pub struct Transforms {
    steps: Arc<Vec<TransformStep>>,
}

enum TransformStep {
    Jq(jq::Program),
    Without(Vec<Pointer>),
    Only(Vec<Pointer>),
    Where(Condition),
}

impl std::fmt::Debug for Transforms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transforms").field("steps", &self.steps.len()).finish()
    }
}

impl Transforms {
    /// Compiles the transforms of a file.
    ///
    /// # Errors
    /// [`ConfigError`], with which of them it is.
    pub fn compile(settings: &[TransformSettings]) -> Result<Self, ConfigError> {
        let mut steps = Vec::with_capacity(settings.len());
        for (at, settings) in settings.iter().enumerate() {
            let step = TransformStep::compile(settings).map_err(|what| ConfigError {
                at: format!("[[transform]] number {}", at + 1),
                what,
            })?;
            steps.push(step);
        }
        Ok(Self { steps: Arc::new(steps) })
    }

    /// Whether there are none: messages are delivered as they were sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What is made of a message: nothing if it was filtered. Blocks while programs run, 5 s at most and longer only when programs
    /// that do not end have taken all threads; in asynchronous code see [`Transforms::apply_each`].
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn apply(&self, input: &TransformInput) -> Result<Vec<(Form, Bytes)>, BadMessage> {
        let mut outputs = self.apply_blocking(vec![input.clone()]);
        outputs.pop().unwrap_or_else(|| unreachable!("INV-PREFIX: each message has a fate"))
    }

    /// What is made of each of these messages, in their order: one hand-over to the threads of the programs for all of them.
    pub async fn apply_each(
        &self,
        inputs: Vec<TransformInput>,
    ) -> Vec<Result<Vec<(Form, Bytes)>, BadMessage>> {
        if !self.has_programs() {
            return inputs.iter().map(|input| self.run(input)).collect();
        }
        let this = self.clone();
        let count = inputs.len();
        let applied = tokio::task::spawn_blocking(move || this.apply_blocking(inputs)).await;
        // Only when the runtime shuts down.
        applied.unwrap_or_else(|_| vec![Err(BadMessage::new("the process ends")); count])
    }

    fn has_programs(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, TransformStep::Jq(_)))
    }

    fn apply_blocking(
        &self,
        inputs: Vec<TransformInput>,
    ) -> Vec<Result<Vec<(Form, Bytes)>, BadMessage>> {
        if !self.has_programs() {
            return inputs.iter().map(|input| self.run(input)).collect();
        }
        let (this, count) = (self.clone(), inputs.len());
        let outputs = jq::each(inputs, jq::PATIENCE, move |input| this.run(input));
        assert_eq!(outputs.len(), count, "INV-PREFIX: each message has a fate");
        outputs.into_iter().map(or_lost).collect()
    }

    /// Runs all of them on this thread.
    fn run(&self, input: &TransformInput) -> Result<Vec<(Form, Bytes)>, BadMessage> {
        if self.steps.is_empty() {
            return Ok(vec![(input.form, input.payload.clone())]);
        }
        let watch = Watch::begin();
        let uses_meta = |step: &TransformStep| matches!(step, TransformStep::Jq(program) if program.uses_meta());
        let meta = if self.steps.iter().any(uses_meta) { input.meta.value()? } else { Val::Null };
        let mut values = vec![value_of(input)?];
        for step in self.steps.iter() {
            values = step.apply(values, &meta, &watch)?;
        }
        let mut left = TEXT_MAX;
        let mut outputs = Vec::with_capacity(values.len());
        for value in values {
            let payload = jq::printed(&value, &watch, left)?;
            assert!(payload.len() <= left, "INV-JQ-BOUND: outputs are bounded together");
            left -= payload.len();
            outputs.push((Form::Json, Bytes::from(payload)));
        }
        Ok(outputs)
    }
}

impl TransformStep {
    fn compile(settings: &TransformSettings) -> Result<Self, String> {
        let pointers = |texts: &[String]| -> Result<Vec<Pointer>, String> {
            texts.iter().map(|text| Pointer::parse(text)).collect()
        };
        let TransformSettings { jq, drop, keep, r#where } = settings;
        match (jq, drop, keep, r#where) {
            (Some(code), None, None, None) => {
                jq::Program::compile(code).map(Self::Jq).map_err(|what| format!("jq: {what}"))
            }
            (None, Some(texts), None, None) => {
                pointers(texts).map(Self::Without).map_err(|what| format!("drop: {what}"))
            }
            (None, None, Some(texts), None) => {
                pointers(texts).map(Self::Only).map_err(|what| format!("keep: {what}"))
            }
            (None, None, None, Some(text)) => {
                Condition::parse(text).map(Self::Where).map_err(|what| format!("where: {what}"))
            }
            _ => Err("it has to have one of the keys jq, drop, keep and where; write several \
                      [[transform]] for several"
                .to_owned()),
        }
    }

    fn apply(&self, values: Vec<Val>, meta: &Val, watch: &Watch) -> Result<Vec<Val>, BadMessage> {
        Ok(match self {
            Self::Jq(program) => {
                let mut outputs = Vec::with_capacity(values.len());
                for value in values {
                    program.run(value, meta, watch, &mut outputs)?;
                }
                outputs
            }
            Self::Without(pointers) => {
                values.into_iter().map(|value| paths::without(value, pointers)).collect()
            }
            Self::Only(pointers) => values.iter().map(|it| paths::only(it, pointers)).collect(),
            Self::Where(condition) => {
                values.into_iter().filter(|value| condition.holds(value)).collect()
            }
        })
    }
}

/// What a thread gave, or why it gave nothing.
fn or_lost<T>(outcome: Result<Result<T, BadMessage>, Lost>) -> Result<T, BadMessage> {
    outcome.unwrap_or_else(|lost| {
        Err(BadMessage::new(match lost {
            Lost::Late => "the jq program ran for more than 5 s, in one function: it is given up",
            Lost::Broke => "the jq program hit a fault of the library that runs it",
        }))
    })
}

#[cfg(test)]
mod tests;
