//! A log that cannot be opened takes itself offline, and nobody else.

use std::path::{Path, PathBuf};

use galgo_storage::disk::Disk as _;
use galgo_storage::disk::sim::{FaultPlan, SimDisk};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    create_stream, create_topic, get_offset, get_topic, poll, purge_topic, store_offset, to,
};
use crate::rig::{Connection, JOURNAL_BATCH_BYTES_MAX, Rig};

const REFUSED: Result<(), ErrorCode> = Err(ErrorCode::CannotSyncFile);

fn large(letter: &str) -> String {
    letter.repeat(JOURNAL_BATCH_BYTES_MAX as usize)
}

fn texts(root: &mut Connection, partition: u32) -> Vec<String> {
    root.poll(&poll("t", partition, PollingStrategy::First)).unwrap().texts()
}

/// Topic `t` of three partitions, whose messages lie in a checkpoint, behind it in their segments, and in the journal.
fn with_messages() -> (Rig, Connection, Vec<String>) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 3)).unwrap();
    let sent = vec!["a".to_owned(), large("b"), "c".to_owned(), large("d"), "e".to_owned()];
    for (number, text) in sent.iter().enumerate() {
        for partition in 0..3 {
            root.send("t", to(partition), &[text.as_str()]).unwrap();
        }
        if number == 1 {
            rig.broker.shards().first().checkpoint().unwrap();
        }
    }
    root.call(&store_offset("c", "t", (1, 1))).unwrap();
    (rig, root, sent)
}

/// Where the log of partition 1 lies.
fn directory(rig: &Rig) -> PathBuf {
    // Partitions have uids in the order of their numbers.
    let mut directories: Vec<PathBuf> =
        rig.partition_files().iter().map(|file| file.parent().unwrap().to_owned()).collect();
    directories.sort();
    directories.dedup();
    directories[1].clone()
}

/// What a server leaves that is killed, or loses power.
fn ended(rig: &Rig, seed: u64) -> SimDisk {
    match seed % 2 {
        0 => rig.disk.kill_image(),
        _ => rig.disk.power_cut_image(seed),
    }
}

fn unreadable(disk: &SimDisk, directory: &Path) {
    let fail_reads_of = Some(directory.to_str().unwrap().to_owned());
    disk.plan(FaultPlan { fail_reads_of, ..FaultPlan::default() });
}

/// One log that could not be read refused the start of the whole server.
///
/// INV-OFFLINE.
#[test]
fn a_log_that_cannot_be_opened_takes_nobody_along() {
    for seed in 0..8 {
        let (rig, root, mut sent) = with_messages();
        drop(root);
        let directory = directory(&rig);
        let disk = ended(&rig, seed);
        unreadable(&disk, &directory);
        let mut rig = Rig::open(disk);
        let offline: Vec<_> = rig.report.offline.iter().map(|it| it.partition.get()).collect();
        assert_eq!(offline, [1], "seed {seed}");
        assert_eq!(rig.broker.counters().partitions_fenced, 1);
        let mut root = rig.root();
        for partition in [0, 2] {
            assert_eq!(texts(&mut root, partition), sent);
            root.send("t", to(partition), &["later"]).unwrap();
        }

        assert_eq!(root.send("t", to(1), &["no"]), REFUSED);
        let damaged = root.poll(&poll("t", 1, PollingStrategy::First)).unwrap_err();
        assert_eq!(damaged, ErrorCode::CannotReadMessage, "nothing is answered with empty");
        let details = root.call(&get_topic("s", "t")).unwrap().unwrap();
        // As far as is known: the last was acknowledged, and nothing behind it was staged.
        assert_eq!(details.partitions[1].current_offset.get(), 3);
        let stored = root.call(&get_offset("c", "t", 1)).unwrap().unwrap();
        assert_eq!((stored.stored_offset.get(), stored.current_offset.get()), (1, 3));
        root.call(&store_offset("c", "t", (1, 2))).unwrap();
        assert_eq!(root.call(&store_offset("c", "t", (1, 4))), REFUSED, "nobody knows here");

        // What the journal holds of it has to outlive the files it is in, however often these are given back.
        for round in 0..seed {
            root.send("t", to(0), &["more"]).unwrap();
            rig.broker.tick();
            rig.commit_round();
            rig.broker.shards().first().checkpoint().unwrap();
            rig.broker.shards().first().rescue_round();
            if round == 2 {
                // Still unreadable at the next start.
                drop(root);
                let disk = ended(&rig, seed);
                unreadable(&disk, &directory);
                rig = Rig::open(disk);
                root = rig.root();
            }
        }
        drop(root);
        let rig = Rig::open(ended(&rig, seed));
        assert!(rig.report.offline.is_empty());
        let mut root = rig.root();
        assert_eq!(texts(&mut root, 1), sent, "seed {seed}");
        let stored = root.call(&get_offset("c", "t", 1)).unwrap().unwrap();
        assert_eq!(stored.stored_offset.get(), 2);
        root.send("t", to(1), &["after"]).unwrap();
        sent.push("after".to_owned());
        assert_eq!(texts(&mut root, 1), sent);
    }
}

