//! `galgo topic`: list, create, show, change, delete and purge topics.

mod options;
mod retention;
mod settings;

use std::time::Duration;

use clap::{Args, Subcommand};
use galgo::wire::command::extensions::TopicOutline;
use galgo::wire::command::topic_options::{ResolvedOption, TopicOption};
use galgo::wire::command::topics::{MaxTopicSize, MessageExpiry, Partition, Topic, TopicDetails};
use galgo::{Client, ErrorCode, Identifier, InvalidRequest, ProduceError, TopicOptions};
use serde::Serialize;
use serde_json::json;

use crate::command::stream::{self, number_note, shown};
use crate::confirm::Confirm;
use crate::connect::Target;
use crate::failure::{Failure, Outcome};
use crate::output::text::visible;
use crate::output::{Output, measure, table};
use crate::value::time::show_time_short;

use options::NotSet;
pub(crate) use options::of as options;
pub(crate) use settings::{Durability, settings};
use settings::{Settings, show_expiry, show_max_size};

/// Arguments of `galgo topic`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// List the topics of a stream
    List {
        /// Name or number of the stream
        stream: Identifier,
    },
    /// Create a topic
    Create(CreateArgs),
    /// Show a topic and its partitions
    Get {
        #[command(flatten)]
        path: TopicPath,
    },
    /// Change the name or the settings of a topic; what is not given stays as it is
    Update(UpdateArgs),
    /// Delete a topic with all its messages
    Delete {
        #[command(flatten)]
        path: TopicPath,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Set options of a topic by name; an empty value takes one back to the server's default
    Set {
        #[command(flatten)]
        path: TopicPath,
        /// What to set: durability=os, retention.hold_for=7days, segment.max_age=1h
        #[arg(value_name = "NAME=VALUE", required = true, value_parser = options::parse)]
        options: Vec<TopicOption>,
    },
    /// Show what retention would remove, or set how long and how much is kept
    Retention(retention::RetentionArgs),
    /// Delete all messages and stored offsets of a topic; offsets start at 0 again
    Purge {
        #[command(flatten)]
        path: TopicPath,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Which topic is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopicPath {
    /// Name or number of the stream
    pub(crate) stream: Identifier,
    /// Name or number of the topic
    pub(crate) topic: Identifier,
}

impl TopicPath {
    /// The topic as a phrase of a sentence.
    pub(crate) fn phrase(&self) -> String {
        format!("topic {} of stream {}", shown(&self.topic), shown(&self.stream))
    }

    /// The topic with its partitions, or the failure that says what is missing.
    pub(crate) async fn details(&self, client: &Client) -> Outcome<TopicDetails> {
        if let Some(details) = client.topic(&self.stream, &self.topic).await? {
            return Ok(details);
        }
        Err(self.missing(client).await)
    }

    /// What a sender or a reader has to know of the topic, or the failure that says what is missing.
    pub(crate) async fn outline(&self, client: &Client) -> Outcome<TopicOutline> {
        match client.topic_outline(&self.stream, &self.topic).await? {
            Some(outline) => Ok(outline),
            None => Err(self.missing(client).await),
        }
    }

    /// The partitions and how far they go, for whoever may poll.
    pub(crate) async fn partitions(&self, client: &Client) -> Outcome<Vec<Partition>> {
        let outline = self.outline(client).await?;
        // Whoever may only send is told how many there are, and no more.
        if outline.partitions.len() as u64 != u64::from(outline.partitions_count) {
            let code = ErrorCode::Unauthorized;
            let what = format!("could not read {}: permission denied", self.phrase());
            let failure = Failure::refused(what, code.as_u32(), code.name());
            return Err(failure.hint("it takes the flag poll-messages of galgo permission set"));
        }
        Ok(outline.partitions)
    }

    /// Says what is missing: the topic, or its stream, as far as whoever asks may know.
    async fn missing(&self, client: &Client) -> Failure {
        if let Ok(None) = client.stream(&self.stream).await {
            return stream::missing(&self.stream);
        }
        Failure::missing(self.phrase(), ErrorCode::TopicIdNotFound)
            .hint(format!("galgo topic list {} shows those there are", shown(&self.stream)))
    }

    /// `failure` of a send, or a better one when the server's code hides that the topic is there and
    /// only has no partitions.
    pub(crate) async fn explained(&self, client: &Client, failure: Failure) -> Failure {
        let may_hide_it =
            [ErrorCode::TopicIdNotFound, ErrorCode::PartitionNotFound, ErrorCode::NoPartitions];
        if !may_hide_it.iter().any(|code| failure.is_refusal(*code)) {
            return failure;
        }
        match client.topic_outline(&self.stream, &self.topic).await {
            Ok(Some(found)) if found.partitions_count == 0 => {
                failure.instead(format!("{} has no partitions", self.phrase())).hint(self.adding())
            }
            _ => failure,
        }
    }

    /// The failure when the topic is not there, as far as the caller may know: for a command that had nothing to
    /// ask of it.
    pub(crate) async fn checked(&self, client: &Client) -> Outcome {
        match self.outline(client).await {
            Err(failure) if failure.is_refusal(ErrorCode::Unauthorized) => Ok(()),
            found => found.map(drop),
        }
    }

    /// Why a producer does not take messages for this topic, or could not be made.
    pub(crate) fn produce(&self, error: &ProduceError) -> Failure {
        let failure = Failure::produce(error);
        match error {
            ProduceError::Invalid(InvalidRequest::NoPartitions { .. }) => {
                failure.hint(self.adding())
            }
            _ => failure,
        }
    }

    fn adding(&self) -> String {
        let (stream, topic) = (shown(&self.stream), shown(&self.topic));
        format!("galgo partition create {stream} {topic} --count 1 adds one")
    }
}

/// Arguments of `galgo topic create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Name or number of the stream
    stream: Identifier,
    /// The name of the topic
    name: String,
    /// Number of partitions
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
    partitions: u32,
    #[command(flatten)]
    settings: Settings,
}

/// Arguments of `galgo topic update`.
#[derive(Args, Debug)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    path: TopicPath,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// A topic with the settings only a Galgo server has.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    details: &'a TopicDetails,
    durability: Option<String>,
    deduplication: Option<String>,
    options: Option<Vec<ResolvedOption>>,
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: TopicCommand) -> Outcome {
    let output = target.output;
    match command {
        TopicCommand::List { stream } => list(&target.connect().await?, output, &stream).await,
        TopicCommand::Create(args) => create(&target.connect().await?, output, args).await,
        TopicCommand::Get { path } => get(&target.connect().await?, output, &path).await,
        TopicCommand::Update(args) => update(&target.connect().await?, output, args).await,
        TopicCommand::Set { path, options } => {
            options::set(&target.connect().await?, output, (&path, options)).await
        }
        TopicCommand::Retention(args) => {
            retention::run(&target.connect().await?, output, args).await
        }
        TopicCommand::Delete { path, confirm } => {
            let phrase = path.phrase();
            confirm.ask(&format!("Delete {phrase} with all its messages?"))?;
            target.connect().await?.delete_topic(&path.stream, &path.topic).await?;
            output.done(&format!("{phrase} deleted"), &fact("deleted", &path))
        }
        TopicCommand::Purge { path, confirm } => {
            let phrase = path.phrase();
            confirm.ask(&format!("Delete all messages of {phrase}?"))?;
            target.connect().await?.purge_topic(&path.stream, &path.topic).await?;
            output.done(&format!("{phrase} purged"), &fact("purged", &path))
        }
    }
}

