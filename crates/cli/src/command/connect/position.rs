//! `galgo connect position`.

use clap::Args;
use galgo_connect::manage::{self, GoOn, MovedLane};
use serde_json::json;

use super::dialer::Dialer;
use super::{FileArgs, FilesArgs, look, of_pipeline};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::value::time::parse_time;

/// Arguments of `galgo connect position`.
#[derive(Args, Debug)]
pub(crate) struct PositionArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The partition; all of them if it is not said
    #[arg(long, value_name = "PARTITION")]
    partition: Option<u32>,
    /// The offset of the message to go on with
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "time")]
    next: Option<u64>,
    /// Go on with the first message of this time or later, like 2026-05-01T12:00:00Z or "10m ago"
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    time: Option<u64>,
}

/// Runs the command.
pub(super) async fn position(args: PositionArgs, global: &Global) -> Outcome {
    let PositionArgs { file, partition, next, time } = args;
    let to = match (next, time) {
        (Some(next), _) => GoOn::At(next),
        (None, Some(time)) => GoOn::Since(time),
        (None, None) if partition.is_none() => {
            return look::status(FilesArgs { files: vec![file.file] }, global).await;
        }
        (None, None) => {
            return Err(Failure::usage("where the partition is to go on is not said")
                .hint("add --next OFFSET or --time TIME"));
        }
    };
    let file = file.load()?;
    let moved = manage::set_places(&file, &Dialer::new(global), partition, to).await;
    let moved = moved.map_err(|failure| of_pipeline(&file.name, &failure))?;
    let place = |lane: &MovedLane| {
        format!("offset {} of partition {} of {}", lane.next, lane.partition, lane.topic)
    };
    let places: Vec<_> = moved.iter().map(place).collect();
    let sentence = format!("{} goes on with {}", file.name, places.join(", "));
    global.output().done(&sentence, &json!({ "pipeline": file.name, "moved": moved }))
}
