//! Bundles between the moment they are submitted and the one their outcome is known.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::{CommitFailure, Lsn};

/// What became of a bundle.
#[derive(Debug)]
pub struct Settled {
    /// Its number, or why it was not committed.
    pub outcome: Result<Lsn, CommitFailure>,
    /// Its bytes, to be used again.
    pub payload: Vec<u8>,
}

/// A bundle that was submitted; ready when it is settled.
#[must_use = "nobody hears of the outcome otherwise"]
pub struct InFlight(Way);

enum Way {
    Settled(Option<Settled>),
    Waiting(Pin<Box<dyn Future<Output = Settled> + Send>>),
}

impl InFlight {
    /// One whose outcome is known already.
    pub fn settled(settled: Settled) -> Self {
        Self(Way::Settled(Some(settled)))
    }

    /// One that goes on without its sender.
    pub fn waiting(outcome: impl Future<Output = Settled> + Send + 'static) -> Self {
        Self(Way::Waiting(Box::pin(outcome)))
    }

    /// Waits for the outcome, on this thread.
    pub fn wait(self) -> Settled {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut this, mut context) = (pin!(self), Context::from_waker(&waker));
        // Looked at again after each wake-up: a thread is unparked for other reasons as well.
        loop {
            match this.as_mut().poll(&mut context) {
                Poll::Ready(settled) => return settled,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for InFlight {
    type Output = Settled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        match &mut self.0 {
            Way::Settled(settled) => {
                let settled = settled.take();
                assert!(settled.is_some(), "an outcome is taken once");
                settled.map_or(Poll::Pending, Poll::Ready)
            }
            Way::Waiting(outcome) => outcome.as_mut().poll(context),
        }
    }
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    #[test]
    fn whoever_waits_is_woken_by_the_outcome_of_another_thread() {
        struct Slot(Arc<Mutex<(Option<Settled>, Option<Waker>)>>);
        impl Future for Slot {
            type Output = Settled;
            fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
                let mut slot = self.0.lock().unwrap();
                slot.1 = Some(context.waker().clone());
                slot.0.take().map_or(Poll::Pending, Poll::Ready)
            }
        }
        let slot = Arc::new(Mutex::new((None, None)));
        let in_flight = InFlight::waiting(Slot(Arc::clone(&slot)));
        let settler = thread::spawn(move || {
            // Only once somebody waits, so that the wake-up is what ends it.
            while slot.lock().unwrap().1.is_none() {
                thread::sleep(Duration::from_millis(1));
            }
            let mut slot = slot.lock().unwrap();
            slot.0 = Some(Settled { outcome: Ok(Lsn::new(7)), payload: vec![1] });
            slot.1.take().unwrap().wake();
        });
        let settled = in_flight.wait();
        settler.join().unwrap();
        assert_eq!((settled.outcome.unwrap(), settled.payload), (Lsn::new(7), vec![1]));
    }
}
