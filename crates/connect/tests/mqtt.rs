//! The kind `mqtt` against a real Mosquitto, which is killed in between.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

#[path = "support/origin.rs"]
mod origin;
#[path = "mqtt/other_side.rs"]
mod other_side;
#[path = "support/rig.rs"]
mod rig;
#[path = "mqtt/sink.rs"]
mod sink;
#[path = "mqtt/source.rs"]
mod source;
