//! Publish: raises the high-watermark over what has become durable, in the order of staging.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_storage::journal::CommitError;
use galgo_storage::lock::{Ranked, rank};
use galgo_wire::command::Durability;
use galgo_wire::id::Offset;

use crate::alarm::{Alarm, Bell, Rung};
use crate::ticket::{Resolver, Ticket, ticket};

/// How far a partition is published, and what is staged above that. Its lock is held for moments, never over the disk.
#[derive(Debug)]
pub(super) struct Publication {
    commits: Ranked<{ rank::COMMITS }, Commits>,
    /// The offset after the last published message; moves under the lock, and is read without it.
    high_watermark: AtomicU64,
}

/// What has become of a batch that was staged.
pub(super) enum Staging {
    /// It is published; readers that wait for it are to be woken outside of all locks.
    Published(Rung),
    /// It is published once the ticket says so; with `sync` the caller has the segment synced.
    Waits { ticket: Ticket, sync: bool },
}

/// Why a partition takes no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteStop {
    pub(super) error: CommitError,
    /// Whether all of the log was written anew since, and is durable.
    pub(super) is_written_anew: bool,
}

/// What a sync is to cover is published, unless writes have stopped meanwhile.
#[derive(Debug)]
#[must_use]
pub(super) struct Raised {
    /// Who waits for it, to be told outside of the lock: waking them takes system calls.
    pub(super) published: Vec<Resolver>,
    pub(super) rung: Rung,
}

/// What makes a staged batch durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Its journal bundle, or a sync of the segment that covers it.
    Journal,
    /// A sync of the segment.
    Segment,
}

/// A batch between stage and publish.
#[derive(Debug)]
struct StagedBatch {
    end: Offset,
    need: Need,
    resolver: Resolver,
}

/// What is staged and not yet published, oldest first, and how far each way of commit has come.
#[derive(Debug)]
struct Commits {
    queue: VecDeque<StagedBatch>,
    journaled: Offset,
    synced: Offset,
    /// The end of what was published from the page cache alone, while the topic was `os`.
    cached: Offset,
    fenced: Option<CommitError>,
    /// Whether all of the log was written anew, and is durable, although it takes no writes yet.
    is_written_anew: bool,
    sync_scheduled: bool,
    /// Polls that wait for the high-watermark.
    bell: Bell,
}

impl Commits {
    fn new(end: Offset, fenced: Option<CommitError>) -> Self {
        Self {
            queue: VecDeque::new(),
            journaled: end,
            synced: end,
            cached: end,
            fenced,
            is_written_anew: false,
            sync_scheduled: false,
            bell: Bell::default(),
        }
    }

    fn push(&mut self, staged: StagedBatch) {
        // One that waits for what was stored before ends where that does.
        assert!(
            self.queue.back().is_none_or(|newest| newest.end <= staged.end),
            "INV-ORDER: batches are staged in their order"
        );
        self.queue.push_back(staged);
    }

    /// Whether a sync has to be queued; false when one is queued that has not started.
    fn schedule_sync(&mut self) -> bool {
        !std::mem::replace(&mut self.sync_scheduled, true)
    }

    /// What makes everything up to the end durable: `None` when all of it is as durable as `durability`
    /// names.
    fn need_of_all(&self, durability: Durability) -> Option<Need> {
        match self.queue.back() {
            _ if durability == Durability::Fsync && self.rests_on_cache() => Some(Need::Segment),
            Some(newest) => Some(newest.need),
            None => None,
        }
    }

    /// Whether published messages may still be lost to a power cut. A journal record of what comes
    /// behind them is of no use then: it would have no place to go after the start.
    fn rests_on_cache(&self) -> bool {
        self.cached > self.synced
    }

    /// What was to be journaled below `end` was not: only a sync of the segment makes it durable. A
    /// later journal bundle of the partition must not pass for theirs.
    fn need_segment_below(&mut self, end: Offset) {
        for staged in self.queue.iter_mut().take_while(|staged| staged.end <= end) {
            staged.need = Need::Segment;
        }
    }

    /// Takes the oldest staged batch if it is durable by now.
    fn pop_durable(&mut self) -> Option<StagedBatch> {
        let front = self.queue.front()?;
        let durable = front.end <= self.synced
            || (front.need == Need::Journal && front.end <= self.journaled);
        // Only ever the oldest: one behind it may be durable already, but a start after a crash finds no way to it over
        // what is not there (INV-ORDER).
        if durable { self.queue.pop_front() } else { None }
    }
}

