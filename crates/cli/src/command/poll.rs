//! `galgo poll`: read one batch of messages of a partition.

use clap::{Args, value_parser};
use galgo::{ErrorCode, Identifier, PollRequest, PolledMessages, PollingStrategy};
use galgo::{Offset, Timestamp};
use serde::Serialize;

use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun::topic::TopicPath;
use crate::output::message::MessageJson;
use crate::output::text::preview_bytes;
use crate::output::{measure, table};
use crate::tail::member::TailMember;
use crate::value::partition::parse_partition;
use crate::value::time::{parse_time, show_time};

const AFTER_HELP: &str = "\
Without a place to begin, the poll begins behind the stored offset of the consumer (--next), which is
the oldest message when nothing is stored. Times are written 2026-03-01T12:00:00Z, 2026-03-01
or `2026-03-01 12:00` (UTC), `10m ago`, -10m, or as a number of seconds since 1970.";

/// Arguments of `galgo poll`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PollArgs {
    #[command(flatten)]
    path: TopicPath,
    /// The partition; a poll as a member of a --group has none of its own
    #[arg(long, value_name = "N", required_unless_present = "group")]
    #[arg(value_parser = parse_partition, allow_negative_numbers = true)]
    partition: Option<u32>,
    #[command(flatten)]
    place: PollFrom,
    /// Most messages to read
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    count: u32,
    /// Name or number of the consumer whose stored offset is meant
    #[arg(long, value_name = "NAME", default_value = "galgo")]
    consumer: Identifier,
    /// Read as a member of this consumer group: what is next in one of the partitions it gives us
    #[arg(long, value_name = "NAME")]
    #[arg(conflicts_with_all = ["partition", "consumer", "offset", "timestamp", "first", "last"])]
    group: Option<Identifier>,
    /// Store the offset of the last message as processed by the consumer
    #[arg(long)]
    auto_commit: bool,
}

/// Where the poll begins.
#[derive(Args, Clone, Copy, Debug)]
#[group(multiple = false)]
struct PollFrom {
    /// Begin at this offset
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    /// Begin at the first message of this time or later
    #[arg(long, value_name = "T", value_parser = parse_time, allow_hyphen_values = true)]
    timestamp: Option<u64>,
    /// Begin at the oldest message
    #[arg(long)]
    first: bool,
    /// Read the newest messages
    #[arg(long)]
    last: bool,
    /// Begin behind the stored offset of the consumer; this is the default
    #[arg(long)]
    next: bool,
}

impl PollFrom {
    fn strategy(self) -> PollingStrategy {
        match self {
            Self { offset: Some(offset), .. } => PollingStrategy::Offset(Offset::new(offset)),
            Self { timestamp: Some(time), .. } => PollingStrategy::Timestamp(Timestamp::new(time)),
            Self { first: true, .. } => PollingStrategy::First,
            Self { last: true, .. } => PollingStrategy::Last,
            _ => PollingStrategy::Next,
        }
    }
}

#[derive(Serialize)]
struct PolledJson {
    partition: u32,
    last_offset: u64,
    count: usize,
    /// Whether more was there than one command shows.
    cut: bool,
    messages: Vec<MessageJson>,
}

/// Runs the command.
pub(crate) async fn run(target: &Target, args: PollArgs) -> Outcome {
    let client = target.connect().await?;
    let polled = match &args.group {
        Some(group) => {
            let mut member = TailMember::join(&client, &args.path, group).await?;
            let polled = member.poll(args.count, args.auto_commit).await?;
            member.leave().await?;
            polled
        }
        None => {
            let partition = args.partition.unwrap_or(0);
            let request = PollRequest::new(&args.path.stream, &args.path.topic, partition)
                .strategy(args.place.strategy())
                .count(args.count)
                .consumer(args.consumer)
                .auto_commit(args.auto_commit);
            let polled = client.poll(request).await;
            polled.map_err(|error| explained(Failure::from(error), args.auto_commit))?
        }
    };
    let document = PolledJson {
        partition: polled.partition(),
        last_offset: polled.current_offset(),
        count: polled.len(),
        cut: polled.is_cut(),
        messages: polled.messages().iter().map(MessageJson::of).collect(),
    };
    if polled.is_cut() {
        let next = polled.next_offset().unwrap_or_default();
        target.output.notice(&format!(
            "{} of {} shown, as many as fit one answer; --offset {next} shows what follows",
            polled.len(),
            args.count
        ));
    }
    target.output.show(&document, |_| messages_table(&polled))
}

fn explained(failure: Failure, commits: bool) -> Failure {
    if commits && failure.is_refusal(ErrorCode::Unauthorized) {
        return failure.hint(
            "it takes the right to poll; and where another user has stored the offset of this consumer, a name \
             of your own: --consumer NAME",
        );
    }
    if commits && failure.is_refusal(ErrorCode::CannotOpenConsumerOffsetsFile) {
        return failure
            .instead("the partition keeps as many consumers' offsets as it may".to_owned())
            .hint("galgo offset list shows them, galgo offset delete makes room; groups have places of their own");
    }
    failure
}

fn messages_table(polled: &PolledMessages) -> String {
    let columns = [
        table::number("PARTITION"),
        table::number("OFFSET"),
        table::text("TIME"),
        table::number("SIZE"),
        table::text("PAYLOAD"),
    ];
    let rows = polled.messages().iter().map(|message| {
        vec![
            message.partition().to_string(),
            message.offset().to_string(),
            show_time(message.timestamp()),
            measure::bytes(message.payload().len() as u64),
            preview_bytes(message.payload()),
        ]
    });
    table::columns(&columns, rows, "no messages")
}
