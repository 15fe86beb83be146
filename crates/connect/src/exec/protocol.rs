//! The lines of the protocol, version 1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use galgo::{HeaderValue, UserHeaders};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use twox_hash::XxHash3_128;
use uuid::Uuid;

use super::Launch;
use crate::batch::{Batch, Form};
use crate::line::{put_envelope, put_json};
use crate::place::LaneName;
use crate::source::Incoming;

/// Characters of a program's own words that are shown.
const WORDS_MAX: usize = 500;

/// What a program says: one of its lines. Members it does not have in common with the protocol are passed by.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SaidLine {
    pub(crate) ready: Option<SaidReady>,
    pub(crate) done: Option<u64>,
    pub(crate) away: Option<u64>,
    pub(crate) bad: Option<u64>,
    #[serde(default)]
    pub(crate) offsets: Vec<u64>,
    #[serde(default)]
    pub(crate) reason: String,
    pub(crate) messages: Option<Vec<SaidMessage>>,
    #[serde(default)]
    pub(crate) position: Value,
}

/// That it is ready.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SaidReady {
    /// Where lanes go on, if it keeps that.
    pub(crate) positions: Option<std::collections::BTreeMap<String, u64>>,
}

/// A message it hands on.
#[derive(Debug, Deserialize)]
pub(crate) struct SaidMessage {
    #[serde(default)]
    pub(crate) id: Value,
    key: Option<String>,
    payload: Option<Box<RawValue>>,
    base64: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    time: Option<u64>,
}

impl SaidLine {
    /// Reads a line.
    ///
    /// # Errors
    /// In words that follow "the program"; without what is in the line (INV-MUTE).
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| {
            let (column, bytes) = (error.column(), line.len());
            match error.classify() {
                serde_json::error::Category::Data => format!(
                    "wrote a line that is not of the protocol: a member is of the wrong type at byte {column} of {bytes}"
                ),
                _ => format!("wrote a line that is no JSON: it is wrong at byte {column} of {bytes}"),
            }
        })
    }
}

impl SaidMessage {
    /// As a message for the topic.
    ///
    /// # Errors
    /// In words that follow "the program".
    pub(crate) fn into_incoming(self) -> Result<Incoming, String> {
        let id = self.id()?;
        let (payload, form) = match (&self.payload, &self.base64) {
            (Some(json), None) => match serde_json::from_str::<String>(json.get()) {
                Ok(text) => (Bytes::from(text), Form::Text),
                Err(_) => (Bytes::copy_from_slice(json.get().as_bytes()), Form::Json),
            },
            (None, Some(text)) => {
                let bytes = STANDARD.decode(text);
                let bytes = bytes.map_err(|_| "wrote a message whose base64 is none".to_owned())?;
                (Bytes::from(bytes), Form::Bytes)
            }
            _ => return Err("wrote a message without payload, or with two".to_owned()),
        };
        let mut headers = UserHeaders::new();
        for (name, value) in &self.headers {
            let (name, value) = (name.parse(), header(value));
            let (Ok(name), Some(value)) = (name, value) else {
                return Err(
                    "wrote a message with a header that is none: names and values have 1 to 255 bytes, values are text, numbers, \
                     true or false"
                        .to_owned(),
                );
            };
            headers.insert(name, value);
        }
        let key = self.key.map(Bytes::from);
        Ok(Incoming { payload, form, key, id, headers, made_at: self.time })
    }

    /// A UUID or a whole number as it is; any other text by its hash.
    fn id(&self) -> Result<Option<u128>, String> {
        match &self.id {
            Value::Null => Ok(None),
            Value::String(text) => {
                let uuid = Uuid::parse_str(text).map(|uuid| uuid.as_u128());
                Ok(Some(uuid.unwrap_or_else(|_| XxHash3_128::oneshot(text.as_bytes()))))
            }
            Value::Number(number) if number.is_u64() => Ok(number.as_u64().map(u128::from)),
            _ => Err("wrote a message whose id is neither text nor a whole number".to_owned()),
        }
    }
}

fn header(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Bool(is) => Some((*is).into()),
        Value::Number(number) => {
            let whole = number.as_i64().map(HeaderValue::from);
            let whole = whole.or_else(|| number.as_u64().map(HeaderValue::from));
            whole.or_else(|| number.as_f64().map(HeaderValue::from))
        }
        _ => None,
    }
}

/// The first line a program is told.
pub(crate) fn hello(launch: &Launch, more: Vec<(&str, Value)>) -> String {
    let mut about = Map::new();
    about.insert("version".to_owned(), 1.into());
    about.insert("pipeline".to_owned(), launch.pipeline.clone().into());
    about.insert("settings".to_owned(), launch.settings.clone());
    about.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    format!("{}\n", json!({ "hello": about }))
}

/// A batch as a line.
pub(crate) fn batch_line(number: u64, lane: &LaneName, batch: &Batch) -> String {
    let mut line = format!("{{\"batch\":{number},\"lane\":");
    put_json(&lane.to_string(), &mut line);
    line.push_str(&format!(
        ",\"begin\":{},\"end\":{},\"messages\":[",
        batch.begin(),
        batch.end().next
    ));
    for (count, row) in batch.rows().iter().enumerate() {
        if count > 0 {
            line.push(',');
        }
        put_envelope(row, &mut line);
    }
    line.push_str("]}\n");
    line
}

/// What a program says to people: cut, and without what a terminal would obey.
pub(crate) fn own_words(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let words: String = text.trim().chars().take(WORDS_MAX).map(shown).collect();
    words.trim().to_owned()
}
