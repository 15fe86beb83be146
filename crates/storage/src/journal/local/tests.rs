//! The local journal keeps its promises on real and simulated disks, through every kind of stop.

use std::collections::BTreeMap;

use super::*;
use crate::disk::sim::{FaultPlan, SimDisk, SplitMix};
use crate::disk::{OpenMode, RealDisk};
use crate::journal::{CommitError, JournalRoom, conformance};

mod owners;

const DIR: &str = "/data/shards/0000/journal";

fn options(checkpoint: u64) -> JournalOptions {
    JournalOptions {
        checkpoint: Lsn::new(checkpoint),
        file_bytes: 16 << 10,
        files_max: 4,
        salt: 0x5A17,
    }
}

fn open(disk: &SimDisk, checkpoint: u64) -> Result<LocalJournal, OpenJournalError> {
    LocalJournal::open(Arc::new(disk.clone()), Path::new(DIR), options(checkpoint))
}

/// Commits for whoever wrote last; none of these tests has two owners.
fn put(journal: &LocalJournal, payload: &[u8], sync: bool) -> Result<Lsn, CommitError> {
    let owner = journal.state.lock().owner;
    let bundle = Bundle { payload: payload.to_vec(), sync, room: JournalRoom::Shared };
    journal.submit(owner, bundle).wait().outcome.map_err(|failure| failure.error)
}

#[test]
fn conformance_on_the_simulated_disk() {
    conformance::run(|| {
        let disk = SimDisk::new(1);
        Box::new(move |checkpoint| Box::new(open(&disk, checkpoint.get()).unwrap()))
    });
}

#[test]
fn conformance_on_the_real_disk() {
    conformance::run(|| {
        let dir = tempfile::tempdir().unwrap();
        Box::new(move |checkpoint| {
            let path = dir.path().join("journal");
            let disk = Arc::new(RealDisk::new());
            Box::new(LocalJournal::open(disk, &path, options(checkpoint.get())).unwrap())
        })
    });
}

/// What a test knows of the journal: every payload by number, and what was promised.
#[derive(Default)]
struct Model {
    payloads: BTreeMap<u64, Vec<u8>>,
    /// Survives a power cut.
    synced: u64,
    /// What the last frame proves durable.
    proven: u64,
    /// Survives the end of the process.
    written: u64,
    checkpoint: u64,
    /// The commit whose outcome was not told.
    unknown: Option<(u64, Vec<u8>)>,
    sequence: u64,
}

impl Model {
    /// One step of a random workload; false when the disk gave up.
    fn step(&mut self, journal: &LocalJournal, random: &mut SplitMix) -> bool {
        if random.chance(10) && journal.make_ready().is_err() {
            return false;
        }
        if journal.needs_checkpoint() && random.chance(60) {
            // What the broker would do: make the logs durable, save the checkpoint, tell the journal.
            let span = self.written - self.checkpoint;
            self.checkpoint += span - random.below(span.min(3) + 1);
            return journal.checkpoint(Lsn::new(self.checkpoint)).is_ok();
        }
        self.sequence += 1;
        let len =
            if random.chance(10) { random.below_usize(5000) } else { random.below_usize(900) };
        let word = self.sequence.to_le_bytes();
        let payload: Vec<u8> = word.into_iter().cycle().take(len + 8).collect();
        let sync = random.chance(70);
        match put(journal, &payload, sync) {
            Ok(lsn) => {
                assert_eq!(lsn.get(), self.written + 1, "INV-LSN");
                self.written = lsn.get();
                self.proven = self.synced;
                if sync {
                    self.synced = lsn.get();
                }
                self.payloads.insert(lsn.get(), payload);
            }
            Err(CommitError::Overloaded) => {
                self.checkpoint = self.written;
                return journal.checkpoint(Lsn::new(self.checkpoint)).is_ok();
            }
            Err(_) => {
                self.unknown = Some((self.written + 1, payload));
                return false;
            }
        }
        true
    }

