//! Rounds that are on their way to the journal, oldest first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use galgo_storage::journal::{CommitFailure, InFlight, Lsn, Settled};

use super::intake::Round;

/// The committer's own: what it has submitted, and emptied rounds whose room is used again.
pub struct Rounds {
    in_flight: VecDeque<(Round, InFlight)>,
    /// Refused ones, in their order, that are submitted once more when there is room.
    aside: Vec<Round>,
    spare: Vec<Round>,
    waker: Waker,
}

/// A round whose outcome is known.
pub(super) struct SettledRound {
    pub(super) round: Round,
    pub(super) outcome: Result<Lsn, CommitFailure>,
}

impl Default for Rounds {
    /// Those of somebody who asks again and again, and does not sleep.
    fn default() -> Self {
        Self::woken_by(Waker::noop().clone())
    }
}

impl Rounds {
    /// Whoever is behind `waker` is woken when one of them is settled.
    pub(super) fn woken_by(waker: Waker) -> Self {
        Self { in_flight: VecDeque::new(), aside: Vec::new(), spare: Vec::new(), waker }
    }

    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// An empty one.
    pub(super) fn spare(&mut self) -> Round {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps the room of one for the next.
    pub(super) fn give_back(&mut self, mut round: Round) {
        round.clear();
        self.spare.push(round);
    }

    pub(super) fn push(&mut self, round: Round, in_flight: InFlight) {
        self.in_flight.push_back((round, in_flight));
    }

    /// The oldest one, if it is settled. Later ones are looked at when it is their turn.
    pub(super) fn pop_settled(&mut self) -> Option<SettledRound> {
        let (_, oldest) = self.in_flight.front_mut()?;
        // The waker stays with it: its settling wakes a committer that sleeps (INV-WAKE).
        let Poll::Ready(settled) = Pin::new(oldest).poll(&mut Context::from_waker(&self.waker))
        else {
            return None;
        };
        // INV-ROUND-ORDER: it is the one in front that was asked.
        let (round, _) = self.in_flight.pop_front()?;
        Some(SettledRound::new(round, settled))
    }

    /// Keeps one that is to be submitted once more, behind those that are kept already.
    pub(super) fn set_aside(&mut self, round: Round) {
        self.aside.push(round);
    }

    /// Those that were kept, in their order.
    pub(super) fn take_aside(&mut self) -> Vec<Round> {
        std::mem::take(&mut self.aside)
    }

    /// Gives up all that are not settled, oldest first: nobody will ask for their outcomes any more.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Round> {
        let in_flight = self.in_flight.drain(..).map(|(round, _)| round);
        self.aside.drain(..).chain(in_flight)
    }

    /// Waits for the oldest one, if there is any, on this thread.
    pub(super) fn wait_oldest(&mut self) -> Option<SettledRound> {
        let (round, in_flight) = self.in_flight.pop_front()?;
        Some(SettledRound::new(round, in_flight.wait()))
    }
}

impl SettledRound {
    fn new(mut round: Round, Settled { outcome, payload }: Settled) -> Self {
        // Handed back by the journal: they go once more where they were refused, and their room is
        // used again where not.
        round.bytes = payload;
        Self { round, outcome }
    }
}

impl std::fmt::Debug for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds").field("in_flight", &self.in_flight.len()).finish_non_exhaustive()
    }
}
