//! After a failed sync: nothing unsure is acknowledged or seen, and what was acknowledged can be read.

use galgo_broker::{Answer, Outcome, Ticket};
use galgo_storage::disk::sim::FaultPlan;
use galgo_storage::disk::{Disk as _, OpenMode};
use galgo_wire::command::{
    CreateUser, Durability, LoginUser, PartitionRescue, PollMessages, RescueOutcome,
    UpdatePermissions, UserStatus,
};
use galgo_wire::permission::GlobalPermissions;
use galgo_wire::primitive::Payload as _;
use galgo_wire::{ErrorCode, Permissions, PollingStrategy};

use crate::requests::{
    PASSWORD, create_stream, create_topic, create_topic_with, delete_topic, flush, get_offset,
    get_stream, get_topic, id, login, poll, purge_topic, rescue_partition, store_offset, to,
};
use crate::rig::{Connection, JOURNAL_BATCH_BYTES_MAX, Rig};

/// Topic `t` with the message `a` in each of its two partitions.
fn with_messages() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 2)).unwrap();
    for partition in [0, 1] {
        root.send("t", to(partition), &["a"]).unwrap();
    }
    (rig, root)
}

fn large() -> String {
    "L".repeat(JOURNAL_BATCH_BYTES_MAX as usize)
}

fn fail_next_sync(rig: &Rig) {
    rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
}

fn ticket(outcome: Outcome) -> Ticket {
    match outcome {
        Outcome::Answer(Answer { after: Some(ticket), .. }) => ticket,
        other => panic!("not waiting for a commit: {other:?}"),
    }
}

fn texts(root: &mut Connection, topic: &str, partition: u32) -> Vec<String> {
    root.poll(&poll(topic, partition, PollingStrategy::First)).unwrap().texts()
}

/// The file of a partition's first segment.
const FIRST_LOG: &str = "00000000000000000000.log";

const FAILED: Result<(), ErrorCode> = Err(ErrorCode::CannotSyncFile);

/// INV-JOURNAL, INV-SHARD-FENCE.
#[test]
fn a_failed_journal_commit_fails_its_tickets_and_takes_the_messages_back() {
    let (mut rig, mut root) = with_messages();
    let waiting = [
        ticket(root.submit_send("t", to(0), &["b"])),
        ticket(root.submit_send("t", to(0), &["c"])),
        ticket(root.submit_send("t", to(1), &["d"])),
        ticket(root.submit(&store_offset("c", "t", (0, 0)))),
    ];
    fail_next_sync(&rig);
    assert!(rig.commit_round());
    for ticket in &waiting {
        assert_eq!(ticket.outcome(), Some(FAILED));
    }
    assert!(rig.broker.shards().first().is_fenced());
    for partition in [0, 1] {
        assert_eq!(texts(&mut root, "t", partition), ["a"], "INV-HW");
        assert_eq!(root.send("t", to(partition), &["e"]), FAILED, "INV-FENCE");
    }
    assert_eq!(root.call(&store_offset("c", "t", (0, 0))), FAILED);
    let details = root.call(&get_topic("s", "t")).unwrap().unwrap();
    assert_eq!((details.topic.messages_count, details.topic.size), (2, 2 * 65));
    assert_eq!(rig.broker.counters().partitions_fenced, 2);
}

#[test]
fn a_failed_segment_sync_fences_its_partition_and_no_other() {
    let (mut rig, mut root) = with_messages();
    let first = ticket(root.submit_send("t", to(0), &[large().as_str()]));
    let behind = ticket(root.submit_send("t", to(0), &["b"]));
    fail_next_sync(&rig);
    assert!(rig.sync_round());
    assert_eq!((first.outcome(), behind.outcome()), (Some(FAILED), Some(FAILED)));
    assert_eq!(texts(&mut root, "t", 0), ["a"]);
    assert_eq!(root.send("t", to(0), &["c"]), FAILED);
    assert_eq!(root.send("t", to(0), &[large().as_str()]), FAILED);
    assert_eq!(root.call(&flush("t", 0, true)), FAILED);

    // The journal round of the batch that was taken back comes later and publishes nothing.
    rig.commit_round();
    assert_eq!(texts(&mut root, "t", 0), ["a"]);
    assert!(!rig.broker.shards().first().is_fenced());
    root.send("t", to(1), &["d"]).unwrap();
    root.send("t", to(1), &[large().as_str()]).unwrap();
    assert_eq!(texts(&mut root, "t", 1).len(), 3);
    assert_eq!(rig.broker.counters().partitions_fenced, 1);
}

