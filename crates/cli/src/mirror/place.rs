//! Finds where the copy of a partition goes on.

use galgo::wire::id::Offset;
use galgo::{PollRequest, PollingStrategy, ReceivedMessage};

use crate::command::topic::Extent;
use crate::failure::{Failure, Outcome};
use crate::mirror::Side;
use crate::mirror::origin::Origin;

/// Where the copy of a partition stands, as the target tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset of the source that comes next.
    pub(crate) next: u64,
    /// What the target holds.
    pub(crate) held: Extent,
    /// Where the oldest and the newest message of the target came from.
    pub(crate) span: Option<(u64, u64)>,
}

impl Place {
    /// Looks at the last message of the target, and whether the source still has it.
    pub(crate) async fn find(source: &Side, target: &Side, partition: u32) -> Outcome<Self> {
        let held = target.extent(partition).await?;
        let phrase = || format!("partition {partition} of {}", target.path.phrase());
        let Some(newest) = one(target, partition, PollingStrategy::Last).await? else {
            if held.end > 0 {
                return Err(foreign(format!("{} lost its last message", phrase()))
                    .hint("its retention took it, so nobody knows where the copy was"));
            }
            return Ok(Self { next: 0, held, span: None });
        };
        // Read after the extent, so that it is the end; a copy that still grows is not ours.
        let oldest = one(target, partition, PollingStrategy::First).await?;
        let oldest = oldest.as_ref().and_then(Origin::of);
        let (Some(last), Some(first)) = (Origin::of(&newest), oldest) else {
            return Err(foreign(format!("{} has messages that are no copies", phrase()))
                .hint("copy to a topic that is empty, or that only galgo mirror writes to"));
        };
        same(source, partition, &newest, last).await?;
        let next = last.offset.saturating_add(1);
        Ok(Self { next, held, span: Some((first.offset, last.offset)) })
    }
}

/// Refuses when the source has another message at the place the copy came from.
async fn same(source: &Side, partition: u32, copy: &ReceivedMessage, origin: Origin) -> Outcome {
    let at = PollingStrategy::Offset(Offset::new(origin.offset));
    let found = one(source, partition, at).await?;
    // Retention may have taken the original; then what follows it is the first there is.
    let is_same = match &found {
        Some(found) if found.offset() == origin.offset => {
            found.id() == copy.id() && found.timestamp() == origin.timestamp
        }
        Some(found) => found.offset() > origin.offset,
        None => {
            let extent = source.extent(partition).await?;
            extent.last().is_none() && extent.end > origin.offset
        }
    };
    if is_same {
        return Ok(());
    }
    Err(foreign(format!(
        "the copy of partition {partition} ends with offset {} of another topic than {}",
        origin.offset,
        source.path.phrase()
    ))
    .hint("the source was purged or made again since, or it is not the one that was copied"))
}

async fn one(
    side: &Side,
    partition: u32,
    strategy: PollingStrategy,
) -> Outcome<Option<ReceivedMessage>> {
    let request = PollRequest::new(&side.path.stream, &side.path.topic, partition)
        .strategy(strategy)
        .count(1);
    Ok(side.client.poll(request).await?.into_messages().pop())
}

fn foreign(what: String) -> Failure {
    Failure::usage(format!("cannot go on copying: {what}"))
}
