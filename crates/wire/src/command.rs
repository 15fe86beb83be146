//! The commands: one row each in the table, one declaration each in the files beside.
//!
//! INV-ONCE: code, name, fields, reply and right of a command stand in one place each, and so does what is to be
//! known of it without looking inside (see [`mod@column`]). Frames, access checks, transports, HTTP and the SDK all
//! take them from there.
//!
//! A new command is a declaration in the file of its noun and a row here.

pub mod column;
pub mod extensions;
pub mod groups;
pub mod lives;
pub mod memberships;
pub mod messages;
pub mod offsets;
pub mod rescue;
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
pub use column::{Cost, HttpMethod, HttpRoute, Order, Repeat};
pub use extensions::*;
pub use groups::*;
pub use lives::*;
pub use memberships::*;
pub use messages::*;
pub use offsets::*;
pub use rescue::*;
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

/// Somebody who wants to know of each command, see [`visit_all`].
pub trait CommandVisitor {
    /// Is told of one.
    fn visit<C: Command>(&mut self);
}

/// The column of who may send it.
macro_rules! needs_login {
    (Anyone) => {
        false
    };
    (User) => {
        true
    };
}

/// The column of its place in HTTP.
macro_rules! route {
    (with $other:ident) => {
        HttpRoute::With(CommandCode::$other)
    };
    (none $reason:literal) => {
        HttpRoute::Nowhere($reason)
    };
    (plain $method:ident $path:literal) => {
        route!($method $path)
    };
    ($method:ident $path:literal) => {
        HttpRoute::At(HttpMethod::$method, $path)
    };
}

/// Tells a visitor of a command, if its row says `plain`.
#[cfg(feature = "json")]
macro_rules! visit {
    ($visitor:ident, $name:ident, plain $($route:tt)+) => {
        $visitor.visit::<$name>();
    };
    ($visitor:ident, $name:ident, $($route:tt)+) => {};
}

