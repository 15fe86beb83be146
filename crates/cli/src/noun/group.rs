//! Consumer groups.

use galgo::model::ConsumerGroupDetails;
use galgo::{Client, ErrorCode, Identifier};

use crate::failure::{Failure, Outcome};
use crate::noun::stream::shown;
use crate::noun::topic::TopicPath;

/// A group as a phrase of a sentence.
pub(crate) fn phrase(group: &Identifier, path: &TopicPath) -> String {
    format!("group {} of {}", shown(group), path.phrase())
}

/// The group, or the failure that says what is missing.
pub(crate) async fn find(
    client: &Client,
    path: &TopicPath,
    group: &Identifier,
) -> Outcome<ConsumerGroupDetails> {
    if let Some(details) = client.consumer_group(&path.stream, &path.topic, group).await? {
        return Ok(details);
    }
    path.outline(client).await?;
    let (stream, topic) = (shown(&path.stream), shown(&path.topic));
    Err(Failure::missing(phrase(group, path), ErrorCode::ConsumerGroupIdNotFound)
        .hint(format!("galgo group list {stream} {topic} shows those there are")))
}
