//! Brings a server down: nothing new comes in, what was submitted is answered, everything is synced.
//!
//! INV-STOP: an orderly stop answers what was submitted, then syncs, then exits.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ServerError;
use crate::bootstrap::Server;

/// How long work on other threads may take to end once all connections are gone.
const THREADS_PATIENCE: Duration = Duration::from_secs(5);

/// What the exit code of a process ended by a signal is counted from.
const SIGNAL_EXIT_CODE: i32 = 128;

impl Server {
    /// Stops the server: connections are told and closed, then everything is synced.
    ///
    /// # Errors
    /// [`ServerError::NotSynced`] when the last sync failed; the next start recovers what was
    /// acknowledged.
    pub fn stop(self) -> Result<(), ServerError> {
        let path = self.data_dir().to_owned();
        self.stopping.send_replace(true);
        let runtime = &self.runtime;
        let dropped: usize = self
            .listeners
            .into_iter()
            .map(|listener| runtime.block_on(listener).unwrap_or_default())
            .sum();
        if dropped > 0 {
            tracing::warn!(connections = dropped, "connections dropped: not done in time");
        }
        self.ticker.abort();
        // Jobs of dropped connections end before the last sync, so that it covers what they wrote.
        self.lanes.stop(THREADS_PATIENCE);
        self.runtime.shutdown_timeout(THREADS_PATIENCE);
        self.broker.stop();
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker thread had failed; the reason is in the log above");
            }
        }
        self.broker
            .shutdown()
            .map_err(|error| ServerError::NotSynced { path, source: Box::new(error) })?;
        tracing::info!("server stopped");
        Ok(())
    }
}

/// SIGTERM, SIGINT and SIGHUP, caught on a runtime of their own so that they are heard while the server's goes
/// down.
pub(crate) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// A signal that ends the server.
struct Ending {
    name: &'static str,
    number: i32,
}

impl Signals {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let on_runtime = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        drop(on_runtime);
        Ok(Self { runtime, terminate, interrupt, hangup })
    }

    /// Blocks until one arrives that ends the server, calling `on_hangup` for each SIGHUP. From then on,
    /// another one ends the process at once.
    pub(crate) fn wait(mut self, on_hangup: impl Fn()) {
        let Ending { name, .. } = self.ending(on_hangup);
        tracing::info!(signal = name, "stopping");
        thread::spawn(move || {
            let Ending { name, number } = self.ending(|| {});
            tracing::warn!(signal = name, "second signal: leaving without an orderly stop");
            std::process::exit(SIGNAL_EXIT_CODE + number);
        });
    }

    /// The next signal that ends the server.
    fn ending(&mut self, on_hangup: impl Fn()) -> Ending {
        let Self { runtime, terminate, interrupt, hangup } = self;
        let kind = runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return ("SIGTERM", SignalKind::terminate()),
                    _ = interrupt.recv() => return ("SIGINT", SignalKind::interrupt()),
                    _ = hangup.recv() => on_hangup(),
                }
            }
        });
        Ending { name: kind.0, number: kind.1.as_raw_value() }
    }
}
