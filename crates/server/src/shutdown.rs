//! Brings a server down: nothing new comes in, what was submitted is answered, everything is synced.
//!
//! INV-STOP: an orderly stop answers what was submitted, then syncs, then exits.
//! INV-STOP-ONCE: signals that come within [`SAME_REQUEST`] of the first ask for the same orderly stop.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ServeError;
use crate::bootstrap::Server;
use crate::telemetry::log::EXIT_PATIENCE;
use crate::telemetry::streams;

/// How long work on other threads may take to end once all connections are gone.
const THREADS_PATIENCE: Duration = Duration::from_secs(5);

/// Time within which a second signal is the same request: whoever signals a process often signals its group as
/// well.
const SAME_REQUEST: Duration = Duration::from_secs(1);
const _: () = assert!(
    SAME_REQUEST.as_millis() < THREADS_PATIENCE.as_millis(),
    "INV-STOP-ONCE: a second signal is noticed before the stop gives up on threads"
);

/// What the exit code of a process ended by a signal is counted from.
const SIGNAL_EXIT_CODE: i32 = 128;

impl Server {
    /// Stops the server: connections are told and closed, then everything is synced.
    ///
    /// # Errors
    /// [`ServeError::NotSynced`] when the last sync failed; the next start recovers what was
    /// acknowledged.
    pub fn stop(self) -> Result<(), ServeError> {
        let path = self.data_dir().to_owned();
        self.stopping.send_replace(true);
        let door = self.door.handle();
        let dropped: usize = self
            .listeners
            .into_iter()
            .map(|listener| door.block_on(listener).unwrap_or_default())
            .sum();
        if dropped > 0 {
            tracing::warn!(connections = dropped, "connections dropped: not done in time");
        }
        self.ticker.abort();
        // Jobs of dropped connections end before the last sync, so that it covers what they wrote.
        self.lanes.stop(THREADS_PATIENCE);
        self.door.stop(THREADS_PATIENCE);
        self.broker.stop();
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker thread had failed; the reason is in the log above");
            }
        }
        self.broker
            .shutdown()
            .map_err(|error| ServeError::NotSynced { path, source: Box::new(error) })?;
        tracing::info!("server stopped");
        Ok(())
    }
}

/// SIGTERM, SIGINT and SIGHUP, heard on a thread of their own from the start to the end of the process.
///
/// A write beyond the limit of the file size ends a process with SIGXFSZ unless that is caught, too; caught, it
/// makes the write fail with an error.
pub(crate) struct Signals {
    heard: Receiver<Heard>,
}

/// What was heard.
enum Heard {
    Hangup,
    End,
}

/// A signal that ends the server.
struct Ending {
    name: &'static str,
    number: i32,
}

/// What to make of a signal that ends the server.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Stop in order.
    Stop,
    /// The same request again.
    Same,
    /// Leave at once.
    Leave,
}

/// When the first of them came.
#[derive(Debug, Default)]
struct Endings {
    first: Option<Instant>,
}

impl Signals {
    /// Catches the signals from now on. A second request to stop is obeyed from here.
    ///
    /// # Errors
    /// Those of the system when it gives no descriptors or no thread.
    pub(crate) fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let on_runtime = runtime.enter();
        // Once is for ever: the signal stays caught when this is dropped.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let caught = Caught {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        drop(on_runtime);
        let (tell, heard) = channel();
        let listener = thread::Builder::new().name("galgo-signals".to_owned());
        listener.spawn(move || runtime.block_on(caught.listen(&tell)))?;
        Ok(Self { heard })
    }

    /// Blocks until one came that ends the server, calling `on_hangup` for each SIGHUP.
    pub(crate) fn wait(&self, on_hangup: impl Fn()) {
        // Without the thread that listens nothing will be heard: that ends the server as well.
        while let Ok(Heard::Hangup) = self.heard.recv() {
            on_hangup();
        }
    }
}

/// The signals, each by itself.
struct Caught {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Caught {
    async fn listen(mut self, tell: &Sender<Heard>) {
        let mut endings = Endings::default();
        loop {
            let Some(Ending { name, number }) = self.next().await else {
                // Nobody waits any more for what a hangup would change.
                let _ = tell.send(Heard::Hangup);
                continue;
            };
            match endings.judge(Instant::now()) {
                Verdict::Stop => {
                    tracing::info!(signal = name, "stopping");
                    let _ = tell.send(Heard::End);
                }
                Verdict::Same => {
                    tracing::info!(signal = name, "signal taken for the same request to stop");
                }
                Verdict::Leave => {
                    tracing::warn!(signal = name, "second signal: leaving without an orderly stop");
                    streams::flush(EXIT_PATIENCE);
                    std::process::exit(SIGNAL_EXIT_CODE + number);
                }
            }
        }
    }

    /// The next signal that ends the server; `None` for a hangup.
    async fn next(&mut self) -> Option<Ending> {
        let Self { terminate, interrupt, hangup } = self;
        let (name, kind) = tokio::select! {
            _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
            _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
            _ = hangup.recv() => return None,
        };
        Some(Ending { name, number: kind.as_raw_value() })
    }
}

impl Endings {
    fn judge(&mut self, now: Instant) -> Verdict {
        match self.first {
            None => {
                self.first = Some(now);
                Verdict::Stop
            }
            Some(first) if now.duration_since(first) < SAME_REQUEST => Verdict::Same,
            Some(_) => Verdict::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `timeout` signals its child and then the group the child is in, and a Ctrl-C reaches a process and
    /// whoever passes it on. The second of such a pair, a millisecond later, ended the server in the middle of
    /// its orderly stop.
    #[test]
    fn signals_of_one_second_are_one_request() {
        let (mut endings, start) = (Endings::default(), Instant::now());
        let mut after = |ms| endings.judge(start + Duration::from_millis(ms));
        assert_eq!(after(0), Verdict::Stop);
        assert_eq!(after(1), Verdict::Same);
        assert_eq!(after(999), Verdict::Same);
        assert_eq!(after(1000), Verdict::Leave);
    }
}
