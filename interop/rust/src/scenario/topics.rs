//! Topics: settings, sentinels and whole life.

use iggy::prelude::*;

use crate::checks::{Checks, equal, refused};
use crate::client::{connected, create_topic, id, numbered, offsets, poll};
use crate::server::Server;

const GIB: u64 = 1 << 30;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    client.create_stream("shop").await?;
    checks.step("defaults are resolved to what they mean", defaults(&client)).await;
    checks.step("explicit settings come back", explicit(&client)).await;
    checks.step("list is in the order of ids", lists(&client)).await;
    checks.step("update replaces every setting", updates(&client)).await;
    checks.step("purge empties the partitions and starts offsets again", purges(&client)).await;
    checks.step("delete frees the id and the files", deletes(&client)).await;
    checks
        .step("names are unique in their stream", async {
            refused(create_topic(&client, "shop", "orders", 1).await, 2013)?;
            refused(update(&client, "orders", "payments").await, 2013)?;
            client.create_stream("other shop").await?;
            create_topic(&client, "other shop", "orders", 1).await?;
            Ok(())
        })
        .await;
    checks.step("partitions are 0 to 1000, sizes at least a segment", bounds(&client)).await;
    checks
        .step("a missing stream or topic is none to read", async {
            equal("topics", client.get_topics(&id("missing")).await?.len(), 0)?;
            let (shop, missing, orders) = (id("shop"), id("missing"), id("orders"));
            equal("topic", client.get_topic(&missing, &orders).await?.is_none(), true)?;
            equal("topic", client.get_topic(&shop, &missing).await?.is_none(), true)
        })
        .await;
    checks
        .step("changing a missing stream is 1009, a missing topic 2010", async {
            let (shop, missing, orders) = (id("shop"), id("missing"), id("orders"));
            refused(create_topic(&client, "missing", "x", 1).await, 1009)?;
            refused(client.delete_topic(&missing, &orders).await, 1009)?;
            refused(client.delete_topic(&shop, &missing).await, 2010)?;
            refused(client.purge_topic(&missing, &orders).await, 1009)?;
            refused(client.purge_topic(&shop, &missing).await, 2010)?;
            refused(update(&client, "missing", "x").await, 2010)
        })
        .await;
    Ok(())
}

async fn update(client: &IggyClient, topic: &str, name: &str) -> Result<(), IggyError> {
    let (expiry, size) = (IggyExpiry::ServerDefault, MaxTopicSize::ServerDefault);
    let compression = CompressionAlgorithm::None;
    client.update_topic(&id("shop"), &id(topic), name, compression, None, expiry, size).await
}

async fn defaults(client: &IggyClient) -> anyhow::Result<()> {
    let topic = create_topic(client, "shop", "orders", 2).await?;
    equal("id", topic.id, 0)?;
    equal("name", topic.name.as_str(), "orders")?;
    equal("expiry", topic.message_expiry, IggyExpiry::NeverExpire)?;
    equal("max size", topic.max_topic_size, MaxTopicSize::Unlimited)?;
    equal("replication", topic.replication_factor, 1)?;
    equal("compression", topic.compression_algorithm, CompressionAlgorithm::None)?;
    equal("partitions", topic.partitions_count, 2)?;
    let partitions: Vec<(u32, u64, u64)> =
        topic.partitions.iter().map(|it| (it.id, it.current_offset, it.messages_count)).collect();
    equal("partitions", partitions, vec![(0, 0, 0), (1, 0, 0)])?;
    let found = client.get_topic(&id("shop"), &id("orders")).await?;
    equal("get shows the same", found.map(|it| it.message_expiry), Some(topic.message_expiry))
}

async fn explicit(client: &IggyClient) -> anyhow::Result<()> {
    let expiry = IggyExpiry::ExpireDuration(IggyDuration::from(90_000_000_u64));
    let size = MaxTopicSize::Custom(IggyByteSize::from(2 * GIB));
    let gzip = CompressionAlgorithm::Gzip;
    client.create_topic(&id("shop"), "payments", 1, gzip, Some(3), expiry, size).await?;
    let topic = client.get_topic(&id("shop"), &Identifier::numeric(1)?).await?;
    let topic = topic.ok_or_else(|| anyhow::anyhow!("expected a topic, got none"))?;
    equal("name", topic.name.as_str(), "payments")?;
    equal("expiry", topic.message_expiry, expiry)?;
    equal("max size", topic.max_topic_size, size)?;
    equal("replication", topic.replication_factor, 3)?;
    equal("compression", topic.compression_algorithm, gzip)
}

