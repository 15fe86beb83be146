//! The scenarios, by name. A new one is a module, a name and an arm.

use crate::checks::Checks;
use crate::server::Server;

mod broken_frames;
mod consumer_offsets;
mod limits;
mod messages;
mod partitions;
mod polling;
mod producer_and_consumer;
mod restart;
mod sessions;
mod streams;
mod system;
mod topics;
mod user_headers;

/// Every scenario, in the order they run.
pub const NAMES: &[&str] = &[
    "sessions",
    "system",
    "streams",
    "topics",
    "partitions",
    "messages",
    "user_headers",
    "polling",
    "consumer_offsets",
    "limits",
    "broken_frames",
    "producer_and_consumer",
    "restart",
];

/// Runs one scenario against a fresh server. An error means that it could not go on.
pub async fn run(name: &str, server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    match name {
        "sessions" => sessions::run(server, checks).await,
        "system" => system::run(server, checks).await,
        "streams" => streams::run(server, checks).await,
        "topics" => topics::run(server, checks).await,
        "partitions" => partitions::run(server, checks).await,
        "messages" => messages::run(server, checks).await,
        "user_headers" => user_headers::run(server, checks).await,
        "polling" => polling::run(server, checks).await,
        "consumer_offsets" => consumer_offsets::run(server, checks).await,
        "limits" => limits::run(server, checks).await,
        "broken_frames" => broken_frames::run(server, checks).await,
        "producer_and_consumer" => producer_and_consumer::run(server, checks).await,
        "restart" => restart::run(server, checks).await,
        other => anyhow::bail!("no scenario `{other}`"),
    }
}
