//! Login and what is refused without one.

use anyhow::bail;
use iggy::prelude::*;

use crate::checks::{Checks, equal, holds, refused};
use crate::client::{anonymous, connected};
use crate::raw::{GET_ME, LOGIN_USER, LOGOUT_USER, PING, Raw, identifier, login};
use crate::server::{PASSWORD, Server, USERNAME};

/// Commands that need no payload, or take this one, and need a login.
fn guarded() -> Vec<(&'static str, u32, Vec<u8>)> {
    vec![
        ("get_stats", 10, vec![]),
        ("get_cluster_metadata", 12, vec![]),
        ("get_me", GET_ME, vec![]),
        ("get_clients", 22, vec![]),
        ("logout", LOGOUT_USER, vec![]),
        ("get_stream", 200, identifier("0")),
        ("get_streams", 201, vec![]),
        ("create_stream", 202, vec![1, b'x']),
        ("delete_stream", 203, identifier("0")),
        ("get_topics", 301, identifier("0")),
        ("delete_topic", 303, [identifier("0"), identifier("0")].concat()),
        ("purge_topic", 305, [identifier("0"), identifier("0")].concat()),
    ]
}

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    checks.step("ping needs no login", async { Ok(anonymous(server).await?.ping().await?) }).await;
    checks.step("a login gives the root user's id", logs_in(server)).await;
    checks
        .step("a wrong password and an unknown user get the same code", async {
            let client = anonymous(server).await?;
            refused(client.login_user(USERNAME, "not the password").await, 42)?;
            refused(client.login_user("nobody", PASSWORD).await, 42)
        })
        .await;
    checks
        .step("names and passwords out of bounds are refused", async {
            let mut raw = Raw::connect(server).await?;
            equal("short name", raw.call(LOGIN_USER, &login("ab", "abc")).await?.0, 43)?;
            equal("short password", raw.call(LOGIN_USER, &login("abc", "ab")).await?.0, 44)?;
            equal("ping", raw.call(PING, &[]).await?.0, 0)
        })
        .await;
    checks
        .step("a failed second login leaves the first in place", async {
            let client = connected(server).await?;
            refused(client.login_user(USERNAME, "not the password").await, 42)?;
            client.get_me().await?;
            Ok(())
        })
        .await;
    checks
        .step("without login each command answers 40 and the connection stays", async {
            let mut raw = Raw::connect(server).await?;
            for (name, code, payload) in guarded() {
                equal(name, raw.call(code, &payload).await?, (40, vec![]))?;
            }
            equal("ping", raw.call(PING, &[]).await?, (0, vec![]))
        })
        .await;
    checks.step("logout makes the connection anonymous again", logs_out(server)).await;
    Ok(())
}

async fn logs_in(server: &Server) -> anyhow::Result<()> {
    let client = anonymous(server).await?;
    let identity = client.login_user(USERNAME, PASSWORD).await?;
    equal("user id", identity.user_id, 0)?;
    holds(
        "no token but over HTTP",
        identity.access_token.is_none(),
        identity.access_token.is_some(),
    )
}

async fn logs_out(server: &Server) -> anyhow::Result<()> {
    let mut raw = Raw::logged_in(server).await?;
    let (status, me) = raw.call(GET_ME, &[]).await?;
    equal("get_me", status, 0)?;
    if me.len() < 13 {
        bail!("expected the client's details, got {} bytes", me.len());
    }
    equal("logout", raw.call(LOGOUT_USER, &[]).await?, (0, vec![]))?;
    equal("get_me after logout", raw.call(GET_ME, &[]).await?, (40, vec![]))?;
    equal("login again", raw.call(LOGIN_USER, &login(USERNAME, PASSWORD)).await?.0, 0)
}
