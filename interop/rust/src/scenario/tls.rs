//! TLS with the certificate the server makes for itself at its first start.

use iggy::prelude::*;

use crate::checks::{Checks, equal};
use crate::server::{PASSWORD, Server, Transport, USERNAME};

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    checks
        .step("TCP over TLS with a self-signed certificate", async {
            let client = IggyClient::builder()
                .with_tcp()
                .with_server_address(server.address_of(Transport::Tcp).to_string())
                .with_tls_enabled(true)
                .with_tls_domain("localhost".to_owned())
                .with_tls_validate_certificate(false)
                .build()?;
            round_trip(&client, "over tcp").await
        })
        .await;
    checks
        .step("WebSocket over TLS with a self-signed certificate", async {
            let client = IggyClient::builder()
                .with_websocket()
                .with_server_address(server.address_of(Transport::WebSocket).to_string())
                .with_tls_enabled(true)
                .with_tls_domain("localhost".to_owned())
                .with_tls_validate_certificate(false)
                .build()?;
            round_trip(&client, "over websocket").await
        })
        .await;
    Ok(())
}

async fn round_trip(client: &IggyClient, stream: &str) -> anyhow::Result<()> {
    client.connect().await?;
    client.login_user(USERNAME, PASSWORD).await?;
    let topic = crate::client::topic_with(client, stream, 1).await?;
    let mut messages = crate::client::numbered(0, 1000);
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut messages).await?;
    let polled = crate::client::poll(client, &topic, 0, PollingStrategy::first(), 2000).await?;
    equal("messages", polled.messages.len(), 1000)
}