/// INV-SYNC.
#[test]
fn a_failed_sync_is_not_tried_again() {
    let (rig, mut root) = with_messages();
    let waiting = ticket(root.submit_send("t", to(0), &[large().as_str()]));
    fail_next_sync(&rig);
    rig.sync_round();
    rig.disk.plan(FaultPlan::default());
    assert!(!rig.sync_round());
    assert_eq!(root.call(&flush("t", 0, true)), FAILED);
    rig.broker.shutdown().unwrap();
    assert_eq!(waiting.outcome(), Some(FAILED));
    assert_eq!(texts(&mut root, "t", 0), ["a"]);
    for seed in 0..20 {
        let rig = Rig::open(rig.disk.power_cut_image(seed));
        let found = texts(&mut rig.root(), "t", 0);
        assert_eq!(found[0], "a", "INV-CARRY: no checkpoint called it durable");
    }
}

/// One partition whose sync had failed kept every checkpoint from being taken until a restart: the journal filled, and
/// then no offset could be stored and each small batch had a sync of its own.
#[test]
fn checkpoints_go_on_past_a_partition_that_takes_no_writes() {
    for (seed, reopened) in [(1, false), (2, true), (3, false), (4, true)] {
        let (mut rig, mut root) = with_messages();
        root.send("t", to(0), &["b", "c"]).unwrap();
        root.call(&store_offset("c", "t", (0, 0))).unwrap();
        rig.broker.shards().first().checkpoint().unwrap();
        root.send("t", to(0), &["d"]).unwrap();
        let _lost = root.submit_send("t", to(0), &[large().as_str()]);
        fail_next_sync(&rig);
        rig.sync_round();
        rig.disk.plan(FaultPlan::default());
        let mut sent = vec!["a".to_owned()];
        for round in 0..200_u64 {
            let text = format!("{round} {}", "x".repeat(500));
            root.send("t", to(1), &[&text]).unwrap();
            sent.push(text);
            if round % 10 == 0 {
                root.call(&store_offset("c", "t", (0, round / 100))).unwrap();
                rig.broker.shards().first().checkpoint().unwrap();
                assert!(
                    rig.broker.shards().first().journal_usage().parts_in_use <= 2,
                    "round {round}"
                );
            }
        }
        if reopened {
            rig = rig.kill();
            rig.broker.shards().first().checkpoint().unwrap();
        }
        let rig = Rig::open(rig.disk.power_cut_image(seed));
        let mut root = rig.root();
        assert_eq!(texts(&mut root, "t", 0)[..4], ["a", "b", "c", "d"], "INV-CARRY");
        let polled = PollMessages { count: 1_000, ..poll("t", 1, PollingStrategy::First) };
        assert_eq!(root.poll(&polled).unwrap().texts(), sent);
        let stored = root.call(&get_offset("c", "t", 0)).unwrap().unwrap();
        assert_eq!(stored.stored_offset.get(), 1, "the last that was stored");
        root.send("t", to(0), &["e"]).unwrap();
    }
}

#[test]
fn a_failed_flush_fences_the_partition_and_keeps_what_was_acknowledged() {
    let (rig, mut root) = with_messages();
    root.call(&create_topic_with("os", 1, Durability::Os)).unwrap();
    root.send("os", to(0), &["a", "b"]).unwrap();
    fail_next_sync(&rig);
    assert_eq!(root.call(&flush("os", 0, true)), FAILED);
    assert_eq!(texts(&mut root, "os", 0), ["a", "b"], "what was acknowledged stays to be read");
    assert_eq!(root.send("os", to(0), &["c"]), FAILED);
    root.send("t", to(0), &["b"]).unwrap();
}

