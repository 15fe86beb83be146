//! INV-CARRY: what is carried past a checkpoint keeps its order, whatever is acknowledged meanwhile.

use std::ops::ControlFlow;

use galgo_storage::journal::{JournalOptions, LocalJournal};

use super::*;

const DIR: &str = "/d/journal";

fn journal(disk: &SimDisk, checkpointed: Lsn) -> Box<dyn Journal> {
    let options = JournalOptions { file_bytes: 16 << 10, ..JournalOptions::after(checkpointed) };
    Box::new(LocalJournal::open(Arc::new(disk.clone()), Path::new(DIR), options).unwrap())
}

/// The batches of the member behind a frame, as a recovery takes them: one takes the place of what was at its offset
/// and behind it.
fn recovered(disk: &SimDisk, checkpointed: Lsn) -> Vec<u64> {
    let mut batches: Vec<u64> = Vec::new();
    let report = journal(disk, checkpointed).read(checkpointed.next(), &mut |frame| {
        decode_bundle(frame.payload, &mut |_, record| {
            if let ShardRecord::Batch { base_offset, .. } = record {
                batches.retain(|base| *base < base_offset.get());
                batches.push(base_offset.get());
            }
        })
        .unwrap();
        ControlFlow::Continue(())
    });
    assert_eq!(report.unwrap().damaged, []);
    batches
}

/// Between the moment a checkpoint notes how far the journal is settled and the failure of a sync, more of that
/// partition is acknowledged. Carried only up to that place, the older batches would come behind the newer ones, which
/// a recovery gives up for them.
#[test]
fn what_is_acknowledged_while_a_checkpoint_fails_for_a_member_comes_behind_what_was_before() {
    for acknowledged_meanwhile in 0..4_u64 {
        let disk = SimDisk::new(1);
        let shard = shard_on(disk.clone(), journal(&disk, Lsn::ZERO));
        let (failing, other) = (Notes::new(1), Notes::new(2));
        let mut rounds = Rounds::default();
        for end in 1..=2 {
            for member in [&failing, &other] {
                let ticket = stage(&shard, member, end);
                while shard.commit_round(&mut rounds) {}
                assert_eq!(ticket.outcome(), Some(Ok(())));
            }
        }
        let meanwhile = {
            let (shard, failing) = (Arc::clone(&shard), Arc::clone(&failing));
            move || {
                let committer = std::thread::spawn(move || {
                    let mut rounds = Rounds::default();
                    for end in 3..3 + acknowledged_meanwhile {
                        let ticket = stage(&shard, &failing, end);
                        while shard.commit_round(&mut rounds) {}
                        assert_eq!(ticket.outcome(), Some(Ok(())));
                    }
                });
                committer.join().unwrap();
            }
        };
        *failing.fails_checkpoint.lock() = Some(Box::new(meanwhile));
        shard.touched(|| Some(Arc::clone(&failing) as Arc<dyn ShardMember>));
        shard.touched(|| Some(Arc::clone(&other) as Arc<dyn ShardMember>));
        shard.checkpoint().unwrap();
        let saved = shard.checkpoints.hold().saved;
        assert!(saved > Lsn::ZERO, "the other's part of the journal is given back");
        let expected: Vec<u64> = (0..2 + acknowledged_meanwhile).collect();
        for image in [disk.kill_image(), disk.power_cut_image(acknowledged_meanwhile)] {
            assert_eq!(recovered(&image, saved), expected);
        }
    }
}
