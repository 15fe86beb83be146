//! Topics: one method per command.

use std::collections::BTreeMap;
use std::time::Duration;

use galgo_wire::command::extensions::{
    AskedOptions, CreateTopicWith, GetTopicOutline, GetTopicSettings, RetentionRules, TopicOutline,
    TopicSettings, UpdateTopicWith,
};
pub use galgo_wire::command::extensions::{Deduplication, Durability};
use galgo_wire::command::topic_options::TopicOption;
pub use galgo_wire::command::topics::Compression;
use galgo_wire::command::topics::{
    CreateTopic, DeleteTopic, GetTopic, GetTopics, MaxTopicSize, MessageExpiry, PurgeTopic, Topic,
    TopicDetails, UpdateTopic,
};
use galgo_wire::options::OptionChoices;

use crate::call::name;
use crate::extensions::{ACCESS, DEDUPLICATION, TOPIC_OPTIONS, TOPIC_SETTINGS};
use crate::{CallError, Client, ErrorCode, Identifier};

/// Settings of a topic.
///
/// What is not chosen is as the server is configured. Whatever only Galgo knows (anything but partitions,
/// compression, expiry and size) needs a Galgo server.
///
/// ```
/// use galgo::{Durability, TopicOptions};
/// use std::time::Duration;
///
/// let options = TopicOptions::default()
///     .partitions(4)
///     .expiry(Duration::from_secs(7 * 24 * 3600))
///     .durability(Durability::Fsync)
///     .segment_max_age(Duration::from_secs(3600));
/// # assert_eq!(options.partitions, 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicOptions {
    /// Number of partitions; used by create only. Default: 1.
    pub partitions: u32,
    /// Informational: how payloads are compressed by the clients.
    pub compression: Compression,
    /// The options that were chosen.
    pub choices: OptionChoices,
    named: Vec<TopicOption>,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            partitions: 1,
            compression: Compression::None,
            choices: OptionChoices::default(),
            named: Vec::new(),
        }
    }
}

/// A setter for each row of the table.
macro_rules! setters {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $kind:ty = $name:literal, $flag:literal, $how:ident $default:expr;
    )+) => {
        impl TopicOptions {
            $(
                $(#[doc = $doc])+
                pub fn $field(mut self, value: impl Into<$kind>) -> Self {
                    self.choices.$field = Some(value.into());
                    // What was said of it by name before counts no more.
                    self.named.retain(|option| option.name != $name);
                    self
                }
            )+
        }
    };
}

galgo_wire::topic_option_rows!(setters);

impl TopicOptions {
    /// Sets the number of partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets the age at which messages may be removed, as [`TopicOptions::message_expiry`]; [`Duration::MAX`]:
    /// never.
    pub fn expiry(self, expiry: Duration) -> Self {
        self.message_expiry(expiry)
    }

    /// Notes how payloads are compressed; neither server nor SDK compresses anything.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets an option by its name, which this version of the SDK need not know. An empty value takes it back to
    /// the server's default.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.named.retain(|option| option.name != name);
        // What is no value of an option that is known goes to the server as it is, which tells what is wrong.
        if self.choices.set(name, value).is_err() || value.is_empty() {
            self.named.push(TopicOption { name: name.to_owned(), value: value.to_owned() });
        }
        self
    }

    /// All that was chosen, by name.
    pub(crate) fn chosen_by_name(&self) -> BTreeMap<String, String> {
        let pairs = self.choices.pairs().into_iter();
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
        let named = self.named.iter().filter(|option| !option.value.is_empty());
        pairs.chain(named.map(|it| (it.name.clone(), it.value.clone()))).collect()
    }

    /// For how long and how much a topic with these settings is kept.
    pub(crate) fn retention(&self) -> RetentionRules {
        RetentionRules {
            message_expiry: self.classic_expiry(),
            max_topic_size: self.classic_max_size(),
        }
    }

    fn classic_expiry(&self) -> MessageExpiry {
        let chosen = self.choices.message_expiry;
        chosen.map_or(MessageExpiry::SERVER_DEFAULT, |expiry| MessageExpiry::new(expiry.us()))
    }

    fn classic_max_size(&self) -> MaxTopicSize {
        let chosen = self.choices.max_size;
        chosen.map_or(MaxTopicSize::SERVER_DEFAULT, |size| MaxTopicSize::new(size.bytes()))
    }

    /// What no other field of a request has a place for.
    fn by_name(&self) -> Vec<TopicOption> {
        let (_, rest) = self.choices.clone().split();
        let pairs = rest.pairs().into_iter();
        let pairs = pairs.map(|(name, value)| TopicOption { name: name.to_owned(), value });
        // A field that is not set says as much to every server.
        let has_field = |option: &&TopicOption| {
            option.value.is_empty() && CLASSIC_OPTIONS.contains(&option.name.as_str())
        };
        pairs.chain(self.named.iter().filter(|it| !has_field(it)).cloned()).collect()
    }

    /// As [`TopicOptions::by_name`], for a topic that has nothing to take back.
    fn by_name_anew(&self) -> Vec<TopicOption> {
        let mut options = self.by_name();
        options.retain(|option| !option.value.is_empty());
        options
    }
}

