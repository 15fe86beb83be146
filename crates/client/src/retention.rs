//! Retention: one method per command.

use galgo_wire::command::extensions::{PlanRetention, RetentionPlan};

use crate::extensions::RETENTION_PLAN;
use crate::topics::path;
use crate::{CallError, Client, Identifier};

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
        let command = PlanRetention { stream: stream.clone(), topic: topic.clone() };
        let target = || format!("of topic {}", path(stream, topic));
        self.call_extension(RETENTION_PLAN, &command, "plan the retention", target).await
    }
}
