//! The power goes, or the process dies, at every operation of a mixed workload. Whatever is left,
//! every acknowledged message is read back, and a second recovery finds nothing to do.

use crate::rig::{Journaled, Rig, append, messages, offset_of, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::sim::{FaultPlan, SplitMix};
use galgo_storage::log::{AHEAD_US_MAX, Log, RecoveryReport};
use galgo_wire::id::{Offset, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// What the clock is set forward or back by: so much that times start over.
const CLOCK_STEP: u64 = 2 * AHEAD_US_MAX;

/// What a broker does with one log, and what it promised.
struct Workload {
    random: SplitMix,
    now: u64,
    /// Messages below this were acknowledged.
    acknowledged: u64,
    /// Every message ever staged, by offset: what may be found above `acknowledged`.
    staged: BTreeMap<u64, Vec<Vec<u8>>>,
    /// The messages of the log as of now.
    messages: Vec<Vec<u8>>,
    /// Batches not acknowledged: their end, and whether they go to the journal.
    queue: VecDeque<(u64, Option<Journaled>)>,
    /// What the journal holds; it is durable by itself.
    journal: Vec<Journaled>,
    /// The last checkpoint saved.
    known: LogCheckpoint,
    /// The oldest message kept, moved before files are removed.
    start: u64,
}

impl Workload {
    fn new(seed: u64) -> Self {
        Self {
            random: SplitMix::new(seed),
            now: 1,
            acknowledged: 0,
            staged: BTreeMap::new(),
            messages: Vec::new(),
            queue: VecDeque::new(),
            journal: Vec::new(),
            known: LogCheckpoint::default(),
            start: 0,
        }
    }

    /// Runs until `steps` are done or the disk fails.
    fn run(&mut self, log: &mut Log, steps: u32) -> std::io::Result<()> {
        for _ in 0..steps {
            match self.random.below(20) {
                0..7 => self.stage(log, true)?,
                7..10 => self.stage(log, false)?,
                10..14 => self.commit(),
                14..16 => self.sync(log)?,
                16 => self.rewind(log),
                17 => self.retain(log)?,
                _ => self.checkpoint(log)?,
            }
        }
        Ok(())
    }

    fn stage(&mut self, log: &mut Log, small: bool) -> std::io::Result<()> {
        self.now += self.random.below(3);
        if self.random.below(12) == 0 {
            // Somebody sets the clock.
            self.now = self.now.checked_sub(CLOCK_STEP).unwrap_or(self.now + CLOCK_STEP);
        }
        log.start_over_if_ahead(Timestamp::new(self.now));
        let timestamp = self.now.max(log.last_timestamp().get());
        let (count, payload) = if small { (3, 100) } else { (12, 400) };
        let count = 1 + self.random.below(count);
        let first = self.messages.len() as u64;
        let batch = messages(&mut self.random, first, timestamp, (count, payload));
        for message in &batch {
            self.staged.entry(offset_of(message)).or_default().push(message.clone());
        }
        append(log, &batch).map_err(std::io::Error::other)?;
        self.messages.extend(batch.iter().cloned());
        let (base, high_watermark) = (first, self.acknowledged);
        let journaled = Journaled { base, high_watermark, bytes: batch.concat() };
        let end = self.messages.len() as u64;
        self.queue.push_back((end, small.then_some(journaled)));
        Ok(())
    }

    /// Puts small batches into the journal; those with nothing before them are acknowledged.
    fn commit(&mut self) {
        while let Some((end, Some(journaled))) = self.queue.front() {
            self.journal.push(journaled.clone());
            self.acknowledged = *end;
            self.queue.pop_front();
        }
    }

    fn sync(&mut self, log: &mut Log) -> std::io::Result<()> {
        sync(log)?;
        self.acknowledged = self.messages.len() as u64;
        self.queue.clear();
        Ok(())
    }

    fn rewind(&mut self, log: &mut Log) {
        log.rewind(Offset::new(self.acknowledged));
        if !log.is_fenced() {
            self.messages.truncate(self.acknowledged as usize);
            self.queue.clear();
        }
    }

    /// Syncs and saves a checkpoint while appends go on.
    fn checkpoint(&mut self, log: &mut Log) -> std::io::Result<()> {
        let dirty = log.dirty();
        let covered = self.messages.len() as u64;
        for _ in 0..self.random.below(4) {
            let small = self.random.chance(50);
            self.stage(log, small)?;
        }
        dirty.sync()?;
        log.synced(&dirty);
        while self.queue.front().is_some_and(|(end, _)| *end <= covered) {
            self.queue.pop_front();
        }
        self.acknowledged = self.acknowledged.max(covered);
        self.known = log.checkpoint();
        self.journal.retain(|batch| batch.base >= covered);
        Ok(())
    }

    fn retain(&mut self, log: &mut Log) -> std::io::Result<()> {
        let Some(sealed) = log.sealed().first().cloned() else { return Ok(()) };
        if sealed.end.get() <= self.acknowledged && self.random.chance(50) {
            self.start = sealed.end.get();
            self.known.start = sealed.end;
            log.drop_before(sealed.end)?;
        }
        Ok(())
    }

    /// Checks what a recovery found; returns the messages from the start on.
    fn check(&self, log: &Log, report: &RecoveryReport) -> Vec<Vec<u8>> {
        assert_eq!(report.fenced, vec![], "nothing is damaged: {report:?}");
        assert!(!report.acknowledged_missing(), "nothing is missing: {report:?}");
        assert!(log.end().get() >= self.acknowledged, "{} < {}", log.end(), self.acknowledged);
        assert_eq!(log.reader().start().get(), self.start);
        let (found, fences) = read_all(&log.reader(), log.end());
        assert_eq!(fences, vec![]);
        for (at, message) in found.iter().enumerate() {
            let offset = self.start + at as u64;
            assert_eq!(offset_of(message), offset);
            if offset < self.acknowledged {
                assert_eq!(*message, self.messages[offset as usize], "acknowledged {offset}");
            } else {
                assert!(self.staged[&offset].contains(message), "offset {offset} never staged");
            }
        }
        found
    }
}

/// What stops the workload.
#[derive(Debug, Clone, Copy)]
enum Stop {
    PowerCut,
    Kill,
}

/// INV-RECOVERED.
#[test]
fn acknowledged_messages_survive_a_power_cut_at_every_operation() {
    every_operation(Stop::PowerCut, 0..seeds(40));
}

#[test]
fn acknowledged_messages_survive_a_kill_at_every_operation() {
    every_operation(Stop::Kill, 1_000..1_000 + seeds(10));
}

/// How many workloads run; `GALGO_CRASH_SEEDS` asks for more.
fn seeds(default: u64) -> u64 {
    let asked = std::env::var("GALGO_CRASH_SEEDS").ok();
    asked.and_then(|seeds| seeds.parse().ok()).unwrap_or(default)
}

fn every_operation(stop: Stop, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut operation = 1;
        loop {
            let result = std::panic::catch_unwind(|| stop_at(stop, seed, operation));
            let Ok(stopped) = result else { panic!("{stop:?} seed {seed} operation {operation}") };
            if !stopped {
                break;
            }
            operation += 1;
        }
        assert!(operation > 50, "the workload of seed {seed} is too short");
    }
}

fn stop_at(stop: Stop, seed: u64, operation: u64) -> bool {
    let mut rig = Rig::new(seed);
    rig.options.segment_bytes = 1 + SplitMix::new(seed).below(4_000);
    let mut workload = Workload::new(seed);
    let mut log = rig.create();
    rig.disk.plan(FaultPlan { stop_at: Some(operation), ..FaultPlan::default() });
    let _ = workload.run(&mut log, 80);
    let stopped = rig.disk.stopped();
    drop(log);
    let crash = |rig: &Rig, seed| match stop {
        Stop::PowerCut => rig.disk.crash(seed),
        Stop::Kill => rig.disk.kill(),
    };
    crash(&rig, seed ^ operation);

    // Recovery itself is stopped on the way, too.
    let step = 1 + operation % 7;
    rig.disk.plan(FaultPlan { stop_at: Some(step), ..FaultPlan::default() });
    let _ = rig.try_recover(&workload.known, &workload.journal);
    crash(&rig, seed ^ step);

    let (log, report) = rig.recover(&workload.known, &workload.journal);
    let found = workload.check(&log, &report);
    drop(log);
    let before = contents(&rig);
    // Everything found was made durable, so nothing of it may go now.
    crash(&rig, !seed);
    let (mut log, report) = rig.recover(&workload.known, &workload.journal);
    assert_eq!(workload.check(&log, &report), found, "the second recovery finds the same");
    assert!(contents(&rig) == before, "the second recovery changes nothing");

    // Life goes on: what was found is now the log.
    workload.messages.truncate(workload.start as usize);
    workload.messages.extend(found);
    workload.acknowledged = workload.messages.len() as u64;
    workload.queue.clear();
    workload.now = workload.now.max(log.last_timestamp().get());
    workload.known = log.checkpoint();
    workload.journal.clear();
    workload.run(&mut log, 20).unwrap();
    drop(log);
    crash(&rig, seed + 1);
    let (log, report) = rig.recover(&workload.known, &workload.journal);
    workload.check(&log, &report);
    stopped
}

/// Every file but the indexes, which are hints: reads may have made them anew, unsynced.
fn contents(rig: &Rig) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let files = rig.disk.files().into_iter().map(|(path, _)| path);
    let files = files.filter(|path| !path.to_string_lossy().ends_with(".index"));
    files.map(|path| (path.clone(), rig.disk.contents(&path))).collect()
}