async fn lists(client: &IggyClient) -> anyhow::Result<()> {
    let topics = client.get_topics(&id("shop")).await?;
    let listed: Vec<(u32, &str)> = topics.iter().map(|it| (it.id, it.name.as_str())).collect();
    equal("topics", listed, vec![(0, "orders"), (1, "payments")])?;
    let stream = client.get_stream(&id("shop")).await?;
    equal("topics of the stream", stream.map(|it| it.topics.len()), Some(2))
}

async fn updates(client: &IggyClient) -> anyhow::Result<()> {
    create_topic(client, "shop", "draft", 1).await?;
    let expiry = IggyExpiry::ExpireDuration(IggyDuration::from(5_000_000_u64));
    let size = MaxTopicSize::Custom(IggyByteSize::from(3 * GIB));
    let (shop, gzip) = (id("shop"), CompressionAlgorithm::Gzip);
    client.update_topic(&shop, &id("draft"), "final", gzip, Some(2), expiry, size).await?;
    let topic = client.get_topic(&shop, &id("final")).await?;
    let settings = topic.map(|it| (it.message_expiry, it.max_topic_size, it.replication_factor));
    equal("settings", settings, Some((expiry, size, 2)))?;
    update(client, "final", "final").await?;
    let topic = client.get_topic(&shop, &id("final")).await?;
    let settings = topic.map(|it| (it.message_expiry, it.max_topic_size));
    let resolved = (IggyExpiry::NeverExpire, MaxTopicSize::Unlimited);
    equal("defaults are resolved", settings, Some(resolved))?;
    Ok(client.delete_topic(&shop, &id("final")).await?)
}

async fn purges(client: &IggyClient) -> anyhow::Result<()> {
    let topic = (id("shop"), id("orders"));
    let (reader, partition) = (Consumer::new(id("reader")), Partitioning::partition_id(1));
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(0, 5)).await?;
    client.store_consumer_offset(&reader, &topic.0, &topic.1, Some(1), 3).await?;
    client.purge_topic(&topic.0, &topic.1).await?;
    let found = client.get_topic(&topic.0, &topic.1).await?;
    let left = found.map(|it| (it.messages_count, it.size.as_bytes_u64(), it.partitions_count));
    equal("messages, bytes, partitions", left, Some((0, 0, 2)))?;
    let stored = client.get_consumer_offset(&reader, &topic.0, &topic.1, Some(1)).await?;
    equal("stored offset", stored.map(|it| it.stored_offset), None)?;
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(7, 9)).await?;
    let polled = poll(client, &topic, 1, PollingStrategy::next(), 10).await?;
    equal("offsets", offsets(&polled), vec![0, 1])
}

async fn deletes(client: &IggyClient) -> anyhow::Result<()> {
    let topic = (id("shop"), id("payments"));
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(0, 5)).await?;
    client.delete_topic(&topic.0, &topic.1).await?;
    let reborn = create_topic(client, "shop", "payments", 1).await?;
    equal("id is used again", reborn.id, 1)?;
    let polled = poll(client, &topic, 0, PollingStrategy::first(), 10).await?;
    equal("nothing of the old topic", offsets(&polled), vec![])
}

async fn bounds(client: &IggyClient) -> anyhow::Result<()> {
    refused(create_topic(client, "shop", "wide", 1001).await, 2015)?;
    equal("none left behind", client.get_topic(&id("shop"), &id("wide")).await?.is_none(), true)?;
    let wide = create_topic(client, "shop", "wide", 1000).await?;
    equal("partitions", wide.partitions.len(), 1000)?;
    let empty = create_topic(client, "shop", "empty", 0).await?;
    equal("partitions", empty.partitions_count, 0)?;
    let size = MaxTopicSize::Custom(IggyByteSize::from(GIB / 2));
    let (none, never) = (CompressionAlgorithm::None, IggyExpiry::NeverExpire);
    refused(client.create_topic(&id("shop"), "small", 1, none, None, never, size).await, 1019)
}
