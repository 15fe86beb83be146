//! The settings of a topic: as options, as they are sent, as they are shown.

use std::time::Duration;

use clap::{Args, ValueEnum};
use galgo::wire::command::extensions::TopicSettings;
use galgo::wire::command::topics::{MaxTopicSize, MessageExpiry};
use galgo::{CallError, Client, ErrorCode, TopicOptions};

use crate::command::topic::TopicPath;
use crate::failure::Outcome;
use crate::output::measure;
use crate::value::duration::{Expiry, parse_expiry};
use crate::value::size::{MaxSize, parse_max_size};

/// What an acknowledgement of the topic means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Acknowledged messages survive a power loss.
    Fsync,
    /// Acknowledged messages survive the death of the server process.
    Os,
}

impl Durability {
    /// As it is written in a configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
        }
    }
}

impl From<Durability> for galgo::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Fsync => Self::Fsync,
            Durability::Os => Self::Os,
        }
    }
}

/// Whether a topic stores each message id once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deduplication {
    /// Once.
    On,
    /// As often as it is sent.
    Off,
}

impl From<Deduplication> for galgo::Deduplication {
    fn from(deduplication: Deduplication) -> Self {
        match deduplication {
            Deduplication::On => Self::On,
            Deduplication::Off => Self::Off,
        }
    }
}

/// Settings of a topic.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// What an acknowledgement promises; the server's default is fsync unless it was told otherwise
    #[arg(long, value_enum)]
    pub(super) durability: Option<Durability>,
    /// Store a message once when its id comes again within the server's window
    #[arg(long, value_enum)]
    pub(super) deduplication: Option<Deduplication>,
    /// How long messages are kept: 7days, 1h 30m, never or default
    #[arg(long, value_name = "D", value_parser = parse_expiry)]
    pub(super) expiry: Option<Expiry>,
    /// How large the topic may grow: 10GiB, unlimited or default
    #[arg(long, value_name = "B", value_parser = parse_max_size)]
    pub(super) max_size: Option<MaxSize>,
}

impl Settings {
    /// Whether nothing is set.
    pub(super) fn is_empty(self) -> bool {
        self.durability.is_none()
            && self.deduplication.is_none()
            && self.expiry.is_none()
            && self.max_size.is_none()
    }

    /// `options` with what is set.
    pub(super) fn apply(self, mut options: TopicOptions) -> TopicOptions {
        match self.expiry {
            None => {}
            Some(Expiry::ServerDefault) => options.expiry = None,
            Some(Expiry::Never) => options = options.expiry(Duration::MAX),
            Some(Expiry::After(duration)) => options = options.expiry(duration),
        }
        match self.max_size {
            None => {}
            Some(MaxSize::ServerDefault) => options.max_size = None,
            Some(MaxSize::Unlimited) => options = options.max_size(u64::MAX),
            Some(MaxSize::Bytes(bytes)) => options = options.max_size(bytes),
        }
        if let Some(deduplication) = self.deduplication {
            options = options.deduplication(deduplication.into());
        }
        match self.durability {
            None => options,
            Some(durability) => options.durability(durability.into()),
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

/// How long messages are kept, as it is typed.
pub(super) fn show_expiry(expiry: MessageExpiry) -> String {
    match expiry.limit() {
        Some(micros) => measure::duration(Duration::from_micros(micros)),
        None => expiry.to_string(),
    }
}

/// How large a topic may grow, as it is typed.
pub(super) fn show_max_size(size: MaxTopicSize) -> String {
    size.limit().map_or_else(|| size.to_string(), measure::bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_as_they_are_typed() {
        assert_eq!(show_expiry(MessageExpiry::NEVER), "never");
        assert_eq!(show_expiry(MessageExpiry::new(7 * 86_400_000_000)), "7days");
        assert_eq!(show_expiry(MessageExpiry::new(1_000_000)), "1.00 s");
        assert_eq!(show_max_size(MaxTopicSize::new(10 << 30)), "10.0 GiB");
        assert_eq!(show_max_size(MaxTopicSize::UNLIMITED), "unlimited");
    }
}
