//! Sending: each partitioning, and what the server adds to a message and what it leaves alone.

use std::collections::HashSet;
use std::hash::Hasher;

use bytes::Bytes;
use iggy::prelude::*;
use twox_hash::XxHash3_64;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{
    connected, create_topic, id, message, numbered, offsets, poll, texts, topic_with,
};
use crate::server::Server;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "mail", 3).await?;
    checks.step("a send to a partition goes there", to_partition(&client, &topic)).await;
    checks.step("balanced sends go round, a batch at a time", balanced(&client)).await;
    checks.step("a key picks its partition by XXH32", keyed(&client)).await;
    checks.step("offsets are gapless over batches of any size", gapless(&client)).await;
    checks.step("ids are kept, and given where there are none", ids(&client)).await;
    checks.step("one batch has one timestamp and time does not go back", time(&client)).await;
    checks.step("the checksum covers what is returned", checksums(&client)).await;
    checks.step("payloads are bytes, not text", binary_payload(&client)).await;
    checks
        .step("flush is accepted, with and without fsync", async {
            client.flush_unsaved_buffer(&topic.0, &topic.1, 0, false).await?;
            client.flush_unsaved_buffer(&topic.0, &topic.1, 0, true).await?;
            refused(client.flush_unsaved_buffer(&topic.0, &topic.1, 99, true).await, 3007)
        })
        .await;
    checks
        .step("a missing stream, topic or partition is named", async {
            let (partition, missing) = (Partitioning::partition_id(99), id("missing"));
            let mut batch = numbered(0, 1);
            refused(client.send_messages(&missing, &topic.1, &partition, &mut batch).await, 1009)?;
            refused(client.send_messages(&topic.0, &missing, &partition, &mut batch).await, 2010)?;
            refused(client.send_messages(&topic.0, &topic.1, &partition, &mut batch).await, 3007)?;
            refused(poll(&client, &topic, 99, PollingStrategy::first(), 1).await, 3007)
        })
        .await;
    Ok(())
}

async fn fresh(client: &IggyClient, name: &str, partitions: u32) -> anyhow::Result<Topic> {
    create_topic(client, "mail", name, partitions).await?;
    Ok((id("mail"), id(name)))
}

async fn send(
    client: &IggyClient,
    topic: &Topic,
    partitioning: &Partitioning,
    mut messages: Vec<IggyMessage>,
) -> Result<(), IggyError> {
    client.send_messages(&topic.0, &topic.1, partitioning, &mut messages).await
}

async fn all(client: &IggyClient, topic: &Topic, partition: u32) -> anyhow::Result<PolledMessages> {
    Ok(poll(client, topic, partition, PollingStrategy::first(), 100_000).await?)
}

async fn to_partition(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    send(client, topic, &Partitioning::partition_id(1), numbered(0, 3)).await?;
    equal("partition 0", all(client, topic, 0).await?.messages.len(), 0)?;
    let polled = all(client, topic, 1).await?;
    equal("partition", polled.partition_id, 1)?;
    equal("current offset", polled.current_offset, 2)?;
    equal("count", polled.count, 3)?;
    equal(
        "payloads",
        texts(&polled),
        vec!["message 0".into(), "message 1".into(), "message 2".into()],
    )
}

async fn balanced(client: &IggyClient) -> anyhow::Result<()> {
    let topic = fresh(client, "balanced", 3).await?;
    for batch in 0..6_u64 {
        send(client, &topic, &Partitioning::balanced(), numbered(batch * 2, batch * 2 + 2)).await?;
    }
    for partition in 0..3_u64 {
        let polled = all(client, &topic, u32::try_from(partition)?).await?;
        let expected: Vec<String> = [partition, partition + 3]
            .into_iter()
            .flat_map(|batch| [batch * 2, batch * 2 + 1])
            .map(|number| format!("message {number}"))
            .collect();
        equal(&format!("partition {partition}"), texts(&polled), expected)?;
    }
    Ok(())
}

