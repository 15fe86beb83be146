//! `galgo offset`: read, set and delete the stored offset of a consumer.

use clap::{Args, Subcommand};
use galgo::{Client, ConsumerIdentity, ErrorCode, Identifier, OffsetOf};
use serde_json::json;

use crate::command::stream::shown;
use crate::command::topic::TopicPath;
use crate::connect::Target;
use crate::failure::{Failure, Outcome};
use crate::output::{measure, table};

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
    /// Forget the offset a consumer has stored
    Delete {
        #[command(flatten)]
        of: Of,
    },
}

/// Which stored offset is meant.
#[derive(Args, Debug)]
pub(crate) struct Of {
    #[command(flatten)]
    path: TopicPath,
    /// The partition
    #[arg(long, value_name = "N")]
    partition: u32,
    /// Name or number of the consumer
    #[arg(long, value_name = "NAME")]
    consumer: Identifier,
}

impl Of {
    fn target(&self) -> OffsetOf {
        OffsetOf {
            stream: self.path.stream.clone(),
            topic: self.path.topic.clone(),
            partition: self.partition,
            consumer: ConsumerIdentity::new(self.consumer.clone()),
        }
    }

    /// Why there is no stored offset: the answer is the same for all reasons, so it is looked up.
    async fn missing(&self, client: &Client) -> Failure {
        let details = match self.path.details(client).await {
            Ok(details) => details,
            // Whoever may read offsets may not be allowed to look at the topic.
            Err(failure) if failure.is_refusal(ErrorCode::Unauthorized) => {
                return Failure::missing(format!("a stored offset of {}", self.phrase())).hint(
                    "nothing was stored yet, or there is no such partition, topic or stream",
                );
            }
            Err(failure) => return failure,
        };
        let partitions = u64::from(details.topic.partitions_count);
        if u64::from(self.partition) < partitions {
            return Failure::missing(format!("a stored offset of {}", self.phrase()))
                .hint("this consumer has stored none in this partition");
        }
        let counted = measure::counted(partitions, "partition");
        Failure::missing(format!("partition {} of {}", self.partition, self.path.phrase()))
            .hint(format!("the topic has {counted}, numbered from 0"))
    }

    fn phrase(&self) -> String {
        format!(
            "consumer {} in partition {} of {}",
            shown(&self.consumer),
            self.partition,
            self.path.phrase()
        )
    }
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: OffsetCommand) -> Outcome {
    let client = target.connect().await?;
    match command {
        OffsetCommand::Get { of } => {
            let Some(info) = client.get_offset(&of.target()).await? else {
                return Err(of.missing(&client).await);
            };
            target.output.show(&info, |info| {
                let behind = info.current_offset.get().saturating_sub(info.stored_offset.get());
                table::facts([
                    ("partition", info.partition_id.to_string()),
                    ("stored offset", info.stored_offset.to_string()),
                    ("last offset", info.current_offset.to_string()),
                    ("behind", measure::counted(behind, "message")),
                ])
            })
        }
        OffsetCommand::Set { of, offset } => {
            client.store_offset(&of.target(), offset).await?;
            let sentence = format!("offset {offset} stored for {}", of.phrase());
            target.output.done(&sentence, &json!({ "stored": "offset", "offset": offset }))
        }
        OffsetCommand::Delete { of } => {
            client.delete_offset(&of.target()).await?;
            let sentence = format!("offset of {} deleted", of.phrase());
            target.output.done(&sentence, &json!({ "deleted": "offset" }))
        }
    }
}
