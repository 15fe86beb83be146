//! `galgo partition`: add and remove partitions of a topic, and have those tried again that take no writes.

use clap::{Args, Subcommand};
use galgo::model::{PartitionRescue, RescueOutcome};
use galgo::{Client, ErrorCode};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::{Failure, Outcome};
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
    /// Have the server try at once to take writes again where it takes none, as after the disk was full
    #[command(after_help = RESCUE_HELP)]
    Rescue {
        #[command(flatten)]
        path: TopicPath,
        /// The partition; without it all of the topic
        partition: Option<u32>,
    },
}

const RESCUE_HELP: &str = "\
A partition takes no writes after a sync of it has failed, or when its log could not be opened. The server tries
by itself to take them again, every second at first, then every ten; this has it tried now and waits for what comes of it.
Ends with 1 where a partition still takes no writes.";

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
        PartitionCommand::Rescue { path, partition } => rescue(target, &path, partition).await,
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

/// A partition and what came of its rescue.
#[derive(Debug, Serialize)]
struct Tried {
    partition: u32,
    #[serde(flatten)]
    rescue: PartitionRescue,
}

async fn rescue(target: &Target, path: &TopicPath, partition: Option<u32>) -> Outcome {
    let client = target.connect().await?;
    let partitions = match partition {
        Some(partition) => vec![partition],
        None => {
            let details = path.details(&client).await?;
            details.partitions.iter().map(|one| one.id.get()).collect()
        }
    };
    let mut tried = Vec::new();
    for partition in partitions {
        tried.push(try_one(&client, path, partition).await?);
    }
    target.output.tell(&tried, |tried| told(tried, path))?;
    let stuck = tried.iter().filter(|one| !one.takes_writes()).count();
    match tried.iter().find(|one| !one.takes_writes()) {
        None => Ok(()),
        Some(first) => Err(first.failure(path, stuck)),
    }
}

async fn try_one(client: &Client, path: &TopicPath, partition: u32) -> Outcome<Tried> {
    match client.rescue_partition(&path.stream, &path.topic, partition).await {
        Ok(rescue) => Ok(Tried { partition, rescue }),
        Err(error) => {
            let failure = Failure::from(error);
            match failure.is_refusal(ErrorCode::PartitionNotFound) {
                true => {
                    let phrase = format!("partition {partition} of {}", path.phrase());
                    Err(Failure::missing(&phrase, ErrorCode::PartitionNotFound))
                }
                false => Err(failure),
            }
        }
    }
}

/// A line for each partition that took no writes; one for all when there was none.
fn told(tried: &[Tried], path: &TopicPath) -> String {
    let mut lines: Vec<String> = Vec::new();
    for Tried { partition, rescue } in tried {
        let next = measure::count(rescue.end.get());
        match rescue.outcome {
            RescueOutcome::Healthy => {}
            RescueOutcome::Rescued => lines.push(format!(
                "partition {partition} of {} takes writes again; its next message gets offset {next}",
                path.phrase()
            )),
            RescueOutcome::Waiting | RescueOutcome::Hopeless => lines.push(format!(
                "partition {partition} of {} takes no writes: {}; all below offset {next} is kept",
                path.phrase(),
                rescue.cause
            )),
        }
    }
    match (lines.is_empty(), tried) {
        (true, [Tried { partition, .. }]) => {
            format!(
                "partition {partition} of {} takes writes; nothing is to be rescued",
                path.phrase()
            )
        }
        (true, _) => {
            let all = measure::counted(tried.len() as u64, "partition");
            format!(
                "{all} of {} looked at: all take writes; nothing is to be rescued",
                path.phrase()
            )
        }
        (false, _) => lines.join("\n"),
    }
}

impl Tried {
    fn takes_writes(&self) -> bool {
        matches!(self.rescue.outcome, RescueOutcome::Healthy | RescueOutcome::Rescued)
    }

    /// What is to be done about a partition that still takes no writes, one of so many.
    fn failure(&self, path: &TopicPath, stuck: usize) -> Failure {
        let counted = measure::counted(stuck as u64, "partition");
        let failure = Failure::io(format!("{counted} of {} still without writes", path.phrase()));
        let hint = match self.rescue.outcome {
            RescueOutcome::Hopeless => {
                "look at the server's log and its disk, then restart the server: what was acknowledged is kept".to_owned()
            }
            _ => format!(
                "look at the server's disk and make room; the server tries again by itself, next in {}",
                measure::duration(Duration::from_micros(self.rescue.next_try))
            ),
        };
        failure.hint(hint)
    }
}
