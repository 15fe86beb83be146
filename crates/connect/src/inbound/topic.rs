//! The topic a pipeline writes, seen from the pipeline.
//!
//! A trait, so that what a pipeline does when a message is refused, or nothing is acknowledged, is tested without a server.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use galgo::{
    Client, ErrorCode, Identifier, Message, PartitionBy, ProduceError, Producer, SendError,
};

use crate::failure::Failure;
use crate::outbound::refused_or_away;

/// Resolves when a message is stored, or certainly or possibly is not.
pub(super) type Acknowledgement = BoxFuture<'static, Result<(), NotStored>>;

/// Why a message is not stored, as far as anybody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// The message, or what it was sent with, is no message of this server, however often it is sent.
    Unfit(String),
    /// One in front of it was no message of this server; nothing is known of this one.
    BehindUnfit(String),
    /// The server says no, or nothing.
    Failed(Failure),
}

/// A topic that is written in order: what comes behind a message that failed is not stored.
#[async_trait]
pub(super) trait TargetTopic: Send + Sync {
    /// Takes a message; waits while too much is on its way.
    async fn send(
        &self,
        key: Option<&Bytes>,
        message: Message,
    ) -> Result<Acknowledgement, NotStored>;

    /// Waits until nothing is on its way; messages are taken again then.
    async fn flush(&self);
}

/// Which topic is written.
pub(super) struct TargetPath {
    pub(super) stream: Identifier,
    pub(super) topic: Identifier,
}

/// A topic of a Galgo server.
pub(super) struct GalgoTarget {
    producer: Producer,
}

impl GalgoTarget {
    /// Opens it; what is sent together has so many bytes at most, or is one message.
    pub(super) async fn open(
        client: &Client,
        path: &TargetPath,
        pipeline: &str,
        batch_bytes: usize,
    ) -> Result<Self, Failure> {
        let TargetPath { stream, topic } = path;
        // Without a key all goes to one partition: what is repeated has to come to where it was before.
        let by = PartitionBy::Key(pipeline.as_bytes().to_vec());
        let building = client.producer(stream, topic).partition_by(by).batch_bytes(batch_bytes);
        let producer = building.build().await.map_err(|error| match error {
            ProduceError::Lookup(error) => refused_or_away(&error),
            error => Failure::away(error.to_string()),
        })?;
        Ok(Self { producer })
    }
}

#[async_trait]
impl TargetTopic for GalgoTarget {
    async fn send(
        &self,
        key: Option<&Bytes>,
        message: Message,
    ) -> Result<Acknowledgement, NotStored> {
        let receipt = match key {
            Some(key) => self.producer.send_keyed_with_receipt(key, message).await,
            None => self.producer.send_with_receipt(message).await,
        };
        let receipt = receipt.map_err(|error| match (not_stored(&error), &error) {
            // A producer that failed says so to whoever sends next.
            (NotStored::Unfit(reason), error) if !matches!(error, ProduceError::Invalid(_)) => {
                NotStored::BehindUnfit(reason)
            }
            (said, _) => said,
        })?;
        Ok(receipt.map(|stored| stored.map_err(|error| not_stored(&error))).boxed())
    }

    async fn flush(&self) {
        // What failed was told by its acknowledgement.
        let _ = self.producer.flush().await;
    }
}

/// What the error of a producer says of a message.
pub(crate) fn not_stored(error: &ProduceError) -> NotStored {
    let is_unfit = match error {
        ProduceError::Invalid(_) => true,
        ProduceError::Failed(SendError::Server(refusal)) => matches!(
            refusal.code(),
            Some(ErrorCode::TooBigMessagePayload | ErrorCode::TooBigUserHeaders)
        ),
        _ => false,
    };
    match is_unfit {
        true => NotStored::Unfit(error.to_string()),
        false => NotStored::Failed(Failure::away(error.to_string())),
    }
}
