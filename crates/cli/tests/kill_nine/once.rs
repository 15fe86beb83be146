//! INV-PINNED with the real binary: a producer that goes on under `kill -9` stores each message once, in
//! a topic that asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use galgo::{
    Client, Deduplication, Identifier, Message, PollRequest, PollingStrategy, TopicOptions,
};

use crate::server::Server;

const MESSAGES: u32 = 20_000;
const PARTITIONS: u32 = 3;
const KILLS: u32 = 5;

fn named(name: &str) -> Identifier {
    Identifier::named(name).unwrap()
}

#[test]
fn a_producer_that_outlives_its_server_stores_each_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut server = Server::start(dir.path());
    let url = format!("{}?reconnection_interval=20ms", server.url);
    let client = runtime.block_on(async {
        let client = Client::connect(&url).await.unwrap();
        client.create_stream("s").await.unwrap();
        let options =
            TopicOptions::default().partitions(PARTITIONS).deduplication(Deduplication::On);
        client.create_topic(&named("s"), "t", options).await.unwrap();
        client
    });
    let producer = client.producer(&named("s"), &named("t")).batch_messages(50);
    let producer = runtime.block_on(producer.build()).unwrap();
    let sending = runtime.spawn({
        let producer = producer.clone();
        async move {
            for number in 0..MESSAGES {
                producer.send(Message::new(format!("{number} {}", "x".repeat(100)))).await.unwrap();
                if number % 50 == 0 {
                    // Slow enough to be killed in the middle.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            producer.close().await.unwrap();
        }
    });
    for round in 1..=KILLS {
        // At a different place of the way each time, whatever the machine.
        let enough = u64::from(MESSAGES / (KILLS + 1) * round);
        while producer.acknowledged() < enough {
            std::thread::sleep(Duration::from_millis(1));
        }
        let address = server.address.clone();
        server.kill();
        server = Server::start_at(dir.path(), &address);
    }
    runtime.block_on(sending).unwrap();
    let stored = runtime.block_on(count(&client));
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "stored more than once: {twice:?}");
    assert_eq!(stored.len(), MESSAGES as usize);
}

/// How often each number is stored.
async fn count(client: &Client) -> BTreeMap<u32, u32> {
    let mut stored = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut next = 0;
        loop {
            let request = PollRequest::new(&named("s"), &named("t"), partition)
                .strategy(PollingStrategy::Offset(galgo::Offset::new(next)));
            let polled = client.poll(request).await.unwrap();
            let Some(last) = polled.messages().last() else { break };
            next = last.offset() + 1;
            for message in polled.messages() {
                let text = std::str::from_utf8(message.payload()).unwrap();
                let number = text.split(' ').next().unwrap().parse().unwrap();
                *stored.entry(number).or_insert(0) += 1;
            }
        }
    }
    stored
}
