//! Requests the caller has encoded: for tools that measure or test a server.

use bytes::Bytes;

use crate::connection::Replay;
use crate::{CallError, Client};

impl Client {
    /// Sends a whole request frame as it is, and returns the payload of the answer.
    ///
    /// The frame is what [`put_request`](galgo_wire::frame::put_request) of the package `galgo-wire` makes; one that is not a single
    /// request puts the connection out of step. It is never sent again after the connection was lost.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn request(&self, frame: Bytes) -> Result<Bytes, CallError> {
        let answer = self.connection.exchange(frame, Replay::Never).await;
        answer.map_err(|failure| failure.into_call("carry out", || "a request".to_owned()))
    }
}
