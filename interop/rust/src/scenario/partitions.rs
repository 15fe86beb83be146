//! Partitions added to and taken from a topic, and segments deleted from one.

use iggy::prelude::*;

use crate::checks::{Checks, equal, refused};
use crate::client::{connected, id, numbered, offsets, poll, topic_with};
use crate::server::Server;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "grid", 1).await?;
    checks
        .step("new partitions follow the last", async {
            client.create_partitions(&topic.0, &topic.1, 3).await?;
            equal("partitions", ids(&client, &topic).await?, vec![0, 1, 2, 3])
        })
        .await;
    checks.step("delete takes the last with their messages", deletes(&client, &topic)).await;
    checks
        .step("counts are bounded", async {
            refused(client.create_partitions(&topic.0, &topic.1, 0).await, 2015)?;
            refused(client.create_partitions(&topic.0, &topic.1, 1001).await, 2015)?;
            refused(client.delete_partitions(&topic.0, &topic.1, 0).await, 2015)?;
            refused(client.delete_partitions(&topic.0, &topic.1, 1000).await, 2019)?;
            equal("partitions", ids(&client, &topic).await?, vec![0, 1, 2])
        })
        .await;
    checks
        .step("a missing stream is 1009, a missing topic 2010", async {
            refused(client.create_partitions(&id("missing"), &topic.1, 1).await, 1009)?;
            refused(client.create_partitions(&topic.0, &id("missing"), 1).await, 2010)?;
            refused(client.delete_partitions(&id("missing"), &topic.1, 1).await, 1009)?;
            refused(client.delete_partitions(&topic.0, &id("missing"), 1).await, 2010)
        })
        .await;
    checks.step("all partitions may go, and sends say so", no_partitions(&client, &topic)).await;
    Ok(())
}

async fn ids(client: &IggyClient, topic: &(Identifier, Identifier)) -> anyhow::Result<Vec<u32>> {
    let found = client.get_topic(&topic.0, &topic.1).await?;
    Ok(found.into_iter().flat_map(|it| it.partitions).map(|partition| partition.id).collect())
}

async fn deletes(client: &IggyClient, topic: &(Identifier, Identifier)) -> anyhow::Result<()> {
    let third = Partitioning::partition_id(2);
    client.send_messages(&topic.0, &topic.1, &third, &mut numbered(0, 4)).await?;
    client.delete_partitions(&topic.0, &topic.1, 2).await?;
    equal("partitions", ids(client, topic).await?, vec![0, 1])?;
    refused(client.send_messages(&topic.0, &topic.1, &third, &mut numbered(0, 1)).await, 3007)?;
    client.create_partitions(&topic.0, &topic.1, 1).await?;
    let polled = poll(client, topic, 2, PollingStrategy::first(), 10).await?;
    equal("nothing of the old partition", offsets(&polled), vec![])?;
    client.send_messages(&topic.0, &topic.1, &third, &mut numbered(0, 1)).await?;
    let polled = poll(client, topic, 2, PollingStrategy::first(), 10).await?;
    equal("offsets start again", offsets(&polled), vec![0])
}

async fn no_partitions(
    client: &IggyClient,
    topic: &(Identifier, Identifier),
) -> anyhow::Result<()> {
    client.delete_partitions(&topic.0, &topic.1, 3).await?;
    equal("partitions", ids(client, topic).await?, vec![])?;
    let (balanced, key) = (Partitioning::balanced(), Partitioning::messages_key_str("k")?);
    refused(client.send_messages(&topic.0, &topic.1, &balanced, &mut numbered(0, 1)).await, 2010)?;
    let keyed = client.send_messages(&topic.0, &topic.1, &key, &mut numbered(0, 1)).await;
    crate::checks::refused_with_one_of(keyed, &[2010, 3008])?;
    client.ping().await?;
    Ok(())
}
