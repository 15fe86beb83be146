//! P-ACK with the real binary: rounds of producers under `kill -9` at random moments, and an oracle
//! that remembers what was acknowledged.
//!
//! `GALGO_KILL_ROUNDS` sets the number of rounds, `GALGO_KILL_SEED` the random moments.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod once;
mod oracle;
mod server;

use std::sync::Arc;
use std::time::Duration;

use galgo::{Client, Durability, Identifier, Message, Partitioning, TopicOptions};
use oracle::Oracle;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use server::Server;

const ROUNDS: u64 = 50;
const PRODUCERS: u32 = 8;
const PARTITIONS: u32 = 3;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// P-ACK.
#[test]
fn nothing_acknowledged_is_lost_in_fifty_rounds_of_kill_nine() {
    let seed = number_from_env("GALGO_KILL_SEED", rand::rng().next_u64());
    println!("GALGO_KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let oracle = Arc::new(Oracle::default());
    for round in 0..number_from_env("GALGO_KILL_ROUNDS", ROUNDS) {
        let server = Server::start(dir.path());
        runtime.block_on(async {
            let client = Client::connect(&server.url).await.unwrap();
            if round == 0 {
                create_topics(&client).await;
            } else {
                oracle.check(&client, round).await;
            }
            let moment = Duration::from_millis(random.random_range(10..250));
            produce_until_killed(server, &oracle, round, (moment, random.next_u64())).await;
        });
    }
    let server = Server::start(dir.path());
    runtime.block_on(async {
        let client = Client::connect(&server.url).await.unwrap();
        oracle.check(&client, u64::MAX).await;
    });
    assert!(oracle.acknowledged() > 1000, "only {} acknowledged sends", oracle.acknowledged());
    println!("{} acknowledged messages", oracle.acknowledged());
}

async fn create_topics(client: &Client) {
    client.create_stream("s").await.unwrap();
    for (name, durability) in [("fsync", Durability::Fsync), ("os", Durability::Os)] {
        let options = TopicOptions::default().partitions(PARTITIONS).durability(durability);
        client.create_topic(&named("s"), name, options).await.unwrap();
    }
}

async fn produce_until_killed(
    server: Server,
    oracle: &Arc<Oracle>,
    round: u64,
    (moment, seed): (Duration, u64),
) {
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|number| {
            let (url, oracle) = (server.url.clone(), Arc::clone(oracle));
            let random = StdRng::seed_from_u64(seed ^ u64::from(number));
            tokio::spawn(produce(url, oracle, (round, number), random))
        })
        .collect();
    tokio::time::sleep(moment).await;
    server.kill();
    for producer in producers {
        producer.await.unwrap();
    }
}

/// Sends batches one after the other until one fails, and tells the oracle of every answer.
async fn produce(
    url: String,
    oracle: Arc<Oracle>,
    (round, producer): (u64, u32),
    mut random: StdRng,
) {
    let Ok(client) = Client::connect(&format!("{url}?reconnection_retries=0")).await else {
        return;
    };
    for sequence in 0.. {
        let topic = if producer % 4 == 0 { "os" } else { "fsync" };
        let partition = (producer + sequence) % PARTITIONS;
        // Most batches are small; some are too large for the journal.
        let bytes = if random.random_ratio(1, 10) { 40_000 } else { 100 };
        let count = random.random_range(1..5);
        let payloads: Vec<String> = (0..count)
            .map(|part| format!("{round} {producer} {sequence} {part} {}", "x".repeat(bytes)))
            .collect();
        let messages: Vec<_> = payloads.iter().cloned().map(Message::new).collect();
        oracle.sending(topic, partition, &payloads);
        let partitioning = Partitioning::PartitionId(partition.into());
        let sent = client.send(&named("s"), &named(topic), partitioning, &messages).await;
        if sent.is_err() {
            return;
        }
        oracle.acknowledge(topic, partition, payloads);
    }
}

fn named(name: &str) -> Identifier {
    Identifier::named(name).unwrap()
}
