//! What a topic is set to.

use std::time::Duration;

use clap::ValueEnum;
use galgo::model::ResolvedOption;
use galgo::model::TopicSettings;
use galgo::model::{MaxTopicSize, MessageExpiry, Topic};
use galgo::{CallError, Client, ErrorCode, TopicOptions};

use crate::failure::Outcome;
use crate::noun::topic::TopicPath;

/// What an acknowledgement of the topic means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityChoice {
    /// Acknowledged messages survive a power loss.
    Fsync,
    /// Acknowledged messages survive the death of the server process.
    Os,
}

impl DurabilityChoice {
    /// As it is written in a configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
        }
    }
}

impl From<DurabilityChoice> for galgo::Durability {
    fn from(durability: DurabilityChoice) -> Self {
        match durability {
            DurabilityChoice::Fsync => Self::Fsync,
            DurabilityChoice::Os => Self::Os,
        }
    }
}

/// The settings of Galgo alone, or `None` when the server is a classic one or does not tell.
pub(crate) async fn settings(client: &Client, path: &TopicPath) -> Outcome<Option<TopicSettings>> {
    match client.topic_settings(&path.stream, &path.topic).await {
        Ok(settings) => Ok(settings),
        Err(CallError::Unsupported(_)) => Ok(None),
        Err(error) if error.code() == Some(ErrorCode::Unauthorized) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The options of a topic; none when the server has none, or does not tell.
pub(crate) async fn options(
    client: &Client,
    path: &TopicPath,
) -> Outcome<Option<Vec<ResolvedOption>>> {
    match client.topic_config(&path.stream, &path.topic).await {
        Ok(options) => Ok(Some(options)),
        Err(CallError::Unsupported(_)) => Ok(None),
        Err(error) if error.code() == Some(ErrorCode::Unauthorized) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The settings of a topic that every server knows, as they are.
pub(crate) fn options_of(topic: &Topic) -> TopicOptions {
    let mut options =
        TopicOptions::default().partitions(topic.partitions_count).compression(topic.compression);
    if topic.max_topic_size != MaxTopicSize::SERVER_DEFAULT {
        options = options.max_size(topic.max_topic_size.get());
    }
    match topic.message_expiry {
        MessageExpiry::SERVER_DEFAULT => options,
        MessageExpiry::NEVER => options.expiry(Duration::MAX),
        expiry => options.expiry(Duration::from_micros(expiry.get())),
    }
}
