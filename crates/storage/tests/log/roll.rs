//! Segments that are sealed before they are full: when the disk has no room for the next one, and when everything
//! before it is given up.

use crate::rig::{DIR, Rig, append, messages, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::Disk;
use galgo_storage::disk::sim::{FaultPlan, SplitMix};
use galgo_storage::log::Log;
use galgo_wire::id::{Offset, Timestamp};

fn segments(rig: &Rig) -> Vec<String> {
    let entries = rig.disk.read_dir(std::path::Path::new(DIR)).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

fn name(base: u64) -> String {
    format!("{base:020}.log")
}

/// A log whose checkpoint knows of all its messages.
fn with_messages(rig: &Rig) -> (Log, LogCheckpoint, Vec<Vec<u8>>) {
    let mut log = rig.create();
    let batch = messages(&mut SplitMix::new(1), 0, 5, (20, 100));
    append(&mut log, &batch).unwrap();
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    (log, known, batch)
}

#[test]
fn without_room_for_the_next_segment_the_present_one_stays_and_rolls_later() {
    let rig = Rig::new(1);
    let (mut log, _, batch) = with_messages(&rig);
    rig.disk.plan(FaultPlan { read_only: true, ..FaultPlan::default() });
    log.roll().unwrap_err();
    assert_eq!(log.checkpoint().sealed, []);
    rig.disk.plan(FaultPlan::default());
    assert!(log.roll().unwrap(), "the next look finds it as it was");
    assert_eq!(log.checkpoint().sealed.len(), 1);
    assert!(!log.roll().unwrap(), "what holds nothing is not sealed");
    let more = messages(&mut SplitMix::new(2), 20, 6, (3, 50));
    append(&mut log, &more).unwrap();
    assert_eq!(segments(&rig), [name(0), name(20)]);
    assert_eq!(read_all(&log.reader(), log.end()).0, [batch, more].concat());
}

/// Killed before a checkpoint knew of the segment that was begun, a start removed its file, and with it the last
/// thing besides the newest checkpoint that said where the log ends.
#[test]
fn a_segment_that_was_begun_behind_all_that_was_given_up_outlives_a_kill() {
    for (dropped, removed) in [(false, false), (true, true), (true, false)] {
        let mut rig = Rig::new(1);
        let (mut log, known, batch) = with_messages(&rig);
        assert!(log.roll().unwrap());
        sync(&mut log).unwrap();
        let mut known = known;
        if dropped {
            let gone = log.reader().drop_before(Offset::new(20));
            log.forget_dropped();
            if removed {
                log.reader().remove_dropped(&gone).unwrap();
            }
            known.start = Offset::new(20);
        }
        drop(log);
        rig.disk = rig.disk.power_cut_image(3);
        let expected = if dropped { vec![name(20)] } else { vec![name(0), name(20)] };
        for _ in 0..2 {
            let (log, report) = rig.recover(&known, &[]);
            assert_eq!((log.end(), segments(&rig)), (Offset::new(20), expected.clone()));
            assert_eq!((report.fenced.len(), report.kept_aside.len()), (0, 0));
            assert_eq!(log.checkpoint().sealed.len(), usize::from(!dropped));
        }
        // The newest checkpoint is lost, and the one before it knows of nothing.
        let bare = LogCheckpoint {
            start: Offset::new(if dropped { 20 } else { 0 }),
            ..LogCheckpoint::default()
        };
        let (mut log, _) = rig.recover(&bare, &[]);
        assert_eq!(log.end(), Offset::new(20));
        let more = messages(&mut SplitMix::new(2), 20, 6, (3, 50));
        append(&mut log, &more).unwrap();
        sync(&mut log).unwrap();
        let (log, _) = rig.recover(&log.checkpoint(), &[]);
        let all = if dropped { more } else { [batch, more].concat() };
        assert_eq!(read_all(&log.reader(), log.end()), (all, vec![]));
        assert_eq!(log.last_timestamp(), Timestamp::new(6));
        assert_eq!(segments(&rig), expected);
    }
}
