//! Every call the classic HTTP client can make, and its errors as that client shows them.

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{
    anonymous, connected, create_topic, id, message, numbered, offsets, poll, texts,
};
use crate::server::{PASSWORD, Server, USERNAME};

/// What the classic client makes of status 404.
const NOT_FOUND: u32 = 20;
/// What it makes of any other status that is no success.
const REFUSED: u32 = 300;

type Topic = (Identifier, Identifier);

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    checks.step("login gives a token", logs_in(server)).await;
    checks
        .step("without login everything is 40", async {
            let client = anonymous(server).await?;
            client.ping().await?;
            refused(client.get_streams().await, 40)?;
            refused(client.get_stats().await, 40)
        })
        .await;
    let client = connected(server).await?;
    let topic = (id("shop"), id("orders"));
    checks.step("streams", streams(&client)).await;
    checks.step("topics and partitions", topics(&client)).await;
    checks.step("messages", messages(&client, &topic)).await;
    checks.step("user headers", user_headers(&client, &topic)).await;
    checks.step("polling", polling(&client, &topic)).await;
    checks.step("consumer offsets", consumer_offsets(&client, &topic)).await;
    checks.step("consumer groups", groups(&client, &topic)).await;
    checks.step("users and permissions", users(server, &client)).await;
    checks.step("tokens", tokens(server, &client)).await;
    checks.step("system", system(&client)).await;
    checks
        .step("what HTTP cannot do is refused by the client", async {
            refused(client.get_me().await, 5)?;
            refused(client.join_consumer_group(&topic.0, &topic.1, &id("group")).await, 5)
        })
        .await;
    checks
        .step("delete and purge", async {
            client.purge_topic(&topic.0, &topic.1).await?;
            client.purge_stream(&topic.0).await?;
            equal("left", poll(&client, &topic, 0, PollingStrategy::first(), 9).await?.count, 0)?;
            client.delete_topic(&topic.0, &topic.1).await?;
            client.delete_stream(&topic.0).await?;
            refused(client.delete_stream(&topic.0).await, NOT_FOUND)
        })
        .await;
    checks
        .step("logout ends the token", async {
            client.logout_user().await?;
            refused(client.get_streams().await, 40)
        })
        .await;
    Ok(())
}

async fn logs_in(server: &Server) -> anyhow::Result<()> {
    let client = anonymous(server).await?;
    let identity = client.login_user(USERNAME, PASSWORD).await?;
    equal("user", identity.user_id, 0)?;
    holds("a token", identity.access_token.is_some(), identity.access_token.is_some())?;
    let other = anonymous(server).await?;
    refused(other.login_user(USERNAME, "not the password").await, REFUSED)
}

async fn streams(client: &IggyClient) -> anyhow::Result<()> {
    let created = client.create_stream("shop").await?;
    equal("created", (created.id, created.name.as_str(), created.topics_count), (0, "shop", 0))?;
    client.create_stream("старое имя / 旧").await?;
    client.update_stream(&Identifier::numeric(1)?, "renamed").await?;
    equal("by name", client.get_stream(&id("renamed")).await?.map(|it| it.id), Some(1))?;
    equal("streams", client.get_streams().await?.len(), 2)?;
    equal("missing", client.get_stream(&id("missing")).await?.is_none(), true)?;
    refused(client.create_stream("shop").await, REFUSED)?;
    refused(client.update_stream(&id("missing"), "x").await, NOT_FOUND)?;
    Ok(client.delete_stream(&id("renamed")).await?)
}

