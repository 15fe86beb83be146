//! Pipelines between topics of Galgo and other systems.
//!
//! A pipeline is one file: where messages come from, what is made of them, where they go. One of its ends is a topic.
//! It runs in a process of its own, `galgo connect run`, so that no database and no filter reaches the log.
//!
//! INV-DELIVERED: a position is stored only after the target has said that everything in front of it is delivered, filtered,
//! dead-lettered or skipped. There is no option for the other order.
//! INV-PREFIX: a position never passes a message whose fate is open.
//! INV-ONE-STEP: in a target that keeps positions, rows and position move in one transaction, which fails when the position is not
//! the one that is expected.
//! INV-MUTE: no value of a message or of a secret is in a log line, a metric or an error; places and types are.

pub mod backoff;
pub mod batch;
mod bridge;
pub mod budget;
pub(crate) mod clock;
pub mod config;
pub mod conformance;
pub mod dead_letter;
pub mod exec;
pub mod failure;
pub mod galgo_log;
pub mod gate;
pub mod headers;
pub mod inbound;
pub mod kind;
pub mod lane;
pub(crate) mod line;
pub mod log;
pub mod manage;
#[cfg(feature = "mqtt")]
mod mqtt;
mod nats;
pub mod outbound;
pub mod place;
mod postgres;
pub mod process;
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
pub mod secret;
pub mod serve;
pub mod shape;
pub mod sink;
pub mod source;
pub mod status;
pub(crate) mod table;
pub mod transform;
mod web;

pub use batch::{Batch, Form, Row};
pub use failure::{Failure, Finding, Weight};
pub use place::{LaneName, Place, Position};
pub use sink::{Promise, Sink, SinkSpec};
pub use source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};
