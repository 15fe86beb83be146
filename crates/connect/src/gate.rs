//! While a target is away, one lane tries and the others wait.

use tokio::sync::{Mutex, MutexGuard, watch};

/// The way to a target, for all lanes of a pipeline.
#[derive(Debug)]
pub struct Gate {
    is_open: watch::Sender<bool>,
    /// Whoever holds it tries.
    probe: Mutex<()>,
}

/// The right to try while the gate is closed.
#[derive(Debug)]
pub struct Probe<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);

impl Default for Gate {
    fn default() -> Self {
        Self { is_open: watch::Sender::new(true), probe: Mutex::new(()) }
    }
}

impl Gate {
    /// Waits until the target may be asked: because it is there, or as the one that tries.
    pub async fn pass(&self) -> Option<Probe<'_>> {
        let mut is_open = self.is_open.subscribe();
        if *is_open.borrow() {
            return None;
        }
        tokio::select! {
            probe = self.probe.lock() => Some(Probe(probe)),
            // The sender is this gate's own.
            _ = is_open.wait_for(|open| *open) => None,
        }
    }

    /// Closes it: the target is away. Tells whether this is news.
    pub fn close(&self) -> bool {
        self.is_open.send_replace(false)
    }

    /// Opens it: the target has answered. Tells whether this is news.
    pub fn open(&self) -> bool {
        !self.is_open.send_replace(true)
    }

    /// Whether the target was there when it was asked last.
    pub fn is_open(&self) -> bool {
        *self.is_open.borrow()
    }
}
