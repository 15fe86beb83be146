//! Rounds: what connections leave to be committed together, gathered where the committer finds it, then on its way to the
//! journal, oldest first.
//!
//! INV-WAKE: whoever leaves something, or settles a bundle in flight, wakes a committer that sleeps: it looks and
//! goes to sleep under the lock under which both happens.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use galgo_storage::journal::{CommitFailure, InFlight, Lsn, Settled};
use galgo_storage::lock::{Held, Ranked, rank};
use galgo_wire::id::{Offset, PartitionUid};
use parking_lot::Condvar;

use super::evidence::PendingEnds;
use super::member::{Completion, ShardMember};
use crate::alarm::Rung;
use crate::ticket::Resolver;

/// What waits for the next bundle, or is on its way in one.
#[derive(Default)]
pub(super) struct Round {
    pub(super) bytes: Vec<u8>,
    pub(super) batches: Vec<(Arc<dyn ShardMember>, Offset)>,
    pub(super) completions: Vec<(Completion, Resolver)>,
    pub(super) sync: bool,
    /// Evidence that rides along.
    pub(super) ends: PendingEnds,
    /// Who waits for what is being published; empty while it gathers.
    pub(super) published: Vec<Resolver>,
    /// Readers that wait for it.
    pub(super) rung: Vec<Rung>,
    /// Whether the journal refused it once already, and room was made.
    pub(super) is_second_try: bool,
}

impl Round {
    pub(super) fn is_empty(&self) -> bool {
        // Ends that are not due are no reason for a bundle: they ride along with the next.
        self.bytes.is_empty() && !self.ends.due
    }

    /// Empties it; the room it took is kept for the next.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.batches.clear();
        self.completions.clear();
        self.sync = false;
        self.ends = PendingEnds::default();
        self.published.clear();
        self.rung.clear();
        self.is_second_try = false;
    }
}

/// The round that gathers.
#[derive(Default)]
pub(super) struct Intake {
    gathering: Ranked<{ rank::INTAKE }, IntakeState>,
    work: Condvar,
}

#[derive(Default)]
struct IntakeState {
    round: Round,
    /// Whether a bundle in flight was settled since the committer looked.
    is_settled: bool,
    committer_waits: bool,
}

/// The round that gathers, held.
pub(super) struct OpenRound<'a> {
    intake: &'a Intake,
    gathering: Held<'a, { rank::INTAKE }, IntakeState>,
}

impl OpenRound<'_> {
    /// What is staged.
    pub(super) fn round(&mut self) -> &mut Round {
        &mut self.gathering.round
    }

    /// Something was staged: a committer that sleeps is to see it.
    pub(super) fn wake(&mut self) {
        self.gathering.wake(&self.intake.work);
    }
}

impl IntakeState {
    fn wake(&mut self, work: &Condvar) {
        // Once for each sleep: those who come until it is awake have nothing to add.
        if std::mem::take(&mut self.committer_waits) {
            work.notify_one();
        }
    }
}

impl Intake {
    pub(super) fn open(&self) -> OpenRound<'_> {
        OpenRound { intake: self, gathering: self.gathering.lock() }
    }

    /// Notes that a sync covered all messages of a partition below `end`.
    pub(super) fn note_synced_end(&self, uid: PartitionUid, end: Offset) {
        let mut open = self.open();
        let round = open.round();
        round.ends.note(uid, end, true);
        // A committer that is at work takes it along; one that sleeps has nothing else to write.
        round.ends.due = true;
        open.wake();
    }

    /// Swaps what is staged with an emptied round; false when nothing is.
    pub(super) fn take(&self, spare: &mut Round) -> bool {
        assert!(
            spare.is_empty() && spare.batches.is_empty() && spare.completions.is_empty(),
            "INV-TICKET: a round that is given back waits for nothing"
        );
        let mut gathering = self.gathering.lock();
        let is_due = !gathering.round.is_empty();
        if is_due {
            // Swapped, so that the room that earlier rounds took is used again.
            std::mem::swap(&mut gathering.round, spare);
        }
        is_due
    }

    /// Takes all of it, whether it is due or not.
    pub(super) fn take_all(&self) -> Round {
        std::mem::take(&mut self.gathering.lock().round)
    }

    /// Sleeps until there is something to do. A full window takes no more: then only what is settled counts. False
    /// when it is time to end: nothing is staged, and `stops` says so.
    pub(super) fn wait(&self, is_full: bool, stops: impl Fn() -> bool) -> bool {
        let mut gathering = self.gathering.lock();
        // What was settled since the committer looked would else be slept over (INV-WAKE).
        if std::mem::take(&mut gathering.is_settled) {
            return true;
        }
        if !gathering.round.is_empty() && !is_full {
            return true;
        }
        if stops() {
            return false;
        }
        // INV-WAKE: noted under the lock that whoever leaves something takes, so that it is seen there or here.
        gathering.committer_waits = true;
        // Once and not in a loop: whoever is woken for nothing looks, and comes back.
        gathering.wait(&self.work);
        true
    }

    /// Wakes the committer, so that it looks whether it is to end.
    pub(super) fn stop(&self) {
        // Taken once: the committer is not between its look and its sleep then.
        drop(self.gathering.lock());
        self.work.notify_all();
    }
}

/// Called by a journal when a bundle in flight is settled.
impl Wake for Intake {
    fn wake(self: Arc<Self>) {
        let mut gathering = self.gathering.lock();
        gathering.is_settled = true;
        gathering.wake(&self.work);
    }
}

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
        assert!(
            round.batches.is_empty() && round.completions.is_empty() && round.published.is_empty(),
            "INV-TICKET: whoever waits for a round is told before it is used again"
        );
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
        let Some((round, _)) = self.in_flight.pop_front() else {
            unreachable!("INV-ROUND-ORDER: the one that was asked is still in front")
        };
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
