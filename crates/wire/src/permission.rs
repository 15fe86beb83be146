//! What a caller may do, and how rights combine.
//!
//! One matching flag, global, of the stream or of the topic, is enough.

mod codec;
mod right;

use crate::id::{StreamId, TopicId};
use crate::layout::shown;
use serde::Serialize;
use std::collections::BTreeMap;

pub(crate) use codec::{GrantedPermissions, RequestedPermissions};
pub use right::{Action, Right, Scope};

/// Declares a set of flags in the order of the wire.
macro_rules! flags {
    (
        $(#[$($meta:tt)*])*
        pub struct $name:ident [$count:literal] $shown:literal {
            $($(#[$($field_meta:tt)*])* $field:ident,)*
        }
    ) => {
        $(#[$($meta)*])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
        #[cfg_attr(feature = "json", derive(serde::Deserialize))]
        #[serde(rename = $shown)]
        pub struct $name {
            $($(#[$($field_meta)*])* pub $field: bool,)*
        }

        crate::json::entity! {
            $(#[$($meta)*])*
            $name { $($(#[$($field_meta)*])* $field: bool,)* }
            json $shown;
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
            fn sample(source: &mut crate::sample::Draws) -> Self {
                Self { $($field: crate::sample::Sample::sample(source),)* }
            }
        }
    };
}

flags! {
    /// Flags that hold for the whole server.
    pub struct GlobalPermissions [10] "GlobalFlags" {
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
    pub struct StreamFlags [6] "OneStreamFlags" {
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
    pub struct TopicPermissions [4] "OneTopicFlags" {
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

shown! {
    /// What a user may do in one stream.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
    #[cfg_attr(feature = "json", derive(serde::Deserialize), serde(rename = "OneStream"))]
    pub struct StreamPermissions {
        /// Flags for the whole stream.
        #[serde(flatten)]
        flags: StreamFlags,
        /// Flags for single topics of the stream, by id.
        #[cfg_attr(feature = "json", serde(default, deserialize_with = "or_none"))]
        topics: BTreeMap<TopicId, TopicPermissions>,
    }
    json "OneStream";
}

shown! {
    /// What a user may do.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
    #[cfg_attr(feature = "json", derive(serde::Deserialize), serde(rename = "UserPermissions"))]
    pub struct Permissions {
        /// Flags for the whole server.
        global: GlobalPermissions,
        /// Flags for single streams, by id.
        #[cfg_attr(feature = "json", serde(default, deserialize_with = "or_none"))]
        streams: BTreeMap<StreamId, StreamPermissions>,
    }
    json "UserPermissions";
}

/// Reads a map, or null for an empty one.
#[cfg(feature = "json")]
fn or_none<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: serde::Deserializer<'de>,
    K: serde::Deserialize<'de> + Ord,
    V: serde::Deserialize<'de>,
{
    let map: Option<BTreeMap<K, V>> = serde::Deserialize::deserialize(deserializer)?;
    Ok(map.unwrap_or_default())
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
    pub fn allows(&self, action: Action, place: Scope) -> bool {
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
