//! Stored offsets: by consumer and partition, bounded by the log.

use iggy::prelude::*;

use crate::checks::{Checks, equal, refused};
use crate::client::{connected, id, numbered, offsets, topic_with};
use crate::server::Server;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "diary", 2).await?;
    checks
        .step("an empty partition takes no offset", async {
            refused(store(&client, &topic, "reader", 0, 0).await, 4100)
        })
        .await;
    for partition in [0, 1] {
        let partitioning = Partitioning::partition_id(partition);
        client.send_messages(&topic.0, &topic.1, &partitioning, &mut numbered(0, 20)).await?;
    }
    checks
        .step("store, then get", async {
            equal("before", stored(&client, &topic, "reader", 0).await?, None)?;
            store(&client, &topic, "reader", 0, 7).await?;
            equal("offsets", stored(&client, &topic, "reader", 0).await?, Some((0, 19, 7)))
        })
        .await;
    checks
        .step("next continues behind it", async {
            let (reader, next) = (Consumer::new(id("reader")), PollingStrategy::next());
            let polled =
                client.poll_messages(&topic.0, &topic.1, Some(0), &reader, &next, 2, false).await?;
            equal("offsets", offsets(&polled), vec![8, 9])
        })
        .await;
    checks
        .step("consumers and partitions are apart", async {
            store(&client, &topic, "reader", 1, 3).await?;
            store(&client, &topic, "other", 0, 19).await?;
            equal("reader, 0", stored(&client, &topic, "reader", 0).await?, Some((0, 19, 7)))?;
            equal("reader, 1", stored(&client, &topic, "reader", 1).await?, Some((1, 19, 3)))?;
            equal("other, 0", stored(&client, &topic, "other", 0).await?, Some((0, 19, 19)))?;
            equal("other, 1", stored(&client, &topic, "other", 1).await?, None)
        })
        .await;
    checks
        .step("an offset may go back, not beyond the end", async {
            store(&client, &topic, "reader", 0, 2).await?;
            equal("offsets", stored(&client, &topic, "reader", 0).await?, Some((0, 19, 2)))?;
            refused(store(&client, &topic, "reader", 0, 20).await, 4100)?;
            refused(store(&client, &topic, "reader", 0, u64::MAX).await, 4100)?;
            equal("unchanged", stored(&client, &topic, "reader", 0).await?, Some((0, 19, 2)))
        })
        .await;
    checks
        .step("a numeric consumer and no partition", async {
            let numeric = Consumer::new(Identifier::numeric(42)?);
            client.store_consumer_offset(&numeric, &topic.0, &topic.1, None, 5).await?;
            let got = client.get_consumer_offset(&numeric, &topic.0, &topic.1, None).await?;
            equal("offsets", got.map(|it| (it.partition_id, it.stored_offset)), Some((0, 5)))
        })
        .await;
    checks
        .step("delete, then nothing is there to delete", async {
            delete(&client, &topic, "reader", 0).await?;
            equal("after", stored(&client, &topic, "reader", 0).await?, None)?;
            refused(delete(&client, &topic, "reader", 0).await, 3021)?;
            equal(
                "partition 1 stays",
                stored(&client, &topic, "reader", 1).await?,
                Some((1, 19, 3)),
            )
        })
        .await;
    checks
        .step("what is missing is named", async {
            let missing = (id("missing"), topic.1.clone());
            refused(store(&client, &missing, "reader", 0, 0).await, 1009)?;
            equal("get", stored(&client, &missing, "reader", 0).await?, None)?;
            let missing = (topic.0.clone(), id("missing"));
            refused(store(&client, &missing, "reader", 0, 0).await, 2010)?;
            equal("get", stored(&client, &missing, "reader", 0).await?, None)?;
            refused(store(&client, &topic, "reader", 9, 0).await, 3007)?;
            refused(delete(&client, &topic, "reader", 9).await, 3007)?;
            equal("get", stored(&client, &topic, "reader", 9).await?, None)
        })
        .await;
    Ok(())
}

async fn store(
    client: &IggyClient,
    topic: &Topic,
    name: &str,
    partition: u32,
    offset: u64,
) -> Result<(), IggyError> {
    let consumer = Consumer::new(id(name));
    client.store_consumer_offset(&consumer, &topic.0, &topic.1, Some(partition), offset).await
}

async fn delete(
    client: &IggyClient,
    topic: &Topic,
    name: &str,
    partition: u32,
) -> Result<(), IggyError> {
    let consumer = Consumer::new(id(name));
    client.delete_consumer_offset(&consumer, &topic.0, &topic.1, Some(partition)).await
}

/// Partition, last offset of the partition and stored offset.
async fn stored(
    client: &IggyClient,
    topic: &Topic,
    name: &str,
    partition: u32,
) -> anyhow::Result<Option<(u32, u64, u64)>> {
    let consumer = Consumer::new(id(name));
    let got = client.get_consumer_offset(&consumer, &topic.0, &topic.1, Some(partition)).await?;
    Ok(got.map(|it| (it.partition_id, it.current_offset, it.stored_offset)))
}