#[test]
fn reads_offsets_and_metadata_go_on_after_a_fence() {
    let (rig, mut root) = with_messages();
    let _lost = root.submit_send("t", to(0), &[large().as_str()]);
    fail_next_sync(&rig);
    rig.sync_round();
    let polled = PollMessages { auto_commit: true, ..poll("t", 0, PollingStrategy::Next) };
    assert_eq!(root.poll(&polled).unwrap().texts(), ["a"]);
    assert_eq!(root.poll(&polled).unwrap().texts().len(), 0, "the offset was stored");
    root.call(&create_topic("s", "new", 1)).unwrap();
    root.send("new", to(0), &["x"]).unwrap();
    assert_eq!(root.call(&get_stream("s")).unwrap().unwrap().stream.topics_count, 2);
}

#[test]
fn a_restart_after_a_fence_has_all_that_was_acknowledged_and_takes_writes() {
    for journal in [true, false] {
        let (mut rig, mut root) = with_messages();
        let text = if journal { "b".to_owned() } else { large() };
        let waiting = ticket(root.submit_send("t", to(0), &[text.as_str()]));
        fail_next_sync(&rig);
        if journal {
            rig.commit_round()
        } else {
            rig.sync_round()
        };
        assert_eq!(waiting.outcome(), Some(FAILED));
        drop(root);
        for seed in 0..10 {
            let rig = Rig::open(rig.disk.power_cut_image(seed));
            let mut root = rig.root();
            for partition in [0, 1] {
                let found = texts(&mut root, "t", partition);
                assert_eq!(found[0], "a", "seed {seed}, journal {journal}");
                root.send("t", to(partition), &["after"]).unwrap();
                let after = texts(&mut root, "t", partition);
                assert_eq!(after[..found.len()], found);
                assert_eq!(after.last().map(String::as_str), Some("after"));
            }
        }
    }
}

/// Lets the server look after partitions that take no writes, with or without checkpoints in between.
fn look_after(rig: &mut Rig, checkpoints: bool) {
    for _ in 0..2 {
        rig.environment.advance_us(2_000_000);
        rig.broker.tick();
        rig.commit_round();
        if checkpoints {
            let _ = rig.broker.shards().first().checkpoint();
        }
        rig.broker.shards().first().rescue_round();
    }
}

/// A partition whose sync had failed took no writes until the server was started again.
#[test]
fn a_partition_takes_writes_again_without_a_restart() {
    for durability in [Durability::Fsync, Durability::Os] {
        for seed in 0..20 {
            let (mut rig, mut root) = with_messages();
            root.call(&create_topic_with("r", 1, durability)).unwrap();
            root.send("r", to(0), &["a", "b"]).unwrap();
            root.call(&flush("r", 0, true)).unwrap();
            root.send("r", to(0), &["c"]).unwrap();
            // What is refused lies in the journal, and must not come back in the place of what is taken later.
            let refused = root.submit_send("r", to(0), &["refused", "refused too", "and this"]);
            let waiting = root.submit_send("r", to(0), &[large().as_str()]);
            fail_next_sync(&rig);
            if durability == Durability::Fsync {
                rig.sync_round();
                assert_eq!(ticket(refused).outcome(), Some(FAILED));
                assert_eq!(ticket(waiting).outcome(), Some(FAILED));
            } else {
                assert_eq!(root.call(&flush("r", 0, true)), FAILED);
            }
            rig.disk.plan(FaultPlan::default());
            let before = texts(&mut root, "r", 0);
            assert_eq!(root.send("r", to(0), &["d"]), FAILED);
            // What the journal holds is carried forward, but for what was refused.
            look_after(&mut rig, seed % 3 > 0);
            let mut expected = before;
            // Nothing, one that goes through the journal, or one that does not.
            if seed >= 4 {
                let next = if seed % 2 == 0 { "d".to_owned() } else { large() };
                root.send("r", to(0), &[&next]).unwrap();
                expected.push(next);
                assert_eq!(root.call(&flush("r", 0, true)), Ok(()));
            }
            assert_eq!(texts(&mut root, "r", 0), expected);
            let rig = match seed {
                0 | 1 | 2 | 5 => rig.kill(),
                seed => Rig::open(rig.disk.power_cut_image(seed)),
            };
            assert_eq!(texts(&mut rig.root(), "r", 0), expected, "INV-VOID, seed {seed}");
        }
    }
}

