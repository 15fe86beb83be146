//! Publish: raises the high-watermark over what has become durable, in the order of staging.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

use galgo_storage::journal::CommitError;
use galgo_wire::command::Durability;
use galgo_wire::id::Offset;

use super::Partition;
use crate::alarm::{Bell, News, Rung};
use crate::shard::MemberCheckpoint;
use crate::ticket::Resolver;

/// What makes a staged batch durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Its journal bundle, or a sync of the segment that covers it.
    Journal,
    /// A sync of the segment.
    Segment,
}

/// A batch between stage and publish.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) end: Offset,
    pub(super) need: Need,
    pub(super) resolver: Resolver,
}

/// What is staged and not yet published, oldest first, and how far each way of commit has come.
#[derive(Debug)]
pub struct Commits {
    queue: VecDeque<Staged>,
    journaled: Offset,
    synced: Offset,
    /// The end of what was published from the page cache alone, while the topic was `os`.
    cached: Offset,
    fenced: Option<CommitError>,
    /// Whether all of the log was written anew, and is durable, although it takes no writes yet.
    is_written_anew: bool,
    sync_scheduled: bool,
    /// Polls that wait for the high-watermark.
    pub(super) bell: Bell,
}

impl Commits {
    pub(super) fn new(end: Offset, fenced: Option<CommitError>) -> Self {
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

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn fenced(&self) -> Option<CommitError> {
        self.fenced
    }

    pub(super) fn push(&mut self, staged: Staged) {
        self.queue.push_back(staged);
    }

    /// Whether a sync has to be queued; false when one is queued that has not started.
    pub(super) fn schedule_sync(&mut self) -> bool {
        !std::mem::replace(&mut self.sync_scheduled, true)
    }

    /// What makes everything up to the end durable: `None` when all of it is as durable as `durability`
    /// names.
    pub(super) fn need_of_all(&self, durability: Durability) -> Option<Need> {
        match self.queue.back() {
            _ if durability == Durability::Fsync && self.rests_on_cache() => Some(Need::Segment),
            Some(newest) => Some(newest.need),
            None => None,
        }
    }

    /// Notes that everything below `end` was published without being durable.
    pub(super) fn published_in_cache(&mut self, end: Offset) {
        self.cached = end;
    }

    /// Whether published messages may still be lost to a power cut. A journal record of what comes
    /// behind them is of no use then: it would have no place to go after the start.
    pub(super) fn rests_on_cache(&self) -> bool {
        self.cached > self.synced
    }

    /// What was to be journaled below `end` was not: only a sync of the segment makes it durable. A
    /// later journal bundle of the partition must not pass for theirs.
    fn need_segment_below(&mut self, end: Offset) {
        for staged in self.queue.iter_mut().take_while(|staged| staged.end <= end) {
            staged.need = Need::Segment;
        }
    }

    pub(super) fn is_written_anew(&self) -> bool {
        self.is_written_anew
    }

    /// Notes that all of the log is durable, although it takes no writes yet.
    pub(super) fn written_anew(&mut self) {
        self.is_written_anew = true;
    }

    /// Takes writes again: all of the log, up to `end`, is durable.
    pub(super) fn reopen(&mut self, end: Offset) {
        assert!(self.is_empty(), "INV-VOID: nothing is staged in a partition that takes no writes");
        let bell = std::mem::take(&mut self.bell);
        *self = Self { bell, ..Self::new(end, None) };
    }

    /// Takes the oldest staged batch if it is durable by now.
    fn pop_durable(&mut self) -> Option<Staged> {
        let front = self.queue.front()?;
        let durable = front.end <= self.synced
            || (front.need == Need::Journal && front.end <= self.journaled);
        if durable { self.queue.pop_front() } else { None }
    }
}

impl Partition {
    /// Tells that the journal holds everything staged below `end` that went its way. Whoever waits for
    /// what is published by it is left in `published` and the answer, to be told outside of the lock.
    pub(crate) fn journaled(&self, end: Offset, published: &mut Vec<Resolver>) -> Rung {
        let mut commits = self.commits.lock();
        commits.journaled = commits.journaled.max(end);
        self.publish(&mut commits, published)
    }

    /// Tells that the journal did not take what was staged below `end` for it; true when the caller
    /// is to have the segment synced.
    pub(crate) fn not_journaled(&self, end: Offset) -> bool {
        let mut commits = self.commits.lock();
        commits.need_segment_below(end);
        commits.schedule_sync()
    }

    /// Syncs the segments written since the last sync and publishes what that covers.
    ///
    /// Runs without the writer's lock while the disk works. A failure fences the partition and is
    /// never tried again: the kernel may have dropped the pages it could not write.
    ///
    /// # Errors
    /// What everyone who waits for this partition is told.
    pub fn sync(&self) -> Result<(), CommitError> {
        let end = self.sync_segments()?;
        self.noted_end.fetch_max(end.get(), Ordering::Relaxed);
        self.shard.note_synced_end(self.uid, end);
        Ok(())
    }

