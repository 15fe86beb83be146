//! Polling: each strategy, its edges, and auto-commit.

use std::time::Duration;

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{connected, id, numbered, offsets, poll, topic_with};
use crate::raw::{POLL_MESSAGES, Raw, identifier};
use crate::server::Server;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "feed", 2).await?;
    checks.step("an empty partition gives an empty result", empty(&client, &topic)).await;

    // Ten batches of ten, apart in time, so that a time falls between two of them.
    for batch in 0..10_u64 {
        let mut messages = numbered(batch * 10, batch * 10 + 10);
        let partition = Partitioning::partition_id(0);
        client.send_messages(&topic.0, &topic.1, &partition, &mut messages).await?;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }

    checks.step("by offset: from there, beyond the end nothing", by_offset(&client, &topic)).await;
    checks.step("first and last, in ascending order", ends(&client, &topic)).await;
    checks.step("by time: the first message not before it", by_time(&client, &topic)).await;
    checks
        .step("next starts at the oldest without a stored offset", async {
            let polled = poll(&client, &topic, 0, PollingStrategy::next(), 3).await?;
            equal("offsets", offsets(&polled), vec![0, 1, 2])?;
            let polled = poll(&client, &topic, 0, PollingStrategy::next(), 3).await?;
            equal("offsets without a commit", offsets(&polled), vec![0, 1, 2])
        })
        .await;
    checks
        .step("count 0 gives the header only", async {
            // The client itself refuses this one.
            let mut raw = Raw::logged_in(server).await?;
            let header = [&[0; 4][..], &99_u64.to_le_bytes(), &[0; 4]].concat();
            equal("answer", raw.call(POLL_MESSAGES, &poll_none(0)).await?, (0, header))?;
            equal("partition 9", raw.call(POLL_MESSAGES, &poll_none(9)).await?, (3007, vec![]))
        })
        .await;
    checks
        .step("without a partition a consumer reads partition 0", async {
            let reader = Consumer::new(id("reader"));
            let first = PollingStrategy::first();
            let polled =
                client.poll_messages(&topic.0, &topic.1, None, &reader, &first, 1, false).await?;
            equal("partition", polled.partition_id, 0)?;
            equal("offsets", offsets(&polled), vec![0])
        })
        .await;
    checks.step("auto-commit moves next on", auto_commit(&client, &topic)).await;
    checks.step("an empty poll commits nothing", empty_commit(&client, &topic)).await;
    checks
        .step("a missing stream is 1009, a missing topic 2010", async {
            let missing = (id("missing"), topic.1.clone());
            refused(poll(&client, &missing, 0, PollingStrategy::first(), 1).await, 1009)?;
            let missing = (topic.0.clone(), id("missing"));
            refused(poll(&client, &missing, 0, PollingStrategy::first(), 1).await, 2010)
        })
        .await;
    checks
        .step("what is sent is there at once for another client", async {
            let other = connected(server).await?;
            for round in 0..50_u64 {
                let partition = Partitioning::partition_id(1);
                let mut messages = numbered(round, round + 1);
                client.send_messages(&topic.0, &topic.1, &partition, &mut messages).await?;
                let polled = poll(&other, &topic, 1, PollingStrategy::last(), 1).await?;
                equal("offsets", offsets(&polled), vec![round])?;
            }
            Ok(())
        })
        .await;
    Ok(())
}

/// The payload of a poll for no messages from the start of a partition.
fn poll_none(partition: u32) -> Vec<u8> {
    let mut payload = vec![1];
    for name in ["7", "feed", "events"] {
        payload.extend(identifier(name));
    }
    payload.push(1);
    payload.extend(partition.to_le_bytes());
    payload.push(3);
    payload.extend([0; 8 + 4 + 1]);
    payload
}

