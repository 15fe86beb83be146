//! Options of a topic by name, so that a new one needs no new command.

use crate::error_code::ErrorCode;
use crate::identifier::Identifier;
use crate::index::to_u16;
use crate::layout::{command, layout};
use crate::permission::{Action, Right};
use crate::primitive::{Payload, Reader, head, put_str8};
use serde::Serialize;

command! {
    /// Sets options of a topic; those that are not named stay as they are. An empty value is the default.
    pub struct ConfigureTopic -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// What is set.
        options: Vec<TopicOption> as List16,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

command! {
    /// Asks for all options of a topic.
    pub struct GetTopicConfig -> TopicConfig {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

layout! {
    /// An option and what it is set to.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct TopicOption {
        /// Its name.
        name: String as Text8,
        /// Its value.
        value: String as Text16,
    }
}

layout! {
    /// An option of a topic as it stands.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ResolvedOption {
        /// Its name.
        name: String as Text8,
        /// Its value.
        value: String as Text16,
        /// Whether nothing is set, so that it is the server's default and changes with it. Durability, deduplication, expiry
        /// and size count as set: what holds when a topic is made is written down.
        default: bool,
    }
    json "TopicOption";
}

layout! {
    /// All options of a topic.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct TopicConfig {
        /// The options, in the order of the server's table.
        options: Vec<ResolvedOption> as List16,
    }
}

/// A list behind its count in two bytes; what is more is left away.
pub(super) struct List16;

impl List16 {
    pub(super) fn encode<T: Payload>(list: &[T], out: &mut Vec<u8>) {
        let list = list.get(..usize::from(u16::MAX)).unwrap_or(list);
        to_u16(list.len()).encode(out);
        list.iter().for_each(|item| item.encode(out));
    }

    pub(super) fn decode<T: Payload>(reader: &mut Reader<'_>) -> Result<Vec<T>, ErrorCode> {
        // Nothing is set aside for a count: each entry has to be there.
        (0..u16::decode(reader)?).map(|_| T::decode(reader)).collect()
    }
}

/// A text behind its length in one byte.
struct Text8;

impl Text8 {
    fn encode(text: &str, out: &mut Vec<u8>) {
        put_str8(out, text);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<String, ErrorCode> {
        Ok(reader.str8()?.to_owned())
    }
}

/// A text behind its length in two bytes; what is longer is left away, at a character's end.
struct Text16;

impl Text16 {
    fn encode(text: &str, out: &mut Vec<u8>) {
        let text = head(text, usize::from(u16::MAX));
        to_u16(text.len()).encode(out);
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<String, ErrorCode> {
        let len = usize::from(u16::decode(reader)?);
        let text = std::str::from_utf8(reader.bytes(len)?);
        text.map(str::to_owned).map_err(|_| ErrorCode::InvalidCommand)
    }
}