fn fact(deed: &str, path: &TopicPath) -> serde_json::Value {
    json!({
        deed: "topic",
        "stream": path.stream.to_string(),
        "topic": path.topic.to_string(),
    })
}

async fn list(client: &Client, output: Output, stream: &Identifier) -> Outcome {
    let topics = client.topics(stream).await?;
    // A missing stream and an empty one look the same in the answer.
    if topics.is_empty() && client.stream(stream).await?.is_none() {
        return Err(stream::missing(stream));
    }
    output.tell(&topics, |topics| topics_table(topics))
}

async fn create(client: &Client, output: Output, args: CreateArgs) -> Outcome {
    let options = args.settings.apply(TopicOptions::default().partitions(args.partitions));
    let created = client.create_topic(&args.stream, &args.name, options).await?;
    let sentence = format!(
        "topic {} created in stream {}, number {}, with {}",
        visible(&args.name),
        shown(&args.stream),
        created.topic.id,
        measure::counted(u64::from(created.topic.partitions_count), "partition"),
    ) + &number_note(&args.name);
    output.done(&sentence, &json!({ "created": "topic", "topic": created.topic }))?;
    if created.topic.partitions_count == 0 {
        let topic = Identifier::Numeric(created.topic.id.get());
        let adding = TopicPath { stream: args.stream, topic }.adding();
        output.remark(&format!("it takes no messages before it has a partition: {adding}"));
    }
    Ok(())
}

async fn get(client: &Client, output: Output, path: &TopicPath) -> Outcome {
    let details = path.details(client).await?;
    let settings = settings(client, path).await?;
    let durability = settings.and_then(|settings| Some(settings.durability?.to_string()));
    let deduplication = settings.and_then(|settings| Some(settings.deduplication?.to_string()));
    let options = options::of(client, path).await?;
    output.tell(&Shown { details: &details, durability, deduplication, options }, |shown| {
        let topic = &shown.details.topic;
        let facts = table::facts([
            ("id", topic.id.to_string()),
            ("name", topic.name.to_string()),
            ("created", show_time_short(topic.created_at.get())),
            ("messages", measure::count(topic.messages_count)),
            ("size", measure::bytes(topic.size)),
        ]);
        let unknown = || "unknown".to_owned();
        let options = match &shown.options {
            Some(options) => table::facts(options.iter().map(options::fact)),
            None => table::facts([
                ("durability", shown.durability.clone().unwrap_or_else(unknown)),
                ("deduplication", shown.deduplication.clone().unwrap_or_else(unknown)),
                ("expiry", show_expiry(topic.message_expiry)),
                ("max size", show_max_size(topic.max_topic_size)),
            ]),
        };
        let partitions = partitions_table(&shown.details.partitions);
        format!("{facts}\n\n{options}\n\n{partitions}")
    })
}

