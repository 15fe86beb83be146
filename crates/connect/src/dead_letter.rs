//! Messages that a target does not take, in a topic of their own.
//!
//! A dead letter is the message as it was in the log, with where it was and what was wrong with it as headers. Its id
//! depends on its place alone, so that one that is buried again after a kill is dropped by a topic with deduplication.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use galgo::{HeaderField, HeaderKey, HeaderValue, Message, UserHeaders};
use parking_lot::Mutex;

use crate::lane::deliver::DeadLetters;
use crate::log::LogMessage;
use crate::place::LaneName;
use crate::source::Incoming;

/// The headers of a dead letter. The names with `galgo.dead.` are those that Galgo reserves for this.
pub mod header {
    /// The pipeline that did not deliver it.
    pub const PIPELINE: &str = "galgo.dead.pipeline";
    /// The topic it was in: `STREAM/TOPIC`.
    pub const TOPIC: &str = "galgo.dead.topic";
    /// The partition it was in.
    pub const PARTITION: &str = "galgo.dead.partition";
    /// The offset it had.
    pub const OFFSET: &str = "galgo.dead.offset";
    /// What was wrong with it.
    pub const REASON: &str = "galgo.dead.reason";

    /// Whether a header says something of a letter, and nothing of the message it was.
    #[must_use]
    pub fn is_of_letter(key: &galgo::HeaderKey) -> bool {
        key.as_str().is_some_and(|name| name.starts_with("galgo.dead."))
    }
}

/// The longest reason that fits into a header.
const REASON_BYTES_MAX: usize = 255;

const _: () = assert!(
    REASON_BYTES_MAX <= galgo_wire::limits::USER_HEADER_FIELD_BYTES_MAX,
    "a reason fits into a header"
);

/// A topic of dead letters.
#[async_trait]
pub trait DeadTopic: Send + Sync {
    /// Stores letters; returns when they are durable. One that the topic does not take because of its size is stored without its
    /// payload.
    ///
    /// # Errors
    /// What to say of it; it is tried again.
    async fn store(&self, letters: &[Letter]) -> Result<(), String>;
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    id: Option<u128>,
    made_at: Option<u64>,
    /// What the message had.
    sent: UserHeaders,
    /// What is said of it.
    said: Vec<(HeaderKey, HeaderValue)>,
    reason: String,
    payload: Bytes,
}

/// The dead letters of a lane.
pub struct LaneLetters {
    topic: Arc<dyn DeadTopic>,
    /// The messages of the batch that is being delivered.
    kept: Mutex<Vec<LogMessage>>,
}

impl LaneLetters {
    /// Letters that go to a topic.
    #[must_use]
    pub fn new(topic: Arc<dyn DeadTopic>) -> Self {
        Self { topic, kept: Mutex::default() }
    }

    /// Keeps the messages of a batch, in order, in the place of those of the last one.
    pub fn keep(&self, messages: Vec<LogMessage>) {
        *self.kept.lock() = messages;
    }

    fn letters(&self, lane: &LaneName, offsets: &[u64], reason: &str) -> Vec<Letter> {
        let kept = self.kept.lock();
        let find = |offset: &u64| {
            let found = kept.binary_search_by_key(offset, |message| message.offset);
            let message = found.ok().and_then(|index| kept.get(index));
            assert!(
                message.is_some(),
                "INV-DELIVERED: a message is kept until its batch is delivered"
            );
            message
        };
        offsets.iter().filter_map(find).map(|message| Letter::of(lane, message, reason)).collect()
    }
}

#[async_trait]
impl DeadLetters for LaneLetters {
    async fn bury(&self, lane: &LaneName, offsets: &[u64], reason: &str) -> Result<(), String> {
        self.topic.store(&self.letters(lane, offsets, reason)).await
    }
}

impl Letter {
    /// A message of a lane as a dead letter.
    #[must_use]
    pub fn of(lane: &LaneName, message: &LogMessage, reason: &str) -> Self {
        // Headers that are none are left behind: the place tells where to find them.
        let sent = UserHeaders::from_bytes(&message.headers_block).unwrap_or_default();
        let topic = format!("{}/{}", lane.stream, lane.topic);
        let place = [
            text(header::TOPIC, &topic),
            header::PARTITION.parse().ok().map(|name| (name, lane.partition.into())),
            header::OFFSET.parse().ok().map(|name| (name, message.offset.into())),
        ];
        let buried_by = sent.get(header::PIPELINE).and_then(HeaderField::as_str);
        // A letter that is buried a second time keeps the place of the message that it was.
        let place = place.into_iter().filter(|_| buried_by != Some(&lane.pipeline)).flatten();
        let said = text(header::PIPELINE, &lane.pipeline).into_iter().chain(place).collect();
        Self {
            id: Some(letter_id(lane, message.offset)),
            made_at: Some(message.origin_time),
            sent,
            said,
            reason: reason.to_owned(),
            payload: message.payload.clone(),
        }
    }

    /// A message of an origin as a dead letter; its place is its id, where it has one.
    #[must_use]
    pub fn incoming(pipeline: &str, message: &Incoming, reason: &str) -> Self {
        Self {
            id: message.id,
            made_at: message.made_at,
            sent: message.headers.clone(),
            said: text(header::PIPELINE, pipeline).into_iter().collect(),
            reason: reason.to_owned(),
            payload: message.payload.clone(),
        }
    }

    /// The letter as a message of a topic.
    #[must_use]
    pub fn message(&self) -> Message {
        self.written(self.payload.clone(), &self.reason)
    }

    /// The same without its payload, of which it says so.
    #[must_use]
    pub fn without_payload(&self) -> Message {
        let reason =
            format!("{} bytes of payload are left out here: {}", self.payload.len(), self.reason);
        self.written(Bytes::new(), &reason)
    }

    fn written(&self, payload: Bytes, reason: &str) -> Message {
        let said = self.said.iter().cloned().chain(text(header::REASON, reason));
        let said: Vec<_> = said.collect();
        let mut headers = self.sent.clone();
        for (key, value) in &said {
            headers.insert(key.clone(), value.clone());
        }
        // Together they may be too many; what is said of the message counts for more.
        if headers.to_bytes().is_err() {
            headers = UserHeaders::new();
            for (key, value) in said {
                headers.insert(key, value);
            }
        }
        let mut message = Message::new(payload);
        if let Some(id) = self.id {
            message = message.id(id);
        }
        if let Some(made_at) = self.made_at {
            message = message.origin_timestamp(made_at);
        }
        for (key, value) in headers.iter() {
            message = message.typed_header(key.clone(), value.clone());
        }
        message
    }
}

fn text(name: &str, value: &str) -> Option<(HeaderKey, HeaderValue)> {
    Some((name.parse().ok()?, cut(value, REASON_BYTES_MAX).parse().ok()?))
}

/// The id of the letter of a message: from its place alone.
fn letter_id(lane: &LaneName, offset: u64) -> u128 {
    let place = format!("{}\n{lane}\n{offset}", lane.pipeline);
    twox_hash::XxHash3_128::oneshot(place.as_bytes())
}

/// A text of at most so many bytes, cut between characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or("")
}
