//! Streams: their names, ids and whole life.

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{connected, id, numbered, offsets, poll, topic_with};
use crate::server::Server;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    checks
        .step("a new server has no streams", async {
            equal("streams", client.get_streams().await?.len(), 0)
        })
        .await;
    checks.step("create gives back the stream", creates(&client)).await;
    checks.step("get finds it by id and by name", gets(&client)).await;
    checks.step("list is in the order of ids", lists(&client)).await;
    checks.step("names are unique, exact and up to 255 bytes", names(&client)).await;
    checks.step("update renames and refuses a taken name", updates(&client)).await;
    checks.step("purge empties every topic", purges(&client)).await;
    checks.step("delete frees the id and takes everything along", deletes(&client)).await;
    checks
        .step("a missing stream is none to read and 1009 to change", async {
            equal("get", client.get_stream(&id("missing")).await?.is_none(), true)?;
            refused(client.update_stream(&id("missing"), "other").await, 1009)?;
            refused(client.delete_stream(&id("missing")).await, 1009)?;
            refused(client.purge_stream(&id("missing")).await, 1009)
        })
        .await;
    Ok(())
}

async fn creates(client: &IggyClient) -> anyhow::Result<()> {
    let before = IggyTimestamp::now().as_micros();
    let stream = client.create_stream("orders").await?;
    equal("id", stream.id, 0)?;
    equal("name", stream.name.as_str(), "orders")?;
    equal("topics", stream.topics_count, 0)?;
    equal("messages", stream.messages_count, 0)?;
    equal("size", stream.size.as_bytes_u64(), 0)?;
    let age = stream.created_at.as_micros().abs_diff(before);
    holds("a creation time of now", age < 60_000_000, stream.created_at)
}

async fn gets(client: &IggyClient) -> anyhow::Result<()> {
    let by_name = client.get_stream(&id("orders")).await?.map(|it| (it.id, it.created_at));
    let by_id = client.get_stream(&Identifier::numeric(0)?).await?.map(|it| (it.id, it.created_at));
    holds("a stream", by_name.is_some(), by_name)?;
    equal("the same stream", by_id, by_name)
}

async fn lists(client: &IggyClient) -> anyhow::Result<()> {
    client.create_stream("another").await?;
    let streams = client.get_streams().await?;
    let listed: Vec<(u32, &str)> = streams.iter().map(|it| (it.id, it.name.as_str())).collect();
    equal("streams", listed, vec![(0, "orders"), (1, "another")])
}

async fn names(client: &IggyClient) -> anyhow::Result<()> {
    refused(client.create_stream("orders").await, 1012)?;
    for name in ["Orders", " orders", "orders ", "журнал / 日志", "123", &"n".repeat(255)] {
        let created = client.create_stream(name).await?;
        equal("name", created.name.as_str(), name)?;
        let found = client.get_stream(&id(name)).await?;
        equal("found by name", found.map(|it| it.id), Some(created.id))?;
        client.delete_stream(&id(name)).await?;
    }
    Ok(())
}

async fn updates(client: &IggyClient) -> anyhow::Result<()> {
    client.update_stream(&id("another"), "renamed").await?;
    equal("old name", client.get_stream(&id("another")).await?.is_none(), true)?;
    equal("id stays", client.get_stream(&id("renamed")).await?.map(|it| it.id), Some(1))?;
    client.update_stream(&id("renamed"), "renamed").await?;
    refused(client.update_stream(&id("renamed"), "orders").await, 1012)
}

async fn purges(client: &IggyClient) -> anyhow::Result<()> {
    let topic = topic_with(client, "purged", 1).await?;
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(0, 5)).await?;
    client.purge_stream(&topic.0).await?;
    let stream = client.get_stream(&topic.0).await?;
    let left = stream.map(|it| (it.messages_count, it.size.as_bytes_u64(), it.topics_count));
    equal("messages, bytes, topics", left, Some((0, 0, 1)))?;
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(0, 1)).await?;
    let polled = poll(client, &topic, 0, PollingStrategy::first(), 10).await?;
    equal("offsets start again", offsets(&polled), vec![0])
}

async fn deletes(client: &IggyClient) -> anyhow::Result<()> {
    let topic = topic_with(client, "doomed", 1).await?;
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(0, 5)).await?;
    let freed = client.get_stream(&topic.0).await?.map(|it| it.id);
    client.delete_stream(&topic.0).await?;
    equal("gone", client.get_stream(&topic.0).await?.is_none(), true)?;
    let topic = topic_with(client, "reborn", 1).await?;
    equal("id is used again", client.get_stream(&topic.0).await?.map(|it| it.id), freed)?;
    let polled = poll(client, &topic, 0, PollingStrategy::first(), 10).await?;
    equal("nothing of the old stream", offsets(&polled), vec![])
}