    /// Opens and checks what is there against what was promised; what is there is promised from now.
    fn recover(&mut self, disk: &SimDisk, promised: u64) -> LocalJournal {
        if let Some((lsn, payload)) = self.unknown.take() {
            self.payloads.insert(lsn, payload);
        }
        let journal = open(disk, self.checkpoint).unwrap();
        let first = self.check(&journal, promised);
        // Recovery of a recovery changes nothing, whatever became of what the first one wrote.
        for seed in 0..2 {
            let again = open(&disk.power_cut_image(seed), self.checkpoint).unwrap();
            assert_eq!(self.check(&again, promised), first);
        }
        self.written = first;
        self.synced = first;
        journal
    }

    fn check(&self, journal: &LocalJournal, promised: u64) -> u64 {
        let mut last = self.checkpoint;
        let from = Lsn::new(self.checkpoint + 1);
        let report = journal.read(from, &mut |&Frame { lsn, payload: bytes, .. }| {
            last += 1;
            assert_eq!(lsn.get(), last, "a number is missing");
            assert_eq!(self.payloads.get(&last).map(Vec::as_slice), Some(bytes), "lsn {last}");
            ControlFlow::Continue(())
        });
        assert_eq!(report.unwrap().damaged, []);
        assert!(last >= promised, "promised {promised}, found {last}");
        assert_eq!(journal.last(), Lsn::new(last));
        last
    }
}

/// Several lives of one journal, each ended by `end`; gives the operations of the first life.
fn lives(seed: u64, stop_at: Option<u64>, end: fn(&SimDisk, &mut Model, u64) -> u64) -> u64 {
    let mut random = SplitMix::new(seed);
    let disk = SimDisk::new(seed);
    let mut model = Model::default();
    let mut operations = 0;
    for life in 0..4 {
        let plan = FaultPlan { stop_at: stop_at.filter(|_| life == 0), ..FaultPlan::default() };
        let later = (life > 0).then(|| 1 + random.below(120));
        disk.plan(FaultPlan { stop_at: plan.stop_at.or(later), ..plan });
        if let Ok(journal) = open(&disk, model.checkpoint) {
            let steps = 40 + random.below(60);
            for _ in 0..steps {
                if !model.step(&journal, &mut random) {
                    break;
                }
            }
        }
        operations = if life == 0 { disk.operations() } else { operations };
        let promised = end(&disk, &mut model, random.next_u64());
        drop(model.recover(&disk, promised));
    }
    operations
}

fn power_cut(disk: &SimDisk, model: &mut Model, seed: u64) -> u64 {
    disk.crash(seed);
    model.synced.max(model.checkpoint)
}

fn killed(disk: &SimDisk, model: &mut Model, _seed: u64) -> u64 {
    disk.kill();
    model.written
}

#[test]
fn every_synced_frame_survives_a_power_cut_at_every_operation() {
    for seed in 0..12 {
        let operations = lives(seed, None, power_cut);
        for stop_at in 1..=operations {
            lives(seed, Some(stop_at), power_cut);
        }
    }
}

#[test]
fn every_committed_frame_survives_a_kill_at_every_operation() {
    for seed in 200..206 {
        let operations = lives(seed, None, killed);
        for stop_at in 1..=operations {
            lives(seed, Some(stop_at), killed);
        }
    }
}

/// INV-JOURNAL-FENCE.
#[test]
fn failed_sync_fences_a_failed_write_does_not_and_what_reopening_shows_stays() {
    for seed in 0..400 {
        let mut random = SplitMix::new(seed);
        let disk = SimDisk::new(seed);
        let mut model = Model::default();
        for _ in 0..3 {
            let nth = Some(1 + random.below(30));
            let sync = random.chance(70);
            let (fail_sync, fail_write) = if sync { (nth, None) } else { (None, nth) };
            disk.plan(FaultPlan { fail_sync, fail_write, ..FaultPlan::default() });
            if let Ok(journal) = open(&disk, model.checkpoint) {
                // A write that failed stops nothing: another file takes the frame.
                let _ = (0..80).all(|_| model.step(&journal, &mut random));
                if model.unknown.is_some() && journal.state.lock().fenced {
                    let refused = put(&journal, b"x", false);
                    assert!(matches!(refused, Err(CommitError::Fenced)));
                }
            }
            disk.kill();
            // Promised is what was synced: the failed sync may have taken unsynced frames with it.
            let promised = model.synced.max(model.checkpoint);
            drop(model.recover(&disk, promised));
        }
    }
}

