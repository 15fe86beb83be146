//! Topics: one method per command.

use std::time::Duration;

pub use galgo_wire::command::extensions::Durability;
use galgo_wire::command::extensions::{
    CreateTopicWith, Deduplication, GetTopicSettings, TopicSettings, UpdateTopicWith,
};
pub use galgo_wire::command::topics::Compression;
use galgo_wire::command::topics::{
    CreateTopic, DeleteTopic, GetTopic, GetTopics, MaxTopicSize, MessageExpiry, PurgeTopic, Topic,
    TopicDetails, UpdateTopic,
};

use crate::call::name;
use crate::{CallError, Client, Identifier};

/// Settings of a topic.
///
/// ```
/// use galgo::{Durability, TopicOptions};
/// use std::time::Duration;
///
/// let options = TopicOptions::default()
///     .partitions(4)
///     .expiry(Duration::from_secs(7 * 24 * 3600))
///     .durability(Durability::Fsync);
/// # assert_eq!(options.partitions, 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicOptions {
    /// Number of partitions; used by create only. Default: 1.
    pub partitions: u32,
    /// Age at which messages may be removed; `None`: the server's default.
    pub expiry: Option<Duration>,
    /// Size at which the oldest messages are removed; `None`: the server's default.
    pub max_size: Option<u64>,
    /// Informational: how payloads are compressed by the clients.
    pub compression: Compression,
    /// What an acknowledgement means; `None`: the server's default. Needs a Galgo server.
    pub durability: Option<Durability>,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            partitions: 1,
            expiry: None,
            max_size: None,
            compression: Compression::None,
            durability: None,
        }
    }
}

impl TopicOptions {
    /// Sets the number of partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets the age at which messages may be removed; [`Duration::MAX`]: never.
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Sets the size in bytes at which the oldest messages are removed; [`u64::MAX`]: unlimited.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Notes how payloads are compressed; neither server nor SDK compresses anything.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets what an acknowledgement means.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    fn message_expiry(&self) -> MessageExpiry {
        self.expiry.map_or(MessageExpiry::SERVER_DEFAULT, |expiry| {
            // 0 would mean the default, and what does not fit is longer than anybody waits.
            let us = u64::try_from(expiry.as_micros()).unwrap_or(MessageExpiry::NEVER.get());
            MessageExpiry::new(us.max(1))
        })
    }

    fn max_topic_size(&self) -> MaxTopicSize {
        self.max_size.map_or(MaxTopicSize::SERVER_DEFAULT, MaxTopicSize::new)
    }
}

impl Client {
    /// Lists the topics of a stream, by id; none when there is no such stream.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn topics(&self, stream: &Identifier) -> Result<Vec<Topic>, CallError> {
        let command = GetTopics { stream: stream.clone() };
        self.call(&command, "list topics", || format!("of stream {stream}")).await
    }

    /// Returns a topic with its partitions, or `None` when there is no such topic.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<Option<TopicDetails>, CallError> {
        let command = GetTopic { stream: stream.clone(), topic: topic.clone() };
        self.call(&command, "get topic", || path(stream, topic)).await
    }

    /// Creates a topic called `name`.
    ///
    /// # Errors
    /// [`CallError`]; code `TopicNameAlreadyExists` when there is one of this name,
    /// [`CallError::Unsupported`] when `options` name a durability and the server is a classic one.
    pub async fn create_topic(
        &self,
        stream: &Identifier,
        name: &str,
        options: TopicOptions,
    ) -> Result<TopicDetails, CallError> {
        let create = CreateTopic {
            stream: stream.clone(),
            partitions_count: options.partitions,
            compression: options.compression,
            message_expiry: options.message_expiry(),
            max_topic_size: options.max_topic_size(),
            replication_factor: 0,
            name: self::name("topic name", name)?,
        };
        let target = || format!("{name} in stream {stream}");
        match options.durability {
            None => self.call(&create, "create topic", target).await,
            Some(durability) => {
                let command = CreateTopicWith {
                    topic: create,
                    durability,
                    deduplication: Deduplication::ServerDefault,
                };
                self.call_durability(&command, "create topic", target).await
            }
        }
    }

    /// Replaces name and settings of a topic; its partitions stay as they are.
    ///
    /// All settings are replaced: what `options` leave out becomes the server's default, except the
    /// durability, which then stays as it is.
    ///
    /// # Errors
    /// [`CallError`], as [`Client::create_topic`].
    pub async fn update_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        name: &str,
        options: TopicOptions,
    ) -> Result<(), CallError> {
        let update = UpdateTopic {
            stream: stream.clone(),
            topic: topic.clone(),
            compression: options.compression,
            message_expiry: options.message_expiry(),
            max_topic_size: options.max_topic_size(),
            replication_factor: 0,
            name: self::name("topic name", name)?,
        };
        let target = || path(stream, topic);
        match options.durability {
            None => self.call(&update, "update topic", target).await,
            Some(durability) => {
                let command = UpdateTopicWith {
                    topic: update,
                    durability,
                    deduplication: Deduplication::ServerDefault,
                };
                self.call_durability(&command, "update topic", target).await
            }
        }
    }

    /// Deletes a topic with its messages and consumer offsets.
    ///
    /// # Errors
    /// [`CallError`]; code `TopicIdNotFound` when there is none.
    pub async fn delete_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<(), CallError> {
        let command = DeleteTopic { stream: stream.clone(), topic: topic.clone() };
        self.call(&command, "delete topic", || path(stream, topic)).await
    }

    /// Deletes all messages and consumer offsets of a topic; offsets start at 0 again.
    ///
    /// # Errors
    /// [`CallError`]; code `TopicIdNotFound` when there is none.
    pub async fn purge_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<(), CallError> {
        let command = PurgeTopic { stream: stream.clone(), topic: topic.clone() };
        self.call(&command, "purge topic", || path(stream, topic)).await
    }

    /// Returns the settings of a topic that only a Galgo server has, or `None` when there is no such
    /// topic.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Unsupported`] when the server is a classic one.
    pub async fn topic_settings(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<Option<TopicSettings>, CallError> {
        let command = GetTopicSettings { stream: stream.clone(), topic: topic.clone() };
        let target = || path(stream, topic);
        self.call_durability(&command, "get topic settings", target).await
    }
}

/// A topic, as error messages name it.
pub(crate) fn path(stream: &Identifier, topic: &Identifier) -> String {
    format!("{topic} of stream {stream}")
}
