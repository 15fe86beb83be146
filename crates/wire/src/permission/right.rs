//! The actions permissions are about, and the flags that allow each.

use super::{GlobalPermissions, StreamFlags, TopicPermissions};
use crate::id::{StreamId, TopicId};
use crate::identifier::{Identifier, IdentifierRef};

/// A group of commands that the same flags allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read statistics, clients and snapshots.
    ReadServers,
    /// Read and list users.
    ReadUsers,
    /// Create, change and delete users.
    ManageUsers,
    /// List streams.
    ListStreams,
    /// Read one stream.
    ReadStream,
    /// Create a stream.
    CreateStream,
    /// Change, delete or purge a stream.
    ManageStream,
    /// List the topics of a stream.
    ListTopics,
    /// Read a topic; list its consumer groups.
    ReadTopic,
    /// Create a topic.
    CreateTopic,
    /// Change, delete or purge a topic, its partitions and segments; delete its groups.
    ManageTopic,
    /// Poll messages; read, store and delete consumer offsets; read, create, join and leave groups.
    PollMessages,
    /// Send messages; flush.
    SendMessages,
    /// Know of a topic what it takes to send to it or to poll it.
    UseTopic,
}

/// Where an action takes place, with ids resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The server as a whole.
    Server,
    /// One stream.
    Stream(StreamId),
    /// One topic.
    Topic(StreamId, TopicId),
}

impl Scope {
    pub(super) fn stream(self) -> Option<StreamId> {
        match self {
            Self::Server => None,
            Self::Stream(stream) | Self::Topic(stream, _) => Some(stream),
        }
    }

    pub(super) fn topic(self) -> Option<TopicId> {
        match self {
            Self::Server | Self::Stream(_) => None,
            Self::Topic(_, topic) => Some(topic),
        }
    }
}

/// What a command needs of its caller, in the words of the request: ids are not resolved yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right<'a> {
    /// Nothing, not even a login.
    Public,
    /// A login, of any user.
    LoggedIn,
    /// To be that user, or to have the right to the action on users.
    SelfOr {
        /// What others need the right to.
        action: Action,
        /// The user the command is about.
        user: IdentifierRef<'a>,
    },
    /// The right to an action on the server.
    Server(Action),
    /// The right to an action on a stream.
    Stream {
        /// The right needed.
        action: Action,
        /// The stream, to be resolved before the right is checked.
        stream: IdentifierRef<'a>,
    },
    /// The right to an action on a topic.
    Topic {
        /// The right needed.
        action: Action,
        /// The stream, to be resolved before the right is checked.
        stream: IdentifierRef<'a>,
        /// The topic, to be resolved before the right is checked.
        topic: IdentifierRef<'a>,
    },
}

impl<'a> Right<'a> {
    /// To be `user`, or to have the right to `action`.
    #[must_use]
    pub fn self_or(action: Action, user: &'a Identifier) -> Self {
        Self::SelfOr { action, user: user.borrowed() }
    }

    /// The right to `action` on `stream`.
    #[must_use]
    pub fn stream(action: Action, stream: &'a Identifier) -> Self {
        Self::Stream { action, stream: stream.borrowed() }
    }

    /// The action that is needed; none for everybody, or for whoever is logged in.
    #[must_use]
    pub fn action(self) -> Option<Action> {
        match self {
            Self::Public | Self::LoggedIn => None,
            Self::SelfOr { action, .. }
            | Self::Server(action)
            | Self::Stream { action, .. }
            | Self::Topic { action, .. } => Some(action),
        }
    }

    /// The right to `action` on `topic` of `stream`.
    #[must_use]
    pub fn topic(action: Action, stream: &'a Identifier, topic: &'a Identifier) -> Self {
        Self::Topic { action, stream: stream.borrowed(), topic: topic.borrowed() }
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 14] = [
        Self::ReadServers,
        Self::ReadUsers,
        Self::ManageUsers,
        Self::ListStreams,
        Self::ReadStream,
        Self::CreateStream,
        Self::ManageStream,
        Self::ListTopics,
        Self::ReadTopic,
        Self::CreateTopic,
        Self::ManageTopic,
        Self::PollMessages,
        Self::SendMessages,
        Self::UseTopic,
    ];

    /// The name of the flag that allows the action and least besides.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            Self::ReadServers => "read_servers",
            Self::ReadUsers => "read_users",
            Self::ManageUsers => "manage_users",
            Self::ListStreams => "read_streams",
            Self::ReadStream => "read_stream",
            Self::CreateStream => "manage_streams",
            Self::ManageStream => "manage_stream",
            Self::ListTopics => "read_topics",
            Self::ReadTopic => "read_topic",
            Self::CreateTopic => "manage_topics",
            Self::ManageTopic => "manage_topic",
            Self::PollMessages => "poll_messages",
            Self::SendMessages | Self::UseTopic => "send_messages",
        }
    }

    /// Whether a global flag allows the action anywhere.
    pub(super) fn allowed_by_global(self, flags: &GlobalPermissions) -> bool {
        let manage_any = flags.manage_streams || flags.manage_topics;
        let read_any = flags.read_streams || flags.read_topics;
        match self {
            Self::ReadServers => flags.read_servers || flags.manage_servers,
            Self::ReadUsers => flags.read_users || flags.manage_users,
            Self::ManageUsers => flags.manage_users,
            Self::ListStreams | Self::ReadStream => flags.read_streams || flags.manage_streams,
            Self::CreateStream | Self::ManageStream => flags.manage_streams,
            Self::ListTopics | Self::ReadTopic => read_any || manage_any,
            Self::CreateTopic | Self::ManageTopic => manage_any,
            Self::PollMessages => flags.poll_messages || read_any || manage_any,
            Self::SendMessages => flags.send_messages || manage_any,
            Self::UseTopic => {
                Self::PollMessages.allowed_by_global(flags)
                    || Self::SendMessages.allowed_by_global(flags)
            }
        }
    }

    /// Whether a flag of a stream allows the action in that stream.
    pub(super) fn allowed_by_stream(self, flags: &StreamFlags) -> bool {
        let manage_any = flags.manage_stream || flags.manage_topics;
        let read_any = flags.read_stream || flags.read_topics;
        match self {
            Self::ReadServers
            | Self::ReadUsers
            | Self::ManageUsers
            | Self::ListStreams
            | Self::CreateStream => false,
            Self::ReadStream => flags.read_stream || flags.manage_stream,
            Self::ManageStream => flags.manage_stream,
            Self::ListTopics | Self::ReadTopic => read_any || manage_any,
            Self::CreateTopic | Self::ManageTopic => manage_any,
            Self::PollMessages => flags.poll_messages || read_any || manage_any,
            Self::SendMessages => flags.send_messages || manage_any,
            Self::UseTopic => {
                Self::PollMessages.allowed_by_stream(flags)
                    || Self::SendMessages.allowed_by_stream(flags)
            }
        }
    }

    /// Whether a flag of a topic allows the action on that topic.
    pub(super) fn allowed_by_topic(self, flags: &TopicPermissions) -> bool {
        match self {
            Self::ReadTopic => flags.read_topic || flags.manage_topic,
            Self::ManageTopic => flags.manage_topic,
            Self::PollMessages => flags.poll_messages || flags.read_topic || flags.manage_topic,
            Self::SendMessages => flags.send_messages || flags.manage_topic,
            Self::UseTopic => {
                Self::PollMessages.allowed_by_topic(flags)
                    || Self::SendMessages.allowed_by_topic(flags)
            }
            _ => false,
        }
    }
}
