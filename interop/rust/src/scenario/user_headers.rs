//! User headers: each kind, as value and as key, comes back as it was sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use iggy::prelude::*;

use crate::checks::{Checks, equal};
use crate::client::{connected, poll, topic_with};
use crate::server::Server;

type Headers = BTreeMap<HeaderKey, HeaderValue>;

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    let topic = topic_with(&client, "tagged", 1).await?;
    let mut kinds = Headers::new();
    for (name, value) in values()? {
        let one = Headers::from([(HeaderKey::try_from(name)?, value.clone())]);
        checks.step(&format!("a {name} value"), round_trip(&client, &topic, one)).await;
        kinds.insert(HeaderKey::try_from(name)?, value);
    }
    checks.step("all kinds in one message", round_trip(&client, &topic, kinds)).await;
    checks.step("keys of each kind", round_trip(&client, &topic, keys()?)).await;
    checks
        .step("keys and values of 255 bytes", async {
            let key = HeaderKey::try_from("k".repeat(255))?;
            let value = HeaderValue::try_from("v".repeat(255))?;
            round_trip(&client, &topic, Headers::from([(key, value)])).await
        })
        .await;
    checks
        .step("a message without headers between two with", async {
            let headers = Headers::from([(HeaderKey::try_from("k")?, HeaderValue::from(1_u8))]);
            let with =
                || IggyMessage::builder().payload(Bytes::from("x")).user_headers(headers.clone());
            let without = IggyMessage::builder().payload(Bytes::from("x")).build()?;
            let mut batch = [with().build()?, without, with().build()?];
            let partition = Partitioning::partition_id(0);
            client.send_messages(&topic.0, &topic.1, &partition, &mut batch).await?;
            let polled = poll(&client, &topic, 0, PollingStrategy::last(), 3).await?;
            let counts: Vec<usize> = polled
                .messages
                .iter()
                .map(|it| it.user_headers_map().ok().flatten().map_or(0, |map| map.len()))
                .collect();
            equal("headers", counts, vec![1, 0, 1])
        })
        .await;
    Ok(())
}

async fn round_trip(
    client: &IggyClient,
    topic: &(Identifier, Identifier),
    headers: Headers,
) -> anyhow::Result<()> {
    let payload = Bytes::from("payload");
    let mut batch =
        [IggyMessage::builder().payload(payload.clone()).user_headers(headers.clone()).build()?];
    let partition = Partitioning::partition_id(0);
    client.send_messages(&topic.0, &topic.1, &partition, &mut batch).await?;
    let polled = poll(client, topic, 0, PollingStrategy::last(), 1).await?;
    equal("messages", polled.messages.len(), 1)?;
    equal("payload", polled.messages[0].payload.clone(), payload)?;
    equal("headers", polled.messages[0].user_headers_map()?, Some(headers))
}

fn values() -> Result<Vec<(&'static str, HeaderValue)>, IggyError> {
    Ok(vec![
        ("raw", HeaderValue::try_from(&[0_u8, 255, 10, 0][..])?),
        ("string", HeaderValue::try_from("söme text")?),
        ("bool", true.into()),
        ("int8", i8::MIN.into()),
        ("int16", i16::MIN.into()),
        ("int32", i32::MIN.into()),
        ("int64", i64::MIN.into()),
        ("int128", i128::MIN.into()),
        ("uint8", u8::MAX.into()),
        ("uint16", u16::MAX.into()),
        ("uint32", u32::MAX.into()),
        ("uint64", u64::MAX.into()),
        ("uint128", u128::MAX.into()),
        ("float32", (-0.5_f32).into()),
        ("float64", std::f64::consts::PI.into()),
    ])
}

fn keys() -> Result<Headers, IggyError> {
    let value = || HeaderValue::from(true);
    Ok(Headers::from([
        (HeaderKey::try_from(&[0_u8, 1, 2][..])?, value()),
        (HeaderKey::try_from("name")?, value()),
        (HeaderKey::from(false), value()),
        (HeaderKey::from(-1_i8), value()),
        (HeaderKey::from(-1_i64), value()),
        (HeaderKey::from(-1_i128), value()),
        (HeaderKey::from(7_u16), value()),
        (HeaderKey::from(7_u32), value()),
        (HeaderKey::from(7_u128), value()),
        (HeaderKey::from(0.25_f32), value()),
        (HeaderKey::from(0.25_f64), value()),
    ]))
}