impl Publication {
    /// All up to `end` is published.
    pub(super) fn new(end: Offset, fenced: Option<CommitError>) -> Self {
        let commits = Ranked::new(Commits::new(end, fenced));
        Self { commits, high_watermark: AtomicU64::new(end.get()) }
    }

    /// The offset after the last published message.
    pub(super) fn high_watermark(&self) -> Offset {
        // With the store in `raise`: whoever sees the number sees the bytes in front of it in the log.
        Offset::new(self.high_watermark.load(Ordering::Acquire))
    }

    /// Why writes are refused, if they are.
    pub(super) fn stop(&self) -> Option<WriteStop> {
        let commits = self.commits.lock();
        let is_written_anew = commits.is_written_anew;
        commits.fenced.map(|error| WriteStop { error, is_written_anew })
    }

    /// Publishes what was written up to `end`, if that is all that `durability` asks for; otherwise queues it, and offers
    /// it to the journal, which is told the high-watermark and tells whether it took it.
    ///
    /// Called under the writer's lock, and the journal under this one, so that the order of the log, of the queue and of
    /// the journal is the same.
    pub(super) fn stage(
        &self,
        end: Offset,
        durability: Durability,
        journal: impl FnOnce(Offset) -> bool,
    ) -> Staging {
        let mut commits = self.commits.lock();
        // Writes are stopped under the writer's lock, under which this is called.
        assert!(commits.fenced.is_none(), "INV-FENCE: nothing is staged where writes have stopped");
        // With something staged in front of it, it has to wait for that: the topic was `fsync` a moment ago.
        if durability == Durability::Os && commits.queue.is_empty() {
            // Noted, so that no batch of a time as `fsync` is journaled behind what no disk may
            // hold.
            commits.cached = end;
            self.raise(end);
            return Staging::Published(commits.bell.reached(end.get()));
        }
        // The high-watermark goes along: below it all had been acknowledged, by which a recovery
        // tells what is missing from what was never promised.
        let journaled = !commits.rests_on_cache() && journal(self.high_watermark());
        let need = if journaled { Need::Journal } else { Need::Segment };
        Self::queue(&mut commits, end, need)
    }

    /// What a batch that was stored before waits for: the first one may still be on its way, and this
    /// answer promises as much as that one.
    pub(super) fn stage_again(&self, end: Offset, durability: Durability) -> Staging {
        let mut commits = self.commits.lock();
        match commits.need_of_all(durability) {
            Some(need) => Self::queue(&mut commits, end, need),
            None => Staging::Published(Rung::default()),
        }
    }

    fn queue(commits: &mut Commits, end: Offset, need: Need) -> Staging {
        let (waiting, resolver) = ticket();
        commits.push(StagedBatch { end, need, resolver });
        // One sync for all that wait for one, and not one for each.
        let sync = need == Need::Segment && commits.schedule_sync();
        Staging::Waits { ticket: waiting, sync }
    }

    /// Whether the caller has to queue a sync; false when one is queued that has not started.
    pub(super) fn schedule_sync(&self) -> bool {
        self.commits.lock().schedule_sync()
    }

    /// Tells that the journal holds everything staged below `end` that went its way. Whoever waits for
    /// what is published by it is left in `published` and the answer, to be told outside of the lock.
    pub(super) fn journaled(&self, end: Offset, published: &mut Vec<Resolver>) -> Rung {
        let mut commits = self.commits.lock();
        commits.journaled = commits.journaled.max(end);
        self.publish(&mut commits, published)
    }

    /// Tells that the journal did not take what was staged below `end` for it; true when the caller
    /// is to have the segment synced.
    pub(super) fn not_journaled(&self, end: Offset) -> bool {
        let mut commits = self.commits.lock();
        commits.need_segment_below(end);
        // One that is queued and has not begun covers these as well.
        commits.schedule_sync()
    }

    /// A sync begins that is to cover all that is written from now on by whoever looks at the log next.
    ///
    /// # Errors
    /// Why there is to be none: after a failure another sync may succeed without having written anything (INV-SYNC).
    pub(super) fn begin_sync(&self) -> Result<(), CommitError> {
        let mut commits = self.commits.lock();
        // Before the log is looked at: whoever stages behind that look is not covered, and schedules another one.
        commits.sync_scheduled = false;
        commits.fenced.map_or(Ok(()), Err)
    }