/// INV-LOUD.
#[test]
fn flipped_bit_is_reported_or_at_the_tail_and_never_served() {
    let mut reported = 0;
    for seed in 0..300 {
        let mut random = SplitMix::new(seed);
        let disk = SimDisk::new(seed);
        let mut model = Model::default();
        let journal = open(&disk, 0).unwrap();
        for _ in 0..25 {
            model.step(&journal, &mut random);
        }
        drop(journal);
        disk.flip_random_bit(".jnl", seed).unwrap();
        let journal = open(&disk, model.checkpoint).unwrap();
        let mut seen = Vec::new();
        let from = Lsn::new(model.checkpoint + 1);
        let report = journal.read(from, &mut |&Frame { lsn, payload: bytes, .. }| {
            assert_eq!(model.payloads[&lsn.get()], bytes);
            seen.push(lsn.get());
            ControlFlow::Continue(())
        });
        let damaged = report.unwrap().damaged;
        reported += damaged.len();
        let lost = damaged.iter().flat_map(|range| range.clone());
        seen.extend(lost);
        seen.sort_unstable();
        // All there or told; only in the tail, which no later frame proves, it is taken for torn.
        assert!(seen.iter().copied().eq(model.checkpoint + 1..=journal.last().get()));
        assert!(journal.last().get() >= model.proven.max(model.checkpoint));
    }
    assert!(reported > 20, "only {reported} flips hit a frame");
}

/// Frames 7 to 9 were written, frame 6 was not: they never counted, and frame 6 was given again. Only
/// that later frame 6 shows that they are void. Were its file overwritten after a checkpoint while they
/// are still there, a power cut could make 7 to 9 follow the checkpoint as if they had been committed.
///
/// INV-STALE.
#[test]
fn void_frames_do_not_come_back_when_what_outdates_them_is_overwritten() {
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let journal = open(&disk, 0).unwrap();
        for number in 1..=9_u8 {
            put(&journal, &[number; 20], number < 6).unwrap();
        }
        drop(journal);
        let sixth = disk.open(&Path::new(DIR).join("0001.jnl"), OpenMode::ReadWrite).unwrap();
        sixth.write_at(&[0; 512], 6 * 512).unwrap();
        sixth.sync_data().unwrap();
        let journal = open(&disk, 0).unwrap();
        assert_eq!(journal.last(), Lsn::new(5));
        put(&journal, b"six again", true).unwrap();
        drop(journal);
        // The checkpoint was saved, and the process ended before it told the journal.
        let journal = open(&disk, 6).unwrap();
        if seed % 2 == 0 {
            disk.plan(FaultPlan { stop_at: Some(1 + seed / 2 % 15), ..FaultPlan::default() });
            let _ = journal.checkpoint(Lsn::new(6));
        }
        let _ = put(&journal, &[7; 1500], seed % 3 == 0);
        disk.crash(seed);
        let journal = open(&disk, 6).unwrap();
        let report = journal.read(Lsn::new(7), &mut |&Frame { payload: bytes, .. }| {
            assert_eq!(bytes, [7; 1500], "seed {seed}");
            ControlFlow::Continue(())
        });
        assert!(report.unwrap().frames <= 1);
    }
}

