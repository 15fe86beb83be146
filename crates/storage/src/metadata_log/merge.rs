//! Puts a metadata log together from its two places, and tells a torn append from damage.
//!
//! An append is durable in the first place before it is begun in the copy. So only the very last record
//! of one of them may be unfinished, and never of both: unsound bytes at the end of the first are a torn
//! append if the copy has nothing there; what is unsound and in the copy is taken from the copy; and what
//! is sound in the first only is given to the copy. Everything else is damage in two places, and an error
//! (INV-META-WHOLE).

use std::path::PathBuf;

use super::format::MetadataRecord;
use super::recovery::{LogFile, MetadataPlace, RecordCursor, SnapshotFile, has_record};
use super::{Doubt, MetadataLogError};

/// What both places hold together.
pub(super) struct Merged {
    /// The latest snapshot, with the last record it covers.
    pub(super) snapshot: Option<(u64, Vec<u8>)>,
    /// Records after the snapshot.
    pub(super) records: Vec<Vec<u8>>,
    /// Number of the last record there is.
    pub(super) last: u64,
    /// Where records were given up, and from which byte on.
    pub(super) given_up: Vec<(PathBuf, u64)>,
    /// What is to be done with each place.
    pub(super) verdicts: [PlaceVerdict; 2],
}

/// What a place is worth.
pub(super) struct PlaceVerdict {
    /// Whether all it should hold is in it, sound; at most bytes behind the end are to be cut off, or a
    /// file for the next record to be made.
    pub(super) whole: bool,
    /// Files of it that are damaged.
    pub(super) damaged: Vec<PathBuf>,
    /// The file that takes the next record.
    pub(super) tail: Option<Tail>,
}

/// The last log file of a place.
pub(super) struct Tail {
    pub(super) path: PathBuf,
    /// Number of its first record.
    pub(super) first: u64,
    /// Where its last sound record starts, and that record as it is in the file.
    pub(super) last_record: Option<(u64, Vec<u8>)>,
    /// Where its sound part ends; 0 when even the header is unfinished.
    pub(super) end: u64,
    /// Bytes behind the sound part.
    pub(super) cut_bytes: u64,
}

impl Merged {
    /// Number of the last record the snapshot covers; 0 without one.
    pub(super) fn base(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |(sequence, _)| *sequence)
    }

    /// Bytes of an unfinished append that are to be cut off.
    pub(super) fn cut_bytes(&self) -> u64 {
        let tails = self.verdicts.iter().filter_map(|verdict| verdict.tail.as_ref());
        tails.map(|tail| tail.cut_bytes).max().unwrap_or_default()
    }

    /// The damaged files of both places that get back all they lost.
    pub(super) fn repaired(&self) -> Vec<PathBuf> {
        let damaged = self.verdicts.iter().flat_map(|verdict| verdict.damaged.iter().cloned());
        damaged.filter(|path| self.given_up.iter().all(|(given_up, _)| given_up != path)).collect()
    }
}

