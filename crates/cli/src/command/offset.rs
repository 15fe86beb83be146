//! `galgo offset`: read, set and delete the stored offset of a consumer.

use clap::{Args, Subcommand};
use galgo::model::ConsumerKind;
use galgo::model::StoredOffset;
use galgo::{CallError, Client, ConsumerIdentity, ErrorCode, Identifier, OffsetOf};
use serde_json::json;

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun::group;
use crate::noun::stream::shown;
use crate::noun::topic::TopicPath;
use crate::output::text::visible;
use crate::output::{measure, table};
use crate::value::partition::parse_partition;
use crate::value::time::show_time_short;

/// Arguments of `galgo offset`.
#[derive(Debug, Subcommand)]
pub(crate) enum OffsetCommand {
    /// Show the offset a consumer has stored: that of the last message it processed
    Get {
        #[command(flatten)]
        of: Of,
    },
    /// Store an offset as the last one a consumer has processed
    Set {
        #[command(flatten)]
        of: Of,
        /// The offset
        offset: u64,
    },
    /// List the offsets that consumers and groups have stored in a topic
    List {
        #[command(flatten)]
        path: TopicPath,
        /// Only those in this partition
        #[arg(long, value_name = "N")]
        #[arg(value_parser = parse_partition, allow_negative_numbers = true)]
        partition: Option<u32>,
    },
    /// Forget the offset a consumer has stored; somebody else's takes the right to manage the topic
    Delete {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Which stored offset is meant.
#[derive(Args, Debug)]
pub(crate) struct Of {
    #[command(flatten)]
    path: TopicPath,
    /// The partition
    #[arg(long, value_name = "N")]
    #[arg(value_parser = parse_partition, allow_negative_numbers = true)]
    partition: u32,
    #[command(flatten)]
    whose: Whose,
}

/// Whose stored offset is meant.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Name or number of the consumer
    #[arg(long, value_name = "NAME")]
    consumer: Option<Identifier>,
    /// Name or number of the consumer group; to change its offset, this command joins it
    #[arg(long, value_name = "NAME")]
    group: Option<Identifier>,
}

impl Whose {
    fn identity(&self) -> ConsumerIdentity {
        match (&self.group, &self.consumer) {
            (Some(group), _) => ConsumerIdentity::group(group.clone()),
            (None, Some(consumer)) => ConsumerIdentity::new(consumer.clone()),
            (None, None) => unreachable!("one of the two is required"),
        }
    }
}

impl Of {
    fn target(&self) -> OffsetOf {
        OffsetOf {
            stream: self.path.stream.clone(),
            topic: self.path.topic.clone(),
            partition: self.partition,
            consumer: self.whose.identity(),
        }
    }

    /// Why there is no stored offset: the answer is the same for all reasons, so it is looked up.
    async fn missing(&self, client: &Client) -> Failure {
        let details = match self.path.details(client).await {
            Ok(details) => details,
            // Whoever may read offsets may not be allowed to look at the topic.
            Err(failure) if failure.is_refusal(ErrorCode::Unauthorized) => {
                return Failure::missing(
                    format!("a stored offset of {}", self.phrase()),
                    ErrorCode::ConsumerOffsetNotFound,
                )
                .hint("nothing was stored yet, or there is no such partition, topic or stream");
            }
            Err(failure) => return failure,
        };
        if let Some(group) = &self.whose.group
            && let Err(failure) = group::find(client, &self.path, group).await
        {
            return failure;
        }
        let partitions = u64::from(details.topic.partitions_count);
        if u64::from(self.partition) < partitions {
            return Failure::missing(
                format!("a stored offset of {}", self.phrase()),
                ErrorCode::ConsumerOffsetNotFound,
            )
            .hint("none was stored in this partition");
        }
        no_partition(&self.path, self.partition, partitions)
    }

    fn phrase(&self) -> String {
        let identity = self.whose.identity();
        let kind = if self.whose.group.is_some() { "group" } else { "consumer" };
        let (name, partition) = (shown(&identity.id), self.partition);
        format!("{kind} {name} in partition {partition} of {}", self.path.phrase())
    }

    /// A group takes changes from its members alone, of partitions that are theirs.
    async fn join(&self, client: &Client) -> Outcome {
        if let Some(group) = &self.whose.group {
            client.join_consumer_group(&self.path.stream, &self.path.topic, group).await?;
        }
        Ok(())
    }

