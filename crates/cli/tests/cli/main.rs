//! The real binary against a real server: what a user types, sees and gets as an exit code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod harness;
mod lives;

mod bench_load;
mod errors;
mod groups;
mod holds;
mod least_rights;
mod messages;
mod mirror;
mod old_data;
mod pipelines;
mod pipelines_under_load;
mod profiles;
mod repair;
mod send;
mod send_refused;
mod server;
mod shell;
mod streams;
mod trail;
mod transports;
mod upkeep;
mod users;