#[test]
fn damaged_file_is_put_aside_and_not_overwritten() {
    let disk = SimDisk::new(5);
    let journal = open(&disk, 0).unwrap();
    for number in 0..20_u8 {
        put(&journal, &[number; 300], true).unwrap();
    }
    drop(journal);
    let path = Path::new(DIR).join("0001.jnl");
    disk.flip_bit(&path, 512 * 5 + 100, 3).unwrap();
    let before = disk.contents(&path).unwrap();
    let journal = open(&disk, 0).unwrap();
    let report = journal.read(Lsn::new(1), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.damaged, report.frames), (vec![5..=5], 19));
    for number in 0..40_u8 {
        put(&journal, &[number; 900], true).ok();
        journal.checkpoint(journal.last()).unwrap();
    }
    assert_eq!(disk.contents(&path.with_extension("jnl.damaged")), Some(before));
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let disk = SimDisk::new(5);
    put(&open(&disk, 0).unwrap(), b"x", true).unwrap();
    let other = JournalOptions { salt: 1, ..options(0) };
    let refused = LocalJournal::open(Arc::new(disk.clone()), Path::new(DIR), other);
    assert!(matches!(refused, Err(OpenJournalError::Foreign { .. })));

    let path = Path::new(DIR).join("0001.jnl");
    let header = super::super::format::FileHeader {
        version: 2,
        number: 1,
        file_bytes: 16 << 10,
        salt_check: super::super::format::salt_check(0x5A17),
    };
    disk.open(&path, OpenMode::ReadWrite).unwrap().write_at(&header.encode(), 0).unwrap();
    assert!(matches!(open(&disk, 0), Err(OpenJournalError::Newer { found: 2, .. })));
}

/// INV-WHOLE-FILE.
#[test]
fn full_disk_refuses_a_new_file_and_the_journal_goes_on() {
    let disk = SimDisk::new(5);
    let journal = open(&disk, 0).unwrap();
    let bytes = [1; 4000];
    put(&journal, &bytes, true).unwrap();
    disk.plan(FaultPlan { bytes_max: Some(20 << 10), ..FaultPlan::default() });
    let mut taken = 1;
    let refused = loop {
        match put(&journal, &bytes, true) {
            Ok(lsn) => taken = lsn.get(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::Unavailable), "{refused:?}");
    let count = |disk: &SimDisk| {
        let names = disk.files().into_iter().map(|(path, _)| path);
        names.filter(|path| path.to_string_lossy().contains(".jnl")).count()
    };
    assert_eq!(count(&disk), 1, "a file that could not be made takes no space");
    disk.plan(FaultPlan::default());
    assert_eq!(put(&journal, b"x", true).unwrap().get(), taken + 1);
}

/// One write to the journal that failed, as on a full copy-on-write file system, was the end of all commits
/// until a restart. It certainly did not become a frame that counts, so it is made in another file.
#[test]
fn a_failed_write_is_made_in_another_file_and_everything_committed_is_kept() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let journal = open(&disk, 0).unwrap();
        let mut random = SplitMix::new(seed);
        let mut commit = |number: u64| {
            let payload = vec![number as u8; 8 + random.below_usize(900)];
            put(&journal, &payload, number.is_multiple_of(3)).map(|lsn| {
                assert_eq!(lsn.get(), number, "INV-LSN");
                payload
            })
        };
        let mut expected = vec![commit(1).unwrap(), commit(2).unwrap()];
        journal.make_ready().unwrap();
        disk.plan(FaultPlan { fail_write: Some(1 + seed % 3), ..FaultPlan::default() });
        expected.extend((3..=6).map(|number| commit(number).unwrap()));
        assert_eq!(journal.usage().write_errors, 1);
        for image in [disk.kill_image(), disk.power_cut_image(seed)] {
            let again = open(&image, 0).unwrap();
            let mut found = Vec::new();
            let report = again.read(Lsn::new(1), &mut |&Frame { payload: bytes, .. }| {
                found.push(bytes.to_vec());
                ControlFlow::Continue(())
            });
            assert_eq!(report.unwrap().damaged, []);
            assert!(found.len() >= 6 && found[..6] == expected, "seed {seed}: {}", found.len());
        }
    }
}