    fn explained(&self, error: CallError) -> Failure {
        let failure = Failure::from(error);
        if failure.is_refusal(ErrorCode::CannotOpenConsumerOffsetsFile) {
            let (stream, topic) = (shown(&self.path.stream), shown(&self.path.topic));
            return failure.instead(format!(
                "partition {} of {} keeps as many consumers' offsets as it may",
                self.partition,
                self.path.phrase()
            )).hint(format!(
                "galgo offset list {stream} {topic} shows them, galgo offset delete makes room; a group has a \
                 place of its own"
            ));
        }
        if self.whose.group.is_none() && failure.is_refusal(ErrorCode::Unauthorized) {
            return failure.hint(
                "storing takes the right to poll, and the right to manage the topic where another user has \
                 stored it",
            );
        }
        if self.whose.group.is_some() && failure.is_refusal(ErrorCode::NotResolvedConsumer) {
            return failure.hint("another member reads this partition; stop the members first");
        }
        failure
    }
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: OffsetCommand) -> Outcome {
    if let OffsetCommand::Delete { of, confirm } = &command {
        confirm.ask(&format!("Forget the stored offset of {}?", of.phrase()))?;
    }
    let client = target.connect().await?;
    match command {
        OffsetCommand::Get { of } => {
            let Some(info) = client.get_offset(&of.target()).await? else {
                return Err(of.missing(&client).await);
            };
            target.output.tell(&info, |info| {
                let behind = info.current_offset.get().saturating_sub(info.stored_offset.get());
                table::facts([
                    ("partition", info.partition_id.to_string()),
                    ("stored offset", info.stored_offset.to_string()),
                    ("last offset", info.current_offset.to_string()),
                    ("behind", measure::counted(behind, "message")),
                ])
            })
        }
        OffsetCommand::List { path, partition } => {
            let stored = client.stored_offsets(&path.stream, &path.topic, partition).await;
            let stored = match stored {
                Ok(stored) => stored,
                Err(error) => {
                    // The code alone does not say what is missing.
                    let there = u64::from(path.details(&client).await?.topic.partitions_count);
                    return Err(match partition.filter(|wanted| u64::from(*wanted) >= there) {
                        Some(wanted) => no_partition(&path, wanted, there),
                        None => error.into(),
                    });
                }
            };
            target.output.tell(&stored, |stored| offsets_table(stored))
        }
        OffsetCommand::Set { of, offset } => {
            of.join(&client).await?;
            let stored = client.store_offset(&of.target(), offset).await;
            stored.map_err(|error| of.explained(error))?;
            let sentence = format!("offset {offset} stored for {}", of.phrase());
            target.output.done(&sentence, &json!({ "stored": "offset", "offset": offset }))
        }
        OffsetCommand::Delete { of, .. } => {
            of.join(&client).await?;
            let deleted = client.delete_offset(&of.target()).await;
            deleted.map_err(|error| of.explained(error))?;
            let sentence = format!("offset of {} deleted", of.phrase());
            target.output.done(&sentence, &json!({ "deleted": "offset" }))
        }
    }
}

fn no_partition(path: &TopicPath, partition: u32, there: u64) -> Failure {
    let counted = measure::counted(there, "partition");
    Failure::missing(
        format!("partition {partition} of {}", path.phrase()),
        ErrorCode::PartitionNotFound,
    )
    .hint(format!("the topic has {counted}, numbered from 0"))
}

/// Whose a stored offset is, as a phrase.
pub(crate) fn whose(stored: &StoredOffset) -> String {
    match stored.kind {
        ConsumerKind::Group => format!("group {}", visible(&stored.name)),
        ConsumerKind::Consumer => format!("consumer {}", stored.consumer_id),
    }
}

/// Until when messages are kept for a stored offset.
pub(crate) fn holds_until(stored: &StoredOffset) -> String {
    match stored.holds_until.get() {
        0 => "-".to_owned(),
        u64::MAX => "for ever".to_owned(),
        until => show_time_short(until),
    }
}

fn offsets_table(stored: &[StoredOffset]) -> String {
    let columns = [
        table::number("PARTITION"),
        table::text("WHOSE"),
        table::number("OFFSET"),
        table::text("STORED"),
        table::text("LAST SEEN"),
        table::text("HOLDS UNTIL"),
        table::text("BY USER"),
    ];
    let rows = stored.iter().map(|stored| {
        vec![
            stored.partition_id.to_string(),
            whose(stored),
            measure::count(stored.offset.get()),
            show_time_short(stored.stored_at.get()),
            show_time_short(stored.active_at.get()),
            holds_until(stored),
            if stored.user.is_empty() {
                "-".to_owned()
            } else {
                visible(&stored.user).into_owned()
            },
        ]
    });
    table::columns(&columns, rows, "no stored offsets")
}