async fn empty(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    for strategy in [
        PollingStrategy::offset(0),
        PollingStrategy::timestamp(IggyTimestamp::now()),
        PollingStrategy::first(),
        PollingStrategy::last(),
        PollingStrategy::next(),
    ] {
        let polled = poll(client, topic, 1, strategy, 10).await?;
        let got = (polled.partition_id, polled.current_offset, polled.messages.len());
        equal(&format!("partition, offset, messages for {strategy}"), got, (1, 0, 0))?;
    }
    Ok(())
}

async fn by_offset(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    for (from, count, expected) in [
        (0, 5, 0..5),
        (7, 6, 7..13),
        (99, 10, 99..100),
        (95, 100, 95..100),
        (100, 10, 0..0),
        (u64::MAX, 10, 0..0),
        (0, u32::MAX, 0..100),
    ] {
        let polled = poll(client, topic, 0, PollingStrategy::offset(from), count).await?;
        equal(&format!("from {from}, {count}"), offsets(&polled), expected.collect::<Vec<_>>())?;
        equal("current offset", polled.current_offset, 99)?;
    }
    Ok(())
}

async fn ends(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let first = poll(client, topic, 0, PollingStrategy::first(), 4).await?;
    equal("first", offsets(&first), vec![0, 1, 2, 3])?;
    let last = poll(client, topic, 0, PollingStrategy::last(), 4).await?;
    equal("last", offsets(&last), vec![96, 97, 98, 99])?;
    let last = poll(client, topic, 0, PollingStrategy::last(), 1000).await?;
    equal("last of all", offsets(&last), (0..100).collect::<Vec<_>>())
}

async fn by_time(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let all = poll(client, topic, 0, PollingStrategy::first(), 100).await?;
    for batch in 0..10 {
        let start = batch * 10;
        let time = all.messages[start].header.timestamp;
        for (asked, what) in [(time, "its time"), (time - 1, "just before")] {
            let strategy = PollingStrategy::timestamp(IggyTimestamp::from(asked));
            let polled = poll(client, topic, 0, strategy, 3).await?;
            let first = offsets(&polled).first().copied();
            equal(&format!("batch {batch}, {what}"), first, Some(start as u64))?;
        }
    }
    let late =
        PollingStrategy::timestamp(IggyTimestamp::from(all.messages[99].header.timestamp + 1));
    equal("later than all", offsets(&poll(client, topic, 0, late, 3).await?), vec![])?;
    let early = PollingStrategy::timestamp(IggyTimestamp::from(1));
    equal("earlier than all", offsets(&poll(client, topic, 0, early, 2).await?), vec![0, 1])
}

async fn auto_commit(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let follower = Consumer::new(id("follower"));
    let (stream, topic, next) = (&topic.0, &topic.1, PollingStrategy::next());
    let mut seen = Vec::new();
    loop {
        let polled =
            client.poll_messages(stream, topic, Some(0), &follower, &next, 30, true).await?;
        if polled.messages.is_empty() {
            break;
        }
        seen.extend(offsets(&polled));
        let stored = client.get_consumer_offset(&follower, stream, topic, Some(0)).await?;
        equal("stored offset", stored.map(|it| it.stored_offset), seen.last().copied())?;
        holds("an end", seen.len() <= 100, seen.len())?;
    }
    equal("offsets", seen, (0..100).collect::<Vec<_>>())?;
    // A commit may go back: a consumer that replays wants exactly that.
    let start = PollingStrategy::offset(10);
    client.poll_messages(stream, topic, Some(0), &follower, &start, 5, true).await?;
    let polled = client.poll_messages(stream, topic, Some(0), &follower, &next, 1, false).await?;
    equal("next after going back", offsets(&polled), vec![15])
}

async fn empty_commit(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let idle = Consumer::new(id("idle"));
    let beyond = PollingStrategy::offset(1000);
    client.poll_messages(&topic.0, &topic.1, Some(0), &idle, &beyond, 5, true).await?;
    let stored = client.get_consumer_offset(&idle, &topic.0, &topic.1, Some(0)).await?;
    equal("stored offset", stored.map(|it| it.stored_offset), None)
}
