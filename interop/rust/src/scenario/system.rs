//! Who is connected, what the server counts, and the one node of its cluster.

use std::net::SocketAddr;
use std::time::Duration;

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{anonymous, connected, numbered, topic_with};
use crate::server::{Server, Transport};

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    checks.step("me is this connection", sees_itself(server, &client)).await;
    checks.step("clients come and go", sees_others(server, &client)).await;
    checks
        .step("a client that does not exist is none, and id 0 is refused", async {
            equal("client", client.get_client(u32::MAX).await?.is_none(), true)?;
            refused(client.get_client(0).await, 101)
        })
        .await;
    checks.step("the statistics count what is there", counts(&client)).await;
    checks.step("the cluster is one healthy leader", one_node(server, &client)).await;
    Ok(())
}

async fn sees_itself(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    let me = client.get_me().await?;
    holds("a client id", me.client_id != 0, me.client_id)?;
    equal("user", me.user_id, Some(0))?;
    equal("transport", me.transport.as_str(), transport_name(server))?;
    holds("an address", me.address.parse::<SocketAddr>().is_ok(), &me.address)?;
    equal("groups", me.consumer_groups_count, 0)?;
    let by_id = client.get_client(me.client_id).await?;
    equal("the same client by its id", by_id.map(|it| it.address), Some(me.address))
}

async fn sees_others(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    let before = client.get_clients().await?.len();
    let other = anonymous(server).await?;
    other.ping().await?;
    let clients = client.get_clients().await?;
    equal("one more client", clients.len(), before + 1)?;
    let anonymous = clients.iter().filter(|it| it.user_id.is_none()).count();
    equal("clients without a user", anonymous, 1)?;
    other.shutdown().await?;
    drop(other);
    // The server learns of it from the socket, so it may take a moment.
    for _ in 0..100 {
        if client.get_clients().await?.len() == before {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    equal("clients a second after one left", client.get_clients().await?.len(), before)
}

async fn counts(client: &IggyClient) -> anyhow::Result<()> {
    let topic = topic_with(client, "counted", 3).await?;
    let mut messages = numbered(0, 2);
    let size: u64 = messages.iter().map(|it| 64 + it.payload.len() as u64).sum();
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut messages).await?;

    let stats = client.get_stats().await?;
    equal("streams", stats.streams_count, 1)?;
    equal("topics", stats.topics_count, 1)?;
    equal("partitions", stats.partitions_count, 3)?;
    equal("segments", stats.segments_count, 3)?;
    equal("messages", stats.messages_count, 2)?;
    equal("bytes", stats.messages_size_bytes.as_bytes_u64(), size)?;
    equal("groups", stats.consumer_groups_count, 0)?;
    holds("this client", stats.clients_count >= 1, stats.clients_count)?;
    holds("a process id", stats.process_id > 0, stats.process_id)?;
    holds("memory in use", stats.memory_usage.as_bytes_u64() > 0, stats.memory_usage)?;
    holds("threads", stats.threads_count > 0, stats.threads_count)?;
    holds("a version", !stats.iggy_server_version.is_empty(), &stats.iggy_server_version)?;
    holds("a start time", stats.start_time.as_micros() > 0, stats.start_time)?;
    holds("disk space", stats.total_disk_space.as_bytes_u64() > 0, stats.total_disk_space)?;
    client.delete_stream(&topic.0).await?;
    let stats = client.get_stats().await?;
    equal("messages after delete", (stats.streams_count, stats.messages_count), (0, 0))
}

async fn one_node(server: &Server, client: &IggyClient) -> anyhow::Result<()> {
    let cluster = client.get_cluster_metadata().await?;
    holds("a name", !cluster.name.is_empty(), &cluster.name)?;
    equal("nodes", cluster.nodes.len(), 1)?;
    let node = &cluster.nodes[0];
    equal("role", node.role, ClusterNodeRole::Leader)?;
    equal("status", node.status, ClusterNodeStatus::Healthy)?;
    equal("address", node.ip.clone(), server.address_of(Transport::Tcp).ip().to_string())?;
    for (transport, port) in [
        (Transport::Tcp, node.endpoints.tcp),
        (Transport::Quic, node.endpoints.quic),
        (Transport::Http, node.endpoints.http),
        (Transport::WebSocket, node.endpoints.websocket),
    ] {
        equal(transport.section(), port, server.address_of(transport).port())?;
    }
    Ok(())
}

fn transport_name(server: &Server) -> &'static str {
    match server.transport() {
        Transport::Tcp => "TCP",
        Transport::Quic => "QUIC",
        Transport::WebSocket => "WebSocket",
        Transport::Http => "HTTP",
    }
}
