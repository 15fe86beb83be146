//! `galgo segment`: delete the oldest messages of a partition, segment by segment.

use clap::{Subcommand, value_parser};
use galgo::{Client, ErrorCode};
use serde_json::json;

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun::extent::Extent;
use crate::noun::holder;
use crate::noun::topic::TopicPath;
use crate::output::measure;

const AFTER_HELP: &str = "\
Only sealed segments go, the oldest first; the one being written to stays. A segment with messages that
some consumer or group with a stored offset has not processed yet stays too, and all after it.";

/// Arguments of `galgo segment`.
#[derive(Debug, Subcommand)]
pub(crate) enum SegmentCommand {
    /// Delete the oldest sealed segments of a partition
    #[command(after_help = AFTER_HELP)]
    Delete {
        #[command(flatten)]
        path: TopicPath,
        /// The partition
        partition: u32,
        /// How many segments at most
        #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
        count: u32,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: SegmentCommand) -> Outcome {
    let SegmentCommand::Delete { path, partition, count, confirm } = command;
    let phrase = format!("partition {partition} of {}", path.phrase());
    let segments = measure::counted(u64::from(count), "segment");
    confirm.ask(&format!("Delete the oldest {segments} of {phrase} with their messages?"))?;
    let client = target.connect().await?;
    let look = async || -> Outcome<PartitionLook> {
        let details = path.details(&client).await?;
        let found = details.partitions.iter().find(|one| one.id.get() == partition);
        let found = found.ok_or_else(|| Failure::missing(&phrase, ErrorCode::PartitionNotFound))?;
        Ok(PartitionLook { segments: found.segments_count, extent: Extent::of(found) })
    };
    let before = look().await?;
    client.delete_segments(&path.stream, &path.topic, partition, count).await?;
    let after = look().await?;
    // Messages may have come meanwhile, and a new segment with them.
    let messages = after.extent.start.saturating_sub(before.extent.start);
    let removed = messages > 0 || after.segments < before.segments;
    let held_by = match removed {
        true => None,
        false => Some(why_held(&client, &path, partition, &before).await),
    };
    let sentence = format!(
        "{} of {phrase} deleted; it has {} and begins at offset {} now",
        measure::counted(messages, "message"),
        measure::counted(u64::from(after.segments), "segment"),
        measure::count(after.extent.start),
    );
    let sentence = match &held_by {
        None => sentence,
        Some(why) => format!("nothing of {phrase} deleted: {why}"),
    };
    let fact = json!({
        "deleted": "segments",
        "partition": partition,
        "messages": messages,
        "segments_before": before.segments,
        "segments_after": after.segments,
        "first_offset": after.extent.start,
        "held_by": held_by,
    });
    target.output.done(&sentence, &fact)
}

/// What a partition has.
struct PartitionLook {
    segments: u32,
    extent: Extent,
}

/// Why no segment went.
async fn why_held(
    client: &Client,
    path: &TopicPath,
    partition: u32,
    PartitionLook { segments, extent }: &PartitionLook,
) -> String {
    if *segments <= 1 {
        return "it has one segment, which is being written to".to_owned();
    }
    // A server without the plan leaves the group as the best guess.
    let plan = client.plan_retention(&path.stream, &path.topic).await.ok();
    let barrier = plan.as_ref().and_then(|plan| {
        plan.segments.iter().find(|it| it.partition_id.get() == partition).map(|it| it.barrier)
    });
    let holds = |stored| barrier.is_none_or(|barrier| stored == barrier);
    let slowest = holder::slowest_group(client, path, partition).await;
    match slowest.filter(|(_, stored)| holds(*stored)) {
        Some((name, stored)) => {
            format!("{name} has processed messages up to offset {} only", measure::count(stored))
        }
        None => format!(
            "the oldest segment, from offset {} on, has messages that a consumer with a stored offset has \
             not processed; galgo offset delete forgets a consumer that is no more",
            measure::count(extent.start)
        ),
    }
}
