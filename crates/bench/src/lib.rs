//! One load engine, for Galgo and for any server of its protocol.
//!
//! A [`LoadPlan`](plan::LoadPlan) says how much of what is sent and read, how long and how fast; a [`Host`](host::Host) takes
//! it: a server that is there, one started for the run, or a bare program that does the least a server could. An
//! [`Engine`](engine::Engine) puts the one under the load of the other and gives a [`RunSummary`](summary::RunSummary), which
//! [`report`] and [`html`] show. `galgo bench` is [`run::run`] behind a command line; `cargo xtask bench` compares
//! hosts with each other under the same plans.
//!
//! The load costs little next to what it measures. Requests are built in advance; over plain
//! TCP a worker is one blocking thread, and what a consumer receives is thrown away without a copy.
//! On a schedule, a request counts from when it was due, whatever kept it, unless the plan excuses
//! the timer of the load itself.
//! What a run made on a server is gone after it, however it ended, unless it was to be kept.

mod channel;
mod consumer;
mod course;
mod crew;
pub mod destination;
pub mod engine;
mod error;
mod frames;
mod histogram;
pub mod host;
pub mod html;
mod observer;
pub mod plan;
pub mod polls;
mod preload;
pub mod process;
mod producer;
mod recorder;
pub mod report;
pub mod run;
mod schedule;
pub mod scratch;
pub mod show;
pub mod stage;
mod stop;
pub mod summary;
pub mod usage;
mod watch;

pub use error::{BenchCause, BenchError, Outcome};
pub use observer::{Observer, SoFar};
pub use stop::StopFlag;
