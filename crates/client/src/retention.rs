//! Retention: one method per command.

use galgo_wire::command::extensions::{PlanRetention, RetentionPlan, RetentionRules};

use galgo_wire::command::retention::{GetRetentionState, RetentionState};
use galgo_wire::command::topic_options::{
    ConfigureTopic, GetTopicConfig, ResolvedOption, TopicOption,
};

use crate::extensions::{RETENTION_PLAN, STORED_OFFSETS, TOPIC_OPTIONS};
use crate::topics::path;
use crate::{CallError, Client, Identifier, TopicOptions};

impl Client {
    /// Returns what retention would remove from a topic now; nothing is removed.
    ///
    /// # Errors
    /// [`CallError`]; code `TopicIdNotFound` when there is no such topic, [`CallError::Unsupported`]
    /// when the server is a classic one.
    pub async fn plan_retention(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<RetentionPlan, CallError> {
        self.plan(stream, topic, None).await
    }

    /// Returns what retention would remove if the topic had the expiry and the size of `options`; nothing is
    /// changed. What `options` leave out is the server's default, as in [`Client::update_topic`].
    ///
    /// # Errors
    /// As [`Client::plan_retention`].
    pub async fn plan_retention_as(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        options: &TopicOptions,
    ) -> Result<RetentionPlan, CallError> {
        self.plan(stream, topic, Some(options.retention())).await
    }

    async fn plan(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        rules: Option<RetentionRules>,
    ) -> Result<RetentionPlan, CallError> {
        let command = PlanRetention { stream: stream.clone(), topic: topic.clone(), rules };
        let target = || format!("of topic {}", path(stream, topic));
        self.call_extension(RETENTION_PLAN, &command, "plan the retention", target).await
    }

    /// Returns what keeps retention from removing what is due in a topic: who holds messages, and the clock.
    ///
    /// # Errors
    /// As [`Client::plan_retention`].
    pub async fn retention_state(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<RetentionState, CallError> {
        let command = GetRetentionState { stream: stream.clone(), topic: topic.clone() };
        let target = || format!("of topic {}", path(stream, topic));
        self.call_extension(STORED_OFFSETS, &command, "ask what holds retention", target).await
    }

    /// Sets options of a topic by name; an empty value takes one back to the default.
    ///
    /// # Errors
    /// [`CallError`]; code `InvalidFormat` for a name the server does not know or a value that is none;
    /// [`CallError::Unsupported`] when the server is a classic one.
    pub async fn configure_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        options: Vec<TopicOption>,
    ) -> Result<(), CallError> {
        let command = ConfigureTopic { stream: stream.clone(), topic: topic.clone(), options };
        let target = || path(stream, topic);
        self.call_extension(TOPIC_OPTIONS, &command, "configure topic", target).await
    }

    /// Returns all options of a topic by name.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Unsupported`] when the server is a classic one.
    pub async fn topic_config(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<Vec<ResolvedOption>, CallError> {
        let command = GetTopicConfig { stream: stream.clone(), topic: topic.clone() };
        let target = || path(stream, topic);
        let config =
            self.call_extension(TOPIC_OPTIONS, &command, "get options of topic", target).await?;
        Ok(config.options)
    }
}