async fn update(client: &Client, output: Output, args: UpdateArgs) -> Outcome {
    let path = &args.path;
    if args.name.is_none() && args.settings.is_empty() {
        let hint = format!("give at least one of --name, {}, --set", Settings::flags());
        return Err(Failure::usage("nothing to change").hint(hint));
    }
    change(client, path, args.name, args.settings).await?;
    output.done(&format!("{} updated", path.phrase()), &fact("updated", path))
}

/// Changes what is given. A new name, and a classic server, take a command that replaces all settings, so those that
/// were not given are read first.
async fn change(
    client: &Client,
    path: &TopicPath,
    name: Option<String>,
    settings: Settings,
) -> Outcome {
    if name.is_none() {
        match options::configure(client, path, settings.clone().into_options()).await {
            Ok(()) => return Ok(()),
            Err(NotSet::Unsupported(_)) => {}
            Err(NotSet::Failed(failure)) => return Err(failure),
        }
    }
    let before = path.details(client).await?.topic;
    let name = name.unwrap_or_else(|| before.name.to_string());
    let options = settings.apply(options_of(&before));
    client.update_topic(&path.stream, &path.topic, &name, options).await?;
    Ok(())
}

/// The settings of a topic that every server knows, as they are.
pub(crate) fn options_of(topic: &Topic) -> TopicOptions {
    let mut options =
        TopicOptions::default().partitions(topic.partitions_count).compression(topic.compression);
    if topic.max_topic_size != MaxTopicSize::SERVER_DEFAULT {
        options = options.max_size(topic.max_topic_size.get());
    }
    match topic.message_expiry {
        MessageExpiry::SERVER_DEFAULT => options,
        MessageExpiry::NEVER => options.expiry(Duration::MAX),
        expiry => options.expiry(Duration::from_micros(expiry.get())),
    }
}

/// The topics of a stream.
pub(crate) fn topics_table(topics: &[Topic]) -> String {
    let columns = [
        table::number("ID"),
        table::text("NAME"),
        table::number("PARTITIONS"),
        table::number("MESSAGES"),
        table::number("SIZE"),
        table::text("EXPIRY"),
        table::text("MAX SIZE"),
        table::text("CREATED"),
    ];
    let rows = topics.iter().map(|topic| {
        vec![
            topic.id.to_string(),
            topic.name.to_string(),
            measure::count(u64::from(topic.partitions_count)),
            measure::count(topic.messages_count),
            measure::bytes(topic.size),
            show_expiry(topic.message_expiry),
            show_max_size(topic.max_topic_size),
            show_time_short(topic.created_at.get()),
        ]
    });
    table::columns(&columns, rows, "no topics")
}

fn partitions_table(partitions: &[Partition]) -> String {
    let columns = [
        table::number("PARTITION"),
        table::number("MESSAGES"),
        table::number("FIRST OFFSET"),
        table::number("LAST OFFSET"),
        table::number("SEGMENTS"),
        table::number("SIZE"),
    ];
    let rows = partitions.iter().map(|partition| {
        let extent = Extent::of(partition);
        let (first, last) = match extent.last() {
            Some(last) => (measure::count(extent.start), measure::count(last)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        vec![
            partition.id.to_string(),
            measure::count(partition.messages_count),
            first,
            last,
            measure::count(u64::from(partition.segments_count)),
            measure::bytes(partition.size),
        ]
    });
    table::columns(&columns, rows, "no partitions")
}

/// The offsets of a partition: `start..end`, empty when they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Offset of the oldest message.
    pub(crate) start: u64,
    /// Offset after the newest message.
    pub(crate) end: u64,
}

impl Extent {
    /// Offsets are gapless, so count and last offset give the first one.
    pub(crate) fn of(partition: &Partition) -> Self {
        let count = partition.messages_count;
        // An empty partition says 0 for its last offset, like one with a single message.
        let end = match (count, partition.current_offset.get()) {
            (0, 0) => 0,
            (_, last) => last.saturating_add(1),
        };
        Self { start: end.saturating_sub(count), end }
    }

    /// The offset of the newest message.
    pub(crate) fn last(self) -> Option<u64> {
        if self.start < self.end { Some(self.end - 1) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_of_a_partition_follows_from_count_and_last_offset() {
        let extent = |messages_count, current_offset: u64| {
            Extent::of(&Partition {
                id: 0.into(),
                created_at: 0.into(),
                segments_count: 1,
                current_offset: current_offset.into(),
                size: 0,
                messages_count,
            })
        };
        for (count, last, expected) in [
            (0, 0, Extent { start: 0, end: 0 }),
            (1, 0, Extent { start: 0, end: 1 }),
            (10, 9, Extent { start: 0, end: 10 }),
            // Retention took the first messages, or all of them.
            (4, 9, Extent { start: 6, end: 10 }),
            (0, 9, Extent { start: 10, end: 10 }),
        ] {
            assert_eq!(extent(count, last), expected);
            assert_eq!(expected.last().is_some(), count > 0);
        }
    }
}