/// Makes the table: codes, names, columns, and the request that is any command.
macro_rules! commands {
    (
        $(
            $code:literal $name:ident $log_name:literal:
            $repeat:ident $order:ident $cost:ident $login:ident [$($route:tt)+];
        )*
        zero copy:
        $(
            $raw_code:literal $raw_name:ident $raw_log_name:literal:
            $raw_repeat:ident $raw_order:ident $raw_cost:ident $raw_login:ident [$($raw_route:tt)+];
        )*
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
            pub const fn place(self) -> usize {
                // A declaration in the order of the table numbers its variants for us.
                #[repr(usize)]
                enum InTable {
                    $($name,)*
                    $($raw_name,)*
                }
                match self {
                    $(Self::$name => InTable::$name as usize,)*
                    $(Self::$raw_name => InTable::$raw_name as usize,)*
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

            /// Whether it is read in place, because it carries messages.
            fn is_zero_copy(self) -> bool {
                matches!(self, $(Self::$raw_name)|*)
            }

            /// The name in logs and metrics.
            #[must_use]
            pub fn log_name(self) -> &'static str {
                match self {
                    $(Self::$name => $log_name,)*
                    $(Self::$raw_name => $raw_log_name,)*
                }
            }

            /// Whether it may be sent again when nobody knows whether it was carried out.
            #[must_use]
            pub const fn repeat(self) -> Repeat {
                match self {
                    $(Self::$name => Repeat::$repeat,)*
                    $(Self::$raw_name => Repeat::$raw_repeat,)*
                }
            }

            /// Whether it may be begun while requests before it wait for their commit.
            #[must_use]
            pub const fn order(self) -> Order {
                match self {
                    $(Self::$name => Order::$order,)*
                    $(Self::$raw_name => Order::$raw_order,)*
                }
            }

            /// The dearest thing it may need before it is answered.
            #[must_use]
            pub const fn cost(self) -> Cost {
                match self {
                    $(Self::$name => Cost::$cost,)*
                    $(Self::$raw_name => Cost::$raw_cost,)*
                }
            }

            /// Whether only somebody who is logged in is answered.
            #[must_use]
            pub const fn needs_login(self) -> bool {
                match self {
                    $(Self::$name => needs_login!($login),)*
                    $(Self::$raw_name => needs_login!($raw_login),)*
                }
            }

            /// How it is reached over HTTP.
            #[must_use]
            pub const fn route(self) -> HttpRoute {
                match self {
                    $(Self::$name => route!($($route)+),)*
                    $(Self::$raw_name => route!($($raw_route)+),)*
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

        /// Tells of each command whose requests [`Request::decode`] reads: all but the two sends.
        pub fn visit_all(visitor: &mut impl CommandVisitor) {
            $(visitor.visit::<$name>();)*
        }

        /// Tells of each command that HTTP reads from a URL alone.
        #[cfg(feature = "json")]
        pub fn visit_plain(visitor: &mut impl crate::parameter::PlainVisitor) {
            $(visit!(visitor, $name, $($route)+);)*
        }

        /// Calls a function for each command of the table.
        #[cfg(test)]
        macro_rules! for_each_command {
            ($call:ident) => { $($call::<$name>();)* };
        }
    };
}

commands! {
    // code, name, name in logs: whether it may be sent again, whether it may be begun behind requests that wait for their
    // commit, what it costs, who may send it, and how it is reached over HTTP; see `column`. `plain`: path and query
    // have all of it, and the route is made of this row and the declaration.
    1 Ping "ping": Safe Waits Memory Anyone [Get "/ping"];
    10 GetStats "stats": Safe Waits Memory User [plain Get "/stats"];
    11 GetSnapshot "snapshot": Safe Waits Disk User [Post "/snapshot"];
    12 GetClusterMetadata "cluster.metadata": Safe Waits Memory User
        [plain Get "/cluster/metadata"];
    20 GetMe "me": Safe Waits Memory User [none "a request over HTTP is no connection"];
    21 GetClient "client.get": Safe Waits Memory User [Get "/clients/{client_id}"];
    22 GetClients "client.list": Safe Waits Memory User [plain Get "/clients"];
    31 GetUser "user.get": Safe Waits Memory User [plain Get "/users/{user}"];
    32 GetUsers "user.list": Safe Waits Memory User [plain Get "/users"];
    33 CreateUser "user.create": Never Waits Hash User [Post "/users"];
    34 DeleteUser "user.delete": Never Waits Change User [plain Delete "/users/{user}"];
    35 UpdateUser "user.update": Never Waits Change User [Put "/users/{user}"];
    36 UpdatePermissions "user.permissions": Safe Waits Change User
        [Put "/users/{user}/permissions"];
    37 ChangePassword "user.password": Never Waits Hash User [Put "/users/{user}/password"];
    38 LoginUser "user.login": Safe Waits Hash Anyone [Post "/users/login"];
    39 LogoutUser "user.logout": Never Waits Memory User [Delete "/users/logout"];
    41 GetTokens "personal_access_token.list": Safe Waits Memory User
        [plain Get "/personal-access-tokens"];
    42 CreateToken "personal_access_token.create": Never Waits Change User
        [Post "/personal-access-tokens"];
    43 DeleteToken "personal_access_token.delete": Never Waits Change User
        [Delete "/personal-access-tokens/{name}"];
    44 LoginWithToken "personal_access_token.login": Safe Waits Memory Anyone
        [Post "/personal-access-tokens/login"];
    100 PollMessages "message.poll": Depends Waits Disk User
        [Get "/streams/{stream}/topics/{topic}/messages"];
    102 FlushUnsavedBuffer "message.flush_unsaved_buffer": Safe Waits Disk User
        [Get "/streams/{stream}/topics/{topic}/messages/flush/{partition_id}/{fsync}"];
    120 GetConsumerOffset "consumer_offset.get": Safe Waits Memory User
        [Get "/streams/{stream}/topics/{topic}/consumer-offsets"];
    121 StoreConsumerOffset "consumer_offset.store": Safe Follows Commit User
        [Put "/streams/{stream}/topics/{topic}/consumer-offsets"];
    122 DeleteConsumerOffset "consumer_offset.delete": Never Waits Commit User
        [Delete "/streams/{stream}/topics/{topic}/consumer-offsets/{consumer_id}"];
    200 GetStream "stream.get": Safe Waits Memory User [plain Get "/streams/{stream}"];
    201 GetStreams "stream.list": Safe Waits Memory User [plain Get "/streams"];
    202 CreateStream "stream.create": Never Waits Change User [Post "/streams"];
    203 DeleteStream "stream.delete": Never Waits Change User [plain Delete "/streams/{stream}"];
    204 UpdateStream "stream.update": Never Waits Change User [Put "/streams/{stream}"];
    205 PurgeStream "stream.purge": Never Waits Change User
        [plain Delete "/streams/{stream}/purge"];
    300 GetTopic "topic.get": Safe Waits Memory User [plain Get "/streams/{stream}/topics/{topic}"];
    301 GetTopics "topic.list": Safe Waits Memory User [Get "/streams/{stream}/topics"];
    302 CreateTopic "topic.create": Never Waits Change User [Post "/streams/{stream}/topics"];
    303 DeleteTopic "topic.delete": Never Waits Change User
        [plain Delete "/streams/{stream}/topics/{topic}"];
    304 UpdateTopic "topic.update": Never Waits Change User
        [Put "/streams/{stream}/topics/{topic}"];
    305 PurgeTopic "topic.purge": Never Waits Change User
        [plain Delete "/streams/{stream}/topics/{topic}/purge"];
    402 CreatePartitions "partition.create": Never Waits Change User
        [Post "/streams/{stream}/topics/{topic}/partitions"];
    403 DeletePartitions "partition.delete": Never Waits Change User
        [plain Delete "/streams/{stream}/topics/{topic}/partitions"];
    503 DeleteSegments "segment.delete": Never Waits Commit User
        [plain Delete "/streams/{stream}/topics/{topic}/partitions/{partition_id}"];
    600 GetConsumerGroup "consumer_group.get": Safe Waits Memory User
        [Get "/streams/{stream}/topics/{topic}/consumer-groups/{group}"];
    601 GetConsumerGroups "consumer_group.list": Safe Waits Memory User
        [Get "/streams/{stream}/topics/{topic}/consumer-groups"];
    602 CreateConsumerGroup "consumer_group.create": Never Waits Change User
        [Post "/streams/{stream}/topics/{topic}/consumer-groups"];
    603 DeleteConsumerGroup "consumer_group.delete": Never Waits Change User
        [plain Delete "/streams/{stream}/topics/{topic}/consumer-groups/{group}"];
    604 JoinConsumerGroup "consumer_group.join": Safe Waits Memory User
        [none "members of a group are connections"];
    605 LeaveConsumerGroup "consumer_group.leave": Never Waits Memory User
        [none "members of a group are connections"];
    10000 GetFeatures "features": Safe Waits Memory User [plain Get "/features"];
    10001 CreateTopicWith "topic.create_with": Never Waits Change User [with CreateTopic];
    10002 UpdateTopicWith "topic.update_with": Never Waits Change User [with UpdateTopic];
    10003 GetTopicSettings "topic.settings": Safe Waits Memory User
        [plain Get "/streams/{stream}/topics/{topic}/settings"];
    10004 PlanRetention "topic.plan_retention": Safe Waits Disk User
        [plain Get "/streams/{stream}/topics/{topic}/retention/plan"];
    10005 PollWaiting "message.poll_waiting": Depends Waits Wait User
        [none "an answer over HTTP does not wait, and without that it is PollMessages"];
    10006 PollInLife "message.poll_in_life": Depends Waits Wait User
        [Get "/streams/{stream}/topics/{topic}/partitions/{partition_id}/messages"];
    10007 StoreOffsetInLife "consumer_offset.store_in_life": Safe Waits Commit User
        [Put "/streams/{stream}/topics/{topic}/consumer-offsets/{consumer_id}"];
    10009 JoinGroupWith "consumer_group.join_with": Safe Waits Memory User
        [none "members of a group are connections"];
    10010 ListConsumerOffsets "consumer_offset.list": Safe Waits Disk User
        [plain Get "/streams/{stream}/topics/{topic}/offsets"];
    10011 GetRetentionState "topic.retention_state": Safe Waits Disk User
        [plain Get "/streams/{stream}/topics/{topic}/retention"];
    10012 ResetPassword "user.reset_password": Never Waits Hash User
        [Put "/users/{user}/password/reset"];
    10013 GetTopicOutline "topic.outline": Safe Waits Memory User
        [plain Get "/streams/{stream}/topics/{topic}/outline"];
    10110 ConfigureTopic "topic.configure": Safe Waits Change User
        [Patch "/streams/{stream}/topics/{topic}/options"];
    10111 GetTopicConfig "topic.config": Safe Waits Memory User
        [plain Get "/streams/{stream}/topics/{topic}/options"];
    10190 RescuePartition "partition.rescue": Safe Waits Disk User
        [plain Post "/streams/{stream}/topics/{topic}/partitions/{partition_id}/rescue"];
    zero copy:
    101 SendMessages "message.send": Depends Follows Commit User
        [Post "/streams/{stream}/topics/{topic}/messages"];
    10100 SendWith "message.send_with": Depends Follows Commit User
        [Post "/streams/{stream}/topics/{topic}/batches"];
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
    /// place: the part of the table without decoding.
    #[must_use]
    pub fn carries_messages(code: u32) -> bool {
        Self::from_u32(code).is_some_and(Self::is_zero_copy)
    }

    /// Whether a request with this code may be begun while those before it wait for their commit.
    #[must_use]
    pub fn follows_on(code: u32) -> bool {
        Self::from_u32(code).is_some_and(|code| code.order() == Order::Follows)
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

// INV-ONCE: counters and lists of commands are arrays by place.
const _: () = {
    let (mut place, mut rest) = (0, CommandCode::ALL);
    while let [code, behind @ ..] = rest {
        assert!(code.place() == place, "the place of a command is that of its row");
        (place, rest) = (place + 1, behind);
    }
};
const _: () = assert!(
    CommandCode::SendMessages as u32 != 0
        && (CommandCode::SendMessages as u32) < CommandCode::EXTENSIONS_FIRST,
    "every client may send the classic way"
);
const _: () = assert!(
    CommandCode::SendWith as u32 >= CommandCode::EXTENSIONS_FIRST,
    "no classic server takes the code of an extension for one of its own"
);

#[cfg(test)]
mod tests;
