//! Looking after the slot: how much the server keeps for it, and a word in the log when nothing else is written.
//!
//! The server keeps its log from the place on that was settled last. When only other tables or databases are written to, nothing
//! would come that could be settled; so a word of our own is put there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::ChangeOrigin;
use super::publication::word_sql;
use super::slot::SlotState;
use crate::failure::Failure;
use crate::postgres::session::PgSession;

/// How often it is looked at when there is no heartbeat.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// From here on somebody is told, and again each time it has doubled.
const WARN_BYTES: u64 = 1 << 30;
/// That nothing is known.
const UNKNOWN: u64 = u64::MAX;

/// What both sides know.
#[derive(Debug)]
pub(super) struct WatchedSlot {
    /// What the server keeps for the slot, in bytes.
    retained: AtomicU64,
    /// Messages that came from the slot.
    arrived: AtomicU64,
    /// The server said that it cannot go on with the slot.
    lost: AtomicBool,
}

impl Default for WatchedSlot {
    fn default() -> Self {
        let (retained, arrived) = (AtomicU64::new(UNKNOWN), AtomicU64::new(0));
        Self { retained, arrived, lost: AtomicBool::new(false) }
    }
}

impl WatchedSlot {
    /// What the server keeps for the slot, in bytes, if it is known.
    pub(super) fn retained(&self) -> Option<u64> {
        Some(self.retained.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNKNOWN)
    }

    /// The server cannot go on with the slot.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Whether the server said that it cannot go on with the slot; it is forgotten then.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// A message came.
    pub(super) fn count(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }
}

/// Somebody who looks after the slot until this is dropped.
#[derive(Debug)]
pub(super) struct Caretaker(JoinHandle<()>);

impl Drop for Caretaker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Caretaker {
    /// Begins.
    pub(super) fn start(origin: Arc<ChangeOrigin>, watched: Arc<WatchedSlot>) -> Self {
        Self(tokio::spawn(async move {
            let mut care = Care { origin, watched, session: None, seen: 0, warned_at: WARN_BYTES };
            let mut failing = false;
            loop {
                sleep(care.origin.heartbeat.unwrap_or(LOOK_EVERY)).await;
                let looked = care.look().await;
                if let Err(error) = &looked
                    && !failing
                {
                    let slot = care.origin.slot.as_str();
                    tracing::warn!(slot, %error, "the slot cannot be looked after; it is tried again");
                }
                failing = looked.is_err();
            }
        }))
    }
}

struct Care {
    origin: Arc<ChangeOrigin>,
    watched: Arc<WatchedSlot>,
    session: Option<PgSession>,
    /// What had arrived the last time.
    seen: u64,
    warned_at: u64,
}

impl Care {
    async fn look(&mut self) -> Result<(), Failure> {
        let mut sql = match self.session.take() {
            Some(session) => session,
            None => self.origin.sql().await?,
        };
        let failed =
            |error: crate::postgres::trouble::PgError| error.failure("look after the slot");
        let state = SlotState::read(&mut sql, &self.origin.slot).await.map_err(failed)?;
        let retained = state.as_ref().map_or(UNKNOWN, |state| state.retained);
        self.watched.retained.store(retained, Ordering::Relaxed);
        if let Some(state) = &state {
            self.warn(state);
        }
        let arrived = self.watched.arrived.load(Ordering::Relaxed);
        if arrived == self.seen && self.origin.heartbeat.is_some() {
            sql.query(&word_sql("heartbeat")).await.map_err(failed)?;
        }
        self.seen = arrived;
        self.session = Some(sql);
        Ok(())
    }

    fn warn(&mut self, state: &SlotState) {
        if state.retained < WARN_BYTES {
            self.warned_at = WARN_BYTES;
        } else if state.retained >= self.warned_at {
            let (slot, retained_bytes) = (self.origin.slot.as_str(), state.retained);
            tracing::warn!(slot, retained_bytes, "the server keeps much of its log for the slot");
            self.warned_at = state.retained.saturating_mul(2);
        }
    }
}
