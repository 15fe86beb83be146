//! Ctrl-C: the wish to stop in an orderly way.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// Watches for SIGINT and SIGTERM from now on.
#[derive(Debug)]
pub(crate) struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    /// Starts to watch; from here on the signals no longer end the process by themselves.
    pub(crate) fn watch() -> Outcome<Self> {
        let failed = |error| Failure::io(format!("cannot watch for signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Returns when a signal came. May be dropped and called again without losing one.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
