//! Consumer groups: their life, who owns what, polling without a partition, what survives.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{connected, id, numbered, offsets, topic_with};
use crate::server::Server;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "work", 3).await?;
    checks.step("create, get, list", creates(&client, &topic)).await;
    checks.step("what is missing is 5000, a second of a name 5004", misses(&client, &topic)).await;
    checks.step("the only member owns everything", owns_all(&client, &topic)).await;
    checks.step("two members share, one that leaves gives back", shares(server, &topic)).await;
    checks.step("polls without a partition take turns", takes_turns(server, &topic)).await;
    checks.step("group offsets need membership and ownership", group_offsets(server, &topic)).await;
    checks
        .step("partitions added and removed are shared out anew", async {
            client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
            client.create_partitions(&topic.0, &topic.1, 3).await?;
            equal("owned", owned(&client, &topic).await?, vec![vec![0, 1, 2, 3, 4, 5]])?;
            client.delete_partitions(&topic.0, &topic.1, 3).await?;
            equal("owned", owned(&client, &topic).await?, vec![vec![0, 1, 2]])?;
            Ok(client.leave_consumer_group(&topic.0, &topic.1, &id("group")).await?)
        })
        .await;
    checks.step("a purge keeps members and forgets offsets", purges(&client, &topic)).await;
    checks.step("delete takes offsets and members along", deletes(&client, &topic)).await;
    checks.step("the high-level consumer reads everything once", streams(server)).await;
    checks.step("two high-level consumers share a topic", streams_shared(server)).await;
    checks.step("a group goes on after kill -9 where it was", survives(server)).await;
    Ok(())
}

async fn creates(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let created = client.create_consumer_group(&topic.0, &topic.1, "group").await?;
    let seen = (created.id, created.name.as_str(), created.partitions_count, created.members_count);
    equal("group", seen, (0, "group", 3, 0))?;
    client.create_consumer_group(&topic.0, &topic.1, "another").await?;
    let found = client.get_consumer_group(&topic.0, &topic.1, &Identifier::numeric(1)?).await?;
    equal("by id", found.map(|it| it.name), Some("another".to_owned()))?;
    let listed = client.get_consumer_groups(&topic.0, &topic.1).await?;
    let listed: Vec<(u32, String)> = listed.into_iter().map(|it| (it.id, it.name)).collect();
    equal("groups", listed, vec![(0, "group".to_owned()), (1, "another".to_owned())])?;
    equal("counted", client.get_stats().await?.consumer_groups_count, 2)?;
    client.delete_consumer_group(&topic.0, &topic.1, &id("another")).await?;
    Ok(())
}

async fn misses(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let missing = id("missing");
    let found = client.get_consumer_group(&topic.0, &topic.1, &missing).await?;
    equal("group", found.is_none(), true)?;
    equal("groups", client.get_consumer_groups(&missing, &topic.1).await?.len(), 0)?;
    refused(client.create_consumer_group(&topic.0, &topic.1, "group").await, 5004)?;
    refused(client.create_consumer_group(&missing, &topic.1, "x").await, 1009)?;
    refused(client.create_consumer_group(&topic.0, &missing, "x").await, 2010)?;
    refused(client.join_consumer_group(&topic.0, &topic.1, &missing).await, 5000)?;
    refused(client.leave_consumer_group(&topic.0, &topic.1, &missing).await, 5000)?;
    refused(client.delete_consumer_group(&topic.0, &topic.1, &missing).await, 5000)?;
    refused(client.leave_consumer_group(&topic.0, &topic.1, &id("group")).await, 5006)?;
    refused(group_poll(client, topic, None).await, 5006)
}

async fn owns_all(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    equal("owned", owned(client, topic).await?, vec![vec![0, 1, 2]])?;
    let me = client.get_me().await?;
    equal("memberships", me.consumer_groups.len(), 1)?;
    client.leave_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    equal("members", owned(client, topic).await?.len(), 0)?;
    equal("memberships", client.get_me().await?.consumer_groups_count, 0)
}

