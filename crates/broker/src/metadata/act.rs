//! A change of the metadata in words, with the names that things have before it.

use galgo_wire::id::{StreamId, TopicId, UserId};
use galgo_wire::permission::{GlobalPermissions, Permissions, StreamFlags, TopicPermissions};

use super::State;
use super::record::Record;

/// Most names of topics in one line.
const NAMES_MAX: usize = 20;

const _: () = assert!(NAMES_MAX > 0, "a change of topics names at least one of them");

/// What somebody did, as a line of the log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) phrase: &'static str,
    pub(crate) stream: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) group: Option<String>,
    /// The user it was done to.
    pub(crate) target: Option<String>,
    pub(crate) token: Option<String>,
    /// What it was changed to.
    pub(crate) to: Option<String>,
}

impl Act {
    /// What applying `record` to `state` does.
    pub(crate) fn of(record: &Record, state: &State) -> Self {
        let act = |phrase| Self { phrase, ..Self::default() };
        match record {
            Record::CreateStream { name, .. } => {
                Self { stream: Some(name.to_string()), ..act("stream created") }
            }
            Record::RenameStream { id, name } => {
                act("stream renamed").at(state, *id, None).to(name.as_str())
            }
            Record::DeleteStream { id } => act("stream deleted").at(state, *id, None),
            Record::CreateTopic(created) => {
                let topic = Some(created.settings.name.to_string());
                let to = format!("{} partitions", created.partitions.count);
                Self { topic, ..act("topic created").at(state, created.stream, None) }.to(&to)
            }
            Record::UpdateTopic { stream, topic, settings } => {
                act("topic updated").at(state, *stream, Some(*topic)).to(settings.name.as_str())
            }
            Record::DeleteTopic { stream, topic } => {
                act("topic deleted").at(state, *stream, Some(*topic))
            }
            Record::PurgeTopics { stream, topics, .. } => {
                let topic = Some(names(state, *stream, topics));
                Self { topic, ..act("messages purged").at(state, *stream, None) }
            }
            Record::AddPartitions { stream, topic, partitions, .. } => {
                let count = partitions.count.to_string();
                act("partitions added").at(state, *stream, Some(*topic)).to(&count)
            }
            Record::RemovePartitions { stream, topic, count } => {
                act("partitions removed").at(state, *stream, Some(*topic)).to(&count.to_string())
            }
            Record::CreateGroup { place, group } => {
                let at = act("group created").at(state, place.stream_id, Some(place.topic_id));
                Self { group: Some(group.name.to_string()), ..at }
            }
            Record::DeleteGroup { place } => {
                let stored = state.streams.get(&place.stream_id);
                let topic = stored.and_then(|stream| stream.topics.get(&place.topic_id));
                let group = topic.and_then(|topic| topic.groups.get(&place.group_id));
                let group = group.map(|group| group.name.to_string());
                let at = act("group deleted").at(state, place.stream_id, Some(place.topic_id));
                Self { group, ..at }
            }
            // In two parts for its length alone.
            _ => Self::of_user(record, state),
        }
    }

    fn of_user(record: &Record, state: &State) -> Self {
        let act = |phrase, user: &UserId| {
            let target = state.users.get(user).map(|user| user.name.to_string());
            Self { phrase, target, ..Self::default() }
        };
        match record {
            Record::CreateUser { user, .. } => {
                let target = Some(user.name.to_string());
                Self { phrase: "user created", target, ..Self::default() }
            }
            Record::UpdateUser { id, name, status } => {
                act("user updated", id).to(&format!("{}, {status}", name.as_str()))
            }
            Record::DeactivateUser { id, name, .. } => {
                act("user deactivated, its logins ended", id).to(name.as_str())
            }
            Record::SetPermissions { id, permissions } => {
                let held = permissions.as_ref().map(|held| shown(held, state));
                act("permissions of a user replaced", id).to(&held.unwrap_or_default())
            }
            Record::SetPassword { id, .. } | Record::ReplacePassword { id, .. } => {
                act("password of a user replaced, its logins ended", id)
            }
            Record::DeleteUser { id } => act("user deleted", id),
            Record::CreateToken { user, name, .. } => {
                Self { token: Some(name.to_string()), ..act("access token created", user) }
            }
            Record::DeleteToken { user, name } => {
                Self { token: Some(name.to_string()), ..act("access token deleted", user) }
            }
            // Kinds that have no words of their own yet are traced all the same.
            _ => Self { phrase: "metadata changed", ..Self::default() },
        }
    }

    fn at(mut self, state: &State, stream: StreamId, topic: Option<TopicId>) -> Self {
        let stored = state.streams.get(&stream);
        self.stream = stored.map(|stream| stream.name.to_string());
        let topic = topic.and_then(|topic| stored?.topics.get(&topic));
        self.topic = topic.map(|topic| topic.settings.name.to_string());
        self
    }

    fn to(mut self, to: &str) -> Self {
        self.to = Some(to.to_owned());
        self
    }

    /// Writes the line: `user` did it, from `address`.
    pub(crate) fn tell(&self, user: &str, address: std::net::SocketAddr) {
        tracing::info!(
            user,
            %address,
            stream = self.stream.as_deref(),
            topic = self.topic.as_deref(),
            group = self.group.as_deref(),
            target_user = self.target.as_deref(),
            token = self.token.as_deref(),
            to = self.to.as_deref(),
            "{}",
            self.phrase
        );
    }
}

/// Permissions as the tool writes them: `read_servers; shop: poll_messages; shop/orders: send_messages`.
fn shown(held: &Permissions, state: &State) -> String {
    let set = |names: &[&str], flags: &[bool]| {
        let set = names.iter().zip(flags).filter(|(_, on)| **on).map(|(name, _)| *name);
        set.collect::<Vec<_>>().join(",")
    };
    let mut parts = vec![set(&GlobalPermissions::NAMES, &held.global.to_array())];
    for (id, in_stream) in &held.streams {
        let stored = state.streams.get(id);
        let stream = stored.map_or_else(|| id.to_string(), |stream| stream.name.to_string());
        let flags = set(&StreamFlags::NAMES, &in_stream.flags.to_array());
        parts.push(format!("{stream}: {flags}"));
        for (id, flags) in &in_stream.topics {
            let topic = stored.and_then(|stream| stream.topics.get(id));
            let topic =
                topic.map_or_else(|| id.to_string(), |topic| topic.settings.name.to_string());
            let flags = set(&TopicPermissions::NAMES, &flags.to_array());
            parts.push(format!("{stream}/{topic}: {flags}"));
        }
    }
    parts.retain(|part| !part.is_empty() && !part.ends_with(": "));
    let more = parts.len().saturating_sub(NAMES_MAX);
    parts.truncate(NAMES_MAX);
    let mut text = parts.join("; ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The names of topics, as many as one line takes.
fn names(state: &State, stream: StreamId, topics: &[TopicId]) -> String {
    let stored = state.streams.get(&stream);
    let named = topics.iter().take(NAMES_MAX).filter_map(|topic| stored?.topics.get(topic));
    let mut text =
        named.map(|topic| topic.settings.name.to_string()).collect::<Vec<_>>().join(", ");
    if let Some(more) = topics.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