/// What a page holds that has left the cache after a failed sync may be older, and right by itself: a message that was
/// taken back before another of the same length came in its place.
///
/// INV-RESCUE.
#[test]
fn a_rescue_takes_no_other_messages_for_those_that_were_written() {
    let (mut rig, mut root) = with_messages();
    for (topic, text) in [("r", "right"), ("stale", "wrong")] {
        root.call(&create_topic_with(topic, 1, Durability::Os)).unwrap();
        root.send(topic, to(0), &[text]).unwrap();
    }
    let file_with = |text: &[u8]| {
        let files = rig.disk.files().into_iter().filter(|(path, _)| path.ends_with(FIRST_LOG));
        let mut found = files.filter_map(|(path, _)| Some((rig.disk.contents(&path)?, path)));
        found.find(|(bytes, _)| bytes.windows(text.len()).any(|part| part == text)).unwrap()
    };
    let ((_, path), (stale, _)) = (file_with(b"right"), file_with(b"wrong"));
    rig.disk.open(&path, OpenMode::ReadWrite).unwrap().write_at(&stale, 0).unwrap();
    fail_next_sync(&rig);
    assert_eq!(root.call(&flush("r", 0, true)), FAILED);
    rig.disk.plan(FaultPlan::default());
    for _ in 0..3 {
        look_after(&mut rig, true);
    }
    assert_eq!(root.send("r", to(0), &["more"]), FAILED, "it was written anew from something else");
    let other = root.poll(&poll("r", 0, PollingStrategy::First)).map(|polled| polled.texts());
    assert_eq!(other, Err(ErrorCode::InvalidMessageChecksum), "P-TRUTH");
}

/// A purge and a deletion in the middle of a rescue: what is written anew is nobody's any more.
#[test]
fn a_partition_that_is_purged_or_deleted_while_it_is_rescued_is_let_go() {
    for steps in 0..4 {
        for purged in [true, false] {
            let (mut rig, mut root) = with_messages();
            let _lost = root.submit_send("t", to(0), &[large().as_str()]);
            fail_next_sync(&rig);
            rig.sync_round();
            rig.disk.plan(FaultPlan::default());
            for _ in 0..steps / 2 {
                rig.environment.advance_us(2_000_000);
                rig.broker.tick();
                rig.commit_round();
            }
            if steps % 2 == 1 {
                // Asked for, and not begun.
                rig.environment.advance_us(2_000_000);
                rig.broker.tick();
            }
            if purged {
                root.call(&purge_topic("s", "t")).unwrap();
            } else {
                root.call(&delete_topic("s", "t")).unwrap();
                root.call(&create_topic("s", "t", 2)).unwrap();
            }
            rig.broker.shards().first().rescue_round();
            look_after(&mut rig, steps % 2 == 0);
            root.send("t", to(0), &["new"]).unwrap();
            assert_eq!(texts(&mut root, "t", 0), ["new"]);
            let rig = Rig::open(rig.disk.power_cut_image(steps));
            assert_eq!(texts(&mut rig.root(), "t", 0), ["new"], "steps {steps}, purged {purged}");
        }
    }
}

/// Asks for a rescue, and lets the workers work as often as the request looks what has become of it.
fn rescue(rig: &mut Rig, root: &mut Connection, partition: u32) -> PartitionRescue {
    let mut outcome = root.submit(&rescue_partition("t", partition));
    for look in 0.. {
        assert!(look < 200, "it is answered after five seconds at the latest");
        let job = match outcome {
            Outcome::Offload(job) => job,
            Outcome::Delay(_, job) => {
                rig.commit_round();
                rig.broker.shards().first().rescue_round();
                job
            }
            outcome => {
                let reply = root.finish(outcome).unwrap();
                return PartitionRescue::from_bytes(&reply).unwrap();
            }
        };
        outcome = root.run(job);
    }
    unreachable!()
}

