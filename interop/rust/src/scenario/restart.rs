//! A server that is killed, or asked to stop, and comes back on the same port with everything acknowledged.

use iggy::prelude::*;

use crate::checks::{Checks, equal, refused};
use crate::client::{connected, create_topic, id, numbered, offsets, poll, texts, topic_with};
use crate::server::Server;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "ledger", 3).await?;
    prepare(&client, &topic).await?;
    let before = picture(&client).await?;

    server.kill()?;
    server.restart()?;
    checks
        .step("after kill -9 the same client reconnects by itself", async {
            equal("messages", count(&client, &topic).await?, 150)
        })
        .await;
    checks
        .step("after kill -9 streams, topics and ids are the same", async {
            equal("picture", picture(&client).await?, before.clone())
        })
        .await;
    checks
        .step("after kill -9 each message is there in order", complete(&client, &topic, 50))
        .await;
    checks.step("after kill -9 stored offsets are kept", stored(&client, &topic)).await;
    checks
        .step("after kill -9 the client goes on sending and reading", async {
            for partition in 0..3 {
                send(&client, &topic, partition, 50, 60).await?;
            }
            complete(&client, &topic, 60).await
        })
        .await;
    checks
        .step("what was deleted stays deleted", async {
            equal("stream", client.get_stream(&id("dropped")).await?.is_none(), true)?;
            refused(create_topic(&client, "ledger", "events", 1).await, 2013)
        })
        .await;

    let before = picture(&client).await?;
    server.stop()?;
    server.restart()?;
    checks
        .step("after SIGTERM the same client reconnects by itself", async {
            equal("picture", picture(&client).await?, before.clone())?;
            complete(&client, &topic, 60).await?;
            stored(&client, &topic).await
        })
        .await;

    for round in 0..5_u64 {
        let from = 60 + round;
        send(&client, &topic, 0, from, from + 1).await?;
        server.kill()?;
        server.restart()?;
    }
    checks
        .step("five kills in a row, each right behind an acknowledgement", async {
            let polled = poll(&client, &topic, 0, PollingStrategy::first(), 1_000).await?;
            equal("offsets", offsets(&polled), (0..65).collect::<Vec<_>>())
        })
        .await;
    Ok(())
}

async fn prepare(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    for partition in 0..3 {
        for batch in 0..5_u64 {
            send(client, topic, partition, batch * 10, batch * 10 + 10).await?;
        }
    }
    let reader = Consumer::new(id("auditor"));
    for partition in 0..3 {
        let offset = u64::from(partition) * 10 + 5;
        client.store_consumer_offset(&reader, &topic.0, &topic.1, Some(partition), offset).await?;
    }
    create_topic(client, "ledger", "purged", 1).await?;
    let purged = (topic.0.clone(), id("purged"));
    send(client, &purged, 0, 0, 10).await?;
    client.purge_topic(&purged.0, &purged.1).await?;
    send(client, &purged, 0, 0, 3).await?;
    topic_with(client, "dropped", 2).await?;
    client.create_stream("renamed later").await?;
    client.update_stream(&id("renamed later"), "renamed").await?;
    client.delete_stream(&id("dropped")).await?;
    Ok(())
}

async fn send(
    client: &IggyClient,
    topic: &Topic,
    partition: u32,
    from: u64,
    to: u64,
) -> Result<(), IggyError> {
    let partitioning = Partitioning::partition_id(partition);
    client.send_messages(&topic.0, &topic.1, &partitioning, &mut numbered(from, to)).await
}

async fn count(client: &IggyClient, topic: &Topic) -> anyhow::Result<u64> {
    let found = client.get_topic(&topic.0, &topic.1).await?;
    Ok(found.map_or(0, |it| it.messages_count))
}

async fn complete(client: &IggyClient, topic: &Topic, messages: u64) -> anyhow::Result<()> {
    let expected: Vec<String> = (0..messages).map(|number| format!("message {number}")).collect();
    for partition in 0..3 {
        let polled = poll(client, topic, partition, PollingStrategy::first(), 1_000).await?;
        equal("offsets", offsets(&polled), (0..messages).collect::<Vec<_>>())?;
        equal("payloads", texts(&polled), expected.clone())?;
    }
    Ok(())
}

async fn stored(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let reader = Consumer::new(id("auditor"));
    for partition in 0..3 {
        let got = client.get_consumer_offset(&reader, &topic.0, &topic.1, Some(partition)).await?;
        let expected = Some(u64::from(partition) * 10 + 5);
        equal("stored offset", got.map(|it| it.stored_offset), expected)?;
        let next = PollingStrategy::next();
        let polled = client
            .poll_messages(&topic.0, &topic.1, Some(partition), &reader, &next, 1, false)
            .await?;
        equal("next", offsets(&polled).first().copied(), expected.map(|it| it + 1))?;
    }
    Ok(())
}

/// Everything the client can see of streams and topics, as text.
async fn picture(client: &IggyClient) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for stream in client.get_streams().await? {
        lines.push(format!("{stream:?}"));
        for topic in client.get_topics(&Identifier::numeric(stream.id)?).await? {
            let stream_id = Identifier::numeric(stream.id)?;
            let details = client.get_topic(&stream_id, &Identifier::numeric(topic.id)?).await?;
            lines.push(format!("{details:?}"));
        }
    }
    Ok(lines)
}
