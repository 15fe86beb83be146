//! The kind `nats` against a real NATS server, which is killed in between.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

#[path = "support/origin.rs"]
mod origin;
#[path = "nats/other_side.rs"]
mod other_side;
#[path = "support/rig.rs"]
mod rig;
#[path = "nats/sink.rs"]
mod sink;
#[path = "nats/source.rs"]
mod source;
