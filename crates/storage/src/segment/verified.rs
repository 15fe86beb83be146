//! Which bytes of a segment this process wrote or has checked.
//!
//! Part of INV-VERIFIED: a byte range is in here only after every message in it passed its checksum in this
//! process, or was written by it.

use std::ops::Range;

/// Most separate ranges remembered for one segment; beyond, a range is checked again when read.
const RANGES_MAX: usize = 64;

/// Sorted byte ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerifiedRanges {
    ranges: Vec<Range<u64>>,
}

impl VerifiedRanges {
    /// Remembers a range, joined with those it touches.
    pub(crate) fn insert(&mut self, mut range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // An append touches the last range: nothing to search.
        if let Some(last) = self.ranges.last_mut().filter(|last| last.end == range.start) {
            last.end = range.end;
            return;
        }
        let first = self.ranges.partition_point(|known| known.end < range.start);
        let last = self.ranges.partition_point(|known| known.start <= range.end);
        for joined in self.ranges.drain(first..last) {
            range.start = range.start.min(joined.start);
            range.end = range.end.max(joined.end);
        }
        // More are forgotten, which costs a check; that many only a reader makes who jumps about.
        if self.ranges.len() < RANGES_MAX {
            self.ranges.insert(first, range);
        }
    }

    /// Whether the whole range is remembered.
    pub(crate) fn contains(&self, range: &Range<u64>) -> bool {
        let after = self.ranges.partition_point(|known| known.start <= range.start);
        let known = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        known.is_some_and(|known| range.end <= known.end)
    }

    /// Forgets everything from byte `position` on.
    pub(crate) fn truncate(&mut self, position: u64) {
        self.ranges.retain_mut(|known| {
            known.end = known.end.min(position);
            !known.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_when_they_touch() {
        let mut verified = VerifiedRanges::default();
        assert!(!verified.contains(&(0..1)));
        verified.insert(10..20);
        verified.insert(20..30);
        verified.insert(40..50);
        assert!(verified.contains(&(10..30)));
        assert!(!verified.contains(&(29..41)));
        verified.insert(25..45);
        assert!(verified.contains(&(10..50)));
        assert!(!verified.contains(&(9..11)));
        assert_eq!(verified.ranges, vec![10..50]);
    }

    #[test]
    fn truncation_cuts_ranges_and_the_number_of_them_is_bounded() {
        let mut verified = VerifiedRanges::default();
        for at in (0..1_000).rev() {
            verified.insert(at * 10..at * 10 + 5);
        }
        assert_eq!(verified.ranges.len(), RANGES_MAX);
        let mut verified = VerifiedRanges::default();
        verified.insert(0..10);
        verified.insert(20..30);
        verified.truncate(25);
        assert!(verified.contains(&(20..25)) && !verified.contains(&(20..26)));
        verified.truncate(0);
        assert!(!verified.contains(&(0..1)));
    }
}
