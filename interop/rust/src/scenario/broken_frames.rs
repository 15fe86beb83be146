//! What no proper client sends: each is answered with its code, and what follows is still understood.

use std::time::Duration;

use crate::checks::{Checks, equal, holds};
use crate::client::{connected, topic_with};
use crate::raw::{GET_ME, LOGIN_USER, PING, Raw, RawMessage, SEND_MESSAGES, login, send_to};
use crate::server::{PASSWORD, Server, USERNAME};
use iggy::prelude::{PollingStrategy, SystemClient};

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "rough", 1).await?;
    let one = [RawMessage { payload: b"hello".to_vec(), ..RawMessage::default() }];
    let good = send_to("rough", "events", 0, &one, 0);

    checks.step("an unknown command is 3", still_in_step(server, 9_999, &[1, 2, 3], &[3])).await;
    checks
        .step("a payload cut short is 3 or 4", async {
            // create_topic with every possible cut of its fields
            let whole = [&[2, 5][..], b"rough", &[1, 0, 0, 0, 1], &[0; 17], &[1, b'x']].concat();
            for cut in 0..whole.len() {
                still_in_step(server, 302, &whole[..cut], &[3, 4]).await?;
            }
            Ok(())
        })
        .await;
    checks
        .step(
            "text that is not UTF-8 is 3 or 4",
            still_in_step(server, 202, &[2, 0xFF, 0xFE], &[3, 4]),
        )
        .await;
    checks.step("an empty name is 4", still_in_step(server, 202, &[0], &[4])).await;
    checks
        .step(
            "a numeric identifier of 3 bytes is 4",
            still_in_step(server, 200, &[1, 3, 0, 0, 0], &[4]),
        )
        .await;
    checks
        .step(
            "an unknown kind of identifier is 3",
            still_in_step(server, 200, &[9, 4, 0, 0, 0, 0], &[3]),
        )
        .await;
    checks
        .step(
            "bytes behind the last field do no harm",
            still_in_step(server, PING, &[1, 2, 3], &[0]),
        )
        .await;
    checks
        .step("a send cut short anywhere leaves the connection in step", async {
            for cut in (0..good.len()).step_by(3) {
                let mut raw = Raw::logged_in(server).await?;
                let (status, _) = raw.call(SEND_MESSAGES, &good[..cut]).await?;
                holds("an error", status != 0, (cut, status))?;
                equal("ping behind it", raw.call(PING, &[]).await?, (0, vec![]))?;
            }
            Ok(())
        })
        .await;
    checks
        .step("index positions that do not fit are 4033 or 4036", async {
            let payload = send_to("rough", "events", 0, &[one[0].clone(), one[0].clone()], 1);
            still_in_step(server, SEND_MESSAGES, &payload, &[4033, 4036, 10011]).await
        })
        .await;
    checks
        .step("a send without login is 40, its payload drained", async {
            let mut raw = Raw::connect(server).await?;
            equal("send", raw.call(SEND_MESSAGES, &good).await?, (40, vec![]))?;
            equal("login", raw.call(LOGIN_USER, &login(USERNAME, PASSWORD)).await?.0, 0)?;
            equal("send", raw.call(SEND_MESSAGES, &good).await?, (0, vec![]))
        })
        .await;
    checks
        .step("a reserved field that is not 0 never reaches a consumer", async {
            let message = RawMessage { reserved: 7, ..one[0].clone() };
            let mut raw = Raw::logged_in(server).await?;
            raw.call(SEND_MESSAGES, &send_to("rough", "events", 0, &[message], 0)).await?;
            // The classic client refuses a message with a reserved field, so the poll itself is the check.
            crate::client::poll(&client, &topic, 0, PollingStrategy::first(), 100).await?;
            Ok(())
        })
        .await;
    checks
        .step("several requests in one packet are answered in order", async {
            let mut raw = Raw::logged_in(server).await?;
            for _ in 0..50 {
                raw.send(SEND_MESSAGES, &good).await?;
                raw.send(GET_ME, &[]).await?;
            }
            for _ in 0..50 {
                equal("send", raw.answer().await?, (0, vec![]))?;
                let (status, me) = raw.answer().await?;
                holds("the client's details", status == 0 && me.len() > 13, (status, me.len()))?;
            }
            Ok(())
        })
        .await;
    checks
        .step("a frame that comes byte by byte is understood", async {
            let mut raw = Raw::logged_in(server).await?;
            for byte in [4, 0, 0, 0, 1, 0, 0, 0] {
                raw.send_bytes(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            equal("ping", raw.answer().await?, (0, vec![]))
        })
        .await;
    checks
        .step("a length below 4 is 3", async {
            let mut raw = Raw::logged_in(server).await?;
            raw.send_bytes(&[3, 0, 0, 0, 1, 0, 0, 0]).await?;
            equal("answer", raw.answer().await?, (3, vec![]))
        })
        .await;
    checks
        .step("a payload over 10 MiB for a small command is 3, and closes or drains", async {
            let mut raw = Raw::logged_in(server).await?;
            raw.send_bytes(&(64_u32 << 20).to_le_bytes()).await?;
            raw.send_bytes(&PING.to_le_bytes()).await?;
            equal("answer", raw.answer().await?, (3, vec![]))
        })
        .await;
    checks
        .step("a length of 4 GB does not take memory or the server", async {
            let mut raw = Raw::logged_in(server).await?;
            raw.send_bytes(&u32::MAX.to_le_bytes()).await?;
            raw.send_bytes(&SEND_MESSAGES.to_le_bytes()).await?;
            raw.send_bytes(&[0; 100]).await?;
            let memory = client.get_stats().await?.memory_usage.as_bytes_u64();
            holds("under 500 MB in use", memory < 500_000_000, memory)
        })
        .await;
    checks
        .step("a client that leaves in the middle of a frame does no harm", async {
            let mut raw = Raw::logged_in(server).await?;
            raw.send_bytes(&good[..good.len() / 2]).await?;
            drop(raw);
            client.ping().await?;
            Ok(())
        })
        .await;
    Ok(())
}

/// The answer has one of these statuses, and a ping behind it is answered.
async fn still_in_step(
    server: &Server,
    code: u32,
    payload: &[u8],
    statuses: &[u32],
) -> anyhow::Result<()> {
    let mut raw = Raw::logged_in(server).await?;
    let (status, body) = raw.call(code, payload).await?;
    holds(&format!("one of {statuses:?}"), statuses.contains(&status), status)?;
    equal("bytes behind an error", body.len(), 0)?;
    equal("ping behind it", raw.call(PING, &[]).await?, (0, vec![]))
}
