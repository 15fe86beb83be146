//! A future that is dropped in the middle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs a future until it has waited so many times, and drops it then: `None`.
pub(super) struct Killed<F> {
    future: Option<Pin<Box<F>>>,
    waits_left: usize,
}

impl<F> Killed<F> {
    pub(super) fn after(waits: usize, future: F) -> Self {
        Self { future: Some(Box::pin(future)), waits_left: waits }
    }
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(None) };
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        match self.waits_left.checked_sub(1) {
            Some(left) => {
                self.waits_left = left;
                Poll::Pending
            }
            None => {
                self.future = None;
                Poll::Ready(None)
            }
        }
    }
}
