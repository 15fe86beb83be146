//! What a Galgo server can do beyond the classic protocol, asked only when it is needed.

use galgo_wire::command::Command;
use galgo_wire::command::extensions::{FeatureFlags, GetFeatures};
use galgo_wire::error_code::ErrorCode;

use crate::{CallError, Client, Unsupported};

/// What a server calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerName {
    /// The name of the software.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// An extension, and what to say when the server does not have it.
pub(crate) struct Extension {
    flags: FeatureFlags,
    missing: Unsupported,
}

/// Settings of a topic classic clients do not know.
pub(crate) const TOPIC_SETTINGS: Extension = Extension {
    flags: FeatureFlags::TOPIC_DURABILITY,
    missing: Unsupported {
        what: "a durability per topic",
        instead: "leave the durability out to use the server's own",
    },
};

/// Deduplication as a setting of a topic.
pub(crate) const DEDUPLICATION: Extension = Extension {
    flags: FeatureFlags::DEDUPLICATION,
    missing: Unsupported {
        what: "deduplication per topic",
        instead: "leave the deduplication out to use the server's own",
    },
};

/// A partition that takes no writes, tried again at once.
pub(crate) const PARTITION_RESCUE: Extension = Extension {
    flags: FeatureFlags::PARTITION_RESCUE,
    missing: Unsupported {
        what: "trying again to take writes in a partition",
        instead: "wait until the server does, or restart it",
    },
};

/// Polls that wait.
pub(crate) const WAITING_POLLS: Extension = Extension {
    flags: FeatureFlags::WAITING_POLLS,
    missing: Unsupported { what: "polls that wait", instead: "poll now and then" },
};

/// Sends that tell what became of them, and can be chained.
pub(crate) const SEND_WITH: Extension = Extension {
    flags: FeatureFlags::SEND_WITH,
    missing: Unsupported {
        what: "sends that tell what became of them",
        instead: "send without asking",
    },
};

/// Polls and offsets that say which life of a partition they are about.
pub(crate) const LIVES: Extension = Extension {
    flags: FeatureFlags::LIVES,
    missing: Unsupported { what: "lives of partitions", instead: "read without them" },
};

/// Memberships of groups that end when a member falls silent, and that tell what it holds.
pub(crate) const GROUP_SESSIONS: Extension = Extension {
    flags: FeatureFlags::GROUP_SESSIONS,
    missing: Unsupported { what: "memberships with a session", instead: "join without one" },
};

/// Plans of retention.
pub(crate) const RETENTION_PLAN: Extension = Extension {
    flags: FeatureFlags::RETENTION_PLAN,
    missing: Unsupported {
        what: "showing what retention would remove",
        instead: "look at the expiry and the size of the topic",
    },
};

/// Passwords that administrators reset, and what senders and readers may know of a topic.
pub(crate) const ACCESS: Extension = Extension {
    flags: FeatureFlags::ACCESS,
    missing: Unsupported {
        what: "resetting a password without the current one",
        instead: "change it with the current one, or delete the user and create it again",
    },
};

/// The list of stored offsets, and what holds retention back.
pub(crate) const STORED_OFFSETS: Extension = Extension {
    flags: FeatureFlags::STORED_OFFSETS,
    missing: Unsupported {
        what: "listing stored offsets",
        instead: "ask for those of the consumers and groups you know",
    },
};

/// Options of a topic by name.
pub(crate) const TOPIC_OPTIONS: Extension = Extension {
    flags: FeatureFlags::TOPIC_OPTIONS,
    missing: Unsupported {
        what: "options of a topic by name",
        instead: "leave them out to use the server's own",
    },
};

impl Client {
    /// Carries out a command of `extension`, or says that the server does not have it.
    pub(crate) async fn call_extension<C: Command>(
        &self,
        extension: Extension,
        command: &C,
        operation: &'static str,
        target: impl Fn() -> String,
    ) -> Result<C::Reply, CallError> {
        self.require(extension).await?;
        self.call(command, operation, target).await
    }

    /// Says it when the server does not have `extension`.
    pub(crate) async fn require(&self, extension: Extension) -> Result<(), CallError> {
        match self.has(&extension).await? {
            true => Ok(()),
            false => Err(extension.missing.into()),
        }
    }

    /// Whether the server has `extension`.
    pub(crate) async fn has(&self, extension: &Extension) -> Result<bool, CallError> {
        Ok(self.features().await?.contains(extension.flags))
    }

    /// Returns name and version of the server, or `None` when it is a classic one, which does not tell.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn server(&self) -> Result<Option<ServerName>, CallError> {
        match self.call(&GetFeatures, "ask for features", String::new).await {
            Ok(features) => Ok(Some(ServerName {
                name: features.server_name,
                version: features.server_version,
            })),
            Err(error) if error.code() == Some(ErrorCode::InvalidCommand) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the extensions of the server, asked once per connection; a classic server has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn features(&self) -> Result<FeatureFlags, CallError> {
        let generation = self.connection.generation();
        if let Some((learned_at, known)) = *self.connection.extensions.lock()
            && learned_at == generation
        {
            return Ok(known);
        }
        let known = match self.call(&GetFeatures, "ask for features", String::new).await {
            Ok(features) => features.flags,
            // How a classic server answers a command it has never heard of.
            Err(error) if error.code() == Some(ErrorCode::InvalidCommand) => FeatureFlags::new(0),
            Err(error) => return Err(error),
        };
        *self.connection.extensions.lock() = Some((generation, known));
        Ok(known)
    }
}
