//! The kind `rabbitmq` against a real RabbitMQ, which is killed in between.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

#[path = "support/origin.rs"]
mod origin;
#[path = "rabbitmq/other_side.rs"]
mod other_side;
#[path = "support/rig.rs"]
mod rig;
#[path = "rabbitmq/sink.rs"]
mod sink;
#[path = "rabbitmq/source.rs"]
mod source;
