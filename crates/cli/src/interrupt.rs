//! Ctrl-C: the wish to stop in an orderly way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// A flag for threads that do not await: set when a signal comes, or the terminal goes.
#[derive(Clone, Debug)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Starts to watch on a thread of its own.
    pub(crate) fn watch() -> Outcome<Self> {
        let flag = Self(Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io(format!("cannot start the runtime: {error}")))?;
        let (mut interrupt, mut hangup) = {
            let _inside = runtime.enter();
            let hangup = signal(SignalKind::hangup())
                .map_err(|error| Failure::io(format!("cannot watch for signals: {error}")))?;
            (Interrupt::watch()?, hangup)
        };
        let seen = flag.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = interrupt.wait() => {}
                    _ = hangup.recv() => {}
                }
            });
            seen.0.store(true, Ordering::Relaxed);
        });
        Ok(flag)
    }

    /// Whether it is time to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error when it is time to stop.
    pub(crate) fn check(&self) -> Outcome {
        if self.is_set() { Err(Failure::io("interrupted")) } else { Ok(()) }
    }
}
