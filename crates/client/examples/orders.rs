//! Sends orders keyed by customer, then replays the topic and counts them.
//!
//! Start a server with `galgo server --dev`, then run
//! `cargo run -p galgo --example orders -- galgo://galgo:galgo@127.0.0.1:8090 100000`.
//! Stop and start the server meanwhile: the producer goes on where it was.

use std::collections::BTreeMap;
use std::error::Error;

use futures_util::StreamExt;
use galgo::{CallError, Client, ErrorCode, Identifier, Message, Start, TopicOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "galgo://galgo:galgo@127.0.0.1:8090".into());
    let count: u64 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;

    let client = Client::connect(&url).await?;
    let (shop, orders): (Identifier, Identifier) = ("shop".parse()?, "orders".parse()?);
    unless_there(client.create_stream("shop").await)?;
    unless_there(
        client.create_topic(&shop, "orders", TopicOptions::default().partitions(4)).await,
    )?;

    // Orders of one customer stay in order, whatever the number of partitions.
    let producer = client.producer(&shop, &orders).build().await?;
    for number in 0..count {
        let customer = format!("customer-{}", number % 100);
        let message = Message::new(number.to_string()).header("customer", &customer)?;
        producer.send_keyed(customer, message).await?;
    }
    producer.close().await?;
    println!("{} orders acknowledged", producer.acknowledged());

    let mut last_of = BTreeMap::new();
    let (mut read, mut again) = (0, 0);
    let mut consumer =
        client.consumer(&shop, &orders).start(Start::First).until_end().build().await?;
    while let Some(message) = consumer.next().await {
        let message = message?;
        let number: u64 = std::str::from_utf8(message.payload())?.parse()?;
        let headers = message.headers()?;
        let customer = headers.get("customer").map(ToString::to_string).unwrap_or_default();
        if last_of.insert(customer, number).is_some_and(|last| last >= number) {
            // Sent twice because its acknowledgement was lost, or left from an earlier run.
            again += 1;
        }
        read += 1;
    }
    println!("{read} orders of {} customers read, {again} of them again", last_of.len());
    Ok(())
}

/// A stream or topic that exists already is as good as a new one.
fn unless_there<T>(created: Result<T, CallError>) -> Result<(), CallError> {
    match created {
        Ok(_) => Ok(()),
        Err(error) => match error.code() {
            Some(ErrorCode::StreamNameAlreadyExists | ErrorCode::TopicNameAlreadyExists) => Ok(()),
            _ => Err(error),
        },
    }
}
