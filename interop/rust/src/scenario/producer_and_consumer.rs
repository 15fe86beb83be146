//! The client's high-level producer and consumer, each way they batch and commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use iggy::consumer_ext::MessageConsumer;
use iggy::prelude::*;
use tokio::sync::oneshot;

use crate::checks::{Checks, equal};
use crate::client::{connected, create_topic, id, numbered, offsets, poll, texts};
use crate::server::Server;

const STREAM: &str = "pipeline";

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    checks.step("a producer makes its stream and topic", creates(&client)).await;
    checks.step("a producer with a key per send keeps order within the key", keyed(&client)).await;
    checks.step("a direct producer splits into batches", direct(&client)).await;
    checks.step("a background producer loses nothing on shutdown", background(&client)).await;
    checks
        .step("a producer for a missing stream says so", async {
            let producer = client
                .producer("missing", "missing")?
                .do_not_create_stream_if_not_exists()
                .do_not_create_topic_if_not_exists()
                .build();
            crate::checks::refused(producer.init().await, 1010)
        })
        .await;
    for (name, commit) in commits() {
        checks
            .step(&format!("a consumer that commits {name}"), consumes(&client, name, commit))
            .await;
    }
    checks.step("a consumer commits after its callback", commits_after(server, &client)).await;
    checks.step("a consumer waits for what comes later", waits(server, &client)).await;
    Ok(())
}

async fn sent(client: &IggyClient, topic: &str, partition: u32) -> anyhow::Result<PolledMessages> {
    let topic = (id(STREAM), id(topic));
    Ok(poll(client, &topic, partition, PollingStrategy::first(), 1_000_000).await?)
}

fn expected(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("message {number}")).collect()
}

async fn creates(client: &IggyClient) -> anyhow::Result<()> {
    let producer = client
        .producer(STREAM, "made")?
        .create_stream_if_not_exists()
        .create_topic_if_not_exists(2, None, IggyExpiry::NeverExpire, MaxTopicSize::ServerDefault)
        .partitioning(Partitioning::partition_id(1))
        .build();
    producer.init().await?;
    producer.send(numbered(0, 10)).await?;
    equal("payloads", texts(&sent(client, "made", 1).await?), expected(10))
}

async fn keyed(client: &IggyClient) -> anyhow::Result<()> {
    create_topic(client, STREAM, "keyed", 4).await?;
    let producer = client.producer(STREAM, "keyed")?.build();
    producer.init().await?;
    for number in 0..40_u64 {
        let key = Partitioning::messages_key_u64(number % 5);
        producer.send_with_partitioning(numbered(number, number + 1), Some(key.into())).await?;
    }
    let mut count = 0;
    for partition in 0..4 {
        let polled = sent(client, "keyed", partition).await?;
        let numbers: Vec<u64> = texts(&polled)
            .iter()
            .filter_map(|it| it.strip_prefix("message ")?.parse().ok())
            .collect();
        crate::checks::holds("numbers in order", numbers.is_sorted(), &numbers)?;
        count += numbers.len();
    }
    equal("messages", count, 40)
}

async fn direct(client: &IggyClient) -> anyhow::Result<()> {
    create_topic(client, STREAM, "direct", 1).await?;
    let producer = client
        .producer(STREAM, "direct")?
        .direct(DirectConfig::builder().batch_length(100).build())
        .partitioning(Partitioning::partition_id(0))
        .build();
    producer.init().await?;
    producer.send(numbered(0, 1050)).await?;
    equal("payloads", texts(&sent(client, "direct", 0).await?), expected(1050))
}

async fn background(client: &IggyClient) -> anyhow::Result<()> {
    create_topic(client, STREAM, "background", 1).await?;
    let config =
        BackgroundConfig::builder().batch_length(50).linger_time(IggyDuration::from(500_000));
    let producer = client
        .producer(STREAM, "background")?
        .background(config.build())
        .partitioning(Partitioning::partition_id(0))
        .build();
    producer.init().await?;
    for number in 0..1_017_u64 {
        producer.send(numbered(number, number + 1)).await?;
    }
    producer.shutdown().await;
    equal("payloads", texts(&sent(client, "background", 0).await?), expected(1_017))
}

