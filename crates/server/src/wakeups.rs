//! Wake-ups of connections by the committer: one for a thread, not one for each connection.
//!
//! A round of group commit answers many connections at once. Waking each of their tasks from another
//! thread is a system call each; so the tasks are put into a box of the thread they run on, and the
//! thread is woken when the box was empty.
//!
//! INV-NO-LOST-WAKE: a task put into a box is woken after that; the box is emptied by a task of its
//! thread that was woken after something had been put into it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use parking_lot::Mutex;

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) };
}

/// The tasks of one thread that are to be woken.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    contents: Mutex<MailboxContents>,
}

#[derive(Debug, Default)]
struct MailboxContents {
    tasks: Vec<Waker>,
    /// The task that empties the box, while it sleeps.
    keeper: Option<Waker>,
}

impl Mailbox {
    /// Makes this the box of the calling thread.
    pub(crate) fn install(self: &Arc<Self>) {
        OF_THIS_THREAD.set(Some(Arc::clone(self)));
    }

    /// Wakes what is put into the box, for ever. Runs on the thread whose box it is, so that each
    /// wake-up from here is no system call.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut woken = Vec::new();
        poll_fn(|cx| {
            {
                let mut contents = self.contents.lock();
                std::mem::swap(&mut contents.tasks, &mut woken);
                contents.keeper = Some(cx.waker().clone());
            }
            woken.drain(..).for_each(Waker::wake);
            Poll::<()>::Pending
        })
        .await;
    }

    fn put(&self, task: Waker) {
        let keeper = {
            let mut contents = self.contents.lock();
            contents.tasks.push(task);
            contents.keeper.take()
        };
        if let Some(keeper) = keeper {
            keeper.wake();
        }
    }
}

/// Wakes one task by way of the box of its thread.
#[derive(Debug)]
struct Forward {
    mailbox: Arc<Mailbox>,
    task: Waker,
}

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mailbox.put(self.task.clone());
    }
}

/// The waker a task hands to other threads, made once.
#[derive(Debug, Default)]
pub(crate) struct Route {
    made: Option<(Waker, Waker)>,
}

impl Route {
    /// What wakes the task of `waker` by way of the box of this thread; `waker` itself on a thread
    /// without one.
    pub(crate) fn to(&mut self, waker: &Waker) -> &Waker {
        let current = self.made.as_ref().is_some_and(|(task, _)| task.will_wake(waker));
        if !current {
            self.made = None;
        }
        let (_, routed) = self.made.get_or_insert_with(|| {
            let mailbox = OF_THIS_THREAD.with_borrow(Option::clone);
            let task = waker.clone();
            let routed = mailbox.map_or_else(
                || waker.clone(),
                |mailbox| Waker::from(Arc::new(Forward { mailbox, task: task.clone() })),
            );
            (task, routed)
        });
        routed
    }
}

#[cfg(test)]
mod tests {
    //! INV-NO-LOST-WAKE, on threads.

    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_put_into_the_box_is_woken() {
        const TASKS: usize = 64;
        const ROUNDS: usize = 2_000;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (told, tasks) = std::sync::mpsc::channel::<(Waker, Arc<AtomicUsize>)>();
        let committer = std::thread::spawn(move || {
            while let Ok((task, done)) = tasks.recv() {
                done.fetch_add(1, Ordering::Release);
                task.wake();
            }
        });
        runtime.block_on(async move {
            let mailbox = Arc::new(Mailbox::default());
            mailbox.install();
            let keeper = tokio::spawn(Arc::clone(&mailbox).keep());
            let waiting: Vec<_> = (0..TASKS)
                .map(|_| {
                    let told = told.clone();
                    tokio::spawn(async move {
                        let mut route = Route::default();
                        let done = Arc::new(AtomicUsize::new(0));
                        for round in 1..=ROUNDS {
                            let mut asked = false;
                            poll_fn(|cx| {
                                if !std::mem::replace(&mut asked, true) {
                                    let task = route.to(cx.waker()).clone();
                                    told.send((task, Arc::clone(&done))).unwrap();
                                }
                                match done.load(Ordering::Acquire) {
                                    finished if finished == round => Poll::Ready(()),
                                    _ => Poll::Pending,
                                }
                            })
                            .await;
                        }
                    })
                })
                .collect();
            for task in waiting {
                task.await.unwrap();
            }
            keeper.abort();
        });
        committer.join().unwrap();
        OF_THIS_THREAD.set(None);
    }

    #[test]
    fn without_a_box_the_task_is_woken_itself() {
        let waker = Waker::noop();
        assert!(Route::default().to(waker).will_wake(waker));
    }
}
