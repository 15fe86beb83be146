//! What users may do.

use std::collections::BTreeMap;

use galgo_wire::permission::{
    GlobalPermissions, Permissions, StreamFlags, StreamPermissions, TopicPermissions,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Makes the JSON form of a set of flags, all of them required.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident of $wire:ident { $($field:ident)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
        pub(in super::super) struct $name { $($field: bool,)* }

        impl From<$wire> for $name {
            fn from(flags: $wire) -> Self {
                Self { $($field: flags.$field,)* }
            }
        }

        impl From<$name> for $wire {
            fn from(flags: $name) -> Self {
                Self { $($field: flags.$field,)* }
            }
        }
    };
}

flags! {
    /// Flags for the whole server.
    GlobalFlags of GlobalPermissions {
        manage_servers read_servers manage_users read_users manage_streams read_streams
        manage_topics read_topics poll_messages send_messages
    }
}

flags! {
    /// Flags for one stream.
    OneStreamFlags of StreamFlags {
        manage_stream read_stream manage_topics read_topics poll_messages send_messages
    }
}

flags! {
    /// Flags for one topic.
    OneTopicFlags of TopicPermissions { manage_topic read_topic poll_messages send_messages }
}

/// What a user may do in one stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(in super::super) struct OneStream {
    #[serde(flatten)]
    flags: OneStreamFlags,
    /// Flags for single topics, by id.
    #[serde(default)]
    topics: Option<BTreeMap<u32, OneTopicFlags>>,
}

/// What a user may do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(in super::super) struct UserPermissions {
    /// Flags for the whole server.
    global: GlobalFlags,
    /// Flags for single streams, by id.
    #[serde(default)]
    streams: Option<BTreeMap<u32, OneStream>>,
}

/// None instead of an empty map, as classic clients know it.
fn filled<K: Ord, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}

impl From<Permissions> for UserPermissions {
    fn from(permissions: Permissions) -> Self {
        let streams = permissions.streams.into_iter().map(|(id, stream)| {
            let topics = stream.topics.into_iter().map(|(id, flags)| (id.get(), flags.into()));
            let topics = filled(topics.collect());
            (id.get(), OneStream { flags: stream.flags.into(), topics })
        });
        Self { global: permissions.global.into(), streams: filled(streams.collect()) }
    }
}

impl From<UserPermissions> for Permissions {
    fn from(permissions: UserPermissions) -> Self {
        let streams = permissions.streams.unwrap_or_default().into_iter().map(|(id, stream)| {
            let topics = stream.topics.unwrap_or_default().into_iter();
            let topics = topics.map(|(id, flags)| (id.into(), flags.into())).collect();
            (id.into(), StreamPermissions { flags: stream.flags.into(), topics })
        });
        Self { global: permissions.global.into(), streams: streams.collect() }
    }
}
