//! `galgo topic`: list, create, show, change, delete and purge topics.

mod change;
mod options;
mod retention;
mod settings;

use clap::{Args, Subcommand};
use galgo::model::{Partition, Topic, TopicDetails};
use galgo::model::{ResolvedOption, TopicOption};
use galgo::{Client, Identifier, TopicOptions};
use serde::Serialize;
use serde_json::json;

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun;
use crate::noun::extent::Extent;
use crate::noun::stream::{self, number_note, shown};
use crate::noun::topic::TopicPath;
use crate::output::text::visible;
use crate::output::{Output, measure, table};
use crate::value::time::show_time_short;

use change::change;
use settings::{TopicSettingArgs, show_expiry, show_max_size};

/// Arguments of `galgo topic`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// List the topics of a stream
    List {
        /// Name or number of the stream
        stream: Identifier,
    },
    /// Create a topic
    Create(CreateTopicArgs),
    /// Show a topic and its partitions
    Get {
        #[command(flatten)]
        path: TopicPath,
    },
    /// Change the name or the settings of a topic; what is not given stays as it is
    Update(UpdateTopicArgs),
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

/// Arguments of `galgo topic create`.
#[derive(Args, Debug)]
pub(crate) struct CreateTopicArgs {
    /// Name or number of the stream
    stream: Identifier,
    /// The name of the topic
    name: String,
    /// Number of partitions
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
    partitions: u32,
    #[command(flatten)]
    settings: TopicSettingArgs,
}

/// Arguments of `galgo topic update`.
#[derive(Args, Debug)]
pub(crate) struct UpdateTopicArgs {
    #[command(flatten)]
    path: TopicPath,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: TopicSettingArgs,
}

/// A topic with the settings only a Galgo server has.
#[derive(Serialize)]
struct ShownTopic<'a> {
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
            options::set(&target.connect().await?, output, &path, options).await
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

async fn create(client: &Client, output: Output, args: CreateTopicArgs) -> Outcome {
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
    let settings = noun::settings::settings(client, path).await?;
    let durability = settings.and_then(|settings| Some(settings.durability?.to_string()));
    let deduplication = settings.and_then(|settings| Some(settings.deduplication?.to_string()));
    let options = noun::settings::options(client, path).await?;
    output.tell(&ShownTopic { details: &details, durability, deduplication, options }, |shown| {
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

async fn update(client: &Client, output: Output, args: UpdateTopicArgs) -> Outcome {
    let path = &args.path;
    if args.name.is_none() && args.settings.is_empty() {
        let hint = format!("give at least one of --name, {}, --set", TopicSettingArgs::flags());
        return Err(Failure::usage("nothing to change").hint(hint));
    }
    change(client, path, args.name, args.settings).await?;
    output.done(&format!("{} updated", path.phrase()), &fact("updated", path))
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
