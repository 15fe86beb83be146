//! Which consumer group keeps segments from being removed.
//!
//! The server tells how far the slowest of all has come, not who it is. Groups can be listed and asked;
//! consumers on their own cannot be listed.

use galgo::{Client, ConsumerIdentity, Identifier, OffsetOf};

use crate::noun::topic::TopicPath;
use crate::output::text::visible;

/// The group that is furthest behind in a partition, as a phrase, and the offset it has stored there.
///
/// A caller who may not look at groups gets none, like one whose topic has none with a stored offset.
pub(crate) async fn slowest_group(
    client: &Client,
    path: &TopicPath,
    partition: u32,
) -> Option<(String, u64)> {
    let groups = client.consumer_groups(&path.stream, &path.topic).await.ok()?;
    let mut slowest: Option<(String, u64)> = None;
    for group in groups {
        let of = OffsetOf {
            stream: path.stream.clone(),
            topic: path.topic.clone(),
            partition,
            consumer: ConsumerIdentity::group(Identifier::Numeric(group.id.get())),
        };
        let Ok(Some(found)) = client.get_offset(&of).await else { continue };
        let stored = found.stored_offset.get();
        if slowest.as_ref().is_none_or(|(_, before)| stored < *before) {
            slowest = Some((format!("group {}", visible(group.name.as_str())), stored));
        }
    }
    slowest
}
