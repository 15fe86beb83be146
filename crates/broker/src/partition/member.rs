//! A partition as its shard knows it: what it is told of bundles, checkpoints and rescues.
//!
//! Part of INV-VOID: the steps of a rescue, see [`super::rescue`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::journal::CommitError;
use galgo_storage::log::{Log, LogReader, RecoveryReport};
use galgo_wire::id::{Offset, PartitionUid};

use super::Partition;
use super::publish::WriteStop;
use crate::alarm::Rung;
use crate::causes::{Causes, disk_error_for_clients};
use crate::offset_book::{Position, StoredPosition};
use crate::shard::{MemberCheckpoint, OffsetOwner, ShardMember};
use crate::ticket::Resolver;

impl ShardMember for Partition {
    fn uid(&self) -> PartitionUid {
        self.uid
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn is_offline(&self) -> bool {
        self.is_offline()
    }

    fn high_watermark(&self) -> Offset {
        self.high_watermark()
    }

    fn journaled(&self, end: Offset, published: &mut Vec<Resolver>) -> Rung {
        self.publication.journaled(end, published)
    }

    fn not_journaled(&self, end: Offset) -> bool {
        self.publication.not_journaled(end)
    }

    fn position_settled(self: Arc<Self>, owner: OffsetOwner, made: Option<Option<Position>>) {
        self.positions.settled(owner, made);
        match made {
            // A checkpoint that came before has the position without this change.
            Some(_) => Self::touch(&self),
            // It falls back to what is durable, so there may be messages again for who waits.
            None => self.position_moved_back(),
        }
    }

    fn fence(&self, error: CommitError) {
        self.fence(error);
    }

    fn sync(&self) -> Result<(), CommitError> {
        self.sync()
    }

    fn checkpoint(&self) -> Result<MemberCheckpoint, CommitError> {
        // Cleared first: a write that comes later puts the partition on the next list.
        self.touched.store(false, Ordering::Release);
        match self.publication.stop() {
            // INV-RESCUE: there is nothing to sync, and nothing is written.
            Some(WriteStop { is_written_anew: true, .. }) => {}
            Some(WriteStop { error, .. }) => return Err(error),
            None => drop(self.sync_segments()?),
        }
        // Behind the sync: what it says of the log is durable (INV-CHECKPOINT).
        let log = self.appender.hold().log.checkpoint();
        // Nothing that is on its way (INV-SETTLED): one that is refused must not take effect after
        // a crash.
        Ok(MemberCheckpoint { log, positions: self.positions.durable() })
    }

    fn durable_positions(&self) -> Vec<StoredPosition> {
        self.positions.durable()
    }

    fn take_unnoted_end(&self) -> Option<Offset> {
        let end = self.publication.cached_end()?;
        // In one step, as a sync that comes with its own note may do the same.
        (self.noted_end.fetch_max(end.get(), Ordering::Relaxed) < end.get()).then_some(end)
    }

    fn touch(self: Arc<Self>) {
        Self::touch(&self);
    }

    fn write_anew(self: Arc<Self>) -> bool {
        // Beside no sync: the kernel tells a failed write-back once, and the other one would take the pages for written.
        let _alone = self.syncing.lock();
        let Some(stop) = self.publication.stop().filter(|_| !self.is_closed()) else {
            return false;
        };
        if !stop.is_written_anew {
            let planned = self.appender.hold().log.rescue(self.high_watermark());
            let Some(planned) = planned else {
                self.give_up("it holds messages that could not be taken back");
                return false;
            };
            // Without the appender's lock: nothing is appended, and whoever asks is to hear that at once.
            if let Err(error) = planned.write() {
                if error.kind() == io::ErrorKind::InvalidData {
                    // What the system has dropped does not come back by another try.
                    self.give_up("what no sync had covered cannot be read any more");
                    return false;
                }
                self.rescue.failed(disk_error_for_clients(&error));
                if self.rescue.is_to_be_told() {
                    tell!(
                        warn,
                        self.name(),
                        %error,
                        "partition still takes no writes: its messages could not be written anew; \
                         that is tried again"
                    );
                }
                return false;
            }
            // The log reads from the new files before anybody believes that it is durable.
            self.appender.hold().log.rescued(&planned);
            self.publication.written_anew();
        }
        // The checkpoint that is taken next has to look at it: only what that covers may be
        // unfenced.
        Self::touch(&self);
        true
    }

    fn not_rescued(&self, error: &Causes<'_>) {
        let why = error.for_clients();
        self.rescue.failed(format!("no checkpoint could be taken: {why}"));
    }

    fn is_marked(&self) -> bool {
        self.rescue.is_marked()
    }

    fn unfence(&self) {
        let mut appender = self.appender.hold();
        // Before writes go on: another failure needs another marker.
        self.rescue.end();
        let end = self.high_watermark();
        assert_eq!(appender.log.end(), end, "INV-RESCUE: the log ends with what is published");
        appender.drop_window();
        // Last, and under the appender's lock: from here on writes are taken.
        self.publication.reopen(end);
        drop(appender);
        tell!(
            info,
            self.name(),
            end = end.get(),
            "partition takes writes again: what a failed sync had left was written anew"
        );
    }

    fn log_reader(&self) -> &LogReader {
        self.log_reader()
    }

    fn come_online(self: Arc<Self>, log: Log, report: &RecoveryReport) {
        let end = log.end();
        // Before writes go on: a position behind the end would skip what gets these offsets next.
        self.positions.clamp(end);
        let mut appender = self.appender.hold();
        if appender.is_closed() {
            // Deleted meanwhile: its files are on their way out, and nobody is to open others.
            return;
        }
        appender.log.come_online(log);
        appender.drop_window();
        self.noted_end.store(end.get(), Ordering::Relaxed);
        self.rescue.end();
        self.publication.reopen(end);
        // Last: until then nobody reads, nor writes.
        self.is_offline.store(false, Ordering::Release);
        drop(appender);
        // The next checkpoint covers it, and then nothing of it has to be carried forward any more.
        Self::touch(&self);
        tell!(
            info,
            self.name(),
            end = end.get(),
            replayed_messages = report.replayed_messages,
            accepted_messages = report.accepted_messages,
            "partition is online again: its log could be opened"
        );
        for range in &report.fenced {
            let (from, to) = (range.from.get(), range.to.get().saturating_sub(1));
            tell!(
                error,
                self.name(),
                from,
                to,
                "damaged messages: they cannot be read, all others can"
            );
        }
    }

    fn stays_offline(&self) {
        self.rescue.give_up();
    }

    fn tell_still_offline(&self, error: &Causes<'_>) {
        self.rescue.failed(error.for_clients());
        if self.rescue.is_to_be_told() {
            tell!(
                warn,
                self.name(),
                %error,
                "partition is still offline: its log could not be opened; that is tried again"
            );
        }
    }
}
