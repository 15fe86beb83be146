//! `galgo group`: list, show, create and delete consumer groups.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use galgo::PartitionId;
use galgo::model::{ConsumerGroup, ConsumerGroupDetails};
use galgo::{Client, ConsumerIdentity, Identifier, OffsetOf};
use serde::Serialize;
use serde_json::{Value, json};

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::Outcome;
use crate::noun::extent::Extent;
use crate::noun::group::{find, phrase};
use crate::noun::stream::number_note;
use crate::noun::topic::TopicPath;
use crate::output::text::visible;
use crate::output::{Output, measure, table};

/// Arguments of `galgo group`.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the consumer groups of a topic
    List {
        #[command(flatten)]
        path: TopicPath,
    },
    /// Show a group: its members, who reads which partition, and how far behind
    Get {
        #[command(flatten)]
        group: GroupPath,
    },
    /// Create a group
    Create {
        #[command(flatten)]
        path: TopicPath,
        /// The name of the group
        name: String,
    },
    /// Delete a group with its stored offsets
    Delete {
        #[command(flatten)]
        group: GroupPath,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Which group is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct GroupPath {
    #[command(flatten)]
    path: TopicPath,
    /// Name or number of the group
    group: Identifier,
}

impl GroupPath {
    fn phrase(&self) -> String {
        phrase(&self.group, &self.path)
    }
}

#[derive(Serialize)]
struct ShownGroup<'a> {
    #[serde(flatten)]
    details: &'a ConsumerGroupDetails,
    partitions: Vec<GroupProgress>,
    lag: u64,
}

/// How far a group is in one partition.
#[derive(Serialize)]
struct GroupProgress {
    partition: u32,
    member: Option<u32>,
    stored_offset: Option<u64>,
    last_offset: Option<u64>,
    lag: u64,
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: GroupCommand) -> Outcome {
    let output = target.output;
    match command {
        GroupCommand::List { path } => list(&target.connect().await?, output, &path).await,
        GroupCommand::Get { group } => get(&target.connect().await?, output, &group).await,
        GroupCommand::Create { path, name } => {
            let client = target.connect().await?;
            let created = client.create_consumer_group(&path.stream, &path.topic, &name).await?;
            let sentence = format!(
                "group {} created for {}, number {}",
                visible(&name),
                path.phrase(),
                created.group.id
            ) + &number_note(&name);
            output.done(&sentence, &json!({ "created": "group", "group": created.group }))
        }
        GroupCommand::Delete { group, confirm } => {
            let phrase = group.phrase();
            confirm.ask(&format!("Delete {phrase} with its stored offsets?"))?;
            let GroupPath { path, group: name } = &group;
            let client = target.connect().await?;
            client.delete_consumer_group(&path.stream, &path.topic, name).await?;
            output.done(&format!("{phrase} deleted"), &fact(&group))
        }
    }
}

fn fact(group: &GroupPath) -> Value {
    json!({
        "deleted": "group",
        "stream": group.path.stream.to_string(),
        "topic": group.path.topic.to_string(),
        "group": group.group.to_string(),
    })
}

async fn list(client: &Client, output: Output, path: &TopicPath) -> Outcome {
    let groups = client.consumer_groups(&path.stream, &path.topic).await?;
    // A missing topic and one without groups look the same in the answer.
    if groups.is_empty() {
        path.details(client).await?;
    }
    output.tell(&groups, |groups| groups_table(groups))
}

fn groups_table(groups: &[ConsumerGroup]) -> String {
    let columns = [
        table::number("ID"),
        table::text("NAME"),
        table::number("MEMBERS"),
        table::number("PARTITIONS"),
    ];
    let rows = groups.iter().map(|group| {
        vec![
            group.id.to_string(),
            group.name.to_string(),
            measure::count(u64::from(group.members_count)),
            measure::count(u64::from(group.partitions_count)),
        ]
    });
    table::columns(&columns, rows, "no groups")
}

async fn get(client: &Client, output: Output, group: &GroupPath) -> Outcome {
    let details = find(client, &group.path, &group.group).await?;
    let owners: BTreeMap<PartitionId, u32> = details
        .members
        .iter()
        .flat_map(|member| member.partitions.iter().map(|partition| (*partition, member.id)))
        .collect();
    let mut partitions = Vec::new();
    for partition in &group.path.partitions(client).await? {
        let stored = stored_offset(client, group, partition.id.get()).await?;
        let extent = Extent::of(partition);
        let next = stored.map_or(extent.start, |stored| stored.saturating_add(1));
        partitions.push(GroupProgress {
            partition: partition.id.get(),
            member: owners.get(&partition.id).copied(),
            stored_offset: stored,
            last_offset: extent.last(),
            lag: extent.end.saturating_sub(next.max(extent.start)),
        });
    }
    let lag = partitions.iter().map(|partition| partition.lag).sum();
    output.tell(&ShownGroup { details: &details, partitions, lag }, ShownGroup::text)
}

async fn stored_offset(client: &Client, group: &GroupPath, partition: u32) -> Outcome<Option<u64>> {
    let of = OffsetOf {
        stream: group.path.stream.clone(),
        topic: group.path.topic.clone(),
        partition,
        consumer: ConsumerIdentity::group(group.group.clone()),
    };
    Ok(client.get_offset(&of).await?.map(|found| found.stored_offset.get()))
}

impl ShownGroup<'_> {
    fn text(&self) -> String {
        let group = &self.details.group;
        let facts = table::facts([
            ("id", group.id.to_string()),
            ("name", group.name.to_string()),
            ("members", measure::count(u64::from(group.members_count))),
            ("behind", measure::counted(self.lag, "message")),
        ]);
        let columns = [
            table::number("PARTITION"),
            table::number("MEMBER"),
            table::number("STORED OFFSET"),
            table::number("LAST OFFSET"),
            table::number("BEHIND"),
        ];
        let or_none = |number: Option<u64>| number.map_or("-".to_owned(), measure::count);
        let rows = self.partitions.iter().map(|partition| {
            vec![
                partition.partition.to_string(),
                or_none(partition.member.map(u64::from)),
                or_none(partition.stored_offset),
                or_none(partition.last_offset),
                measure::count(partition.lag),
            ]
        });
        format!("{facts}\n\n{}", table::columns(&columns, rows, "no partitions"))
    }
}
