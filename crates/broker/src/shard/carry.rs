//! Records of the journal that are committed once more, so that the files they are in can be given back.
//!
//! INV-CARRY: what a checkpoint does not cover of a partition stays in the journal: it is durable further behind before
//! the place where it was is given back.
//!
//! What is carried is what a recovery would make of the records, no matter how often they are there: a checkpoint
//! that is not saved, or a start that is cut short, has carried already, and the next one carries no more for it.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

use galgo_storage::journal::{Bundle, Journal, JournalError, JournalRoom, Lsn, Settled};
use galgo_wire::id::{Epoch, Offset, PartitionUid};
use twox_hash::XxHash3_64;

use super::record::{ShardRecord, decode_bundle};

/// The partitions whose records are carried; batches of one that ends where it says only below that (INV-VOID): those
/// at the end or behind it were refused, as batches are published as a whole. Of one that could not be opened
/// nothing is known, and all is carried.
pub(super) type Uncovered = BTreeMap<PartitionUid, Option<Offset>>;

/// What becomes of frames that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LostFrames {
    /// Nothing is carried.
    Refused,
    /// It was told, and the rest is carried.
    Told,
}

/// What was carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// The last frame that it took, if any.
    pub(super) last: Lsn,
    /// Its bytes.
    pub(super) bytes: u64,
}

/// A batch in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchAt {
    base: Offset,
    /// A number for what is in it.
    content: u64,
    /// Which of all records it is.
    number: u64,
}

/// What counts of the records of one partition.
#[derive(Default)]
struct NewestRecords {
    /// The batches by offset.
    batches: Vec<BatchAt>,
    start: Offset,
    synced_end: Offset,
    written_end: Offset,
}

/// Commits once more what counts of the records in `range`, but for stored offsets, which are in the checkpoint.
///
/// # Errors
/// Those of the journal; [`JournalError::Lost`] when a part of it cannot be read any more and that is refused.
///
/// # Panics
/// When a record cannot be read: every one in the journal has been, at the start or by whoever wrote it.
pub(super) fn carry_forward(
    journal: &dyn Journal,
    own: Epoch,
    range: RangeInclusive<Lsn>,
    uncovered: &Uncovered,
    on_loss: LostFrames,
) -> Result<Carried, JournalError> {
    // Twice over the journal, and once in memory only what each batch is, not what is in it: there may be as much of it as
    // the journal is large.
    let mut newest: BTreeMap<PartitionUid, NewestRecords> = BTreeMap::new();
    let mut number = 0_u64;
    let lost = visit(journal, &range, &mut |record| {
        number += 1;
        if let Some(end) = uncovered.get(&record.uid()) {
            newest.entry(record.uid()).or_default().take(number, record, *end);
        }
        Ok(())
    })?;
    if let (LostFrames::Refused, Some(first)) = (on_loss, lost) {
        return Err(JournalError::Lost { first });
    }
    let mut out = CarryOut { journal, own, payload: Vec::new(), carried: Carried::default() };
    // As they lie in the journal: a recovery takes a batch at a lower offset for one that replaces
    // all behind it.
    let count = std::mem::take(&mut number);
    let lost_now = visit(journal, &range, &mut |record| {
        number += 1;
        let known =
            newest.get(&record.uid()).filter(|_| matches!(record, ShardRecord::Batch { .. }));
        match known.is_some_and(|known| known.holds(number)) {
            true => out.put(record),
            false => Ok(()),
        }
    })?;
    // A frame that could be read before and cannot be now shifts the numbers by which batches are told. Nothing is given back
    // then, and what was carried lies behind what it was made of.
    if lost_now != lost || number != count {
        return Err(JournalError::Lost { first: lost_now.or(lost).unwrap_or(range.start().get()) });
    }
    for (uid, known) in &newest {
        for record in known.bounds(*uid) {
            out.put(&record)?;
        }
    }
    out.flush()?;
    Ok(out.carried)
}

