//! The SDK against a small server in the same process, which speaks the wire crate and misbehaves
//! when told.
#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod client;
mod connection;
mod consumer;
mod lives;
mod members;
mod producer;
mod refusals;
mod support;