/// Merges the first place and the copy.
///
/// # Errors
/// `Damaged`, unless `doubt` gives up what is behind it, and `Differ`.
pub(super) fn merge(
    first: &MetadataPlace,
    copy: &MetadataPlace,
    doubt: Doubt,
) -> Result<Merged, MetadataLogError> {
    // The first is looked at first: where both snapshots are of one record, its one counts.
    let newest = if copy.snapshot_sequence() > first.snapshot_sequence() { copy } else { first };
    let snapshot = match &newest.snapshot {
        SnapshotFile::Sound { sequence, state } => Some((*sequence, state.clone())),
        SnapshotFile::None | SnapshotFile::Damaged => None,
    };
    let base = snapshot.as_ref().map_or(0, |(sequence, _)| *sequence);
    let mut walk = PlacesWalk {
        cursors: [RecordCursor::new(first, base), RecordCursor::new(copy, base)],
        base,
        records: Vec::new(),
        given_up: Vec::new(),
        left: [None, None],
    };
    let last = walk.collect_all(doubt)?;
    assert!(
        last >= base && walk.records.len() as u64 == last - base,
        "INV-META-WHOLE: no number is left out"
    );
    if let Err(error) = walk.check_end(last) {
        if doubt == Doubt::Refuse {
            return Err(error);
        }
        walk.give_up(last);
    }
    // Of the same record and with the same bytes: one that differs was written by another log.
    let whole_snapshot = |place: &MetadataPlace| match (&place.snapshot, &snapshot) {
        (SnapshotFile::None, None) => true,
        (SnapshotFile::Sound { sequence, state }, Some((newest, expected))) => {
            sequence == newest && state == expected
        }
        _ => false,
    };
    let mut verdicts = walk.cursors.each_ref().map(|cursor| {
        let whole = whole_snapshot(cursor.place) && cursor.damaged.is_empty() && !cursor.lags;
        PlaceVerdict { whole, tail: tail_of(cursor, last), damaged: cursor.damaged.clone() }
    });
    let [first, copy] = &walk.cursors;
    if first.lags && first.damaged.is_empty() && !first.place.is_empty() {
        // The copy is never ahead, so the first place was cut.
        let cut = first.place.files.last().map(|file| file.path.clone());
        verdicts[0].damaged.push(cut.unwrap_or_else(|| first.place.dir.clone()));
    }
    if copy.unsound == Some(last) && copy.damaged.len() == 1 {
        // An append that came to its end in the first place and not in the copy.
        verdicts[1].damaged.clear();
    }
    let PlacesWalk { records, given_up, .. } = walk;
    Ok(Merged { snapshot, records, last, given_up, verdicts })
}

/// Both places as they are read in step.
struct PlacesWalk<'a> {
    cursors: [RecordCursor<'a>; 2],
    base: u64,
    records: Vec<Vec<u8>>,
    /// Where records were given up, and from which byte on.
    given_up: Vec<(PathBuf, u64)>,
    /// What was left of files that were given up in what the snapshot covers.
    left: [Option<Left<'a>>; 2],
}

/// The rest of a file that was given up in what the snapshot covers.
#[derive(Clone, Copy)]
struct Left<'a> {
    file: &'a LogFile,
    position: usize,
    rest: &'a [u8],
}

impl Left<'_> {
    fn has_record(&self, sequence: u64) -> bool {
        has_record(self.rest, 0, sequence)
    }

    fn place(&self) -> (PathBuf, u64) {
        (self.file.path.clone(), self.position as u64)
    }

    fn damaged(&self) -> MetadataLogError {
        let (path, position) = self.place();
        MetadataLogError::Damaged { path, position }
    }
}

impl<'a> PlacesWalk<'a> {
    /// Collects all records; returns the number of the last.
    fn collect_all(&mut self, doubt: Doubt) -> Result<u64, MetadataLogError> {
        let starts = self.cursors.iter().filter_map(RecordCursor::first);
        let mut sequence = starts.fold(self.base + 1, u64::min);
        loop {
            let [first, copy] = &mut self.cursors;
            let found = [first.record(sequence), copy.record(sequence)];
            let Some(record) = self.agreed(sequence, found)? else {
                if sequence > self.base {
                    return Ok(sequence - 1);
                }
                sequence = self.skip_covered(sequence, doubt)?;
                continue;
            };
            // Both go on behind it, whoever had it: they are read in step, by numbers and not by bytes.
            for (cursor, found) in self.cursors.iter_mut().zip(found) {
                cursor.pass(sequence, record.bytes(), found.is_some());
            }
            if sequence > self.base {
                self.records.push(record.payload.to_vec());
            } else {
                // What the snapshot covers is missed nowhere.
                self.cursors.iter_mut().for_each(|cursor| cursor.lags = false);
            }
            sequence += 1;
        }
    }

    fn agreed(
        &self,
        sequence: u64,
        found: [Option<MetadataRecord<'a>>; 2],
    ) -> Result<Option<MetadataRecord<'a>>, MetadataLogError> {
        let [first, copy] = found;
        if let (Some(one), Some(other)) = (first, copy)
            && one.payload != other.payload
        {
            // Both checksums are right, so that it is no damage; taking either could undo what was acknowledged.
            let dirs = self.cursors.each_ref().map(|cursor| cursor.place.dir.clone());
            let [first, copy] = dirs;
            return Err(MetadataLogError::Differ { first, copy, sequence });
        }
        Ok(first.or(copy))
    }