    /// Publishes what a sync of everything below `end` covers.
    ///
    /// # Errors
    /// Why writes were stopped meanwhile; what was staged has been taken back then, so the sync covers what is no part
    /// of the log any more.
    pub(super) fn synced(&self, end: Offset) -> Result<Raised, CommitError> {
        let mut commits = self.commits.lock();
        if let Some(error) = commits.fenced {
            return Err(error);
        }
        commits.synced = commits.synced.max(end);
        let mut published = Vec::new();
        let rung = self.publish(&mut commits, &mut published);
        Ok(Raised { published, rung })
    }

    /// The end of what was published, when some of it rests in the page cache alone.
    pub(super) fn cached_end(&self) -> Option<Offset> {
        let commits = self.commits.lock();
        let rests = commits.rests_on_cache() && commits.fenced.is_none();
        rests.then(|| self.high_watermark())
    }

    /// Refuses later writes; gives back who waits for what is staged, to be told once that is taken back. `None` when
    /// writes were refused already.
    pub(super) fn fence(&self, error: CommitError) -> Option<Vec<Resolver>> {
        let mut commits = self.commits.lock();
        if commits.fenced.is_some() {
            return None;
        }
        commits.fenced = Some(error);
        // Empty from here on, so nothing that a bundle or a sync in flight brings is published any more: the committer
        // and the sync workers may come with it at any time.
        Some(commits.queue.drain(..).map(|staged| staged.resolver).collect())
    }

    /// Notes that all of the log is durable, although it takes no writes yet.
    pub(super) fn written_anew(&self) {
        self.commits.lock().is_written_anew = true;
    }

    /// Takes writes again: all of the log, up to `end`, is durable.
    pub(super) fn reopen(&self, end: Offset) {
        let mut commits = self.commits.lock();
        assert!(
            commits.queue.is_empty(),
            "INV-VOID: nothing is staged in a partition that takes no writes"
        );
        // Of one whose log could not be opened it was a guess.
        self.high_watermark.store(end.get(), Ordering::Release);
        // The polls that wait here go on waiting: they ring with the next message.
        let bell = std::mem::take(&mut commits.bell);
        *commits = Commits { bell, ..Commits::new(end, None) };
    }

    /// Hangs up the alarm of a poll that waits until `end` is published.
    pub(super) fn hang(&self, alarm: &Arc<Alarm>, end: u64) {
        self.commits.lock().bell.hang(alarm, end);
    }

    /// Takes an alarm off.
    pub(super) fn take_off(&self, alarm: &Arc<Alarm>) {
        self.commits.lock().bell.take_off(alarm);
    }

    /// The alarms of all polls that wait.
    pub(super) fn all_waiting(&self) -> Rung {
        self.commits.lock().bell.all()
    }

    /// The alarms of all polls that wait; those of polls that come later ring at once.
    pub(super) fn close(&self) -> Rung {
        self.commits.lock().bell.close()
    }

    /// Waking those who wait takes system calls, for which nobody should wait at the lock: so they are
    /// left in `published`.
    fn publish(&self, commits: &mut Commits, published: &mut Vec<Resolver>) -> Rung {
        while let Some(staged) = commits.pop_durable() {
            self.raise(staged.end);
            published.push(staged.resolver);
        }
        commits.bell.reached(self.high_watermark().get())
    }

    /// Moves the high-watermark; readers see the messages from here on.
    fn raise(&self, end: Offset) {
        assert!(end >= self.high_watermark(), "INV-ORDER: batches are published in their order");
        self.high_watermark.store(end.get(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::ticket;

    #[test]
    fn a_later_journal_bundle_does_not_stand_for_one_the_journal_refused() {
        let mut commits = Commits::new(Offset::ZERO, None);
        for end in [1, 2] {
            let (end, resolver) = (Offset::new(end), ticket().1);
            commits.push(StagedBatch { end, need: Need::Journal, resolver });
        }
        commits.need_segment_below(Offset::new(1));
        commits.journaled = Offset::new(2);
        assert!(commits.pop_durable().is_none());
        commits.synced = Offset::new(1);
        assert_eq!(commits.pop_durable().map(|staged| staged.end), Some(Offset::new(1)));
        assert_eq!(commits.pop_durable().map(|staged| staged.end), Some(Offset::new(2)));
    }
}
