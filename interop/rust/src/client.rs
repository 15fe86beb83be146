//! Classic clients as a program would make them, and the short forms the scenarios share.

use std::net::SocketAddr;

use bytes::Bytes;
use iggy::prelude::*;

use crate::server::{PASSWORD, Server, USERNAME};

/// A client that is connected and logged in, from a connection string.
pub async fn connected(server: &Server) -> anyhow::Result<IggyClient> {
    let address = server.address();
    let client = IggyClient::from_connection_string(&format!(
        "iggy://{USERNAME}:{PASSWORD}@{address}?reconnection_interval=200ms&reestablish_after=200ms"
    ))?;
    client.connect().await?;
    Ok(client)
}

/// A client that is connected and not logged in.
pub async fn anonymous(address: SocketAddr) -> anyhow::Result<IggyClient> {
    let client =
        IggyClient::builder().with_tcp().with_server_address(address.to_string()).build()?;
    client.connect().await?;
    Ok(client)
}

/// The identifier a name stands for.
pub fn id(name: &str) -> Identifier {
    Identifier::named(name).expect("scenarios use valid names")
}

/// Creates a stream with one topic and gives back their identifiers.
pub async fn topic_with(
    client: &IggyClient,
    stream: &str,
    partitions: u32,
) -> anyhow::Result<(Identifier, Identifier)> {
    client.create_stream(stream).await?;
    create_topic(client, stream, "events", partitions).await?;
    Ok((id(stream), id("events")))
}

/// Creates a topic with the server's defaults.
pub async fn create_topic(
    client: &IggyClient,
    stream: &str,
    topic: &str,
    partitions: u32,
) -> Result<TopicDetails, IggyError> {
    let (compression, expiry) = (CompressionAlgorithm::None, IggyExpiry::ServerDefault);
    let size = MaxTopicSize::ServerDefault;
    client.create_topic(&id(stream), topic, partitions, compression, None, expiry, size).await
}

/// A message with this text.
pub fn message(text: impl Into<String>) -> IggyMessage {
    IggyMessage::builder()
        .payload(Bytes::from(text.into()))
        .build()
        .expect("scenarios use valid messages")
}

/// Messages `from..to`, each with its number as text.
pub fn numbered(from: u64, to: u64) -> Vec<IggyMessage> {
    (from..to).map(|number| message(format!("message {number}"))).collect()
}

/// Polls a partition without storing an offset.
pub async fn poll(
    client: &IggyClient,
    topic: &(Identifier, Identifier),
    partition: u32,
    strategy: PollingStrategy,
    count: u32,
) -> Result<PolledMessages, IggyError> {
    let reader = Consumer::new(id("reader"));
    client
        .poll_messages(&topic.0, &topic.1, Some(partition), &reader, &strategy, count, false)
        .await
}

/// The offsets of polled messages.
pub fn offsets(polled: &PolledMessages) -> Vec<u64> {
    polled.messages.iter().map(|message| message.header.offset).collect()
}

/// The payloads of polled messages as text.
pub fn texts(polled: &PolledMessages) -> Vec<String> {
    polled
        .messages
        .iter()
        .map(|message| String::from_utf8_lossy(&message.payload).into_owned())
        .collect()
}
