//! Consumer groups: one method per command.
//!
//! A [`Consumer`](crate::Consumer) built with a group does all of this by itself.

use std::time::Duration;

use galgo_wire::command::groups::{
    ConsumerGroup, ConsumerGroupDetails, CreateConsumerGroup, DeleteConsumerGroup,
    GetConsumerGroup, GetConsumerGroups, JoinConsumerGroup, LeaveConsumerGroup,
};

use galgo_wire::command::{GroupHolds, JoinGroupWith};
use galgo_wire::measure::micros;

use crate::call::name;
use crate::extensions::GROUP_SESSIONS;
use crate::topics::path;
use crate::{CallError, Client, Identifier};

/// After how long a silence a member loses its partitions, if nothing else is asked for.
pub(crate) const SESSION: Duration = Duration::from_secs(30);

impl Client {
    /// Lists the consumer groups of a topic, by id.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn consumer_groups(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<Vec<ConsumerGroup>, CallError> {
        let command = GetConsumerGroups { stream: stream.clone(), topic: topic.clone() };
        let target = || format!("of topic {}", path(stream, topic));
        self.call(&command, "list consumer groups", target).await
    }

    /// Returns a consumer group with its members, or `None` when there is no such group.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn consumer_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        group: &Identifier,
    ) -> Result<Option<ConsumerGroupDetails>, CallError> {
        let (stream, topic, group) = (stream.clone(), topic.clone(), group.clone());
        let target = group_path(&stream, &topic, &group);
        let command = GetConsumerGroup { stream, topic, group };
        self.call(&command, "get consumer group", || target.clone()).await
    }

    /// Creates a consumer group called `name`.
    ///
    /// # Errors
    /// [`CallError`]; code `ConsumerGroupNameAlreadyExists` when the topic has one of this name.
    pub async fn create_consumer_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        name: &str,
    ) -> Result<ConsumerGroupDetails, CallError> {
        let group = self::name("group name", name)?;
        let command =
            CreateConsumerGroup { stream: stream.clone(), topic: topic.clone(), name: group };
        let target = || format!("{name} of topic {}", path(stream, topic));
        self.call(&command, "create consumer group", target).await
    }

    /// Deletes a consumer group with its offsets; its members are members no longer.
    ///
    /// # Errors
    /// [`CallError`]; code `ConsumerGroupIdNotFound` when there is none.
    pub async fn delete_consumer_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        group: &Identifier,
    ) -> Result<(), CallError> {
        let (stream, topic, group) = (stream.clone(), topic.clone(), group.clone());
        let target = group_path(&stream, &topic, &group);
        let command = DeleteConsumerGroup { stream, topic, group };
        self.call(&command, "delete consumer group", || target.clone()).await
    }

    /// Makes this connection a member of a group, until it leaves or is lost.
    ///
    /// All clones of a client are one member. A member that joins again stays the same one. On a Galgo server
    /// the membership ends, too, when nothing is heard of this client for 30 s, or three times the interval
    /// of its pings if that is longer.
    ///
    /// # Errors
    /// [`CallError`]; code `ConsumerGroupIdNotFound` when there is none.
    pub async fn join_consumer_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        group: &Identifier,
    ) -> Result<(), CallError> {
        if self.has(&GROUP_SESSIONS).await? {
            let pings = self.connection.heartbeat_interval();
            let session = SESSION.max(pings.saturating_mul(3));
            return self.join_group_with(stream, topic, group, session).await.map(drop);
        }
        let (stream, topic, group) = (stream.clone(), topic.clone(), group.clone());
        let target = group_path(&stream, &topic, &group);
        let command = JoinConsumerGroup { stream, topic, group };
        self.call(&command, "join consumer group", || target.clone()).await
    }

    /// Joins a group, or renews the membership, which ends after a silence of `session`, zero for never.
    pub(crate) async fn join_group_with(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        group: &Identifier,
        session: Duration,
    ) -> Result<GroupHolds, CallError> {
        let (stream, topic, group) = (stream.clone(), topic.clone(), group.clone());
        let target = group_path(&stream, &topic, &group);
        let session = micros(session);
        let command = JoinGroupWith { stream, topic, group, session, reserved: 0 };
        self.call(&command, "join consumer group", || target.clone()).await
    }

    /// Ends the membership of this connection in a group.
    ///
    /// # Errors
    /// [`CallError`]; code `ConsumerGroupMemberNotFound` when it is not a member.
    pub async fn leave_consumer_group(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        group: &Identifier,
    ) -> Result<(), CallError> {
        let (stream, topic, group) = (stream.clone(), topic.clone(), group.clone());
        let target = group_path(&stream, &topic, &group);
        let command = LeaveConsumerGroup { stream, topic, group };
        self.call(&command, "leave consumer group", || target.clone()).await
    }
}

/// A group, as error messages name it.
fn group_path(stream: &Identifier, topic: &Identifier, group: &Identifier) -> String {
    format!("{group} of topic {}", path(stream, topic))
}
