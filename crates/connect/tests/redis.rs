//! The kind `redis` against a real Redis, which is killed in between.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

#[path = "support/origin.rs"]
mod origin;
#[path = "redis/other_side.rs"]
mod other_side;
#[path = "support/rig.rs"]
mod rig;
#[path = "redis/sink.rs"]
mod sink;
#[path = "redis/source.rs"]
mod source;
#[path = "redis/tls.rs"]
mod tls;
