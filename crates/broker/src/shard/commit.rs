//! Group commit: everything staged since the last round becomes durable in one.
//!
//! Connections stage records into a round under a short lock. One committer takes the whole round, submits
//! it as one bundle to the journal, and tells the members when it is settled. While the disk works,
//! the next round gathers. Large batches do not pass through here: a few sync workers sync the
//! segments of their members, each member at most once at a time.
//!
//! INV-ROUND-ORDER: rounds are settled in the order in which they were submitted; one that is sent again goes before
//! all that were in flight behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use galgo_storage::journal::{Bundle, CommitError, InFlight, JournalRoom, Lsn, Settled};
use galgo_wire::command::Durability;
use galgo_wire::id::Offset;

use super::member::{Completion, ShardMember};
use super::rounds::{Round, Rounds, SettledRound};
use super::{Shard, ShardRecord};
use crate::alarm::News;
use crate::causes::Causes;
use crate::ticket::Resolver;

impl Shard {
    /// Stages a batch for the journal, if it is small enough and there is room; otherwise the
    /// caller has the segment synced.
    pub(crate) fn stage_batch<M: ShardMember + 'static>(
        &self,
        record: &ShardRecord<'_>,
        member: &Arc<M>,
        end: Offset,
    ) -> bool {
        let ShardRecord::Batch { messages, .. } = record else {
            unreachable!("INV-JOURNAL: what is no batch has an outcome of its own, see `stage`")
        };
        let len = messages.len();
        // A large one is written once where it belongs; through the journal it would be written twice.
        let too_large = len > self.options.journal_batch_bytes_max as usize;
        if too_large {
            self.wrote_unjournaled(len as u64);
            return false;
        }
        let mut open = self.intake.open();
        let round = open.round();
        // Looked at under the lock: behind a committer that is gone nobody takes what is staged. A journal that has failed takes
        // nothing more (INV-SHARD-FENCE), and for room nobody waits: a sync of the segment goes without it.
        if self.is_fenced() || round.bytes.len() + len > self.options.bundle_bytes_max {
            drop(open);
            self.wrote_unjournaled(len as u64);
            return false;
        }
        record.encode(&mut round.bytes);
        match round.batches.last_mut() {
            // One sender after the other to the same partition: the members are told once for each bundle.
            Some((last, last_end)) if std::ptr::addr_eq(Arc::as_ptr(last), Arc::as_ptr(member)) => {
                *last_end = end;
            }
            _ => round.batches.push((Arc::clone(member) as Arc<dyn ShardMember>, end)),
        }
        round.sync = true;
        open.wake();
        true
    }

    /// Stages a record other than a batch; the member is told of the outcome before `resolver` is. It survives then what
    /// `durability` names.
    ///
    /// # Errors
    /// Why it was not staged: neither of both is told then.
    pub(crate) fn stage(
        &self,
        record: &ShardRecord<'_>,
        durability: Durability,
        completion: Completion,
        resolver: Resolver,
    ) -> Result<(), CommitError> {
        let mut open = self.intake.open();
        // Looked at under the lock: whoever fences the shard for good takes what is staged under it afterwards, so that
        // each record is refused here, or is told there.
        if self.is_fenced() || self.is_halted() {
            return Err(CommitError::Fenced);
        }
        let round = open.round();
        // Twice the room of batches: records are small, and should not wait for them.
        if round.bytes.len() > 2 * self.options.bundle_bytes_max {
            return Err(CommitError::Overloaded);
        }
        record.encode(&mut round.bytes);
        round.completions.push((completion, resolver));
        // Never taken back: one record that needs the sync is enough.
        round.sync |= durability == Durability::Fsync;
        open.wake();
        Ok(())
    }

    /// Counts bytes that a recovery would have to look for in segments, and asks for a checkpoint
    /// when there are many.
    pub(crate) fn wrote_unjournaled(&self, bytes: u64) {
        let before = self.unjournaled_bytes.fetch_add(bytes, Ordering::Relaxed);
        let due = self.options.checkpoint_bytes;
        if before < due && before + bytes >= due {
            self.ask_checkpoint();
        }
    }

    /// Submits what is staged, if anything, and settles what is known by now; tells whether there was something
    /// of either.
    pub fn commit_round(&self, rounds: &mut Rounds) -> bool {
        // Sent first: the disk is at work while the members are told of what is settled.
        let sent = self.send_round(rounds);
        let mut settled = false;
        while let Some(oldest) = rounds.pop_settled() {
            self.settle(oldest, rounds);
            settled = true;
        }
        sent || settled
    }

    /// As [`Shard::commit_round`] after waiting for the oldest round in flight; false when there is none.
    pub fn await_round(&self, rounds: &mut Rounds) -> bool {
        let oldest = rounds.wait_oldest();
        oldest.is_some_and(|oldest| {
            self.settle(oldest, rounds);
            true
        })
    }

    fn send_round(&self, rounds: &mut Rounds) -> bool {
        if rounds.len() >= self.journal.window() {
            return false;
        }
        let mut round = rounds.spare();
        if !self.intake.take(&mut round) {
            rounds.give_back(round);
            return false;
        }
        self.encode_ends(&mut round);
        self.submit(round, rounds);
        true
    }

    /// Adds the ends that wait to a bundle that is about to be committed.
    fn encode_ends(&self, round: &mut Round) {
        let bytes_max = self.journal.payload_bytes_max();
        let any_synced = round.ends.encode(&mut round.bytes, bytes_max);
        // A bundle without a sync may be lost with the machine: what says of something else that it was synced is worth a
        // sync soon, though not one of its own.
        if any_synced && !round.sync {
            self.unsynced_ends.store(true, Ordering::Release);
        }
        self.intake.open().round().ends.put_back(&mut round.ends);
    }

    fn submit(&self, mut round: Round, rounds: &mut Rounds) {
        let payload = std::mem::take(&mut round.bytes);
        let in_flight = if self.is_fenced() {
            // A round that was fenced while it gathered must not reach the disk any more.
            InFlight::settled(Settled { outcome: Err(CommitError::Fenced.into()), payload })
        } else {
            self.journal
                .submit(self.epoch, Bundle { payload, sync: round.sync, room: JournalRoom::Shared })
        };
        rounds.push(round, in_flight);
    }

    fn settle(&self, oldest: SettledRound, rounds: &mut Rounds) {
        let SettledRound { mut round, outcome } = oldest;
        match outcome {
            Ok(lsn) => self.publish_round(&mut round, lsn),
            Err(failure) if failure.error.goes_on() && !round.is_second_try => {
                return self.send_again(round, rounds);
            }
            Err(failure) if failure.error.goes_on() => self.bypass_journal(&mut round),
            Err(failure) => {
                let error = Causes(&failure);
                tracing::error!(
                    %error,
                    "journal commit failed; nothing more is acknowledged that needs the journal. \
                     Check the disk, then restart: what was acknowledged is kept"
                );
                self.fail_round(&mut round, failure.error);
            }
        }
        rounds.give_back(round);
        // Behind each bundle, as any of them may have filled a file.
        if self.journal.needs_checkpoint() {
            self.ask_checkpoint();
        }
    }

    /// Writers outran the checkpoint worker, or the disk has no room or bad places: makes room here and now, which
    /// gives other files, and submits once more what was not taken.
    fn send_again(&self, refused: Round, rounds: &mut Rounds) {
        // The journal takes none behind one that it refused. So all that are in flight are waited for, and go again behind
        // it, in their order. Kept where a committer that stops is found to have them.
        rounds.set_aside(refused);
        while let Some(SettledRound { round, outcome }) = rounds.wait_oldest() {
            let why = outcome.err().map(|failure| failure.error);
            assert!(
                why.is_some(),
                "INV-ROUND-ORDER: nothing is taken behind a bundle that was not"
            );
            rounds.set_aside(round);
        }
        // Without one the second try may be refused as well, and then the batches are committed
        // without the journal.
        if let Err(error) = self.checkpoint() {
            let error = Causes(&error);
            tracing::warn!(%error, "the journal is full and no checkpoint could be taken");
        }
        // In the order in which they were staged: the second batch of a partition in front of its first would be published
        // with it, and be found without it after a crash.
        // Only the first was refused for itself; the others have a try of their own left.
        let mut again = rounds.take_aside();
        if let Some(first) = again.first_mut() {
            first.is_second_try = true;
        }
        for round in again {
            self.submit(round, rounds);
        }
    }

    /// The journal has no room: batches have their segments synced, other records are refused.
    fn bypass_journal(&self, round: &mut Round) {
        for (member, end) in round.batches.drain(..) {
            if member.not_journaled(end) {
                self.queue_sync(member);
            }
        }
        for (completion, resolver) in round.completions.drain(..) {
            // These are in no segment that could be synced instead.
            completion.refused();
            resolver.resolve(Err(CommitError::Overloaded));
        }
    }

    /// Refuses what is staged, as when the disk has no room.
    #[cfg(test)]
    pub(crate) fn refuse_round(&self) {
        self.bypass_journal(&mut self.intake.take_all());
    }

    fn publish_round(&self, round: &mut Round, lsn: Lsn) {
        self.stats.committed();
        for (member, end) in round.batches.drain(..) {
            round.rung.push(member.journaled(end, &mut round.published));
        }
        for (completion, resolver) in round.completions.drain(..) {
            if let Some(removal) = completion.durable() {
                // On the list before the remover is woken, which would sleep on without it.
                self.dropped.push(removal);
                self.removals.ask();
            }
            // Told behind the member: whoever hears of it finds the change made.
            round.published.push(resolver);
        }
        // From here on a checkpoint may give this bundle's place in the journal back. Not before: one that looked at a
        // member that was still to be told would save its position without the change, and forget the record of it.
        self.settled.store(lsn.get(), Ordering::Release);
        for resolver in round.published.drain(..) {
            resolver.resolve(Ok(()));
        }
        // Behind the acknowledgements: there may be many of them.
        round.rung.drain(..).for_each(|rung| rung.ring(News::Look));
    }

    fn fail_round(&self, round: &mut Round, error: CommitError) {
        // First: what is staged from here on is not to wait for a bundle that nobody submits.
        self.standing.fence();
        for (member, _) in round.batches.drain(..) {
            member.fence(error);
        }
        if error == CommitError::NotOwner {
            self.give_up_ownership();
        }
        for (completion, resolver) in round.completions.drain(..) {
            // They may be durable all the same; until the next start tells, only what surely is, is served.
            completion.refused();
            resolver.resolve(Err(error));
        }
    }

    /// Somebody else owns the shard: nothing may be acknowledged any more, by a sync of a segment either, which the new
    /// owner would not see.
    fn give_up_ownership(&self) {
        self.halt();
        let waiting = self.syncs.take_all();
        // Whoever wrote since the last checkpoint is on this list.
        let touched = self.touched.all();
        for member in waiting.iter().chain(&touched) {
            member.fence(CommitError::NotOwner);
        }
    }

    /// The committer's loop: rounds until [`Shard::stop`], sleeping while there is nothing to do.
    pub fn run_committer(&self) {
        let rounds = Rounds::woken_by(Waker::from(Arc::clone(&self.intake)));
        let mut shift = Shift { shard: self, rounds };
        loop {
            while self.commit_round(&mut shift.rounds) {}
            let is_full = shift.rounds.len() >= self.journal.window();
            let stops = || shift.rounds.is_empty() && self.is_stopping();
            if !self.intake.wait(is_full, stops) {
                return;
            }
        }
    }

    /// The committer is gone, and no other takes its place: as after a journal that failed, nothing is acknowledged that
    /// needs it, and whoever waits is told.
    fn committer_gone(&self, rounds: &mut Rounds) {
        tracing::error!(
            "the committer stopped; nothing more is acknowledged that needs the journal. Restart the server: what was \
             acknowledged is kept"
        );
        let error = CommitError::Fenced;
        // Before anything is taken: what is staged behind this is refused to whoever stages it, under the lock under
        // which it is taken here.
        self.standing.fence();
        for mut round in rounds.abandon().chain([self.intake.take_all()]) {
            self.fail_round(&mut round, error);
        }
        // The members of the round that was being settled are in neither; whoever wrote since the last checkpoint is on
        // this list, one that this thread was taking included: it has put them back.
        for member in self.touched.all() {
            member.fence(error);
        }
    }
}

/// The committer while it is at work. When it stops by a panic, its thread alone ends; without this, senders would wait for
/// ever for commits that nobody makes.
pub(super) struct Shift<'a> {
    pub(super) shard: &'a Shard,
    pub(super) rounds: Rounds,
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shard.committer_gone(&mut self.rounds);
        }
    }
}