#[test]
fn a_purge_gives_up_what_is_offline() {
    let (rig, root, _) = with_messages();
    drop(root);
    let disk = rig.disk.kill_image();
    unreadable(&disk, &directory(&rig));
    let mut rig = Rig::open(disk);
    let mut root = rig.root();
    root.call(&purge_topic("s", "t")).unwrap();
    root.send("t", to(1), &["new"]).unwrap();
    rig.commit_round();
    rig.broker.shards().first().checkpoint().unwrap();
    drop(root);
    let rig = Rig::open(rig.disk.kill_image());
    assert!(rig.report.offline.is_empty());
    assert_eq!(texts(&mut rig.root(), 1), ["new"]);
}

/// What was carried forward and not covered, because the checkpoint was not saved, was carried again with its copy:
/// twice as much each time.
#[test]
fn checkpoints_that_fail_carry_no_more_each_time() {
    let (rig, root, sent) = with_messages();
    drop(root);
    let directory = directory(&rig);
    let disk = rig.disk.kill_image();
    unreadable(&disk, &directory);
    let rig = Rig::open(disk);
    let mut root = rig.root();
    let fail_reads_of = Some(directory.to_str().unwrap().to_owned());
    let mut frames = Vec::new();
    for round in 0..12 {
        root.send("t", to(0), &["more"]).unwrap();
        // The first sync is that of the other partition, the second that of what is carried, the third that of the
        // checkpoint.
        let fail_sync = (round % 4 > 0).then_some(3);
        let fail_reads_of = fail_reads_of.clone();
        rig.disk.plan(FaultPlan { fail_sync, fail_reads_of, ..FaultPlan::default() });
        assert_eq!(rig.broker.shards().first().checkpoint().is_err(), fail_sync.is_some());
        frames.push(rig.broker.shards().first().journal_usage().parts_in_use);
    }
    assert!(frames.iter().all(|files| *files <= 3), "{frames:?}");
    drop(root);
    let disk = rig.disk.kill_image();
    disk.plan(FaultPlan::default());
    let rig = Rig::open(disk);
    assert_eq!(texts(&mut rig.root(), 1), sent);
}

/// A start that fails half-way, wherever that is, has changed nothing that matters.
#[test]
fn a_start_that_cannot_write_everything_loses_nothing() {
    let (rig, root, sent) = with_messages();
    drop(root);
    let (mut offline, mut refused) = (0, 0);
    for number in 1..60 {
        let disk = rig.disk.kill_image();
        let plan = match number % 2 {
            0 => FaultPlan { fail_sync: Some(number / 2), ..FaultPlan::default() },
            _ => FaultPlan { fail_write: Some(number / 2 + 1), ..FaultPlan::default() },
        };
        disk.plan(plan);
        match Rig::try_open(disk.clone()) {
            Ok(rig) => {
                offline += rig.report.offline.len();
                // One that is written to now is not mended by that.
                for partition in 0..3 {
                    let _ = rig.root().send("t", to(partition), &["x"]);
                }
                let _ = rig.broker.shards().first().checkpoint();
            }
            Err(_) => refused += 1,
        }
        disk.plan(FaultPlan::default());
        let rig = Rig::open(disk.kill_image());
        let mut root = rig.root();
        for partition in 0..3 {
            let found = texts(&mut root, partition);
            assert_eq!(found[..sent.len()], sent, "fault {number}");
            assert!(found[sent.len()..].iter().all(|text| text == "x"), "fault {number}");
        }
    }
    assert!(offline > 0 && refused > 0, "{offline} offline, {refused} starts refused");
}

/// What the journal has lost was told; it does not keep the server from starting, and what is left of it is carried.
#[test]
fn a_damaged_journal_keeps_nothing_else_from_being_carried() {
    let mut offline = 0;
    for seed in 0..20 {
        let (rig, root, sent) = with_messages();
        drop(root);
        let directory = directory(&rig);
        let disk = rig.disk.kill_image();
        disk.flip_random_bit("/journal/", seed).unwrap();
        unreadable(&disk, &directory);
        let rig = Rig::open(disk);
        offline += rig.report.offline.len();
        let disk = rig.disk.kill_image();
        disk.plan(FaultPlan::default());
        let rig = Rig::open(disk);
        let mut root = rig.root();
        // Only what lay in the damaged frame may be missing, and is not answered with something else.
        if let Ok(polled) = root.poll(&poll("t", 1, PollingStrategy::First)) {
            let found = polled.texts();
            assert_eq!(found, sent[..found.len()], "seed {seed}");
        }
        root.send("t", to(1), &["after"]).unwrap();
    }
    assert!(offline > 0);
}