async fn topics(client: &IggyClient) -> anyhow::Result<()> {
    let shop = id("shop");
    let topic = create_topic(client, "shop", "orders", 2).await?;
    equal("expiry", topic.message_expiry, IggyExpiry::NeverExpire)?;
    equal("size", topic.max_topic_size, MaxTopicSize::Unlimited)?;
    equal("partitions", topic.partitions.len(), 2)?;
    let (gzip, hour) = (CompressionAlgorithm::Gzip, IggyDuration::from(3_600_000_000_u64));
    let (expiry, size) = (IggyExpiry::ExpireDuration(hour), MaxTopicSize::Unlimited);
    client.create_topic(&shop, "draft", 1, gzip, Some(2), expiry, size).await?;
    client.update_topic(&shop, &id("draft"), "final", gzip, Some(2), expiry, size).await?;
    let found = client.get_topic(&shop, &id("final")).await?;
    equal("expiry", found.map(|it| it.message_expiry), Some(expiry))?;
    equal("topics", client.get_topics(&shop).await?.len(), 2)?;
    equal("missing", client.get_topic(&shop, &id("missing")).await?.is_none(), true)?;
    refused(create_topic(client, "shop", "orders", 1).await, REFUSED)?;
    client.create_partitions(&shop, &id("final"), 3).await?;
    client.delete_partitions(&shop, &id("final"), 1).await?;
    let found = client.get_topic(&shop, &id("final")).await?;
    equal("partitions", found.map(|it| it.partitions_count), Some(3))?;
    refused(client.delete_partitions(&shop, &id("final"), 9).await, REFUSED)?;
    refused(client.create_partitions(&shop, &id("missing"), 1).await, NOT_FOUND)?;
    Ok(client.delete_topic(&shop, &id("final")).await?)
}

async fn messages(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let first = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &first, &mut numbered(0, 10)).await?;
    let polled = poll(client, topic, 0, PollingStrategy::first(), 20).await?;
    equal("offsets", offsets(&polled), (0..10).collect())?;
    equal("current offset", polled.current_offset, 9)?;
    equal("texts", texts(&polled).first().cloned(), Some("message 0".to_owned()))?;
    let ids: Vec<u128> = polled.messages.iter().map(|it| it.header.id).collect();
    holds("ids of 128 bits", ids.iter().all(|id| *id > u128::from(u64::MAX)), ids)?;
    let (balanced, key) = (Partitioning::balanced(), Partitioning::messages_key_str("user-42")?);
    client.send_messages(&topic.0, &topic.1, &balanced, &mut [message("any")]).await?;
    client.send_messages(&topic.0, &topic.1, &key, &mut [message("keyed")]).await?;
    let found = client.get_topic(&topic.0, &topic.1).await?;
    equal("messages", found.map(|it| it.messages_count), Some(12))?;
    let nowhere = Partitioning::partition_id(9);
    let outcome = client.send_messages(&topic.0, &topic.1, &nowhere, &mut [message("x")]).await;
    refused(outcome, NOT_FOUND)?;
    client.flush_unsaved_buffer(&topic.0, &topic.1, 0, true).await?;
    client.flush_unsaved_buffer(&topic.0, &topic.1, 0, false).await?;
    let missing = id("missing");
    let outcome = client.send_messages(&topic.0, &missing, &first, &mut [message("x")]).await;
    refused(outcome, NOT_FOUND)
}

async fn user_headers(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let headers = std::collections::BTreeMap::from([
        (HeaderKey::try_from("source")?, HeaderValue::try_from("web")?),
        (HeaderKey::try_from("count")?, HeaderValue::from(7_u32)),
    ]);
    let message = IggyMessage::builder().payload("with".into()).user_headers(headers.clone());
    let first = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &first, &mut [message.build()?]).await?;
    let polled = poll(client, topic, 0, PollingStrategy::last(), 1).await?;
    let got = polled.messages.first().map(|it| it.user_headers_map()).transpose()?.flatten();
    equal("headers", got, Some(headers))
}

async fn polling(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let at = |strategy| poll(client, topic, 0, strategy, 2);
    equal("offset 3", offsets(&at(PollingStrategy::offset(3)).await?), vec![3, 4])?;
    equal("first", offsets(&at(PollingStrategy::first()).await?), vec![0, 1])?;
    equal("next", offsets(&at(PollingStrategy::next()).await?), vec![0, 1])?;
    let polled = at(PollingStrategy::first()).await?;
    let time = IggyTimestamp::from(polled.messages[0].header.timestamp);
    equal("timestamp", offsets(&at(PollingStrategy::timestamp(time)).await?), vec![0, 1])?;
    equal("beyond", offsets(&at(PollingStrategy::offset(10_000)).await?), vec![])
}

