//! Staying awake for the next request of a connection that asks again at once.
//!
//! A processor that sleeps takes several times as long to wake as a small request takes to be answered. So a
//! thread whose connection has been the only busy one, and has asked again soon each time, looks for
//! its next request for a short while before it sleeps. With a second busy connection there is other
//! work for the processors, and none spins.
//!
//! INV-ALONE: a thread spins for the connection only whose events were the last [`STREAK`] of all.
//! INV-BRIEF: it spins for [`Spin::span`] at most; a connection that lets that pass has to be quick
//! [`STREAK`] times before it is waited for again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Events in a row of one connection before it is spun for.
const STREAK: u32 = 16;

thread_local! {
    static OF_THIS_THREAD: Spinner = const {
        Spinner { until: Cell::new(None), asleep: RefCell::new(None) }
    };
}

/// What connections on all threads have in common.
#[derive(Debug)]
pub(crate) struct Spin {
    /// How long to look for a request; zero to sleep at once.
    span: Duration,
    next_connection: AtomicU64,
    /// The connection with the last event of all.
    last: AtomicU64,
}

/// Whether one connection is waited for without sleeping.
#[derive(Debug)]
pub(crate) struct Keenness {
    spin: Arc<Spin>,
    connection: u64,
    /// Events in a row that were its own, each soon after it was waited for.
    streak: u32,
    /// When the wait began for which its thread spins.
    begun: Option<Instant>,
}

/// What keeps a thread awake.
struct Spinner {
    until: Cell<Option<Instant>>,
    /// The task that does it, while there is no need.
    asleep: RefCell<Option<Waker>>,
}

impl Spin {
    /// Threads spin for `span`, where there is more than one of `processors`: on a single one they would be
    /// in the way of whom they wait for.
    pub(crate) fn new(span: Duration, processors: usize) -> Self {
        let span = if processors > 1 { span } else { Duration::ZERO };
        Self { span, next_connection: AtomicU64::new(1), last: AtomicU64::new(0) }
    }

    /// For a new connection.
    pub(crate) fn keenness(self: &Arc<Self>) -> Keenness {
        let connection = self.next_connection.fetch_add(1, Ordering::Relaxed);
        Keenness { spin: Arc::clone(self), connection, streak: 0, begun: None }
    }
}

impl Keenness {
    /// The connection has answered everything and waits for a request.
    pub(crate) fn wait_begins(&mut self) {
        let alone = self.spin.last.load(Ordering::Relaxed) == self.connection;
        if self.streak < STREAK || !alone || self.spin.span.is_zero() {
            return;
        }
        let now = Instant::now();
        self.begun = Some(now);
        OF_THIS_THREAD.with(|spinner| spinner.stay_awake(now + self.spin.span));
    }

    /// Something came.
    pub(crate) fn event(&mut self) {
        let Self { spin, connection, streak, begun } = self;
        let in_time = match begun.take() {
            Some(begun) => {
                OF_THIS_THREAD.with(|spinner| spinner.until.set(None));
                begun.elapsed() <= spin.span
            }
            None => true,
        };
        if spin.last.load(Ordering::Relaxed) == *connection && in_time {
            *streak = streak.saturating_add(1);
        } else {
            spin.last.store(*connection, Ordering::Relaxed);
            *streak = 0;
        }
    }
}

impl Spinner {
    fn stay_awake(&self, until: Instant) {
        self.until.set(Some(until));
        if let Some(task) = self.asleep.take() {
            task.wake();
        }
    }
}

/// Keeps the thread it runs on awake while one of its connections is to be spun for, for ever.
pub(crate) async fn keep_awake() {
    loop {
        poll_fn(|cx| {
            OF_THIS_THREAD.with(|spinner| match spinner.until.get() {
                Some(_) => Poll::Ready(()),
                None => {
                    spinner.asleep.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }
            })
        })
        .await;
        // Everything else that is ready on this thread runs in between, and the sockets are looked at.
        tokio::task::yield_now().await;
        OF_THIS_THREAD.with(|spinner| {
            if spinner.until.get().is_some_and(|until| Instant::now() >= until) {
                spinner.until.set(None);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    //! INV-ALONE and INV-BRIEF, without a clock where there need be none.

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn spins() -> bool {
        OF_THIS_THREAD.with(|spinner| spinner.until.take()).is_some()
    }

    fn quick(keenness: &mut Keenness, times: u32) {
        for _ in 0..times {
            keenness.wait_begins();
            keenness.event();
        }
    }

    #[test]
    fn only_the_one_busy_connection_is_spun_for() {
        let spin = Arc::new(Spin::new(LONG, 2));
        let (mut one, mut other) = (spin.keenness(), spin.keenness());
        quick(&mut one, STREAK);
        one.wait_begins();
        assert!(!spins(), "the first event was not one after another of its own");
        quick(&mut one, 1);
        one.wait_begins();
        assert!(spins());
        other.event();
        one.event();
        one.wait_begins();
        other.wait_begins();
        assert!(!spins(), "there are two");
    }

    #[test]
    fn a_slow_connection_is_left_alone_until_it_is_quick_again() {
        let spin = Arc::new(Spin::new(Duration::from_nanos(1), 2));
        let mut slow = spin.keenness();
        quick(&mut slow, STREAK + 1);
        slow.wait_begins();
        assert!(spins());
        std::thread::sleep(Duration::from_millis(1));
        slow.event();
        slow.wait_begins();
        assert!(!spins());
    }

    #[test]
    fn nothing_spins_on_one_processor_or_when_told_not_to() {
        for spin in [Spin::new(LONG, 1), Spin::new(Duration::ZERO, 8)] {
            let mut keenness = Arc::new(spin).keenness();
            quick(&mut keenness, 2 * STREAK);
            keenness.wait_begins();
            assert!(!spins());
        }
    }

    #[test]
    fn the_task_sleeps_once_the_time_is_over() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let keeper = tokio::spawn(keep_awake());
            tokio::task::yield_now().await;
            let until = Instant::now() + Duration::from_millis(1);
            OF_THIS_THREAD.with(|spinner| spinner.stay_awake(until));
            while OF_THIS_THREAD.with(|spinner| spinner.until.get()).is_some() {
                tokio::task::yield_now().await;
            }
            assert!(Instant::now() >= until);
            tokio::task::yield_now().await;
            assert!(OF_THIS_THREAD.with(|spinner| spinner.asleep.borrow().is_some()));
            keeper.abort();
        });
    }
}
