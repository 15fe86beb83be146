//! Retention: one method per command.

use galgo_wire::command::extensions::{PlanRetention, RetentionPlan, RetentionRules};

use crate::extensions::RETENTION_PLAN;
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
}