async fn keyed(client: &IggyClient) -> anyhow::Result<()> {
    let topic = fresh(client, "keyed", 7).await?;
    // The hashes are part of the protocol: producers in other languages count on them.
    for (key, hash) in [("abc", 852_579_327), ("a", 1_426_945_110), ("user-42", 1_635_883_646)] {
        send(client, &topic, &Partitioning::messages_key_str(key)?, vec![message(key)]).await?;
        let polled = all(client, &topic, hash % 7).await?;
        holds(
            &format!("{key} in partition {}", hash % 7),
            texts(&polled).contains(&key.to_owned()),
            texts(&polled),
        )?;
    }
    for partitioning in [
        Partitioning::messages_key_u32(7),
        Partitioning::messages_key_u64(7),
        Partitioning::messages_key_u128(7),
        Partitioning::messages_key(&[0xFF; 255])?,
    ] {
        send(client, &topic, &partitioning, numbered(0, 1)).await?;
        send(client, &topic, &partitioning, numbered(1, 2)).await?;
    }
    let found = client.get_topic(&topic.0, &topic.1).await?;
    equal("messages", found.map(|it| it.messages_count), Some(11))
}

async fn gapless(client: &IggyClient) -> anyhow::Result<()> {
    let topic = fresh(client, "gapless", 1).await?;
    let mut sent = 0;
    for size in [1, 2, 100, 1, 1_000, 5_000, 3] {
        send(client, &topic, &Partitioning::partition_id(0), numbered(sent, sent + size)).await?;
        sent += size;
    }
    let polled = all(client, &topic, 0).await?;
    equal("offsets", offsets(&polled), (0..sent).collect::<Vec<_>>())?;
    let expected: Vec<String> = (0..sent).map(|number| format!("message {number}")).collect();
    equal("payloads", texts(&polled), expected)
}

async fn ids(client: &IggyClient) -> anyhow::Result<()> {
    let topic = fresh(client, "ids", 1).await?;
    let own = [1, u128::MAX, 0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF];
    let mut messages = Vec::new();
    for id in own {
        messages.push(IggyMessage::builder().id(id).payload(Bytes::from("own")).build()?);
    }
    messages.extend(numbered(0, 100));
    send(client, &topic, &Partitioning::partition_id(0), messages).await?;
    let polled = all(client, &topic, 0).await?;
    let got: Vec<u128> = polled.messages.iter().map(|it| it.header.id).collect();
    equal("own ids", got[..3].to_vec(), own.to_vec())?;
    let given: HashSet<u128> = got[3..].iter().copied().filter(|id| *id != 0).collect();
    equal("given ids, all different", given.len(), 100)
}

async fn time(client: &IggyClient) -> anyhow::Result<()> {
    let topic = fresh(client, "time", 1).await?;
    let mut origins = Vec::new();
    for _ in 0..5 {
        let batch = numbered(0, 3);
        origins.extend(batch.iter().map(|it| it.header.origin_timestamp));
        send(client, &topic, &Partitioning::partition_id(0), batch).await?;
    }
    let polled = all(client, &topic, 0).await?;
    let times: Vec<u64> = polled.messages.iter().map(|it| it.header.timestamp).collect();
    holds("one timestamp in a batch", times.chunks(3).all(|it| it[0] == it[2]), &times)?;
    holds("timestamps in order", times.is_sorted(), &times)?;
    let now = IggyTimestamp::now().as_micros();
    holds("a timestamp of now", times[0].abs_diff(now) < 60_000_000, times[0])?;
    let kept: Vec<u64> = polled.messages.iter().map(|it| it.header.origin_timestamp).collect();
    equal("origin timestamps", kept, origins)
}

async fn checksums(client: &IggyClient) -> anyhow::Result<()> {
    for partition in 0..3 {
        for message in all(client, &(id("mail"), id("balanced")), partition).await?.messages {
            let bytes = message.to_bytes();
            let mut hasher = XxHash3_64::with_seed(0);
            hasher.write(&bytes[8..]);
            equal("checksum", message.header.checksum, hasher.finish())?;
            equal("reserved", message.header.reserved, 0)?;
        }
    }
    Ok(())
}

async fn binary_payload(client: &IggyClient) -> anyhow::Result<()> {
    let topic = fresh(client, "bytes", 1).await?;
    let payload: Bytes = (0..=255_u8).cycle().take(70_000).collect::<Vec<u8>>().into();
    let message = IggyMessage::builder().payload(payload.clone()).build()?;
    send(client, &topic, &Partitioning::partition_id(0), vec![message]).await?;
    let polled = all(client, &topic, 0).await?;
    holds("the same bytes", polled.messages[0].payload == payload, polled.messages[0].payload.len())
}
