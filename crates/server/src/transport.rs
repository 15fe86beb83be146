//! Carriers of frames. What they share is here; [`connection`] turns bytes into commands and back.

mod acknowledge;
mod budget;
pub(crate) mod carriage;
pub(crate) mod connection;
mod ends;
pub(crate) mod listener;
mod logins;
mod pace;
pub(crate) mod pages;
mod places;
pub(crate) mod quic;
pub(crate) mod tls;
pub(crate) mod websocket;

use crate::conversation::ConversationRules;
use crate::conversation::deadlines::Patience;
use crate::lanes::Turns;
use crate::process_limits::memory::ANONYMOUS_BYTES_MIN;
use crate::spin::Spin;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use galgo_broker::{Broker, Refusal};
use galgo_wire::id::UserId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

pub(crate) use budget::{Allowance, Budget, BudgetBytes, Grant};
pub(crate) use ends::Ends;
pub(crate) use logins::Logins;
pub(crate) use pace::Pace;
pub(crate) use places::{ConnectionPlace, Places};

use connection::BUFFER_BYTES_IDLE;

/// What a handshake of TLS or WebSocket may keep in memory.
const HANDSHAKE_BYTES: usize = 64 << 10;
const _: () = assert!(
    HANDSHAKE_BYTES as u64 * 16 <= ANONYMOUS_BYTES_MIN,
    "where memory is short, several strangers can shake hands at once"
);
const _: () = assert!(
    HANDSHAKE_BYTES > BUFFER_BYTES_IDLE,
    "a handshake is dearer than an idle connection, so strangers pay for it"
);

/// What every connection of the server works with.
pub(crate) struct Hub {
    /// Where commands go.
    pub(crate) broker: Arc<Broker>,
    /// Memory for requests of users being received.
    pub(crate) budget: Budget,
    /// Memory for all that comes from peers that are not logged in.
    pub(crate) strangers: Budget,
    /// Memory for answers with messages that were read from the disk or decrypted. Apart from that for
    /// requests, as whoever holds some of it waits for nobody but a peer with a time limit.
    pub(crate) answers: Budget,
    /// Turns for work that hashes a password.
    pub(crate) logins: Logins,
    /// What one connection may do.
    pub(crate) limits: ConnectionLimits,
    /// How many connections there may be.
    pub(crate) places: Places,
    /// Why connections ended.
    pub(crate) ends: Arc<Ends>,
    /// The threads that serve connections.
    pub(crate) turns: Turns,
    /// Whether they sleep.
    pub(crate) spin: Arc<Spin>,
    /// Turns true once, when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Hub {
    /// What a connection of `user`, or of nobody, draws on for what it receives.
    pub(crate) fn allowance(&self, user: Option<UserId>) -> Allowance {
        match user {
            Some(user) => self.budget.allowance(Some(user)),
            None => self.strangers.allowance(None),
        }
    }

    /// Makes a handshake in memory of strangers.
    ///
    /// # Errors
    /// Those of the handshake; `TimedOut` when there is no memory for it for as long as it may take.
    pub(crate) async fn handshake<S>(
        &self,
        handshake: impl Future<Output = io::Result<S>>,
    ) -> io::Result<S> {
        let memory = self.strangers.take(None, HANDSHAKE_BYTES);
        let memory = timeout(self.limits.handshake_timeout, memory).await?;
        let shaken = handshake.await;
        drop(memory);
        shaken
    }

    /// A place for a connection from `address`, if there is one; a refusal leaves a trace.
    pub(crate) fn place(&self, address: IpAddr) -> Option<ConnectionPlace> {
        let place = self.places.take(address);
        if place.is_none() {
            let reason = match self.places.is_full() {
                true => "as many connections as there may be: limits.connections",
                false => "as many from there as there may be: limits.connections_per_address",
            };
            self.broker.trail().note(Refusal::new("connection refused", address, reason));
        }
        place
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
    pub(crate) patience: Patience,
}

impl ConnectionLimits {
    /// What a conversation keeps to.
    pub(crate) fn rules(&self) -> ConversationRules {
        ConversationRules {
            answers_max: self.pipeline_max,
            poll_wait: self.poll_wait,
            patience: self.patience,
            clock: Instant::now,
        }
    }
}

/// Waits until `due`, or for ever.
pub(crate) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// Waits until the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone means that the server is, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
