//! Classic clients as a program would make them, and the short forms the scenarios share.

use bytes::Bytes;
use iggy::prelude::*;

use crate::server::{PASSWORD, Server, Transport, USERNAME};

/// A client that is connected and logged in as root, from a connection string.
pub async fn connected(server: &Server) -> anyhow::Result<IggyClient> {
    connected_as(server, &format!("{USERNAME}:{PASSWORD}")).await
}

/// A client that is connected and logged in with these credentials: `user:password`, or a token.
pub async fn connected_as(server: &Server, credentials: &str) -> anyhow::Result<IggyClient> {
    connect(server, credentials, None).await
}

/// A client that is logged in as root and connected with one more option.
pub async fn connected_with(server: &Server, option: &str) -> anyhow::Result<IggyClient> {
    connect(server, &format!("{USERNAME}:{PASSWORD}"), Some(option)).await
}

async fn connect(
    server: &Server,
    credentials: &str,
    option: Option<&str>,
) -> anyhow::Result<IggyClient> {
    let (scheme, options) = match server.transport() {
        Transport::Tcp => ("iggy+tcp", "?reconnection_interval=200ms&reestablish_after=200ms"),
        Transport::WebSocket => ("iggy+ws", "?reconnection_interval=200ms&reestablish_after=200ms"),
        // The classic client takes no answer above 10 MB over QUIC unless it is told to.
        Transport::Quic => (
            "iggy+quic",
            "?reconnection_interval=200ms&reconnection_reestablish_after=200ms\
             &response_buffer_size=100000000",
        ),
        Transport::Http => ("iggy+http", "?retries=3"),
    };
    let address = server.address();
    let option = option.map(|option| format!("&{option}")).unwrap_or_default();
    let client = IggyClient::from_connection_string(&format!(
        "{scheme}://{credentials}@{address}{options}{option}"
    ))?;
    client.connect().await?;
    if server.transport() == Transport::Http {
        // Over HTTP the classic client leaves the login to the program.
        match credentials.split_once(':') {
            Some((name, password)) => client.login_user(name, password).await?,
            None => client.login_with_personal_access_token(credentials).await?,
        };
    }
    Ok(client)
}

/// A client that is connected and not logged in.
pub async fn anonymous(server: &Server) -> anyhow::Result<IggyClient> {
    let address = server.address().to_string();
    let builder = IggyClient::builder();
    let client = match server.transport() {
        Transport::Tcp => builder.with_tcp().with_server_address(address).build()?,
        Transport::Quic => builder.with_quic().with_server_address(address).build()?,
        Transport::WebSocket => builder.with_websocket().with_server_address(address).build()?,
        Transport::Http => builder.with_http().with_api_url(format!("http://{address}")).build()?,
    };
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
