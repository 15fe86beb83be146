//! The sizes at which the protocol says yes, and one byte more.

use bytes::Bytes;
use iggy::prelude::*;

use crate::checks::{Checks, equal, holds};
use crate::client::{connected, poll, topic_with};
use crate::raw::{PING, Raw, RawMessage, SEND_MESSAGES, send_to};
use crate::server::Server;

const PAYLOAD_BYTES_MAX: usize = 64_000_000;
const USER_HEADERS_BYTES_MAX: usize = 100_000;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "big", 1).await?;
    checks
        .step("a payload of 64,000,000 bytes goes in and comes back", async {
            let payload: Bytes = vec![0xA5; PAYLOAD_BYTES_MAX].into();
            let mut batch = [IggyMessage::builder().payload(payload.clone()).build()?];
            let partition = Partitioning::partition_id(0);
            client.send_messages(&topic.0, &topic.1, &partition, &mut batch).await?;
            let polled = poll(&client, &topic, 0, PollingStrategy::last(), 1).await?;
            let same = polled.messages.len() == 1 && polled.messages[0].payload == payload;
            holds("the same payload", same, polled.messages.len())
        })
        .await;
    checks
        .step("one byte more is 4022, and the connection stays in step", async {
            let message =
                RawMessage { payload: vec![0; PAYLOAD_BYTES_MAX + 1], ..RawMessage::default() };
            answers(server, &[message], 4022).await
        })
        .await;
    checks
        .step("user headers of 100,000 bytes are taken, one more is 4017", async {
            let user_headers = headers_of(USER_HEADERS_BYTES_MAX);
            let message = RawMessage { payload: vec![1], user_headers, ..RawMessage::default() };
            answers(server, &[message], 0).await?;
            let polled = poll(&client, &topic, 0, PollingStrategy::last(), 1).await?;
            let length = polled.messages.first().map(|it| it.header.user_headers_length);
            equal("user headers", length, Some(100_000))?;
            let user_headers = headers_of(USER_HEADERS_BYTES_MAX + 1);
            let message = RawMessage { payload: vec![1], user_headers, ..RawMessage::default() };
            answers(server, &[message], 4017).await
        })
        .await;
    checks
        .step("an empty payload is taken", async {
            answers(server, &[RawMessage::default()], 0).await
        })
        .await;
    checks
        .step("a batch without messages is 4009", async { answers(server, &[], 4009).await })
        .await;
    checks
        .step("a batch of 20,000 messages is taken whole", async {
            let before = poll(&client, &topic, 0, PollingStrategy::last(), 1).await?.current_offset;
            let message = RawMessage { payload: vec![7; 100], ..RawMessage::default() };
            answers(server, &vec![message; 20_000], 0).await?;
            let polled = poll(&client, &topic, 0, PollingStrategy::last(), 1).await?;
            equal("current offset", polled.current_offset, before + 20_000)
        })
        .await;
    checks
        .step("a batch of 80 MB in messages of 1 MB is taken", async {
            let message = RawMessage { payload: vec![7; 1_000_000], ..RawMessage::default() };
            answers(server, &vec![message; 80], 0).await
        })
        .await;
    Ok(())
}

/// Sends a batch and then a ping: the status must be right and the answers in step.
async fn answers(server: &Server, messages: &[RawMessage], status: u32) -> anyhow::Result<()> {
    let mut raw = Raw::logged_in(server).await?;
    let payload = send_to("big", "events", 0, messages, 0);
    equal("answer", raw.call(SEND_MESSAGES, &payload).await?, (status, vec![]))?;
    equal("ping behind it", raw.call(PING, &[]).await?, (0, vec![]))
}

/// Valid user headers of exactly this many bytes: raw values under numbered keys.
fn headers_of(bytes: usize) -> Vec<u8> {
    let mut headers = Vec::with_capacity(bytes);
    let mut number = 0_u32;
    while headers.len() < bytes {
        let left = bytes - headers.len();
        // 14 bytes frame a header with a key of 4 bytes; no remainder may be too short for one more.
        let value = if left <= 14 + 255 { left - 14 } else { (left - 15 - 14).min(200) };
        headers.extend([2, 4, 0, 0, 0]);
        headers.extend(format!("{number:04}").as_bytes());
        headers.push(1);
        headers.extend(u32::try_from(value).expect("at most 255").to_le_bytes());
        headers.extend(vec![b'v'; value]);
        number += 1;
    }
    headers
}