/// Visits all records in `range`; tells the first frame that cannot be read any more.
fn visit(
    journal: &dyn Journal,
    range: &RangeInclusive<Lsn>,
    each: &mut dyn FnMut(&ShardRecord<'_>) -> Result<(), JournalError>,
) -> Result<Option<u64>, JournalError> {
    let (mut failed, mut unknown) = (None, false);
    let report = journal.read(*range.start(), &mut |frame| {
        if frame.lsn > *range.end() {
            // What is committed meanwhile is for the next one, and what is carried just now among
            // it.
            return ControlFlow::Break(());
        }
        let decoded = decode_bundle(frame.payload, &mut |_, record| {
            if failed.is_none() {
                failed = each(&record).err();
            }
        });
        unknown |= decoded.is_err();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    assert!(!unknown, "INV-CARRY: this process wrote records it cannot read");
    let lost = report.damaged.iter().map(|range| *range.start()).next();
    failed.map_or(Ok(lost), Err)
}

impl NewestRecords {
    /// As a recovery does: a batch takes the place of what was at its offset and behind it, and the very same one is
    /// no other.
    fn take(&mut self, number: u64, record: &ShardRecord<'_>, end: Option<Offset>) {
        match *record {
            ShardRecord::Batch { base_offset, messages, .. } => {
                // INV-VOID: batches are published as a whole, so one at the end or behind it was refused, and is not to
                // come back in the place of what is acknowledged there later.
                if end.is_some_and(|end| base_offset >= end) {
                    return;
                }
                let content = XxHash3_64::oneshot(messages);
                let at = self.batches.partition_point(|held| held.base < base_offset);
                // The very same one was carried before; what is held behind it came later, and stays.
                let is_same = |held: &BatchAt| held.base == base_offset && held.content == content;
                if !self.batches.get(at).is_some_and(is_same) {
                    self.batches.truncate(at);
                    assert!(
                        self.batches.last().is_none_or(|held| held.number < number),
                        "INV-CARRY: of what counts, numbers rise with the offsets"
                    );
                    self.batches.push(BatchAt { base: base_offset, content, number });
                }
            }
            ShardRecord::StartMoved { start, .. } => self.start = self.start.max(start),
            ShardRecord::EndReached { end, synced, .. } => {
                let known = if synced { &mut self.synced_end } else { &mut self.written_end };
                *known = end.max(*known);
            }
            ShardRecord::OffsetStored { .. } | ShardRecord::OffsetGone { .. } => {}
        }
    }

    /// Whether a record counts. Numbers rise with the offsets: one that comes later cuts off what is behind it.
    fn holds(&self, number: u64) -> bool {
        self.batches.binary_search_by_key(&number, |held| held.number).is_ok()
    }

    /// Start and ends, where there are any.
    fn bounds(&self, uid: PartitionUid) -> Vec<ShardRecord<'static>> {
        let mut bounds = Vec::new();
        if self.start > Offset::ZERO {
            bounds.push(ShardRecord::StartMoved { uid, start: self.start });
        }
        for (end, synced) in [(self.synced_end, true), (self.written_end, false)] {
            if end > Offset::ZERO {
                bounds.push(ShardRecord::EndReached { uid, end, synced });
            }
        }
        bounds
    }
}

/// Gathers records into bundles.
struct CarryOut<'a> {
    journal: &'a dyn Journal,
    own: Epoch,
    payload: Vec<u8>,
    carried: Carried,
}

impl CarryOut<'_> {
    fn put(&mut self, record: &ShardRecord<'_>) -> Result<(), JournalError> {
        let end = self.payload.len();
        record.encode(&mut self.payload);
        if self.payload.len() as u64 > self.journal.payload_bytes_max() && end > 0 {
            // A record is in one bundle: it goes with the next.
            let rest = self.payload.split_off(end);
            self.flush()?;
            self.payload = rest;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        if !self.payload.is_empty() {
            self.carried.bytes += self.payload.len() as u64;
            let payload = std::mem::take(&mut self.payload);
            // Of the room that writers leave: carrying is what makes room, so it may not wait for any. Synced, as the
            // place where it was is given back next (INV-CARRY).
            let bundle = Bundle { payload, sync: true, room: JournalRoom::Reserved };
            let Settled { outcome, payload } = self.journal.submit(self.own, bundle).wait();
            self.carried.last = outcome?;
            self.payload = payload;
            self.payload.clear();
        }
        Ok(())
    }
}
