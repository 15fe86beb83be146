//! Threads that programs run on: with a stack that is large and bounded, and given up when they do not come back.
//!
//! Part of INV-JQ-BOUND: a program that does not end by itself costs a thread, never the lane's message after it. Of threads that
//! are given up there are [`GIVEN_UP_MAX`] at most; then lanes wait until one ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::watch::{CALLS_STACK_MAX, PRINT_STACK_MAX};

/// Address space of a thread; it is memory only where it was used.
const STACK_BYTES: usize = 512 << 20;
const _: () = assert!(
    CALLS_STACK_MAX + PRINT_STACK_MAX < STACK_BYTES,
    "INV-JQ-BOUND: a program that prints at its deepest call is ended before its stack is"
);
/// Threads that run programs at a time.
const RUNNING_MAX: usize = 8;
/// Threads that were given up and have not ended yet.
pub const GIVEN_UP_MAX: usize = 4;
const _: () = assert!(
    0 < GIVEN_UP_MAX && GIVEN_UP_MAX <= RUNNING_MAX,
    "one program that is given up holds up no other"
);
/// Between two tries to start a thread where the system has none.
const PAUSE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Threads {
    idle: Vec<Sender<Work>>,
    running: usize,
    given_up: usize,
}

#[derive(Default)]
struct Evaluators {
    threads: Mutex<Threads>,
    /// Rung when one is free.
    freed: Condvar,
}

static EVALUATORS: LazyLock<Arc<Evaluators>> = LazyLock::new(Arc::default);

/// Threads that were given up and run still.
#[must_use]
pub fn given_up() -> usize {
    EVALUATORS.threads.lock().given_up
}

/// What work knows of whether it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Done,
    GivenUp,
}

/// Why nothing came of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It took longer than it may.
    Late,
    /// The program hit a fault in the library that runs it.
    Broke,
}

/// Runs `evaluate` on each input, in order, and gives what came of it, each within `patience`. Blocks.
pub fn each<I, O, F>(inputs: Vec<I>, patience: Duration, evaluate: F) -> Vec<Result<O, Lost>>
where
    I: Send + Sync + 'static,
    O: Send + 'static,
    F: Fn(&I) -> O + Send + Sync + 'static,
{
    let (inputs, evaluate) = (Arc::new(inputs), Arc::new(evaluate));
    let mut outputs = Vec::with_capacity(inputs.len());
    while outputs.len() < inputs.len() {
        let (results, received) = mpsc::channel();
        let stage = Arc::new(Mutex::new(Stage::Running));
        let work = {
            let (inputs, evaluate) = (Arc::clone(&inputs), Arc::clone(&evaluate));
            let (stage, begin) = (Arc::clone(&stage), outputs.len());
            Box::new(move || {
                for input in inputs.iter().skip(begin) {
                    let output = catch_unwind(AssertUnwindSafe(|| evaluate(input)));
                    // Nobody waits any more: it was given up.
                    if results.send(output.map_err(|_| Lost::Broke)).is_err() {
                        break;
                    }
                }
                EVALUATORS.done(&stage);
            })
        };
        EVALUATORS.start(work);
        loop {
            match received.recv_timeout(patience) {
                Ok(output) => outputs.push(output),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if EVALUATORS.give_up(&stage) {
                        outputs.push(Err(Lost::Late));
                        break;
                    }
                }
            }
        }
        assert!(outputs.len() <= inputs.len(), "INV-JQ-BOUND: each message has one outcome");
    }
    outputs
}

impl Evaluators {
    /// Hands work to a thread; waits while there is none.
    fn start(self: &Arc<Self>, work: Work) {
        let mut work = work;
        loop {
            let idle = {
                let mut threads = self.threads.lock();
                while threads.running >= RUNNING_MAX || threads.given_up >= GIVEN_UP_MAX {
                    if self.freed.wait_for(&mut threads, Duration::from_secs(60)).timed_out() {
                        tracing::error!(
                            running = threads.running,
                            given_up = threads.given_up,
                            "jq programs do not end: lanes wait for them; restart the pipeline with another program"
                        );
                    }
                }
                threads.running += 1;
                threads.idle.pop()
            };
            let thread = match idle {
                Some(thread) => thread,
                None => match self.spawn() {
                    Ok(thread) => thread,
                    Err(error) => {
                        self.threads.lock().running -= 1;
                        tracing::warn!(%error, "no thread for a jq program; it is tried again");
                        thread::sleep(PAUSE);
                        continue;
                    }
                },
            };
            match thread.send(work) {
                Ok(()) => return,
                // It ended meanwhile.
                Err(mpsc::SendError(back)) => {
                    work = back;
                    self.threads.lock().running -= 1;
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>) -> std::io::Result<Sender<Work>> {
        let (sender, receiver) = mpsc::channel::<Work>();
        let (evaluators, again) = (Arc::clone(self), sender.clone());
        thread::Builder::new().name("jq".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            while let Ok(work) = receiver.recv() {
                RETIRES.set(false);
                work();
                // One that is given up, or has used much of its stack, ends, and its memory is free.
                if RETIRES.get() {
                    break;
                }
                evaluators.threads.lock().idle.push(again.clone());
            }
        })?;
        Ok(sender)
    }

    fn done(&self, stage: &Mutex<Stage>) {
        let mut stage = stage.lock();
        let mut threads = self.threads.lock();
        match *stage {
            Stage::GivenUp => {
                assert!(
                    threads.given_up > 0,
                    "INV-JQ-BOUND: a thread that was given up is counted"
                );
                threads.given_up -= 1;
                retire();
            }
            Stage::Running => {
                assert!(threads.running > 0, "INV-JQ-BOUND: a thread that runs is counted");
                threads.running -= 1;
            }
            Stage::Done => unreachable!("INV-JQ-BOUND: a thread is done with its work once"),
        }
        *stage = Stage::Done;
        self.freed.notify_all();
    }

    /// Gives up on work; not if it has just ended.
    fn give_up(&self, stage: &Mutex<Stage>) -> bool {
        let mut stage = stage.lock();
        if *stage == Stage::Done {
            return false;
        }
        *stage = Stage::GivenUp;
        let mut threads = self.threads.lock();
        threads.running -= 1;
        threads.given_up += 1;
        true
    }
}

thread_local! {
    static RETIRES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Has the thread end behind its work.
pub(crate) fn retire() {
    RETIRES.set(true);
}
