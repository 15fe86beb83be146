//! The promise of an answer: resolved by the committer when a write is as durable as its topic asks.
//!
//! A ticket is a plain [`Future`], so that the shell may wait on any executor and the simulator on
//! none.
//!
//! INV-TICKET: every issued ticket is resolved exactly once; a dropped [`Resolver`] resolves it
//! with an error, never with success.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use galgo_storage::journal::CommitError;
use galgo_wire::error_code::ErrorCode;

const PENDING: u32 = u32::MAX;
const DURABLE: u32 = 0;
/// In the order of their declaration.
const FAILURES: [CommitError; 5] = [
    CommitError::NotOwner,
    CommitError::Fenced,
    CommitError::Unavailable,
    CommitError::Overloaded,
    CommitError::Disk,
];

const _: () = {
    let [not_owner, fenced, unavailable, overloaded, disk] = FAILURES;
    let places =
        [not_owner as u32, fenced as u32, unavailable as u32, overloaded as u32, disk as u32];
    assert!(matches!(places, [0, 1, 2, 3, 4]), "INV-TICKET: a failure comes out as what went in");
};

#[derive(Debug)]
struct TicketShared {
    /// [`PENDING`], [`DURABLE`], or the place of a [`CommitError`] in [`FAILURES`], from 1.
    state: AtomicU32,
    waker: AtomicWaker,
}

/// Waits for one write to become durable.
///
/// Resolves to `Ok` once the write may be acknowledged, or to the error its sender gets.
#[derive(Debug)]
pub struct Ticket(Arc<TicketShared>);

/// The committer's end of a [`Ticket`].
#[derive(Debug)]
pub struct Resolver(Arc<TicketShared>);

/// Makes a ticket and its resolver.
#[must_use]
pub fn ticket() -> (Ticket, Resolver) {
    let shared =
        Arc::new(TicketShared { state: AtomicU32::new(PENDING), waker: AtomicWaker::new() });
    (Ticket(Arc::clone(&shared)), Resolver(shared))
}

/// Sees the outcome of a [`Ticket`] that somebody else waits for.
#[derive(Debug)]
pub(crate) struct TicketWatch(Arc<TicketShared>);

impl TicketWatch {
    /// The outcome, when it is known already.
    pub(crate) fn outcome(&self) -> Option<Result<(), ErrorCode>> {
        self.0.outcome()
    }
}

impl Ticket {
    /// Lets another see the outcome.
    pub(crate) fn watch(&self) -> TicketWatch {
        TicketWatch(Arc::clone(&self.0))
    }

    /// The outcome, when it is known already; never waits.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), ErrorCode>> {
        self.0.outcome()
    }
}

impl TicketShared {
    fn outcome(&self) -> Option<Result<(), ErrorCode>> {
        // With `settle`: whoever sees the outcome sees what was done before it, a raised
        // high-watermark among it.
        match self.state.load(Ordering::Acquire) {
            PENDING => None,
            DURABLE => Some(Ok(())),
            failure => {
                let failure = FAILURES.get(failure as usize - 1);
                assert!(failure.is_some(), "INV-TICKET: a ticket holds what it was resolved with");
                failure.map(|failure| Err((*failure).into()))
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), ErrorCode>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        self.0.waker.register(cx.waker());
        // The resolver may have run between the look and the registration.
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Resolver {
    /// Resolves the ticket and wakes whoever waits for it.
    pub fn resolve(self, outcome: Result<(), CommitError>) {
        self.settle(outcome);
    }

    fn settle(&self, outcome: Result<(), CommitError>) {
        let state = outcome.map_or_else(|error| error as u32 + 1, |()| DURABLE);
        // Only the first outcome counts: every resolver is dropped in the end, also one that has
        // resolved (INV-TICKET).
        let settled =
            self.0.state.compare_exchange(PENDING, state, Ordering::AcqRel, Ordering::Acquire);
        if settled.is_ok() {
            self.0.waker.wake();
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // Whoever let go of it has promised nothing: the sender may not be told that it is durable.
        self.settle(Err(CommitError::Fenced));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-TICKET.
    #[test]
    fn resolves_once_and_keeps_the_first_outcome() {
        let (waiting, resolver) = ticket();
        assert_eq!(waiting.outcome(), None);
        resolver.resolve(Ok(()));
        assert_eq!(waiting.outcome(), Some(Ok(())));
    }

    /// INV-TICKET.
    #[test]
    fn every_failure_comes_out_as_what_went_in() {
        for error in FAILURES {
            let (waiting, resolver) = ticket();
            resolver.resolve(Err(error));
            assert_eq!(waiting.outcome(), Some(Err(ErrorCode::from(error))));
        }
        assert_eq!(FAILURES.map(|error| error as usize), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn dropped_resolver_is_an_error_never_a_success() {
        let (waiting, resolver) = ticket();
        drop(resolver);
        assert_eq!(waiting.outcome(), Some(Err(ErrorCode::CannotSyncFile)));
    }
}
