//! What permissions let through: global ones, those of a stream, those of a topic; effective at once.

use std::collections::BTreeMap;

use iggy::prelude::*;

use crate::checks::{Checks, equal, refused};
use crate::client::{connected, connected_as, create_topic, id, numbered, poll};
use crate::server::Server;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let root = connected(server).await?;
    for stream in ["open", "other"] {
        root.create_stream(stream).await?;
        create_topic(&root, stream, "first", 1).await?;
        create_topic(&root, stream, "second", 1).await?;
    }
    root.create_user("reader", "secret", UserStatus::Active, None).await?;
    let reader = connected_as(server, "reader:secret").await?;
    let first: Topic = (id("open"), id("first"));
    let second: Topic = (id("open"), id("second"));
    let elsewhere: Topic = (id("other"), id("first"));

    checks
        .step("without permissions nothing is open but one's own", async {
            refused(reader.get_streams().await, 41)?;
            refused(reader.get_stream(&first.0).await, 41)?;
            refused(reader.get_stats().await, 41)?;
            refused(reader.get_clients().await, 41)?;
            refused(send(&reader, &first).await, 41)?;
            refused(read(&reader, &first).await, 41)?;
            reader.get_me().await?;
            reader.get_cluster_metadata().await?;
            equal("missing stream", reader.get_stream(&id("missing")).await?.is_none(), true)
        })
        .await;
    checks
        .step("a topic's flags open that topic alone", async {
            let topic = TopicPermissions { poll_messages: true, ..TopicPermissions::default() };
            grant(&root, on_topic(topic)).await?;
            read(&reader, &first).await?;
            refused(send(&reader, &first).await, 41)?;
            refused(read(&reader, &second).await, 41)?;
            refused(read(&reader, &elsewhere).await, 41)
        })
        .await;
    checks
        .step("a stream's flags open all its topics", async {
            let stream = StreamPermissions { send_messages: true, ..StreamPermissions::default() };
            grant(&root, on_stream(stream)).await?;
            send(&reader, &first).await?;
            send(&reader, &second).await?;
            refused(send(&reader, &elsewhere).await, 41)?;
            refused(read(&reader, &first).await, 41)
        })
        .await;
    checks
        .step("a global flag opens all streams", async {
            let global = GlobalPermissions { poll_messages: true, ..GlobalPermissions::default() };
            grant(&root, Some(Permissions { global, streams: None })).await?;
            read(&reader, &first).await?;
            read(&reader, &elsewhere).await?;
            refused(send(&reader, &first).await, 41)?;
            refused(reader.get_streams().await, 41)
        })
        .await;
    checks
        .step("taking permissions away is effective at once", async {
            grant(&root, None).await?;
            refused(read(&reader, &first).await, 41)
        })
        .await;
    checks.step("granted permissions come back as they were", comes_back(&root)).await;
    Ok(())
}

async fn send(client: &IggyClient, topic: &Topic) -> Result<(), IggyError> {
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut numbered(0, 1)).await
}

async fn read(client: &IggyClient, topic: &Topic) -> Result<(), IggyError> {
    poll(client, topic, 0, PollingStrategy::first(), 1).await.map(drop)
}

async fn grant(root: &IggyClient, permissions: Option<Permissions>) -> Result<(), IggyError> {
    root.update_permissions(&id("reader"), permissions).await
}

fn on_stream(stream: StreamPermissions) -> Option<Permissions> {
    let streams = BTreeMap::from([(0, stream)]);
    Some(Permissions { global: GlobalPermissions::default(), streams: Some(streams) })
}

fn on_topic(topic: TopicPermissions) -> Option<Permissions> {
    let topics = Some(BTreeMap::from([(0, topic)]));
    on_stream(StreamPermissions { topics, ..StreamPermissions::default() })
}

async fn comes_back(root: &IggyClient) -> anyhow::Result<()> {
    let topic = TopicPermissions { read_topic: true, ..TopicPermissions::default() };
    let given = on_topic(topic);
    grant(root, given.clone()).await?;
    let found = root.get_user(&id("reader")).await?.and_then(|it| it.permissions);
    equal("permissions", found, given)
}