fn commits() -> Vec<(&'static str, AutoCommit)> {
    let interval = IggyDuration::from(50_000);
    vec![
        ("never", AutoCommit::Disabled),
        ("when polling", AutoCommit::When(AutoCommitWhen::PollingMessages)),
        ("each message", AutoCommit::When(AutoCommitWhen::ConsumingEachMessage)),
        ("every tenth", AutoCommit::When(AutoCommitWhen::ConsumingEveryNthMessage(10))),
        ("all messages", AutoCommit::When(AutoCommitWhen::ConsumingAllMessages)),
        ("by interval", AutoCommit::Interval(interval)),
    ]
}

/// Reads 100 messages with one consumer, then goes on with a second one of the same name.
async fn consumes(client: &IggyClient, name: &str, commit: AutoCommit) -> anyhow::Result<()> {
    // Without commits `next` would give the same batch for ever.
    let strategy = match commit {
        AutoCommit::Disabled => PollingStrategy::offset(0),
        _ => PollingStrategy::next(),
    };
    let make = || -> anyhow::Result<IggyConsumer> {
        Ok(client
            .consumer(name, STREAM, "direct", 0)?
            .polling_strategy(strategy)
            .batch_length(25)
            .auto_commit(commit)
            .poll_interval(IggyDuration::from(1_000))
            .build())
    };
    let mut consumer = make()?;
    consumer.init().await?;
    let mut read = Vec::new();
    while read.len() < 100 {
        let message = consumer.next().await.context("the consumer ended")??;
        read.push(message.message.header.offset);
    }
    equal("offsets", read, (0..100).collect::<Vec<_>>())?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let id_of = Consumer::new(id(name));
    let stored = client.get_consumer_offset(&id_of, &id(STREAM), &id("direct"), Some(0)).await?;
    let stored = stored.map(|it| it.stored_offset);
    let by_tenth = AutoCommit::When(AutoCommitWhen::ConsumingEveryNthMessage(10));
    let right = match commit {
        AutoCommit::Disabled => None,
        same if same == by_tenth => Some(90),
        _ => Some(99),
    };
    equal("stored offset", stored, right)?;
    drop(consumer);

    let mut consumer = make()?;
    consumer.init().await?;
    let next = consumer.next().await.context("the consumer ended")??;
    equal("the next one starts at", next.message.header.offset, right.map_or(0, |it| it + 1))
}

struct Counter(AtomicU64);

impl MessageConsumer for Counter {
    async fn consume(&self, _: ReceivedMessage) -> Result<(), IggyError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// The consumer has a connection of its own, as `waits` does: it gives up its last poll without having
/// read the answer, and over WebSocket this client then takes that answer for the one to its next request.
async fn commits_after(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    let reader = connected(server).await?;
    let mut consumer = reader
        .consumer("after", STREAM, "direct", 0)?
        .polling_strategy(PollingStrategy::next())
        .batch_length(100)
        .auto_commit(AutoCommit::After(AutoCommitAfter::ConsumingEachMessage))
        .poll_interval(IggyDuration::from(1_000))
        .build();
    consumer.init().await?;
    let counter: &'static Counter = Box::leak(Box::new(Counter(AtomicU64::new(0))));
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        while counter.0.load(Ordering::SeqCst) < 1050 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.send(()).ok();
    });
    consumer.consume_messages(&counter, stopped).await?;
    let after = Consumer::new(id("after"));
    let stored = client.get_consumer_offset(&after, &id(STREAM), &id("direct"), Some(0)).await?;
    equal("stored offset", stored.map(|it| it.stored_offset), Some(1049))
}

async fn waits(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    create_topic(client, STREAM, "late", 1).await?;
    let reader = connected(server).await?;
    let mut consumer = reader
        .consumer("late", STREAM, "late", 0)?
        .polling_strategy(PollingStrategy::offset(0))
        .batch_length(10)
        .poll_interval(IggyDuration::from(5_000))
        .build();
    consumer.init().await?;
    let sender = async {
        let partition = Partitioning::partition_id(0);
        for number in 0..20_u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let mut messages = numbered(number, number + 1);
            client.send_messages(&id(STREAM), &id("late"), &partition, &mut messages).await?;
        }
        anyhow::Ok(())
    };
    let receiver = async {
        let mut read = Vec::new();
        while read.len() < 20 {
            read.push(consumer.next().await.context("the consumer ended")??.message.header.offset);
        }
        equal("offsets", read, (0..20).collect::<Vec<_>>())
    };
    let (sender, receiver) = futures_util::join!(sender, receiver);
    sender?;
    receiver?;
    let polled = sent(client, "late", 0).await?;
    equal("nothing more", offsets(&polled).len(), 20)
}
