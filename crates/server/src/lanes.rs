//! Threads that serve connections, one for each processor, each with its own reactor.
//!
//! A connection stays on the thread it was given to, so its wake-ups, its buffers and the reply that
//! goes to its client stay on one processor. With a work-stealing runtime any idle thread may take the
//! next step of a connection, and each such step pays for a wake-up of the other processor.
//!
//! A connection's task runs on one thread from its first byte to its last.
//! Each thread has a helper for work that blocks from the start to the end. When the system gives
//! no more of them, work waits for those there are; without any, handing it over would end the thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::spin;
use crate::wakeups::Mailbox;

/// How long a helper stays that has nothing to do: for ever.
const HELPER_IDLE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The threads.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
}

/// Takes connections to the threads in turn.
#[derive(Debug)]
pub(crate) struct Turns {
    handles: Vec<Handle>,
    next: AtomicUsize,
}

/// One thread with a reactor; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Lane {
    handle: Handle,
    stop: oneshot::Sender<Duration>,
    thread: thread::JoinHandle<()>,
}

impl Lanes {
    /// Starts `count` threads, each with up to `blocking_threads` helpers for work that may block.
    ///
    /// # Errors
    /// Those of the system when it gives no more threads or descriptors.
    pub(crate) fn start(count: usize, blocking_threads: usize) -> io::Result<Self> {
        let start = |_| Lane::start("galgo-net", blocking_threads);
        let lanes = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { lanes })
    }

    /// The threads for those who bring connections.
    pub(crate) fn turns(&self) -> Turns {
        let handles = self.lanes.iter().map(|lane| lane.handle.clone()).collect();
        Turns { handles, next: AtomicUsize::new(0) }
    }

    /// Ends the threads; work that blocks gets `patience` to end.
    pub(crate) fn stop(self, patience: Duration) {
        let threads: Vec<_> = self
            .lanes
            .into_iter()
            .map(|lane| {
                // A lane that is gone already needs no word.
                let _ = lane.stop.send(patience);
                lane.thread
            })
            .collect();
        threads.into_iter().for_each(join);
    }
}

impl Lane {
    /// Starts the thread, with up to `blocking_threads` helpers.
    ///
    /// # Errors
    /// Those of the system when it gives no more threads or descriptors.
    pub(crate) fn start(name: &str, blocking_threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(blocking_threads)
            .thread_keep_alive(HELPER_IDLE_MAX)
            .thread_name("galgo-block")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        // Whether one more can be had is found out here, where it is an error: the runtime panics.
        let may_have_helper = thread::Builder::new().spawn(|| ())?;
        may_have_helper.join().map_err(|_| io::Error::other("a thread failed at once"))?;
        handle.spawn_blocking(|| ());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Without a word the process is ending anyway.
            let mailbox = Arc::new(Mailbox::default());
            mailbox.install();
            runtime.spawn(mailbox.keep());
            runtime.spawn(spin::keep_awake());
            let patience = runtime.block_on(stopped).unwrap_or_default();
            runtime.shutdown_timeout(patience);
        })?;
        Ok(Self { handle, stop, thread })
    }

    /// What runs tasks on the thread.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the thread; work that blocks gets `patience` to end.
    pub(crate) fn stop(self, patience: Duration) {
        // A thread that is gone already needs no word.
        let _ = self.stop.send(patience);
        join(self.thread);
    }
}

fn join(thread: thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a network thread had failed; the reason is in the log above");
    }
}

impl Turns {
    /// The thread for the next connection; `None` when there are none.
    pub(crate) fn next(&self) -> Option<&Handle> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles.get(turn.checked_rem(self.handles.len())?)
    }
}
