//! One simulated file: what reads see, and what would survive.

use std::collections::{BTreeMap, BTreeSet};

use galgo_wire::index::{part, part_mut};

use super::random::SplitMix;

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// What the page cache holds as a whole.
const PAGE: u64 = 4096;
/// Contents of one sector kept since the last sync; older ones in between are forgotten.
const VERSIONS_MAX: usize = 4;

const _: () = assert!(VERSIONS_MAX >= 2 && PAGE.is_multiple_of(SECTOR as u64));

#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedFile {
    /// What reads see.
    view: Vec<u8>,
    /// What is on the platter for certain; may be longer than `durable_len`.
    platter: Vec<u8>,
    durable_len: usize,
    /// Contents each sector had since the last sync, oldest first.
    dirty: BTreeMap<usize, Vec<Box<[u8]>>>,
    /// Lengths the file had since the last sync.
    lengths: Vec<usize>,
    /// Pages in the cache.
    warm: BTreeSet<u64>,
    /// Open handles.
    pub(super) open: u32,
}

impl SimulatedFile {
    pub(super) fn len(&self) -> usize {
        self.view.len()
    }

    pub(super) fn view(&self) -> &[u8] {
        &self.view
    }

    pub(super) fn read(&mut self, buffer: &mut [u8], position: usize) -> usize {
        // Behind the end there is nothing to be read, as on any disk.
        let from = position.min(self.view.len());
        let count = buffer.len().min(self.view.len() - from);
        let there = part(&self.view, from..from + count, "a read ends where the file does");
        part_mut(buffer, ..count, "no more is read than was asked for").copy_from_slice(there);
        self.warm.extend(pages(position, count));
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        if end > self.view.len() {
            self.view.resize(end, 0);
            self.lengths.push(end);
        }
        if let Some(to) = self.view.get_mut(position..end) {
            to.copy_from_slice(bytes);
        }
        self.note_sectors(position, end);
        self.warm.extend(pages(position, bytes.len()));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let old = self.view.len();
        self.view.resize(len, 0);
        self.lengths.push(len);
        // What was cut off would come back if the file grew again before the cut is on the platter.
        self.note_sectors(len, old.max(len));
    }

    /// Keeps the present content of the sectors that `from..to` touches as one that may survive.
    fn note_sectors(&mut self, from: usize, to: usize) {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let content = sector_of(&self.view, sector);
            let versions = self.dirty.entry(sector).or_default();
            // The first and the last stay: those are what a cut right behind the one or the other leaves.
            if versions.len() == VERSIONS_MAX {
                versions.remove(1);
            }
            versions.push(content);
        }
    }

    pub(super) fn sync(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if let Some(last) = versions.last() {
                put_sector(&mut self.platter, sector, last);
            }
        }
        // Bytes before the length: the length is what a sync makes certain, and zeros stand for what was never written.
        self.platter.resize(self.view.len(), 0);
        self.durable_len = self.view.len();
        self.lengths.clear();
    }

    /// A sync that failed: every page counts as clean, whatever became of it.
    pub(super) fn fail_sync(&mut self, random: &mut SplitMix) {
        self.settle(random, 50);
    }

    /// Lets each dirty sector have an old or a new content on the platter.
    fn settle(&mut self, random: &mut SplitMix, keep_percent: u64) {
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            // Each sector by itself: that is what tears a write, and what lets a later one overtake an earlier one.
            if !random.chance(keep_percent) {
                continue;
            }
            // The last content twice as often as those before.
            let index = random.below_usize(versions.len() + 1).min(versions.len() - 1);
            if let Some(content) = versions.get(index) {
                put_sector(&mut self.platter, sector, content);
            }
        }
    }

    /// The file after a power cut.
    pub(super) fn power_cut(&self, random: &mut SplitMix, keep_percent: u64) -> Self {
        let mut after = self.clone();
        after.settle(random, keep_percent);
        let mut len = self.durable_len;
        if !self.lengths.is_empty() && random.chance(keep_percent) {
            let index = random.below_usize(self.lengths.len() + 1).min(self.lengths.len() - 1);
            len = self.lengths.get(index).copied().unwrap_or(len);
        }
        after.platter.resize(len, 0);
        Self {
            view: after.platter.clone(),
            platter: after.platter,
            durable_len: len,
            ..Self::default()
        }
    }

    /// Forgets clean pages; what comes back is what is on the platter.
    pub(super) fn drop_cache(&mut self) {
        for sector in 0..self.view.len().div_ceil(SECTOR) {
            if !self.dirty.contains_key(&sector) {
                let from = sector * SECTOR;
                let to = (from + SECTOR).min(self.view.len());
                let content = sector_of(&self.platter, sector);
                if let (Some(view), Some(content)) =
                    (self.view.get_mut(from..to), content.get(..to - from))
                {
                    view.copy_from_slice(content);
                }
            }
        }
        self.warm.clear();
    }

    pub(super) fn cached(&self, position: u64, len: u64) -> bool {
        let (Ok(position), Ok(len)) = (usize::try_from(position), usize::try_from(len)) else {
            return false;
        };
        pages(position, len).all(|page| self.warm.contains(&page))
    }

    pub(super) fn flip_bit(&mut self, position: usize, bit: u8) -> bool {
        let mask = 1 << (bit % 8);
        let Some(byte) = self.view.get_mut(position) else { return false };
        *byte ^= mask;
        if let Some(byte) = self.platter.get_mut(position) {
            *byte ^= mask;
        }
        for version in self.dirty.get_mut(&(position / SECTOR)).into_iter().flatten() {
            if let Some(byte) = version.get_mut(position % SECTOR) {
                *byte ^= mask;
            }
        }
        true
    }
}

fn pages(position: usize, len: usize) -> std::ops::Range<u64> {
    if len == 0 {
        return 0..0;
    }
    position as u64 / PAGE..(position as u64 + len as u64).div_ceil(PAGE)
}

fn sector_of(bytes: &[u8], sector: usize) -> Box<[u8]> {
    let from = (sector * SECTOR).min(bytes.len());
    let to = (from + SECTOR).min(bytes.len());
    let mut content = part(bytes, from..to, "a sector is cut where the file ends").to_vec();
    content.resize(SECTOR, 0);
    content.into_boxed_slice()
}

fn put_sector(bytes: &mut Vec<u8>, sector: usize, content: &[u8]) {
    let from = sector * SECTOR;
    if bytes.len() < from + SECTOR {
        bytes.resize(from + SECTOR, 0);
    }
    if let Some(to) = bytes.get_mut(from..from + SECTOR) {
        to.copy_from_slice(content);
    }
}
