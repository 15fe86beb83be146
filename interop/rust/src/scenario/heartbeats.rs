//! Clients that stop pinging lose their place among the clients and in their groups.

use std::time::Duration;

use iggy::prelude::*;

use crate::checks::{Checks, equal, refused};
use crate::client::{connected, connected_with, id, topic_with};
use crate::server::Server;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    // Pings often enough for a server that wants one a second.
    let lively = connected_with(server, "heartbeat_interval=300ms").await?;
    let silent = connected_with(server, "heartbeat_interval=1h").await?;
    let topic = topic_with(&lively, "pulse", 2).await?;
    lively.create_consumer_group(&topic.0, &topic.1, "group").await?;
    lively.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    silent.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    checks.record("both are members", equal("members", members(&lively, &topic).await?, 2));

    checks
        .step("who does not ping is dropped from the group, who does stays", async {
            for _ in 0..100 {
                if members(&lively, &topic).await? == 1 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            equal("members", members(&lively, &topic).await?, 1)?;
            equal("clients", lively.get_clients().await?.len(), 1)
        })
        .await;
    checks
        .step("ordinary commands of the dropped client still work", async {
            equal("streams", silent.get_streams().await?.len(), 1)
        })
        .await;
    checks
        .step("the one that stayed owns every partition", async {
            let group = lively.get_consumer_group(&topic.0, &topic.1, &id("group")).await?;
            let owned = group.into_iter().flat_map(|it| it.members).map(|it| it.partitions_count);
            equal("partitions", owned.collect::<Vec<_>>(), vec![2])
        })
        .await;
    checks
        .step("a fresh connection may join again", async {
            let again = connected(server).await?;
            again.join_consumer_group(&topic.0, &topic.1, &id("group")).await?;
            equal("members", members(&lively, &topic).await?, 2)?;
            refused(again.join_consumer_group(&topic.0, &topic.1, &id("none")).await, 5000)
        })
        .await;
    Ok(())
}

async fn members(client: &IggyClient, topic: &(Identifier, Identifier)) -> anyhow::Result<u32> {
    let group = client.get_consumer_group(&topic.0, &topic.1, &id("group")).await?;
    Ok(group.map_or(0, |it| it.members_count))
}
