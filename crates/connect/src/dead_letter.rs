//! Messages that a target does not take, in a topic of their own.
//!
//! A dead letter is the message as it was in the log, with where it was and what was wrong with it as headers. Its id
//! depends on its place alone, so that one that is buried again after a kill is dropped by a topic with deduplication.

use std::sync::Arc;

use async_trait::async_trait;
use galgo::{HeaderKey, HeaderValue, Message, UserHeaders};
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
}

/// The longest reason that fits into a header.
const REASON_BYTES_MAX: usize = 255;

/// A topic of dead letters.
#[async_trait]
pub trait DeadTopic: Send + Sync {
    /// Stores messages; returns when they are durable.
    ///
    /// # Errors
    /// What to say of it; it is tried again.
    async fn store(&self, messages: Vec<Message>) -> Result<(), String>;
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

    fn letters(&self, lane: &LaneName, offsets: &[u64], reason: &str) -> Vec<Message> {
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
        offsets.iter().filter_map(find).map(|message| letter(lane, message, reason)).collect()
    }
}

#[async_trait]
impl DeadLetters for LaneLetters {
    async fn bury(&self, lane: &LaneName, offsets: &[u64], reason: &str) -> Result<(), String> {
        self.topic.store(self.letters(lane, offsets, reason)).await
    }
}

/// A message as a dead letter.
fn letter(lane: &LaneName, message: &LogMessage, reason: &str) -> Message {
    // Headers that are none are left behind: the place tells where to find them.
    let sent = UserHeaders::from_bytes(&message.headers_block).ok();
    let mut letter = Message::new(message.payload.clone())
        .id(letter_id(lane, message.offset))
        .origin_timestamp(message.origin_time);
    for (key, value) in sent.iter().flat_map(UserHeaders::iter) {
        letter = letter.typed_header(key.clone(), value.clone());
    }
    let text = |name: &str, value: &str| -> Option<(HeaderKey, HeaderValue)> {
        Some((name.parse().ok()?, cut(value, REASON_BYTES_MAX).parse().ok()?))
    };
    let topic = format!("{}/{}", lane.stream, lane.topic);
    let number = |name: &str, value: HeaderValue| Some((name.parse().ok()?, value));
    let headers = [
        text(header::PIPELINE, &lane.pipeline),
        text(header::TOPIC, &topic),
        number(header::PARTITION, lane.partition.into()),
        number(header::OFFSET, message.offset.into()),
        text(header::REASON, reason),
    ];
    for (key, value) in headers.into_iter().flatten() {
        letter = letter.typed_header(key, value);
    }
    letter
}

/// A message of an origin as a dead letter; its place is its id, where it has one.
#[must_use]
pub fn incoming(pipeline: &str, message: &Incoming, reason: &str) -> Message {
    let mut letter = Message::new(message.payload.clone());
    if let Some(id) = message.id {
        letter = letter.id(id);
    }
    for (key, value) in message.headers.iter() {
        letter = letter.typed_header(key.clone(), value.clone());
    }
    for (name, value) in [(header::PIPELINE, pipeline), (header::REASON, reason)] {
        if let (Ok(name), Ok(value)) =
            (name.parse::<HeaderKey>(), cut(value, REASON_BYTES_MAX).parse::<HeaderValue>())
        {
            letter = letter.typed_header(name, value);
        }
    }
    letter
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
