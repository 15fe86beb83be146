//! Users: their whole life, and what is refused.

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{anonymous, connected, connected_as, id};
use crate::server::{PASSWORD, Server, USERNAME};

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let root = connected(server).await?;
    checks.step("root is user 0 with every permission", root_user(&root)).await;
    checks.step("create gives the user back, and it can log in", creates(server, &root)).await;
    checks
        .step("get finds by name and id, list is in the order of ids", async {
            create(&root, "listed", None).await?;
            let by_name = root.get_user(&id("listed")).await?.map(|it| it.id);
            let listed = root.get_users().await?;
            let last = listed.last().map(|it| (it.id, it.username.clone()));
            equal("listed", last, by_name.map(|id| (id, "listed".to_owned())))?;
            equal("missing", root.get_user(&id("missing")).await?.is_none(), true)
        })
        .await;
    checks
        .step("names are unique, names and passwords bounded", async {
            refused(create(&root, "listed", None).await, 46)?;
            refused(create(&root, USERNAME, None).await, 46)?;
            create(&root, "LISTED", None).await?;
            let long = "n".repeat(50);
            create(&root, &long, None).await?;
            Ok(())
        })
        .await;
    checks
        .step("an all-digit name can log in", async {
            create(&root, "12345", None).await?;
            connected_as(server, "12345:secret").await?.ping().await?;
            Ok(())
        })
        .await;
    checks.step("update changes name and status", updates(server, &root)).await;
    checks.step("a password is changed by who knows it", passwords(server, &root)).await;
    checks.step("root cannot be deleted nor restricted, but renamed", root_limits(&root)).await;
    checks
        .step("a missing user is 20", async {
            refused(root.delete_user(&id("missing")).await, 20)?;
            refused(root.update_user(&id("missing"), Some("other"), None).await, 20)?;
            refused(root.update_permissions(&id("missing"), None).await, 20)?;
            refused(root.change_password(&id("missing"), "secret", "secret2").await, 20)
        })
        .await;
    checks.step("a deleted user is gone, its connections too", deletes(server, &root)).await;
    Ok(())
}

/// Creates a user with the password `secret`; gives back its id.
async fn create(
    root: &IggyClient,
    name: &str,
    permissions: Option<Permissions>,
) -> Result<u32, IggyError> {
    root.create_user(name, "secret", UserStatus::Active, permissions).await.map(|it| it.id)
}

async fn root_user(root: &IggyClient) -> anyhow::Result<()> {
    let found = root.get_user(&Identifier::numeric(0)?).await?;
    let found = found.ok_or_else(|| anyhow::anyhow!("expected the root user, got none"))?;
    equal("name", found.username.as_str(), USERNAME)?;
    equal("status", found.status, UserStatus::Active)?;
    let global = found.permissions.map(|it| it.global);
    let all = global.is_some_and(|it| it.manage_servers && it.manage_users && it.send_messages);
    holds("every permission", all, all)
}

async fn creates(server: &Server, root: &IggyClient) -> anyhow::Result<()> {
    let created = root.create_user("anna", "secret", UserStatus::Active, None).await?;
    equal("name", created.username.as_str(), "anna")?;
    equal("status", created.status, UserStatus::Active)?;
    equal("permissions", created.permissions.is_none(), true)?;
    let client = anonymous(server).await?;
    let identity = client.login_user("anna", "secret").await?;
    equal("user id", identity.user_id, created.id)?;
    let own = client.get_user(&id("anna")).await?.map(|it| it.id);
    equal("its own record", own, Some(created.id))?;
    refused(client.get_user(&id(USERNAME)).await, 41)?;
    refused(client.get_users().await, 41)?;
    refused(client.create_stream("nope").await, 41)
}

async fn updates(server: &Server, root: &IggyClient) -> anyhow::Result<()> {
    create(root, "ben", None).await?;
    root.update_user(&id("ben"), Some("bert"), None).await?;
    equal("old name", root.get_user(&id("ben")).await?.is_none(), true)?;
    root.update_user(&id("bert"), Some("bert"), None).await?;
    refused(root.update_user(&id("bert"), Some("anna"), None).await, 46)?;
    let client = connected_as(server, "bert:secret").await?;
    root.update_user(&id("bert"), None, Some(UserStatus::Inactive)).await?;
    client.ping().await?;
    let other = anonymous(server).await?;
    refused(other.login_user("bert", "secret").await, 47)?;
    refused(other.login_user("bert", "wrong").await, 47)?;
    root.update_user(&id("bert"), None, Some(UserStatus::Active)).await?;
    other.login_user("bert", "secret").await?;
    root.update_user(&id("bert"), None, None).await?;
    Ok(())
}

async fn passwords(server: &Server, root: &IggyClient) -> anyhow::Result<()> {
    create(root, "carl", None).await?;
    let client = connected_as(server, "carl:secret").await?;
    refused(client.change_password(&id("carl"), "wrong", "secret2").await, 42)?;
    client.change_password(&id("carl"), "secret", "secret2").await?;
    let other = anonymous(server).await?;
    refused(other.login_user("carl", "secret").await, 42)?;
    other.login_user("carl", "secret2").await?;
    root.change_password(&id("carl"), "secret2", "secret3").await?;
    refused(root.change_password(&id("carl"), "secret2", "secret4").await, 42)?;
    // A password that somebody else changed ends all logins.
    let other = connected_as(server, "carl:secret3").await?;
    refused(other.change_password(&id(USERNAME), PASSWORD, "mine now").await, 41)
}

async fn root_limits(root: &IggyClient) -> anyhow::Result<()> {
    refused(root.delete_user(&id(USERNAME)).await, 48)?;
    refused(root.update_permissions(&id(USERNAME), None).await, 49)?;
    root.update_user(&id(USERNAME), Some("chief"), None).await?;
    root.update_user(&id("chief"), Some(USERNAME), None).await?;
    Ok(())
}

async fn deletes(server: &Server, root: &IggyClient) -> anyhow::Result<()> {
    let created = create(root, "dora", None).await?;
    let client = connected_as(server, "dora:secret").await?;
    let before = root.get_clients().await?.len();
    root.delete_user(&id("dora")).await?;
    equal("gone", root.get_user(&id("dora")).await?.is_none(), true)?;
    equal("its connection left the list", root.get_clients().await?.len(), before - 1)?;
    client.ping().await?;
    refused(client.create_stream("nope").await, 41)?;
    // The id is free again, and the old connection must not become the new user.
    let all = Permissions { global: everything(), streams: None };
    let heir = create(root, "heir", Some(all)).await?;
    equal("the id is used again", heir, created)?;
    refused(client.create_stream("nope").await, 41)?;
    let other = anonymous(server).await?;
    refused(other.login_user("dora", "secret").await, 42)
}

fn everything() -> GlobalPermissions {
    GlobalPermissions {
        manage_servers: true,
        read_servers: true,
        manage_users: true,
        read_users: true,
        manage_streams: true,
        read_streams: true,
        manage_topics: true,
        read_topics: true,
        poll_messages: true,
        send_messages: true,
    }
}