/// Whoever had made room waited for the server's next try, which comes ever more rarely.
#[test]
fn a_partition_that_takes_no_writes_is_tried_again_at_once_when_somebody_asks() {
    let (mut rig, mut root) = with_messages();
    assert_eq!(rescue(&mut rig, &mut root, 0).outcome, RescueOutcome::Healthy);
    let _lost = root.submit_send("t", to(0), &[large().as_str()]);
    fail_next_sync(&rig);
    rig.sync_round();
    // The disk stays full for so long that the server tries rarely.
    let used: u64 = rig.disk.files().iter().map(|(_, len)| len).sum();
    rig.disk.plan(FaultPlan { bytes_max: Some(used), ..FaultPlan::default() });
    for _ in 0..40 {
        look_after(&mut rig, true);
    }
    let waiting = rescue(&mut rig, &mut root, 0);
    assert_eq!((waiting.outcome, waiting.end.get()), (RescueOutcome::Waiting, 1));
    assert!(waiting.cause.contains("No space left"), "{}", waiting.cause);
    assert!(waiting.next_try <= 1_000_000, "as after the first failure: {}", waiting.next_try);
    assert_eq!(root.send("t", to(0), &["b"]), FAILED);

    rig.disk.plan(FaultPlan::default());
    let rescued = rescue(&mut rig, &mut root, 0);
    assert_eq!((rescued.outcome, rescued.end.get()), (RescueOutcome::Rescued, 1));
    root.send("t", to(0), &["b"]).unwrap();
    assert_eq!(texts(&mut root, "t", 0), ["a", "b"]);
    assert_eq!(rescue(&mut rig, &mut root, 0).outcome, RescueOutcome::Healthy);
    for seed in 0..10 {
        let rig = Rig::open(rig.disk.power_cut_image(seed));
        assert_eq!(texts(&mut rig.root(), "t", 0), ["a", "b"], "INV-VOID, seed {seed}");
    }
}

/// What a request cannot mend it does not promise: after the journal has failed, only a start tells what is there.
#[test]
fn a_rescue_that_only_a_restart_brings_is_said_to_be_one() {
    let (mut rig, mut root) = with_messages();
    let _lost = root.submit_send("t", to(0), &["b"]);
    fail_next_sync(&rig);
    rig.commit_round();
    rig.disk.plan(FaultPlan::default());
    let hopeless = rescue(&mut rig, &mut root, 0);
    assert_eq!((hopeless.outcome, hopeless.next_try), (RescueOutcome::Hopeless, 0));
    assert!(hopeless.cause.contains("journal"), "{}", hopeless.cause);
}

/// The answer is one about a partition that is there.
#[test]
fn a_partition_that_goes_while_its_rescue_is_waited_for_is_not_found() {
    let (mut rig, mut root) = with_messages();
    let _lost = root.submit_send("t", to(0), &[large().as_str()]);
    fail_next_sync(&rig);
    rig.sync_round();
    let Outcome::Offload(job) = root.submit(&rescue_partition("t", 0)) else { panic!("no job") };
    let outcome = root.run(job);
    root.call(&delete_topic("s", "t")).unwrap();
    rig.commit_round();
    assert_eq!(root.finish(outcome), Err(ErrorCode::TopicIdNotFound));
}

/// A purge made another partition, which takes writes, and the one that was asked for was said not to be there.
#[test]
fn a_purge_is_as_good_as_the_rescue_that_is_waited_for() {
    let (mut rig, mut root) = with_messages();
    let _lost = root.submit_send("t", to(0), &[large().as_str()]);
    fail_next_sync(&rig);
    rig.sync_round();
    let Outcome::Offload(job) = root.submit(&rescue_partition("t", 0)) else { panic!("no job") };
    let outcome = root.run(job);
    root.call(&purge_topic("s", "t")).unwrap();
    rig.commit_round();
    let told = PartitionRescue::from_bytes(&root.finish(outcome).unwrap()).unwrap();
    assert_eq!((told.outcome, told.end.get()), (RescueOutcome::Rescued, 0));
    root.send("t", to(0), &["new"]).unwrap();
}