    /// As [`Partition::sync`], without a note in the journal; tells up to where it is durable.
    fn sync_segments(&self) -> Result<Offset, CommitError> {
        let _alone = self.syncing.lock();
        {
            let mut commits = self.commits.lock();
            commits.sync_scheduled = false;
            if let Some(error) = commits.fenced {
                return Err(error);
            }
        }
        let (dirty, end) = {
            let writer = self.writer.lock();
            (writer.log.dirty(), writer.log.end())
        };
        match dirty.sync().or_else(|error| self.excuse(error)) {
            Ok(()) => {
                self.writer.lock().log.synced(&dirty);
                let mut published = Vec::new();
                let rung = {
                    let mut commits = self.commits.lock();
                    if let Some(error) = commits.fenced {
                        // Fenced by the journal meanwhile; what was staged has been taken back.
                        return Err(error);
                    }
                    commits.synced = commits.synced.max(end);
                    self.publish(&mut commits, &mut published)
                };
                // Acknowledgements before wake-ups, of which there may be many.
                published.into_iter().for_each(|resolver| resolver.resolve(Ok(())));
                rung.ring(News::Look);
                Ok(end)
            }
            Err(error) => {
                tell!(
                    error,
                    self.name(),
                    %error,
                    "segment sync failed; the partition takes no writes until its messages were written anew, \
                     which is tried from now on"
                );
                self.fence(CommitError::Disk);
                Err(CommitError::Disk)
            }
        }
    }

    /// The end of what was published from the page cache alone, when the journal was not told of it yet.
    pub(crate) fn take_unnoted_end(&self) -> Option<Offset> {
        let end = {
            let commits = self.commits.lock();
            if !commits.rests_on_cache() || commits.fenced.is_some() {
                return None;
            }
            self.high_watermark()
        };
        (self.noted_end.fetch_max(end.get(), Ordering::Relaxed) < end.get()).then_some(end)
    }

    /// The files of a closed partition may be gone before its last batches are synced. Nothing of
    /// them is to be kept: they were sent before the deletion or purge, which is durable already.
    fn excuse(&self, error: io::Error) -> io::Result<()> {
        if self.is_closed() { Ok(()) } else { Err(error) }
    }

    /// Refuses later writes, fails what is staged and takes it back.
    pub fn fence(&self, error: CommitError) {
        let mut writer = self.writer.lock();
        let mut commits = self.commits.lock();
        if commits.fenced.is_some() {
            return;
        }
        commits.fenced = Some(error);
        // Nothing above the high-watermark was acknowledged. Cutting it off keeps bytes that may
        // exist in the page cache only from being taken for durable ones after a restart.
        writer.log.rewind(self.high_watermark());
        if let Some(window) = &mut writer.window {
            window.rewind(self.high_watermark());
        }
        for staged in commits.queue.drain(..) {
            staged.resolver.resolve(Err(error));
        }
        self.shard.stats().fenced();
        self.shard.has_fenced();
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
    pub(super) fn raise(&self, end: Offset) {
        assert!(end >= self.high_watermark(), "INV-ORDER: batches are published in their order");
        self.high_watermark.store(end.get(), Ordering::Release);
    }

    /// What a checkpoint says of this partition, once its segments have been synced.
    ///
    /// # Errors
    /// As [`Partition::sync`].
    pub(crate) fn checkpoint(&self) -> Result<MemberCheckpoint, CommitError> {
        // Cleared first: a write that comes later puts the partition on the next list.
        self.touched.store(false, Ordering::Release);
        let (fenced, is_written_anew) = {
            let commits = self.commits.lock();
            (commits.fenced, commits.is_written_anew)
        };
        match fenced {
            Some(error) if !is_written_anew => return Err(error),
            // INV-RESCUE: there is nothing to sync, and nothing is written.
            Some(_) => {}
            None => drop(self.sync_segments()?),
        }
        let log = self.writer.lock().log.checkpoint();
        Ok(MemberCheckpoint { log, positions: self.durable_positions() })
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
            commits.push(Staged { end, need: Need::Journal, resolver });
        }
        commits.need_segment_below(Offset::new(1));
        commits.journaled = Offset::new(2);
        assert!(commits.pop_durable().is_none());
        commits.synced = Offset::new(1);
        assert_eq!(commits.pop_durable().map(|staged| staged.end), Some(Offset::new(1)));
        assert_eq!(commits.pop_durable().map(|staged| staged.end), Some(Offset::new(2)));
    }
}