async fn consumer_offsets(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let reader = Consumer::new(id("http-reader"));
    let stored = client.get_consumer_offset(&reader, &topic.0, &topic.1, Some(0)).await?;
    equal("none yet", stored.is_none(), true)?;
    client.store_consumer_offset(&reader, &topic.0, &topic.1, Some(0), 5).await?;
    let stored = client.get_consumer_offset(&reader, &topic.0, &topic.1, Some(0)).await?;
    equal("stored", stored.map(|it| it.stored_offset), Some(5))?;
    let beyond = client.store_consumer_offset(&reader, &topic.0, &topic.1, Some(0), 9999).await;
    refused(beyond, REFUSED)?;
    client.delete_consumer_offset(&reader, &topic.0, &topic.1, Some(0)).await?;
    let gone = client.delete_consumer_offset(&reader, &topic.0, &topic.1, Some(0)).await;
    refused(gone, NOT_FOUND)
}

async fn groups(client: &IggyClient, topic: &Topic) -> anyhow::Result<()> {
    let created = client.create_consumer_group(&topic.0, &topic.1, "group").await?;
    equal("created", (created.id, created.partitions_count), (0, 2))?;
    refused(client.create_consumer_group(&topic.0, &topic.1, "group").await, REFUSED)?;
    let found = client.get_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    equal("found", found.map(|it| it.id), Some(0))?;
    equal("groups", client.get_consumer_groups(&topic.0, &topic.1).await?.len(), 1)?;
    client.delete_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    refused(client.delete_consumer_group(&topic.0, &topic.1, &id("group")).await, NOT_FOUND)?;
    let found = client.get_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    equal("missing", found.is_none(), true)
}

async fn users(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    let created = client.create_user("anna", "secret", UserStatus::Active, None).await?;
    equal("name", created.username.as_str(), "anna")?;
    equal("users", client.get_users().await?.len(), 2)?;
    let anna = anonymous(server).await?;
    anna.login_user("anna", "secret").await?;
    refused(anna.get_streams().await, 41)?;
    let global = GlobalPermissions { read_streams: true, ..GlobalPermissions::default() };
    let permissions = Some(Permissions { global, streams: None });
    client.update_permissions(&id("anna"), permissions.clone()).await?;
    anna.get_streams().await?;
    let found = client.get_user(&id("anna")).await?.and_then(|it| it.permissions);
    equal("permissions", found, permissions)?;
    anna.change_password(&id("anna"), "secret", "secret2").await?;
    client.update_user(&id("anna"), Some("hanna"), Some(UserStatus::Inactive)).await?;
    let other = anonymous(server).await?;
    refused(other.login_user("hanna", "secret2").await, REFUSED)?;
    refused(client.delete_user(&id(USERNAME)).await, REFUSED)?;
    client.delete_user(&id("hanna")).await?;
    refused(anna.get_streams().await, 41)?;
    refused(client.delete_user(&id("hanna")).await, NOT_FOUND)
}

async fn tokens(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    let forever = PersonalAccessTokenExpiry::NeverExpire;
    let token = client.create_personal_access_token("robot", forever).await?.token;
    equal("tokens", client.get_personal_access_tokens().await?.len(), 1)?;
    let other = anonymous(server).await?;
    equal("user", other.login_with_personal_access_token(&token).await?.user_id, 0)?;
    other.get_streams().await?;
    refused(client.create_personal_access_token("robot", forever).await, REFUSED)?;
    client.delete_personal_access_token("robot").await?;
    refused(client.delete_personal_access_token("robot").await, NOT_FOUND)?;
    refused(anonymous(server).await?.login_with_personal_access_token(&token).await, NOT_FOUND)
}

async fn system(client: &IggyClient) -> anyhow::Result<()> {
    let stats = client.get_stats().await?;
    equal("streams", stats.streams_count, 1)?;
    holds("memory", stats.memory_usage.as_bytes_u64() > 0, stats.memory_usage)?;
    equal("clients", client.get_clients().await?.len(), 0)?;
    equal("client", client.get_client(7).await?.is_none(), true)?;
    equal("nodes", client.get_cluster_metadata().await?.nodes.len(), 1)?;
    Ok(client.ping().await?)
}
