//! What a caller may do, and how rights combine.
//!
//! One matching flag, global, of the stream or of the topic, is enough.

mod codec;
mod right;

use crate::id::{StreamId, TopicId};
use serde::Serialize;
use std::collections::BTreeMap;

pub(crate) use codec::{GrantedPermissions, RequestedPermissions};
pub use right::{Action, Place, Right};

/// Declares a set of flags in the order of the wire.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident [$count:literal] {
            $($(#[$field_meta:meta])* $field:ident,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: bool,)*
        }

        impl $name {
            /// Every flag set.
            pub const ALL: Self = Self { $($field: true,)* };

            /// The names of the flags, in the order of the wire.
            pub const NAMES: [&'static str; $count] = [$(stringify!($field)),*];

            /// The flags in the order of the wire.
            #[must_use]
            pub fn to_array(self) -> [bool; $count] {
                [$(self.$field),*]
            }

            /// The flags from the order of the wire.
            #[must_use]
            pub fn from_array(flags: [bool; $count]) -> Self {
                let [$($field),*] = flags;
                Self { $($field),* }
            }
        }

        #[cfg(test)]
        impl crate::sample::Sample for $name {
            fn sample(source: &mut crate::sample::Source) -> Self {
                Self { $($field: crate::sample::Sample::sample(source),)* }
            }
        }
    };
}

flags! {
    /// Flags that hold for the whole server.
    pub struct GlobalPermissions [10] {
        /// May manage the server.
        manage_servers,
        /// May read statistics and the list of clients.
        read_servers,
        /// May manage users.
        manage_users,
        /// May read users.
        read_users,
        /// May manage all streams.
        manage_streams,
        /// May read all streams.
        read_streams,
        /// May manage all topics.
        manage_topics,
        /// May read all topics.
        read_topics,
        /// May poll messages of all topics.
        poll_messages,
        /// May send messages to all topics.
        send_messages,
    }
}

flags! {
    /// Flags that hold for one stream.
    pub struct StreamFlags [6] {
        /// May manage the stream.
        manage_stream,
        /// May read the stream.
        read_stream,
        /// May manage its topics.
        manage_topics,
        /// May read its topics.
        read_topics,
        /// May poll messages of its topics.
        poll_messages,
        /// May send messages to its topics.
        send_messages,
    }
}

flags! {
    /// Flags that hold for one topic.
    pub struct TopicPermissions [4] {
        /// May manage the topic.
        manage_topic,
        /// May read the topic.
        read_topic,
        /// May poll messages of the topic.
        poll_messages,
        /// May send messages to the topic.
        send_messages,
    }
}

/// What a user may do in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct StreamPermissions {
    /// Flags for the whole stream.
    #[serde(flatten)]
    pub flags: StreamFlags,
    /// Flags for single topics of the stream.
    pub topics: BTreeMap<TopicId, TopicPermissions>,
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Permissions {
    /// Flags for the whole server.
    pub global: GlobalPermissions,
    /// Flags for single streams.
    pub streams: BTreeMap<StreamId, StreamPermissions>,
}

impl Permissions {
    /// Everything: the permissions of the root user.
    #[must_use]
    pub fn root() -> Self {
        Self { global: GlobalPermissions::ALL, streams: BTreeMap::new() }
    }

    /// Whether these allow whatever `others` allow.
    #[must_use]
    pub fn covers(&self, others: &Self) -> bool {
        let everywhere = |action: &Action| {
            !action.allowed_by_global(&others.global) || action.allowed_by_global(&self.global)
        };
        let in_stream = |(id, theirs): (&StreamId, &StreamPermissions)| {
            let own = self.streams.get(id);
            Action::ALL.into_iter().all(|action| {
                // What a flag of the stream allows, it allows in topics that are yet to come.
                let allowed = action.allowed_by_global(&self.global)
                    || own.is_some_and(|own| action.allowed_by_stream(&own.flags));
                let in_topic = |(topic, theirs): (&TopicId, &TopicPermissions)| {
                    let own = own.and_then(|own| own.topics.get(topic));
                    !action.allowed_by_topic(theirs)
                        || own.is_some_and(|own| action.allowed_by_topic(own))
                };
                allowed
                    || (!action.allowed_by_stream(&theirs.flags)
                        && theirs.topics.iter().all(in_topic))
            })
        };
        // The one flag no action asks for yet.
        (!others.global.manage_servers || self.global.manage_servers)
            && Action::ALL.iter().all(everywhere)
            && others.streams.iter().all(in_stream)
    }

    /// Whether a user with these permissions may do `action` at `place`.
    #[must_use]
    pub fn allows(&self, action: Action, place: Place) -> bool {
        if action.allowed_by_global(&self.global) {
            return true;
        }
        let Some(stream) = place.stream().and_then(|id| self.streams.get(&id)) else {
            return false;
        };
        if action.allowed_by_stream(&stream.flags) {
            return true;
        }
        let topic = place.topic().and_then(|id| stream.topics.get(&id));
        topic.is_some_and(|flags| action.allowed_by_topic(flags))
    }
}

#[cfg(test)]
mod tests;
