//! Finds where the copy of a partition goes on.

use galgo::Offset;
use galgo::model::FeatureFlags;
use galgo::{Life, PollRequest, PollingStrategy, ReceivedMessage};

use crate::failure::{Failure, Outcome};
use crate::mirror::origin::{MirrorOrigin, can_tell};
use crate::mirror::side::{MirroredPartition, Side, one};
use crate::mirror::trace;
use crate::noun::extent::Extent;

/// Where the copy of a partition stands, as the target tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyPlace {
    /// The offset of the source that comes next.
    pub(crate) next: u64,
    /// What the target holds.
    pub(crate) held: Extent,
    /// The life of the source's partition, if its server tells.
    pub(crate) life: Life,
    /// Whether the source began anew since the newest message of the target was copied.
    pub(crate) anew: bool,
}

/// What is known of a copy before its place is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownCopy {
    /// The life of the source's partition the newest message of the target comes from.
    pub(crate) life: Life,
    /// Whether a source that began anew is copied from its first message.
    pub(crate) begin_anew: bool,
}

impl CopyPlace {
    /// Looks at the last message of the target, and whether the source still has it.
    pub(crate) async fn find(
        source: &Side,
        target: &Side,
        partition: u32,
        known: KnownCopy,
    ) -> Outcome<Self> {
        let ends = MirroredPartition { source, target, partition };
        let held = target.extent(partition).await?;
        let phrase = || format!("partition {partition} of {}", target.path.phrase());
        let newest = one(target, partition, PollingStrategy::Last).await?;
        let Some(newest) = newest.into_messages().pop() else {
            if held.end > 0 {
                return Err(foreign(format!("{} lost its last message", phrase()))
                    .hint("its retention took it, so nobody knows where the copy was"));
            }
            return Ok(Self { next: 0, held, life: life(source, partition).await?, anew: false });
        };
        // Read after the extent, so that it is the end; a copy that still grows is not ours.
        let oldest = one(target, partition, PollingStrategy::First).await?;
        let is_copy =
            |message: &ReceivedMessage| MirrorOrigin::of(message).is_some() || !can_tell(message);
        if !is_copy(&newest) || !oldest.messages().iter().all(is_copy) {
            return Err(foreign(format!("{} has messages that are no copies", phrase()))
                .hint("copy to a topic that is empty, or that only galgo mirror writes to"));
        }
        let life = life(source, partition).await?;
        let anew = Self { next: 0, held, life, anew: true };
        // This very copy has read an earlier life of the source.
        if known.life.differs_from(life) {
            return Ok(anew);
        }
        let next = match MirrorOrigin::of(&newest) {
            Some(origin) => same(ends, &newest, origin).await?.then(|| origin.offset + 1),
            None => trace::behind(ends, &newest).await?,
        };
        match next {
            Some(next) => Ok(Self { next, held, life, anew: false }),
            None if known.begin_anew => Ok(anew),
            None => Err(other_topic(ends, &newest)),
        }
    }
}

fn other_topic(ends: MirroredPartition<'_>, newest: &ReceivedMessage) -> Failure {
    let partition = ends.partition;
    let of = match MirrorOrigin::of(newest) {
        Some(origin) => format!("offset {} of another topic", origin.offset),
        None => "a message of another topic".to_owned(),
    };
    foreign(format!(
        "the copy of partition {partition} ends with {of} than {}",
        ends.source.path.phrase()
    ))
    .hint(
        "the source was purged or made again since, or it is not the one that was copied; --begin-anew \
         copies what it has now, behind what the target has",
    )
}

/// Whether the source still has the message the copy came from, or has it no longer.
async fn same(
    ends: MirroredPartition<'_>,
    copy: &ReceivedMessage,
    origin: MirrorOrigin,
) -> Outcome<bool> {
    let MirroredPartition { source, partition, .. } = ends;
    let found = one(source, partition, PollingStrategy::Offset(Offset::new(origin.offset))).await?;
    if found.damaged().is_some_and(|damaged| damaged.contains(&origin.offset)) {
        // What cannot be read cannot be compared; it was read once.
        return Ok(true);
    }
    // Retention may have taken the original; then what follows it is the first there is.
    match found.messages().first() {
        Some(found) if found.offset() == origin.offset => {
            Ok(found.id() == copy.id() && found.timestamp() == origin.timestamp)
        }
        Some(found) => Ok(found.offset() > origin.offset),
        None => {
            let extent = source.extent(partition).await?;
            Ok(extent.last().is_none() && extent.end > origin.offset)
        }
    }
}

/// The life a partition is in, if its server tells.
async fn life(side: &Side, partition: u32) -> Outcome<Life> {
    if !side.client.features().await?.contains(FeatureFlags::LIVES) {
        return Ok(Life::UNKNOWN);
    }
    let none = PollRequest::new(&side.path.stream, &side.path.topic, partition).count(0);
    Ok(side.client.poll(none).await?.life())
}

fn foreign(what: String) -> Failure {
    Failure::usage(format!("cannot go on copying: {what}"))
}
