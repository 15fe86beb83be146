//! The commands: one row each in the table, one declaration each in the files beside.
//!
//! INV-ONCE: code, name, fields, reply and right of a command stand in one place each, and frames,
//! access checks and the SDK all take them from there. JSON over HTTP has forms of its own.
//!
//! A new command is a declaration in the file of its noun and a row here.

pub mod extensions;
pub mod groups;
pub mod lives;
pub mod memberships;
pub mod messages;
pub mod offsets;
pub mod retention;
pub mod send_with;
pub mod streams;
pub mod system;
pub mod tokens;
pub mod topic_options;
pub mod topics;
pub mod users;

use crate::error_code::ErrorCode;
use crate::permission::Right;
use crate::primitive::Reader;
use std::fmt;

pub use crate::primitive::Payload;
pub use extensions::*;
pub use groups::*;
pub use lives::*;
pub use memberships::*;
pub use messages::*;
pub use offsets::*;
pub use retention::*;
pub use send_with::*;
pub use streams::*;
pub use system::*;
pub use tokens::*;
pub use topic_options::*;
pub use topics::*;
pub use users::*;

/// A request with one kind of reply.
pub trait Command: Payload {
    /// Its code.
    const CODE: CommandCode;
    /// What a success answers with.
    type Reply: Payload;

    /// What the caller needs.
    fn right(&self) -> Right<'_>;
}

/// Makes the table: codes, names, and the request that is any command.
macro_rules! commands {
    (
        $($code:literal $name:ident $log_name:literal;)*
        zero copy: $($raw_code:literal $raw_name:ident $raw_log_name:literal;)*
    ) => {
        /// The code of a command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum CommandCode {
            $(
                #[doc = concat!("`", $log_name, "`")]
                $name = $code,
            )*
            $(
                #[doc = concat!("`", $raw_log_name, "`")]
                $raw_name = $raw_code,
            )*
        }

        impl CommandCode {
            /// Every command, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* $(Self::$raw_name,)*];

            /// Its place in [`CommandCode::ALL`].
            #[must_use]
            pub fn place(self) -> usize {
                // A declaration in the order of the table numbers its variants for us.
                #[repr(usize)]
                enum Place {
                    $($name,)*
                    $($raw_name,)*
                }
                match self {
                    $(Self::$name => Place::$name as usize,)*
                    $(Self::$raw_name => Place::$raw_name as usize,)*
                }
            }

            /// The command with this code.
            #[must_use]
            pub fn from_u32(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    $($raw_code => Some(Self::$raw_name),)*
                    _ => None,
                }
            }

            /// The name in logs and metrics.
            #[must_use]
            pub fn log_name(self) -> &'static str {
                match self {
                    $(Self::$name => $log_name,)*
                    $(Self::$raw_name => $raw_log_name,)*
                }
            }
        }

        /// A decoded request of any command but SEND_MESSAGES and SEND_WITH, which [`SendHeader`] and
        /// [`SendWithHeader`] read in place.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request {
            $(
                #[doc = concat!("`", $log_name, "`")]
                $name($name),
            )*
        }

        impl Request {
            /// Reads the payload of the command with this code; bytes behind it are ignored.
            ///
            /// # Errors
            /// [`ErrorCode::InvalidCommand`] for an unknown code, for SEND_MESSAGES and for
            /// SEND_WITH, else the code of what is wrong with the payload.
            pub fn decode(code: u32, payload: &[u8]) -> Result<Self, ErrorCode> {
                let reader = &mut Reader::new(payload);
                match CommandCode::from_u32(code).ok_or(ErrorCode::InvalidCommand)? {
                    $(CommandCode::$name => <$name>::decode(reader).map(Self::$name),)*
                    $(CommandCode::$raw_name => Err(ErrorCode::InvalidCommand),)*
                }
            }

            /// Its code.
            #[must_use]
            pub fn code(&self) -> CommandCode {
                match self {
                    $(Self::$name(_) => CommandCode::$name,)*
                }
            }

            /// What the caller needs.
            #[must_use]
            pub fn right(&self) -> Right<'_> {
                match self {
                    $(Self::$name(command) => command.right(),)*
                }
            }

            /// Appends the payload to `out`.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(command) => command.encode(out),)*
                }
            }
        }

        $(
            impl From<$name> for Request {
                fn from(command: $name) -> Self {
                    Self::$name(command)
                }
            }
        )*

        /// Calls a function for each command of the table.
        #[cfg(test)]
        macro_rules! for_each_command {
            ($call:ident) => { $($call::<$name>();)* };
        }
    };
}