/// Whoever loses the right while a rescue is waited for is told nothing more of the partition.
#[test]
fn a_right_that_is_taken_away_ends_the_wait_for_a_rescue() {
    let (rig, mut root) = with_messages();
    let LoginUser { username, password, .. } = login("anna", PASSWORD);
    let global = GlobalPermissions { manage_topics: true, ..GlobalPermissions::default() };
    let permissions = Some(Permissions { global, ..Permissions::default() });
    root.call(&CreateUser { username, password, status: UserStatus::Active, permissions }).unwrap();
    let mut anna = rig.connect();
    anna.call(&login("anna", PASSWORD)).unwrap();
    let _lost = root.submit_send("t", to(0), &[large().as_str()]);
    fail_next_sync(&rig);
    rig.sync_round();
    let Outcome::Offload(job) = anna.submit(&rescue_partition("t", 0)) else { panic!("no job") };
    let outcome = anna.run(job);
    root.call(&UpdatePermissions { user: id("anna"), permissions: None }).unwrap();
    assert_eq!(anna.finish(outcome), Err(ErrorCode::Unauthorized));
}

#[test]
fn a_rescue_that_fails_is_tried_again_and_changes_nothing() {
    let mut rescued = 0;
    for stop in 1..30 {
        let (mut rig, mut root) = with_messages();
        root.send("t", to(0), &["b"]).unwrap();
        let _lost = root.submit_send("t", to(0), &[large().as_str()]);
        fail_next_sync(&rig);
        rig.sync_round();
        rig.disk.plan(FaultPlan { fail_sync: Some(stop), ..FaultPlan::default() });
        look_after(&mut rig, stop % 2 == 0);
        rig.disk.plan(FaultPlan::default());
        assert_eq!(texts(&mut root, "t", 0), ["a", "b"]);
        for _ in 0..4 {
            look_after(&mut rig, stop % 2 == 0);
        }
        let sent = root.send("t", to(0), &["c"]);
        // Where it was a sync of the journal that failed, only a restart helps.
        assert!(sent.is_ok() || rig.broker.shards().first().is_fenced(), "stop {stop}: {sent:?}");
        rescued += u32::from(sent.is_ok());
        let rig = Rig::open(rig.disk.power_cut_image(stop));
        let found = texts(&mut rig.root(), "t", 0);
        assert_eq!(found[..2], ["a", "b"], "stop {stop}");
        assert!(sent.is_err() || found == ["a", "b", "c"], "stop {stop}: {found:?}");
    }
    assert!(rescued > 15, "{rescued} of 29");
}

#[test]
fn a_full_disk_refuses_the_batch_and_later_takes_it() {
    let (rig, mut root) = with_messages();
    let used: u64 = rig.disk.files().iter().map(|(_, len)| len).sum();
    rig.disk.plan(FaultPlan { bytes_max: Some(used + 100), ..FaultPlan::default() });
    let refused = root.send("t", to(0), &[large().as_str()]);
    assert_eq!(refused, Err(ErrorCode::CannotSaveMessagesToSegment));
    assert_eq!(texts(&mut root, "t", 0), ["a"]);
    rig.disk.plan(FaultPlan::default());
    root.send("t", to(0), &["b"]).unwrap();
    assert_eq!(texts(&mut root, "t", 0), ["a", "b"]);
}

/// INV-META-ORDER.
#[test]
fn a_metadata_write_that_fails_changes_nothing() {
    let (rig, mut root) = with_messages();
    fail_next_sync(&rig);
    let refused = root.call(&create_topic("s", "u", 1)).unwrap_err();
    assert_eq!(refused, ErrorCode::CannotAppendToFile);
    assert_eq!(root.call(&get_topic("s", "u")), Ok(None));
    assert_eq!(root.call(&create_stream("x")).unwrap_err(), ErrorCode::CannotAppendToFile);
    root.send("t", to(0), &["b"]).unwrap();
    assert_eq!(texts(&mut root, "t", 0), ["a", "b"], "messages do not need the metadata log");
}