/// Options that classic requests have a field for.
const CLASSIC_OPTIONS: [&str; 2] = ["message_expiry", "max_size"];

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
            settings: TopicSettings::default(),
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
            message_expiry: options.classic_expiry(),
            max_topic_size: options.classic_max_size(),
            replication_factor: 0,
            name: self::name("topic name", name)?,
        };
        let target = || format!("{name} in stream {stream}");
        let OptionChoices { durability, deduplication, .. } = options.choices;
        let by_name = options.by_name_anew();
        if durability.is_none() && deduplication.is_none() && by_name.is_empty() {
            return self.call(&create, "create topic", target).await;
        }
        self.require_for(deduplication, &by_name).await?;
        let asked = AskedOptions { durability, deduplication, options: by_name };
        let command = CreateTopicWith { topic: create, asked };
        self.call_extension(TOPIC_SETTINGS, &command, "create topic", target).await
    }

    /// Replaces name and settings of a topic; its partitions stay as they are.
    ///
    /// Name, compression, expiry and size are replaced: what `options` leave out of them becomes the server's
    /// default. All other options that are left out stay as they are; [`Client::configure_topic`] changes single
    /// options.
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
            message_expiry: options.classic_expiry(),
            max_topic_size: options.classic_max_size(),
            replication_factor: 0,
            name: self::name("topic name", name)?,
        };
        let target = || path(stream, topic);
        let OptionChoices { durability, deduplication, .. } = options.choices;
        let by_name = options.by_name();
        if durability.is_none() && deduplication.is_none() && by_name.is_empty() {
            return self.call(&update, "update topic", target).await;
        }
        self.require_for(deduplication, &by_name).await?;
        let (durability, deduplication) = match (durability, deduplication) {
            (Some(_), Some(_)) => (durability, deduplication),
            // The command replaces both, so what is to stay is looked up.
            (durability, deduplication) => {
                let now = self.topic_settings(stream, topic).await?.unwrap_or_default();
                (durability.or(now.durability), deduplication.or(now.deduplication))
            }
        };
        let asked = AskedOptions { durability, deduplication, options: by_name };
        let command = UpdateTopicWith { topic: update, asked };
        self.call_extension(TOPIC_SETTINGS, &command, "update topic", target).await
    }

    async fn require_for(
        &self,
        deduplication: Option<Deduplication>,
        by_name: &[TopicOption],
    ) -> Result<(), CallError> {
        if deduplication.is_some() {
            self.require(DEDUPLICATION).await?;
        }
        if !by_name.is_empty() {
            self.require(TOPIC_OPTIONS).await?;
        }
        Ok(())
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

/// Whether an error says that the topic, or its stream, is not there.
pub(crate) fn is_gone(error: &CallError) -> bool {
    use ErrorCode::{StreamIdNotFound, TopicIdNotFound};
    matches!(error.code(), Some(StreamIdNotFound | TopicIdNotFound))
}

/// A topic, as error messages name it.
pub(crate) fn path(stream: &Identifier, topic: &Identifier) -> String {
    format!("{topic} of stream {stream}")
}
