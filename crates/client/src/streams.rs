//! Streams: one method per command.

use galgo_wire::command::streams::{
    CreateStream, DeleteStream, GetStream, GetStreams, PurgeStream, Stream, StreamDetails,
    UpdateStream,
};

use crate::call::name;
use crate::{CallError, Client, Identifier};

impl Client {
    /// Lists all streams, by id.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn streams(&self) -> Result<Vec<Stream>, CallError> {
        self.call(&GetStreams, "list streams", String::new).await
    }

    /// Returns a stream with its topics, or `None` when there is no such stream.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stream(&self, stream: &Identifier) -> Result<Option<StreamDetails>, CallError> {
        let command = GetStream { stream: stream.clone() };
        self.call(&command, "get stream", || stream.to_string()).await
    }

    /// Creates a stream called `name`.
    ///
    /// # Errors
    /// [`CallError`]; code `StreamNameAlreadyExists` when there is one of this name.
    pub async fn create_stream(&self, name: &str) -> Result<StreamDetails, CallError> {
        let command = CreateStream { name: self::name("stream name", name)? };
        self.call(&command, "create stream", || name.to_owned()).await
    }

    /// Renames a stream.
    ///
    /// # Errors
    /// [`CallError`]; code `StreamIdNotFound` when there is none, `StreamNameAlreadyExists` when
    /// another has the name.
    pub async fn update_stream(&self, stream: &Identifier, name: &str) -> Result<(), CallError> {
        let command =
            UpdateStream { stream: stream.clone(), name: self::name("stream name", name)? };
        self.call(&command, "update stream", || stream.to_string()).await
    }

    /// Deletes a stream with everything in it.
    ///
    /// # Errors
    /// [`CallError`]; code `StreamIdNotFound` when there is none.
    pub async fn delete_stream(&self, stream: &Identifier) -> Result<(), CallError> {
        let command = DeleteStream { stream: stream.clone() };
        self.call(&command, "delete stream", || stream.to_string()).await
    }

    /// Deletes all messages and consumer offsets of a stream; its topics stay.
    ///
    /// # Errors
    /// [`CallError`]; code `StreamIdNotFound` when there is none.
    pub async fn purge_stream(&self, stream: &Identifier) -> Result<(), CallError> {
        let command = PurgeStream { stream: stream.clone() };
        self.call(&command, "purge stream", || stream.to_string()).await
    }
}