async fn shares(server: &Server, topic: &Topic) -> anyhow::Result<()> {
    let (one, two) = (connected(server).await?, connected(server).await?);
    let group = id("group");
    one.join_consumer_group(&topic.0, &topic.1, &group).await?;
    two.join_consumer_group(&topic.0, &topic.1, &group).await?;
    let shares = owned(&one, topic).await?;
    equal("members", shares.len(), 2)?;
    let all: BTreeSet<u32> = shares.iter().flatten().copied().collect();
    equal("every partition has one owner", all.len(), shares.iter().flatten().count())?;
    equal("all partitions", all.len(), 3)?;
    holds("each has some", shares.iter().all(|it| !it.is_empty()), &shares)?;
    two.shutdown().await?;
    drop(two);
    for _ in 0..100 {
        if owned(&one, topic).await?.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    equal("all for one", owned(&one, topic).await?, vec![vec![0, 1, 2]])?;
    leave(&one, topic).await
}

async fn takes_turns(server: &Server, topic: &Topic) -> anyhow::Result<()> {
    let client = connected(server).await?;
    for partition in 0..3 {
        let to = Partitioning::partition_id(partition);
        client.send_messages(&topic.0, &topic.1, &to, &mut numbered(0, 2)).await?;
    }
    client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    let mut seen = Vec::new();
    for _ in 0..6 {
        let polled = group_poll(&client, topic, None).await?;
        seen.push((polled.partition_id, offsets(&polled)));
    }
    let turn = |offset| (0..3).map(move |partition| (partition, vec![offset]));
    equal("polls", seen, turn(0).chain(turn(1)).collect())?;
    let polled = group_poll(&client, topic, None).await?;
    equal("nothing more", polled.messages.len(), 0)?;
    leave(&client, topic).await
}

async fn group_offsets(server: &Server, topic: &Topic) -> anyhow::Result<()> {
    let (member, stranger) = (connected(server).await?, connected(server).await?);
    let group = Consumer::group(id("group"));
    member.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    member.store_consumer_offset(&group, &topic.0, &topic.1, Some(0), 0).await?;
    let stored = stranger.get_consumer_offset(&group, &topic.0, &topic.1, Some(0)).await?;
    equal("stored", stored.map(|it| it.stored_offset), Some(0))?;
    let refusal = stranger.store_consumer_offset(&group, &topic.0, &topic.1, Some(0), 0).await;
    refused(refusal, 5006)?;
    let beyond = member.store_consumer_offset(&group, &topic.0, &topic.1, Some(0), 99).await;
    refused(beyond, 4100)?;
    let other = Consumer::group(id("missing"));
    refused(member.store_consumer_offset(&other, &topic.0, &topic.1, Some(0), 0).await, 5000)?;
    member.delete_consumer_offset(&group, &topic.0, &topic.1, Some(0)).await?;
    refused(member.delete_consumer_offset(&group, &topic.0, &topic.1, Some(0)).await, 3021)?;
    leave(&member, topic).await
}

async fn purges(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    client.purge_topic(&topic.0, &topic.1).await?;
    equal("owned", owned(client, topic).await?, vec![vec![0, 1, 2]])?;
    let group = Consumer::group(id("group"));
    for partition in 0..3 {
        let stored =
            client.get_consumer_offset(&group, &topic.0, &topic.1, Some(partition)).await?;
        equal("stored", stored.map(|it| it.stored_offset), None)?;
    }
    Ok(())
}

async fn deletes(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let to = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &to, &mut numbered(0, 3)).await?;
    let group = Consumer::group(id("group"));
    client.store_consumer_offset(&group, &topic.0, &topic.1, Some(0), 2).await?;
    client.delete_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    equal("memberships", client.get_me().await?.consumer_groups_count, 0)?;
    let again = client.create_consumer_group(&topic.0, &topic.1, "group").await?;
    equal("the id is used again", again.id, 0)?;
    let stored = client.get_consumer_offset(&group, &topic.0, &topic.1, Some(0)).await?;
    equal("nothing of the old group", stored.map(|it| it.stored_offset), None)
}

