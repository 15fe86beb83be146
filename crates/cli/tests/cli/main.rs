//! The real binary against a real server: what a user types, sees and gets as an exit code.

mod harness;

mod bench;
mod errors;
mod messages;
mod send;
mod server;
mod streams;
