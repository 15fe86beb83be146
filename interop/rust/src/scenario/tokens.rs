//! Personal access tokens: made, listed, used, expired, deleted.

use std::time::Duration;

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{anonymous, connected, connected_as, id};
use crate::server::Server;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let forever = PersonalAccessTokenExpiry::NeverExpire;
    checks
        .step("a token logs in, over a connection string too", async {
            let token = client.create_personal_access_token("robot", forever).await?.token;
            equal("characters", token.len(), 68)?;
            let other = anonymous(server).await?;
            equal("user", other.login_with_personal_access_token(&token).await?.user_id, 0)?;
            connected_as(server, &token).await?.get_me().await?;
            Ok(())
        })
        .await;
    checks
        .step("they are listed without their text", async {
            let hour = PersonalAccessTokenExpiry::ExpireDuration(IggyDuration::from(3_600_000_000));
            client.create_personal_access_token("hourly", hour).await?;
            let mut listed = client.get_personal_access_tokens().await?;
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            let seen: Vec<(&str, bool)> =
                listed.iter().map(|it| (it.name.as_str(), it.expiry_at.is_some())).collect();
            equal("tokens", seen, vec![("hourly", true), ("robot", false)])
        })
        .await;
    checks
        .step("names are unique, an unknown one is 20", async {
            refused(client.create_personal_access_token("robot", forever).await, 51)?;
            refused(client.delete_personal_access_token("missing").await, 20)
        })
        .await;
    checks
        .step("an expired token is 54, an unknown one 20", async {
            let short = PersonalAccessTokenExpiry::ExpireDuration(IggyDuration::from(50_000));
            let token = client.create_personal_access_token("brief", short).await?.token;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let other = anonymous(server).await?;
            refused(other.login_with_personal_access_token(&token).await, 54)?;
            refused(other.login_with_personal_access_token("no such token").await, 20)
        })
        .await;
    checks
        .step("a deleted token logs nobody in, who is in stays in", async {
            let token = client.create_personal_access_token("gone", forever).await?.token;
            let inside = connected_as(server, &token).await?;
            client.delete_personal_access_token("gone").await?;
            inside.get_me().await?;
            let other = anonymous(server).await?;
            refused(other.login_with_personal_access_token(&token).await, 20)
        })
        .await;
    checks.step("they belong to their user", own_only(server, &client)).await;
    checks
        .step("a hundred per user and no more", async {
            let have = client.get_personal_access_tokens().await?.len();
            for number in have..100 {
                client.create_personal_access_token(&format!("token {number}"), forever).await?;
            }
            refused(client.create_personal_access_token("too many", forever).await, 52)
        })
        .await;
    Ok(())
}

async fn own_only(server: &Server, root: &IggyClient) -> anyhow::Result<()> {
    root.create_user("anna", "secret", UserStatus::Active, None).await?;
    let anna = connected_as(server, "anna:secret").await?;
    equal("her tokens", anna.get_personal_access_tokens().await?.len(), 0)?;
    let forever = PersonalAccessTokenExpiry::NeverExpire;
    let token = anna.create_personal_access_token("robot", forever).await?.token;
    refused(anna.delete_personal_access_token("hourly").await, 20)?;
    let identity = anonymous(server).await?.login_with_personal_access_token(&token).await?;
    holds("not root", identity.user_id != 0, identity.user_id)?;
    root.delete_user(&id("anna")).await?;
    refused(anonymous(server).await?.login_with_personal_access_token(&token).await, 20)
}
