//! `galgo partition`: add and remove partitions of a topic.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::confirm::Confirm;
use crate::connect::Target;
use crate::failure::Outcome;
use crate::noun::topic::TopicPath;
use crate::output::measure;

/// Arguments of `galgo partition`.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// Add partitions to a topic
    Create {
        #[command(flatten)]
        partitions: Partitions,
    },
    /// Delete the partitions with the highest numbers, with all their messages
    Delete {
        #[command(flatten)]
        partitions: Partitions,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// How many partitions of which topic.
#[derive(Args, Debug)]
pub(crate) struct Partitions {
    #[command(flatten)]
    path: TopicPath,
    /// How many partitions; a count, so an option: behind a topic it would read like a number of a partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: PartitionCommand) -> Outcome {
    match command {
        PartitionCommand::Create { partitions: Partitions { path, count } } => {
            let client = target.connect().await?;
            client.create_partitions(&path.stream, &path.topic, count).await?;
            done(target, "created", &path, count)
        }
        PartitionCommand::Delete { partitions: Partitions { path, count }, confirm } => {
            let highest = match count {
                1 => "the highest partition".to_owned(),
                count => format!("the {count} highest partitions"),
            };
            let question = format!("Delete {highest} of {} with all messages?", path.phrase());
            confirm.ask(&question)?;
            let client = target.connect().await?;
            client.delete_partitions(&path.stream, &path.topic, count).await?;
            done(target, "deleted", &path, count)
        }
    }
}

fn done(target: &Target, deed: &str, path: &TopicPath, count: u32) -> Outcome {
    let counted = measure::counted(u64::from(count), "partition");
    let fact = json!({
        deed: "partitions",
        "count": count,
        "stream": path.stream.to_string(),
        "topic": path.topic.to_string(),
    });
    target.output.done(&format!("{counted} of {} {deed}", path.phrase()), &fact)
}
