//! The scenarios: their names, what they run over, and how their servers are set up. A new one is a module
//! and a row.

use std::pin::Pin;

use crate::checks::Checks;
use crate::server::{Server, Transport};

mod broken_frames;
mod consumer_groups;
mod consumer_offsets;
mod heartbeats;
mod http;
mod limits;
mod messages;
mod partitions;
mod permissions;
mod polling;
mod producer_and_consumer;
mod restart;
mod segments;
mod sessions;
mod snapshot;
mod streams;
mod system;
mod tls;
mod tokens;
mod topics;
mod user_headers;
mod users;

/// A scenario against a fresh server. An error means that it could not go on.
type Run = for<'a> fn(
    &'a mut Server,
    &'a mut Checks,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// One scenario.
pub struct Scenario {
    pub name: &'static str,
    /// It runs once over each of these.
    pub transports: &'static [Transport],
    /// Settings of its servers, as environment variables.
    pub settings: &'static [(&'static str, &'static str)],
    pub run: Run,
}

const TCP: &[Transport] = &[Transport::Tcp];
const BINARY: &[Transport] = &Transport::BINARY;
const ALL: &[Transport] = &Transport::ALL;
const HTTP: &[Transport] = &[Transport::Http];

macro_rules! scenarios {
    ($($module:ident over $transports:ident $(with $settings:expr)?;)*) => {
        /// Every scenario, in the order they run.
        pub const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: stringify!($module),
            transports: $transports,
            settings: scenarios!(@settings $($settings)?),
            run: |server, checks| Box::pin($module::run(server, checks)),
        }),*];
    };
    (@settings) => { &[] };
    (@settings $settings:expr) => { $settings };
}

scenarios! {
    sessions over BINARY;
    system over BINARY;
    streams over BINARY;
    topics over BINARY;
    partitions over BINARY;
    segments over ALL with &[("GALGO_STORAGE_SEGMENT_BYTES", "1 MiB")];
    messages over BINARY;
    user_headers over ALL;
    polling over BINARY;
    consumer_offsets over BINARY;
    consumer_groups over BINARY;
    heartbeats over BINARY with &[
        ("GALGO_HEARTBEAT_ENABLED", "true"),
        ("GALGO_HEARTBEAT_INTERVAL", "1s"),
    ];
    users over BINARY;
    permissions over BINARY;
    tokens over BINARY;
    snapshot over ALL;
    http over HTTP;
    tls over TCP with &[("GALGO_TCP_TLS_ENABLED", "true"), ("GALGO_WEBSOCKET_TLS_ENABLED", "true")];
    limits over BINARY;
    broken_frames over TCP;
    producer_and_consumer over BINARY;
    restart over BINARY;
}