commands! {
    1 Ping "ping";
    10 GetStats "stats";
    11 GetSnapshot "snapshot";
    12 GetClusterMetadata "cluster.metadata";
    20 GetMe "me";
    21 GetClient "client.get";
    22 GetClients "client.list";
    31 GetUser "user.get";
    32 GetUsers "user.list";
    33 CreateUser "user.create";
    34 DeleteUser "user.delete";
    35 UpdateUser "user.update";
    36 UpdatePermissions "user.permissions";
    37 ChangePassword "user.password";
    38 LoginUser "user.login";
    39 LogoutUser "user.logout";
    41 GetTokens "personal_access_token.list";
    42 CreateToken "personal_access_token.create";
    43 DeleteToken "personal_access_token.delete";
    44 LoginWithToken "personal_access_token.login";
    100 PollMessages "message.poll";
    102 FlushUnsavedBuffer "message.flush_unsaved_buffer";
    120 GetConsumerOffset "consumer_offset.get";
    121 StoreConsumerOffset "consumer_offset.store";
    122 DeleteConsumerOffset "consumer_offset.delete";
    200 GetStream "stream.get";
    201 GetStreams "stream.list";
    202 CreateStream "stream.create";
    203 DeleteStream "stream.delete";
    204 UpdateStream "stream.update";
    205 PurgeStream "stream.purge";
    300 GetTopic "topic.get";
    301 GetTopics "topic.list";
    302 CreateTopic "topic.create";
    303 DeleteTopic "topic.delete";
    304 UpdateTopic "topic.update";
    305 PurgeTopic "topic.purge";
    402 CreatePartitions "partition.create";
    403 DeletePartitions "partition.delete";
    503 DeleteSegments "segment.delete";
    600 GetConsumerGroup "consumer_group.get";
    601 GetConsumerGroups "consumer_group.list";
    602 CreateConsumerGroup "consumer_group.create";
    603 DeleteConsumerGroup "consumer_group.delete";
    604 JoinConsumerGroup "consumer_group.join";
    605 LeaveConsumerGroup "consumer_group.leave";
    10000 GetFeatures "features";
    10001 CreateTopicWith "topic.create_with";
    10002 UpdateTopicWith "topic.update_with";
    10003 GetTopicSettings "topic.settings";
    10004 PlanRetention "topic.plan_retention";
    10005 PollWaiting "message.poll_waiting";
    10006 PollInLife "message.poll_in_life";
    10007 StoreOffsetInLife "consumer_offset.store_in_life";
    10009 JoinGroupWith "consumer_group.join_with";
    10010 ListConsumerOffsets "consumer_offset.list";
    10011 GetRetentionState "topic.retention_state";
    10012 ResetPassword "user.reset_password";
    10013 GetTopicOutline "topic.outline";
    10110 ConfigureTopic "topic.configure";
    10111 GetTopicConfig "topic.config";
    zero copy:
    101 SendMessages "message.send";
    10100 SendWith "message.send_with";
}

impl CommandCode {
    /// First code of Galgo's own range; a classic server knows none of it.
    pub const EXTENSIONS_FIRST: u32 = 10_000;

    /// The number on the wire.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        self as u32
    }

    /// Whether requests with this code carry messages to be stored, so that they may be large and are read in
    /// place.
    #[must_use]
    pub fn carries_messages(code: u32) -> bool {
        code == Self::SendMessages.as_u32() || code == Self::SendWith.as_u32()
    }

    /// Whether a classic client never sends it.
    #[must_use]
    pub fn is_extension(self) -> bool {
        self.as_u32() >= Self::EXTENSIONS_FIRST
    }
}

impl fmt::Display for CommandCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.log_name())
    }
}

#[cfg(test)]
mod tests;