#[test]
fn a_bundle_that_no_file_takes_is_refused_and_the_journal_goes_on() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, 0).unwrap();
    let commit = |byte: u8| put(&journal, &[byte; 100], true);
    commit(1).unwrap();
    journal.make_ready().unwrap();
    disk.plan(FaultPlan { bytes_max: Some(0), fail_write: Some(1), ..FaultPlan::default() });
    // The prepared file takes it; a file that is not there cannot be made.
    commit(2).unwrap();
    disk.plan(FaultPlan { bytes_max: Some(0), fail_write: Some(1), ..FaultPlan::default() });
    assert!(matches!(commit(3), Err(CommitError::Unavailable)));
    disk.plan(FaultPlan::default());
    assert_eq!(commit(4).unwrap(), Lsn::new(3));
    let again = open(&disk.power_cut_image(2), 0).unwrap();
    assert_eq!(again.last(), Lsn::new(3));
}

fn fill(journal: &LocalJournal, frames: u64) {
    for number in 1..=frames {
        put(journal, &[number as u8; 3000], true).unwrap();
    }
}

fn missing(journal: &LocalJournal) -> Vec<String> {
    journal.read(Lsn::new(1), &mut |_| ControlFlow::Continue(())).unwrap().missing
}

/// The file with the last frames was removed, and nothing in the others shows that it had ever been there:
/// the start went on as if they had not been acknowledged, without a word.
///
/// INV-LISTED.
#[test]
fn a_file_that_is_gone_is_named_until_a_checkpoint_covers_what_is_left() {
    for number in 1..=3 {
        let disk = SimDisk::new(number);
        let journal = open(&disk, 0).unwrap();
        fill(&journal, 12);
        drop(journal);
        let path = Path::new(DIR).join(format!("{number:04}.jnl"));
        let kept = disk.contents(&path).unwrap();
        disk.remove_file(&path).unwrap();
        for _ in 0..2 {
            assert_eq!(missing(&open(&disk, 0).unwrap()), [path.display().to_string()]);
        }
        let journal = open(&disk, 0).unwrap();
        let last = journal.last();
        journal.checkpoint(last).unwrap();
        fill(&journal, 2);
        assert_eq!(missing(&open(&disk, last.get()).unwrap()), [] as [String; 0]);
        // Put back too late, its frames do not take the place of the new ones.
        disk.open(&path, OpenMode::Create).unwrap().write_at(&kept, 0).unwrap();
        let mut found = Vec::new();
        let again = open(&disk, last.get()).unwrap();
        let read = again.read(last.next(), &mut |&Frame { lsn, payload: bytes, .. }| {
            found.push((lsn.get() - last.get(), bytes.to_vec()));
            ControlFlow::Continue(())
        });
        read.unwrap();
        assert_eq!(found, [(1, vec![1; 3000]), (2, vec![2; 3000])], "{number}");
    }
}

#[test]
fn a_journal_that_is_gone_as_a_whole_is_named_and_an_older_one_without_a_list_is_not() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, 0).unwrap();
    fill(&journal, 12);
    let last = journal.last();
    journal.checkpoint(last).unwrap();
    drop(journal);
    let list = Path::new(DIR).join("files");
    disk.remove_file(&list).unwrap();
    let journal = open(&disk, last.get()).unwrap();
    assert_eq!(missing(&journal), [] as [String; 0]);
    journal.checkpoint(last).unwrap();
    assert!(disk.exists(&list).unwrap());
    drop(journal);
    disk.remove_dir_all(Path::new(DIR)).unwrap();
    assert_eq!(missing(&open(&disk, last.get()).unwrap()), [DIR]);
}

#[test]
fn no_stop_makes_a_file_look_missing() {
    for stop_at in 1..400 {
        let disk = SimDisk::new(stop_at);
        disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
        let mut checkpoint = 0;
        for round in 0..3 {
            let Ok(journal) = open(&disk, checkpoint) else { break };
            for number in 0..6_u8 {
                let _ = put(&journal, &[number; 3000], round != 1);
            }
            let last = journal.last();
            if journal.checkpoint(last).is_ok() {
                checkpoint = last.get();
            }
        }
        disk.crash(stop_at);
        disk.plan(FaultPlan::default());
        assert_eq!(missing(&open(&disk, checkpoint).unwrap()), [] as [String; 0], "{stop_at}");
    }
}
