//! Old segments deleted by hand.

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds};
use crate::client::{connected, message, offsets, poll, topic_with};
use crate::server::{Server, Transport};

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "long", 1).await?;
    let partition = Partitioning::partition_id(0);
    for number in 0..40_u32 {
        let mut batch = [message(format!("{number} {}", "x".repeat(100_000)))];
        client.send_messages(&topic.0, &topic.1, &partition, &mut batch).await?;
    }
    let segments = shape(&client, &topic).await?.0;
    checks.record("there are several segments", holds("at least 3", segments >= 3, segments));
    checks
        .step("none deleted for a count of none", async {
            client.delete_segments(&topic.0, &topic.1, 0, 0).await?;
            equal("segments", shape(&client, &topic).await?, (segments, 40, 39))
        })
        .await;
    checks
        .step("a committed offset protects what was not processed", async {
            let reader = Consumer::new(Identifier::named("reader")?);
            client.store_consumer_offset(&reader, &topic.0, &topic.1, Some(0), 0).await?;
            client.delete_segments(&topic.0, &topic.1, 0, 100).await?;
            equal("segments", shape(&client, &topic).await?.0, segments)?;
            client.store_consumer_offset(&reader, &topic.0, &topic.1, Some(0), 39).await?;
            Ok(())
        })
        .await;
    checks
        .step("the oldest goes, and reads start behind it", async {
            client.delete_segments(&topic.0, &topic.1, 0, 1).await?;
            let (left, messages, current) = shape(&client, &topic).await?;
            equal("segments", left, segments - 1)?;
            equal("current offset", current, 39)?;
            holds("fewer messages", messages < 40, messages)?;
            let polled = poll(&client, &topic, 0, PollingStrategy::offset(0), 1).await?;
            equal("first", offsets(&polled), vec![40 - messages])
        })
        .await;
    checks
        .step("all sealed ones may go, the active one stays", async {
            client.delete_segments(&topic.0, &topic.1, 0, 1000).await?;
            let (left, messages, current) = shape(&client, &topic).await?;
            equal("segments, current offset", (left, current), (1, 39))?;
            let polled = poll(&client, &topic, 0, PollingStrategy::first(), 1).await?;
            equal("first", offsets(&polled), vec![40 - messages])
        })
        .await;
    checks
        .step("a missing partition is refused", async {
            let refused = client.delete_segments(&topic.0, &topic.1, 7, 1).await;
            let code = refused.err().map(|error| error.as_code());
            let expected = if server.transport() == Transport::Http { 20 } else { 3007 };
            equal("code", code, Some(expected))
        })
        .await;
    Ok(())
}

/// Segments, messages and current offset of partition 0.
async fn shape(client: &IggyClient, topic: &Topic) -> anyhow::Result<(u32, u64, u64)> {
    let found = client.get_topic(&topic.0, &topic.1).await?;
    let partition = found.into_iter().flat_map(|it| it.partitions).next();
    let partition = partition.ok_or_else(|| anyhow::anyhow!("expected a partition, got none"))?;
    Ok((partition.segments_count, partition.messages_count, partition.current_offset))
}
