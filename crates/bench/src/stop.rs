//! The wish to stop in an orderly way, for threads that do not await.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{BenchCause, BenchError, Outcome};

/// Set when a signal comes, or the terminal goes.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Watches for SIGINT, SIGTERM and SIGHUP on a thread of its own; from here on they no longer end the process
    /// by themselves.
    ///
    /// # Errors
    /// Signals cannot be watched for.
    pub fn watch() -> Outcome<Self> {
        let failed = |error| BenchError::machine(format!("cannot watch for signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| BenchError::machine(format!("cannot start the runtime: {error}")))?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt()).map_err(failed)?,
                signal(SignalKind::terminate()).map_err(failed)?,
                signal(SignalKind::hangup()).map_err(failed)?,
            )
        };
        let flag = Self::default();
        let seen = flag.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            seen.0.store(true, Ordering::Relaxed);
        });
        Ok(flag)
    }

    /// Whether it is time to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error when it is time to stop.
    ///
    /// # Errors
    /// [`BenchCause::Interrupted`], when it is.
    pub fn check(&self) -> Outcome {
        if self.is_set() { Err(BenchCause::Interrupted.into()) } else { Ok(()) }
    }
}