    /// Passes over what nobody can read and the snapshot covers; returns where to go on.
    fn skip_covered(&mut self, sequence: u64, doubt: Doubt) -> Result<u64, MetadataLogError> {
        let next = self.base + 1;
        let mut left = [None, None];
        for (cursor, left) in self.cursors.iter_mut().zip(&mut left) {
            let Some(file) = cursor.file().filter(|file| file.first <= sequence) else { continue };
            *left = Some(Left { file, position: cursor.position(), rest: cursor.rest() });
            cursor.leave();
        }
        let covered = self.cursors.iter().filter_map(RecordCursor::first).min();
        let [first, copy] = &mut self.cursors;
        // What one place goes on with is all that was acknowledged.
        let others = [copy.record(next).is_some(), first.record(next).is_some()];
        for (place, (left, elsewhere)) in self.left.iter_mut().zip(left.into_iter().zip(others)) {
            let Some(left) = left else { continue };
            *place = Some(left);
            // Where a lost record ends is not known, so what is behind it cannot be told apart.
            if elsewhere || !left.has_record(next) {
                continue;
            }
            if doubt == Doubt::Refuse {
                return Err(left.damaged());
            }
            self.given_up.push(left.place());
        }
        Ok(covered.unwrap_or(next).min(next))
    }

    /// Gives up what is behind the last record, in both places.
    fn give_up(&mut self, last: u64) {
        for left in self.left.iter().flatten().filter(|left| left.has_record(last + 1)) {
            if !self.given_up.contains(&left.place()) {
                self.given_up.push(left.place());
            }
        }
        for cursor in &mut self.cursors {
            if let Some(file) = cursor.file().filter(|_| !cursor.rest().is_empty()) {
                self.given_up.push((file.path.clone(), cursor.position() as u64));
            }
            let later = cursor.place.files.iter().filter(|file| file.first > last + 1);
            self.given_up.extend(later.map(|file| (file.path.clone(), 0)));
            for (path, _) in &self.given_up {
                if path.starts_with(&cursor.place.dir) && !cursor.damaged.contains(path) {
                    cursor.damaged.push(path.clone());
                }
            }
        }
    }

    /// Whether what is behind the last record can be an append that was not finished.
    fn check_end(&self, last: u64) -> Result<(), MetadataLogError> {
        for cursor in &self.cursors {
            if has_record(cursor.rest(), 0, last + 1) {
                return Err(damaged(cursor));
            }
            // A file was begun behind records that are nowhere: these had been acknowledged.
            if let Some(later) = cursor.place.files.iter().find(|file| file.first > last + 1) {
                return Err(MetadataLogError::Damaged { path: later.path.clone(), position: 0 });
            }
        }
        let [first, copy] = &self.cursors;
        // The copy is never ahead, and the first by one record that was not acknowledged: what is further in a file
        // that was left is lost where it should have been.
        let [left_first, left_copy] = self.left;
        let left_copy = left_copy.filter(|left| left.has_record(last + 1));
        if let Some(left) = left_copy.or(left_first.filter(|left| left.has_record(last + 2))) {
            return Err(left.damaged());
        }
        // Begun in the copy, it had been durable in the first.
        if copy.rest().is_empty() { Ok(()) } else { Err(damaged(first)) }
    }
}

fn damaged(cursor: &RecordCursor<'_>) -> MetadataLogError {
    let (path, position) = match cursor.file() {
        Some(file) => (file.path.clone(), cursor.position().min(file.bytes.len())),
        None => (cursor.place.dir.clone(), 0),
    };
    MetadataLogError::Damaged { path, position: position as u64 }
}

/// The file in which the record after `last` belongs; a log that ends before cannot go on without a hole.
fn tail_of(cursor: &RecordCursor<'_>, last: u64) -> Option<Tail> {
    let file = cursor.file()?;
    let position = cursor.position();
    let (last_record, end) = match cursor.last_record() {
        Some((at, record)) => {
            let ends_with_last = at + record.len() == position;
            if !ends_with_last {
                return None;
            }
            (Some((at as u64, record.to_vec())), position as u64)
        }
        None if file.first != last + 1 => return None,
        None => (None, if file.header_sound { position as u64 } else { 0 }),
    };
    let cut_bytes = (file.bytes.len() as u64).saturating_sub(end);
    Some(Tail { path: file.path.clone(), first: file.first, last_record, end, cut_bytes })
}