/// What was mended came back with a restart only.
#[test]
fn a_log_that_can_be_opened_after_all_is_online_again_without_a_restart() {
    for seed in 0..12 {
        let (rig, root, mut sent) = with_messages();
        drop(root);
        let directory = directory(&rig);
        let disk = ended(&rig, seed);
        unreadable(&disk, &directory);
        let mut rig = Rig::open(disk);
        let mut root = rig.root();
        let look_after = |rig: &mut Rig| {
            rig.environment.advance_us(11_000_000);
            rig.broker.tick();
            rig.commit_round();
            rig.broker.shards().first().rescue_round();
        };
        for _ in 0..seed {
            root.send("t", to(0), &["more"]).unwrap();
            look_after(&mut rig);
            let _ = rig.broker.shards().first().checkpoint();
        }
        assert_eq!(rig.broker.totals().offline_partitions, 1);
        rig.disk.plan(FaultPlan::default());
        look_after(&mut rig);
        assert_eq!(rig.broker.totals().offline_partitions, 0);
        assert_eq!(rig.broker.totals().fenced_partitions, 0);
        assert_eq!(texts(&mut root, 1), sent, "seed {seed}");
        let stored = root.call(&get_offset("c", "t", 1)).unwrap().unwrap();
        assert_eq!((stored.stored_offset.get(), stored.current_offset.get()), (1, 4));
        // Through the journal and past it, with and without a checkpoint behind it.
        for text in ["f".to_owned(), large("g"), "h".to_owned()] {
            root.send("t", to(1), &[&text]).unwrap();
            sent.push(text);
        }
        if seed % 3 == 0 {
            rig.broker.shards().first().checkpoint().unwrap();
        }
        assert_eq!(texts(&mut root, 1), sent);
        drop(root);
        for image in [rig.disk.kill_image(), rig.disk.power_cut_image(seed)] {
            let rig = Rig::open(image);
            assert!(rig.report.offline.is_empty());
            assert_eq!(texts(&mut rig.root(), 1), sent, "seed {seed}");
        }
    }
}

/// Carrying gave nothing back where nothing was committed in between, and took more room each time.
#[test]
fn checkpoints_of_an_idle_server_carry_nothing() {
    let (rig, root, sent) = with_messages();
    drop(root);
    let directory = directory(&rig);
    let disk = rig.disk.kill_image();
    unreadable(&disk, &directory);
    let rig = Rig::open(disk);
    rig.broker.shards().first().checkpoint().unwrap();
    let bytes = |rig: &Rig| {
        let files = rig.disk.files().into_iter();
        let journal = files.filter(|(path, _)| path.starts_with("/data/shards/0000/journal"));
        let journal = journal.filter_map(|(path, _)| rig.disk.contents(&path));
        journal.map(|bytes| bytes.iter().filter(|byte| **byte != 0).count()).sum::<usize>()
    };
    let before = bytes(&rig);
    for _ in 0..20 {
        rig.broker.shards().first().checkpoint().unwrap();
    }
    assert_eq!(bytes(&rig), before);
    let disk = rig.disk.kill_image();
    disk.plan(FaultPlan::default());
    assert_eq!(texts(&mut Rig::open(disk).root(), 1), sent);
}

/// While files are put back one after the other, a log would be opened without those to come.
#[test]
fn a_log_is_not_opened_again_before_all_its_files_are_there() {
    let (rig, mut root, mut sent) = with_messages();
    for _ in 0..12 {
        sent.push(large("m"));
        root.send("t", to(1), &[&large("m")]).unwrap();
    }
    drop(root);
    rig.broker.shards().first().checkpoint().unwrap();
    let directory = directory(&rig);
    let disk = rig.disk.kill_image();
    unreadable(&disk, &directory);
    let mut rig = Rig::open(disk);
    let logs = rig.disk.files().into_iter().map(|(path, _)| path);
    let is_log = |path: &PathBuf| path.extension().is_some_and(|it| it == "log");
    let logs: Vec<_> = logs.filter(|path| path.starts_with(&directory) && is_log(path)).collect();
    assert!(logs.len() > 1);
    let moved: Vec<_> = logs.iter().map(|log| (log, log.with_extension("away"))).collect();
    for (log, away) in &moved {
        rig.disk.rename(log, away).unwrap();
    }
    rig.disk.plan(FaultPlan::default());
    for (log, away) in moved {
        rig.environment.advance_us(11_000_000);
        rig.broker.tick();
        rig.broker.shards().first().rescue_round();
        assert_eq!(rig.broker.totals().offline_partitions, 1);
        rig.disk.rename(&away, log).unwrap();
    }
    rig.environment.advance_us(11_000_000);
    rig.broker.tick();
    rig.commit_round();
    rig.broker.shards().first().rescue_round();
    assert_eq!(rig.broker.totals().offline_partitions, 0);
    assert_eq!(texts(&mut rig.root(), 1), sent);
}
