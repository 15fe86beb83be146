//! Topics: one method per command.

use std::time::Duration;

use galgo_wire::command::extensions::{
    CreateTopicWith, GetTopicOutline, GetTopicSettings, RetentionRules, TopicOutline,
    TopicSettings, UpdateTopicWith,
};
pub use galgo_wire::command::extensions::{Deduplication, Durability};
pub use galgo_wire::command::topics::Compression;
use galgo_wire::command::topics::{
    CreateTopic, DeleteTopic, GetTopic, GetTopics, MaxTopicSize, MessageExpiry, PurgeTopic, Topic,
    TopicDetails, UpdateTopic,
};

use crate::call::name;
use crate::extensions::{ACCESS, DEDUPLICATION, TOPIC_SETTINGS};
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
    /// Whether a message whose id its partition stored lately is dropped; `None`: the server's
    /// default. Needs a Galgo server.
    pub deduplication: Option<Deduplication>,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            partitions: 1,
            expiry: None,
            max_size: None,
            compression: Compression::None,
            durability: None,
            deduplication: None,
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

    /// Sets whether a message whose id its partition stored lately is dropped.
    pub fn deduplication(mut self, deduplication: Deduplication) -> Self {
        self.deduplication = Some(deduplication);
        self
    }

    /// For how long and how much a topic with these settings is kept.
    pub(crate) fn retention(&self) -> RetentionRules {
        RetentionRules {
            message_expiry: self.message_expiry(),
            max_topic_size: self.max_topic_size(),
        }
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

    /// Returns what a sender or a reader has to know of a topic, or `None` when there is no such topic.
    ///
    /// Whoever may send or poll may ask a Galgo server. Of a classic one it takes the right to read the
    /// topic, and the settings it does not know are those of the server.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn topic_outline(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<Option<TopicOutline>, CallError> {
        if self.has(&ACCESS).await? {
            let command = GetTopicOutline { stream: stream.clone(), topic: topic.clone() };
            return self.call(&command, "get topic", || path(stream, topic)).await;
        }
        let details = self.topic(stream, topic).await?;
        Ok(details.map(|TopicDetails { topic, partitions }| TopicOutline {
            partitions_count: topic.partitions_count,
            settings: TopicSettings::asked(Durability::ServerDefault, Deduplication::ServerDefault),
            partitions,
        }))
    }

    /// Creates a topic called `name`.
    ///
    /// # Errors
    /// [`CallError`]; code `TopicNameAlreadyExists` when there is one of this name,
    /// [`CallError::Unsupported`] when `options` name a durability or a deduplication and the server
    /// is a classic one.
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
        let TopicOptions { durability, deduplication, .. } = options;
        if durability.is_none() && deduplication.is_none() {
            return self.call(&create, "create topic", target).await;
        }
        if deduplication.is_some() {
            self.require(DEDUPLICATION).await?;
        }
        let command = CreateTopicWith {
            topic: create,
            durability: durability.unwrap_or(Durability::ServerDefault),
            deduplication: deduplication.unwrap_or(Deduplication::ServerDefault),
        };
        self.call_extension(TOPIC_SETTINGS, &command, "create topic", target).await
    }

    /// Replaces name and settings of a topic; its partitions stay as they are.
    ///
    /// All settings are replaced: what `options` leave out becomes the server's default, except the
    /// durability and the deduplication, which then stay as they are.
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
        let TopicOptions { durability, deduplication, .. } = options;
        if durability.is_none() && deduplication.is_none() {
            return self.call(&update, "update topic", target).await;
        }
        if deduplication.is_some() {
            self.require(DEDUPLICATION).await?;
        }
        let (durability, deduplication) = match (durability, deduplication) {
            (Some(durability), Some(deduplication)) => (durability, deduplication),
            // The command replaces both, so what is to stay is looked up.
            (durability, deduplication) => {
                let now = self.topic_settings(stream, topic).await?;
                let (had, did) = now
                    .map_or((Durability::ServerDefault, Deduplication::ServerDefault), |now| {
                        (now.durability, now.deduplication)
                    });
                (durability.unwrap_or(had), deduplication.unwrap_or(did))
            }
        };
        let command = UpdateTopicWith { topic: update, durability, deduplication };
        self.call_extension(TOPIC_SETTINGS, &command, "update topic", target).await
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
        self.call_extension(TOPIC_SETTINGS, &command, "get topic settings", target).await
    }
}

/// A topic, as error messages name it.
pub(crate) fn path(stream: &Identifier, topic: &Identifier) -> String {
    format!("{topic} of stream {stream}")
}
