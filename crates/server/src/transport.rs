//! Carriers of frames. What they share is here; [`connection`] turns bytes into commands and back.

mod acknowledge;
mod budget;
pub(crate) mod carriage;
pub(crate) mod connection;
pub(crate) mod listener;
mod logins;
mod pace;
mod places;
pub(crate) mod quic;
pub(crate) mod tls;
mod websocket;

use crate::lanes::Turns;
use crate::spin::Spin;
use std::sync::Arc;
use std::time::Duration;

use galgo_broker::{Broker, Waiting};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use budget::{Budget, BudgetBytes, Grant};
pub(crate) use logins::Logins;
pub(crate) use pace::Pace;
pub(crate) use places::Places;

/// What every connection of the server works with.
pub(crate) struct Hub {
    /// Where commands go.
    pub(crate) broker: Arc<Broker>,
    /// Memory for requests being received.
    pub(crate) budget: Budget,
    /// Memory for answers with messages that were read from the disk or decrypted. Apart from that for
    /// requests, as whoever holds some of it waits for nobody but a peer with a time limit.
    pub(crate) answers: Budget,
    /// Turns for work that hashes a password.
    pub(crate) logins: Logins,
    /// What one connection may do.
    pub(crate) limits: ConnectionLimits,
    /// How many connections there may be.
    pub(crate) places: Places,
    /// The threads that serve connections.
    pub(crate) turns: Turns,
    /// Whether they sleep.
    pub(crate) spin: Arc<Spin>,
    /// Turns true once, when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Hub {
    /// When the wait of a poll that begins to wait is over.
    pub(crate) fn wait_due(&self, poll: &Waiting) -> Instant {
        Instant::now() + poll.time().min(self.limits.poll_wait)
    }
}

/// What one connection may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Largest payload of a request that sends messages.
    pub(crate) send_bytes_max: u32,
    /// Sends that may wait for their commit at once.
    pub(crate) pipeline_max: usize,
    /// How long a poll may wait for messages.
    pub(crate) poll_wait: Duration,
    /// How long the peer may take nothing of a reply.
    pub(crate) write_timeout: Duration,
    /// How long the peer may take for each handshake before its first frame.
    pub(crate) handshake_timeout: Duration,
    /// How long the peer may take for other things.
    pub(crate) patience: connection::Patience,
}

/// Waits until the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone means that the server is, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
