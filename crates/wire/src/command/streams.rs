//! Streams: the outer namespace.

use crate::error_code::ErrorCode;
use crate::id::{StreamId, Timestamp};
use crate::identifier::Identifier;
#[cfg(feature = "json")]
use crate::json::Size;
use crate::layout::{command, layout, shown};
use crate::name::StreamName;
use crate::permission::{Action, Right};
use crate::primitive::{Payload, Reader};
use serde::Serialize;

use super::topics::Topic;

command! {
    /// Shows one stream.
    pub struct GetStream -> Option<StreamDetails> {
        /// The stream.
        stream: Identifier,
    }
    right: |this| Right::stream(Action::ReadStream, &this.stream);
}

command! {
    /// Lists the streams.
    pub struct GetStreams -> Vec<Stream>;
    right: Right::Server(Action::ListStreams);
}

command! {
    /// Creates a stream.
    pub struct CreateStream -> StreamDetails {
        /// The name, unique in the server.
        name: StreamName,
    }
    right: |_this| Right::Server(Action::CreateStream);
}

command! {
    /// Deletes a stream with all that is in it.
    pub struct DeleteStream -> () {
        /// The stream.
        stream: Identifier,
    }
    right: |this| Right::stream(Action::ManageStream, &this.stream);
}

command! {
    /// Renames a stream.
    pub struct UpdateStream -> () {
        /// The stream.
        stream: Identifier,
        /// The new name.
        name: StreamName,
    }
    right: |this| Right::stream(Action::ManageStream, &this.stream);
}

command! {
    /// Deletes all messages and consumer offsets of a stream.
    pub struct PurgeStream -> () {
        /// The stream.
        stream: Identifier,
    }
    right: |this| Right::stream(Action::ManageStream, &this.stream);
}

layout! {
    /// A stream.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Stream {
        /// Its id.
        id: StreamId,
        /// When it was created, in microseconds since the Unix epoch.
        created_at: Timestamp,
        /// How many topics it has.
        topics_count: u32,
        /// Bytes of its messages.
        size: u64 => Size,
        /// How many messages it has.
        messages_count: u64,
        /// Its name.
        name: StreamName,
    }
    json: id created_at name size messages_count topics_count;
}

shown! {
    /// A stream with its topics.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct StreamDetails {
        /// The stream.
        #[serde(flatten)]
        stream: Stream,
        /// Its topics by id.
        topics: Vec<Topic>,
    }
    json;
}

impl Payload for StreamDetails {
    fn encode(&self, out: &mut Vec<u8>) {
        self.stream.encode(out);
        self.topics.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let stream = Stream::decode(reader)?;
        let topics = Vec::<Topic>::decode(reader)?;
        // Classic clients refuse a reply that does not agree with itself; so do we.
        if u32::try_from(topics.len()) != Ok(stream.topics_count) {
            return Err(ErrorCode::InvalidFormat);
        }
        Ok(Self { stream, topics })
    }
}
