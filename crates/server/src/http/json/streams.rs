//! Streams.

use galgo_wire::command;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Size;
use super::topics::Topic;

/// A name for a new stream, or the new name of one.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct StreamName {
    /// 1 to 255 bytes, unique in the server.
    #[schema(min_length = 1, max_length = 255, example = "orders")]
    pub(in super::super) name: String,
}

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Stream {
    /// Its id.
    id: u32,
    /// When it was created, in microseconds since the Unix epoch.
    created_at: u64,
    /// Its name.
    name: String,
    /// Bytes of its messages.
    size: Size,
    /// How many messages it has.
    messages_count: u64,
    /// How many topics it has.
    topics_count: u32,
}

/// A stream with its topics.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct StreamDetails {
    #[serde(flatten)]
    stream: Stream,
    /// Its topics by id.
    topics: Vec<Topic>,
}

impl From<command::Stream> for Stream {
    fn from(stream: command::Stream) -> Self {
        Self {
            id: stream.id.get(),
            created_at: stream.created_at.get(),
            name: stream.name.as_str().to_owned(),
            size: Size(stream.size),
            messages_count: stream.messages_count,
            topics_count: stream.topics_count,
        }
    }
}

impl From<command::StreamDetails> for StreamDetails {
    fn from(details: command::StreamDetails) -> Self {
        Self {
            stream: details.stream.into(),
            topics: details.topics.into_iter().map(Topic::from).collect(),
        }
    }
}