async fn filled(client: &IggyClient, stream: &str, each: u64) -> anyhow::Result<Topic> {
    let topic = topic_with(client, stream, 4).await?;
    for partition in 0..4 {
        let to = Partitioning::partition_id(partition);
        client.send_messages(&topic.0, &topic.1, &to, &mut numbered(0, each)).await?;
    }
    Ok(topic)
}

fn consumer(client: &IggyClient, stream: &str) -> Result<IggyConsumer, IggyError> {
    Ok(client
        .consumer_group("readers", stream, "events")?
        .auto_commit(AutoCommit::When(AutoCommitWhen::ConsumingEachMessage))
        .create_consumer_group_if_not_exists()
        .auto_join_consumer_group()
        .polling_strategy(PollingStrategy::next())
        .poll_interval(IggyDuration::from(1_000))
        .batch_length(10)
        .build())
}

async fn streams(server: &Server) -> anyhow::Result<()> {
    let client = connected(server).await?;
    filled(&client, "streamed", 50).await?;
    let mut consumer = consumer(&client, "streamed")?;
    consumer.init().await?;
    let mut seen = BTreeSet::new();
    while seen.len() < 200 {
        let received =
            consumer.next().await.ok_or_else(|| anyhow::anyhow!("the stream ended"))??;
        let new = seen.insert((received.partition_id, received.message.header.offset));
        holds("each message once", new, received.message.header.offset)?;
    }
    Ok(())
}

async fn streams_shared(server: &Server) -> anyhow::Result<()> {
    let (one, two) = (connected(server).await?, connected(server).await?);
    filled(&one, "shared", 50).await?;
    let (mut first, mut second) = (consumer(&one, "shared")?, consumer(&two, "shared")?);
    first.init().await?;
    second.init().await?;
    let mut seen = BTreeSet::new();
    while seen.len() < 200 {
        let received = tokio::select! {
            received = first.next() => received,
            received = second.next() => received,
        };
        let received = received.ok_or_else(|| anyhow::anyhow!("a stream ended"))??;
        let new = seen.insert((received.partition_id, received.message.header.offset));
        holds("each message once", new, received.message.header.offset)?;
    }
    Ok(())
}

async fn survives(server: &mut Server) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = filled(&client, "kept", 10).await?;
    client.create_consumer_group(&topic.0, &topic.1, "group").await?;
    client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    for _ in 0..4 {
        equal("polled", group_poll(&client, &topic, None).await?.messages.len(), 1)?;
    }
    server.kill()?;
    server.restart()?;
    let client = connected(server).await?;
    let group = client.get_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    equal("members after the restart", group.map(|it| it.members_count), Some(0))?;
    client.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    for _ in 0..4 {
        equal("the next", offsets(&group_poll(&client, &topic, None).await?), vec![1])?;
    }
    Ok(())
}

/// The classic client's connection, and with it its membership, outlives the client.
async fn leave(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    Ok(client.leave_consumer_group(&topic.0, &topic.1, &id("group")).await?)
}

/// Polls one message as a member and commits it.
async fn group_poll(
    client: &IggyClient,
    topic: &Topic,
    partition: Option<u32>,
) -> Result<PolledMessages, IggyError> {
    let (group, next) = (Consumer::group(id("group")), PollingStrategy::next());
    client.poll_messages(&topic.0, &topic.1, partition, &group, &next, 1, true).await
}

/// The partitions of each member, in the order of the members.
async fn owned(client: &IggyClient, topic: &Topic) -> anyhow::Result<Vec<Vec<u32>>> {
    let group = client.get_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    let group = group.ok_or_else(|| anyhow::anyhow!("expected a group, got none"))?;
    let mut members = group.members;
    members.sort_by_key(|it| it.id);
    let sorted = members.into_iter().map(|mut it| {
        it.partitions.sort_unstable();
        it.partitions
    });
    Ok(sorted.collect())
}
