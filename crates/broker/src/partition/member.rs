//! A partition as its shard knows it.

use std::sync::Arc;

use galgo_storage::journal::CommitError;
use galgo_storage::log::{Log, LogReader, RecoveryReport};
use galgo_wire::id::{Offset, PartitionUid};

use super::Partition;
use crate::alarm::Rung;
use crate::causes::Causes;
use crate::offset_book::Position;
use crate::shard::{Member, MemberCheckpoint, OffsetOwner};
use crate::ticket::Resolver;

impl Member for Partition {
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
        self.journaled(end, published)
    }

    fn not_journaled(&self, end: Offset) -> bool {
        self.not_journaled(end)
    }

    fn position_settled(self: Arc<Self>, owner: OffsetOwner, made: Option<Option<Position>>) {
        Self::position_settled(&self, owner, made);
    }

    fn fence(&self, error: CommitError) {
        self.fence(error);
    }

    fn sync(&self) -> Result<(), CommitError> {
        self.sync()
    }

    fn checkpoint(&self) -> Result<MemberCheckpoint, CommitError> {
        self.checkpoint()
    }

    fn durable_positions(&self) -> Vec<(OffsetOwner, Position)> {
        self.durable_positions()
    }

    fn take_unnoted_end(&self) -> Option<Offset> {
        self.take_unnoted_end()
    }

    fn touch(self: Arc<Self>) {
        Self::touch(&self);
    }

    fn write_anew(self: Arc<Self>) -> bool {
        Self::write_anew(&self)
    }

    fn not_rescued(&self, error: &Causes<'_>) {
        self.not_rescued(error);
    }

    fn is_marked(&self) -> bool {
        self.is_marked()
    }

    fn unfence(&self) {
        self.unfence();
    }

    fn log_reader(&self) -> &LogReader {
        self.log_reader()
    }

    fn come_online(self: Arc<Self>, log: Log, report: &RecoveryReport) {
        Self::come_online(&self, log, report);
    }

    fn stays_offline(&self) {
        self.stays_offline();
    }

    fn tell_still_offline(&self, error: &Causes<'_>) {
        self.tell_still_offline(error);
    }
}
