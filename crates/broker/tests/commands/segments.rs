//! Deleting segments and retention: only whole sealed segments go, never past what somebody still has
//! to read, and what went stays gone.

use std::path::Path;

use galgo_broker::{Answer, Outcome, Reply};
use galgo_wire::command::{
    ConfigureTopic, CreateTopic, MaxTopicSize, MessageExpiry, Partition, PlanRetention,
    RetentionReason, RetentionRules, TopicOption, UpdateTopic,
};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    at, create_stream, create_topic, delete_offset, delete_segments, delete_topic, flush,
    get_topic, id, plan_retention, poll, store_offset, to, update_topic,
};
use crate::rig::{Connection, EXPIRY_DEFAULT_US, RETENTION_INTERVAL_US, Rig};

/// Messages in a full segment.
const FULL: u64 = 4;

/// A topic `t` of one partition with three sealed segments of four messages, and one of two that is
/// being written; a second lies between any two segments.
fn with_segments(settings: impl FnOnce(&mut CreateTopic)) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let mut topic = create_topic("s", "t", 1);
    topic.message_expiry = MessageExpiry::NEVER;
    topic.max_topic_size = MaxTopicSize::UNLIMITED;
    settings(&mut topic);
    root.call(&topic).unwrap();
    fill(&rig, &mut root, 3);
    (rig, root)
}

fn fill(rig: &Rig, root: &mut Connection, segments: u64) {
    let text = "x".repeat(950);
    for _ in 0..segments {
        for _ in 0..FULL {
            root.send("t", to(0), &[&text]).unwrap();
        }
        rig.environment.advance_us(1_000_000);
    }
    root.send("t", to(0), &["tail", "tail"]).unwrap();
}

fn partition(root: &mut Connection) -> Partition {
    root.call(&get_topic("s", "t")).unwrap().unwrap().partitions.remove(0)
}

/// Segments, messages, first offset that is read.
fn shape(root: &mut Connection) -> (u32, u64, u64) {
    let partition = partition(root);
    let first = root.poll(&poll("t", 0, PollingStrategy::First)).unwrap();
    let next = partition.current_offset.get() + 1;
    let first = first.messages.first().map_or(next, |message| message.offset);
    (partition.segments_count, partition.messages_count, first)
}

#[test]
fn the_oldest_sealed_segments_go_and_what_is_left_is_read() {
    let (rig, mut root) = with_segments(|_| {});
    assert_eq!(shape(&mut root), (4, 14, 0));
    let size = partition(&mut root).size;
    root.call(&delete_segments("t", 0, 0)).unwrap();
    assert_eq!(shape(&mut root), (4, 14, 0), "none is none");
    root.call(&delete_segments("t", 0, 1)).unwrap();
    assert_eq!(shape(&mut root), (3, 10, 4));
    let after = partition(&mut root);
    assert_eq!(after.current_offset.get(), 13);
    assert!(after.size < size);
    let polled = root.poll(&poll("t", 0, at(0))).unwrap();
    assert_eq!(polled.offsets(), (4..14).collect::<Vec<_>>(), "what is gone is stepped over");
    root.call(&delete_segments("t", 0, u32::MAX)).unwrap();
    assert_eq!(shape(&mut root), (1, 2, 12), "the segment that is written stays");
    let files = rig.partition_files().len();
    rig.broker.tick();
    assert!(rig.partition_files().len() < files, "the files go");
    assert_eq!(rig.broker.counters().segments_removed, 3);
    let next = root.poll(&poll("t", 0, PollingStrategy::Next)).unwrap();
    assert_eq!(next.offsets(), [12, 13]);
}

#[test]
fn what_went_stays_gone_and_its_files_go_after_a_crash() {
    for ticked in [false, true] {
        for seed in 0..20 {
            let (rig, mut root) = with_segments(|_| {});
            if seed % 2 == 0 {
                rig.broker.shards().first().checkpoint().unwrap();
            }
            root.call(&delete_segments("t", 0, 2)).unwrap();
            if ticked {
                rig.broker.tick();
            }
            if seed % 3 == 0 {
                rig.broker.shards().first().checkpoint().unwrap();
            }
            let rig = rig.cut_power(seed);
            let mut root = rig.root();
            assert_eq!(shape(&mut root), (2, 6, 8), "seed {seed}");
            let bases = rig
                .partition_files()
                .into_iter()
                .filter(|path| path.file_name().is_some_and(|name| name < "00000000000000000008"));
            assert_eq!(bases.count(), 0, "seed {seed}");
            root.send("t", to(0), &["on"]).unwrap();
            assert_eq!(partition(&mut root).current_offset.get(), 14);
        }
    }
}

/// The checkpoint before the last does not know of what went since; rebuilding from it took the first
/// file that was left for one out of place.
#[test]
fn a_log_without_its_newest_checkpoint_is_rebuilt_from_where_it_starts() {
    let (rig, mut root) = with_segments(|_| {});
    rig.broker.shards().first().checkpoint().unwrap();
    root.call(&delete_segments("t", 0, 2)).unwrap();
    rig.broker.tick();
    rig.broker.shutdown().unwrap();
    let checkpoints = rig.disk.files().into_iter().map(|(path, _)| path);
    let checkpoints = checkpoints.filter(|path| path.starts_with("/data/shards/0000/checkpoint"));
    let newest = checkpoints.max().unwrap();
    assert!(rig.disk.flip_random_bit(newest.to_str().unwrap(), 1).is_some());
    let rig = rig.kill();
    assert_eq!(shape(&mut rig.root()), (2, 6, 8));
}

/// INV-BARRIER.
#[test]
fn a_segment_somebody_has_not_committed_stays() {
    let (_rig, mut root) = with_segments(|_| {});
    root.call(&store_offset("slow", "t", (0, 6))).unwrap();
    root.call(&store_offset("fast", "t", (0, 13))).unwrap();
    root.call(&delete_segments("t", 0, 3)).unwrap();
    assert_eq!(shape(&mut root), (3, 10, 4));
    root.call(&store_offset("slow", "t", (0, 7))).unwrap();
    root.call(&delete_segments("t", 0, 3)).unwrap();
    assert_eq!(shape(&mut root), (2, 6, 8), "the last message of the segment is committed");
    root.call(&delete_offset("slow", "t", 0)).unwrap();
    root.call(&delete_segments("t", 0, 3)).unwrap();
    assert_eq!(shape(&mut root), (1, 2, 12));
}

#[test]
fn deletions_sent_at_once_count_from_where_the_one_before_ends() {
    let (mut rig, mut root) = with_segments(|_| {});
    let outcomes: Vec<_> = (0..2).map(|_| root.submit(&delete_segments("t", 0, 1))).collect();
    assert_eq!(shape(&mut root), (4, 14, 0), "not gone before it is durable");
    assert!(rig.commit_round());
    for outcome in outcomes {
        let Outcome::Answer(Answer { after: Some(ticket), .. }) = outcome else {
            panic!("a move is committed")
        };
        assert_eq!(ticket.outcome(), Some(Ok(())));
    }
    assert_eq!(shape(&mut root), (2, 6, 8));
    let nothing = root.submit(&delete_segments("t", 0, 0));
    assert!(matches!(nothing, Outcome::Answer(Answer { after: None, reply: Reply::Empty })));
}

#[test]
fn a_missing_partition_is_told() {
    let (_rig, mut root) = with_segments(|_| {});
    let missing = Err(ErrorCode::PartitionNotFound);
    assert_eq!(root.call(&delete_segments("t", 1, 1)), missing);
    assert_eq!(root.call(&delete_segments("t", 1, 0)), missing);
}

/// Looks once, lets what was staged commit, removes the files.
fn retain(rig: &Rig) {
    rig.environment.advance_us(RETENTION_INTERVAL_US);
    for _ in 0..2 {
        rig.broker.tick();
        rig.broker.drain();
    }
}

/// INV-UNEXPIRED.
#[test]
fn retention_removes_what_is_old_enough_and_nothing_else() {
    let expiry = RETENTION_INTERVAL_US + 2_000_000;
    let (rig, mut root) = with_segments(|t| t.message_expiry = MessageExpiry::new(expiry));
    rig.broker.tick();
    assert_eq!(shape(&mut root), (4, 14, 0), "not before the interval is over");
    let plan = root.call(&plan_retention("s", "t")).unwrap();
    assert!(plan.enabled && plan.segments.is_empty());
    assert_eq!((plan.interval, plan.message_expiry.get()), (RETENTION_INTERVAL_US, expiry));
    let rules = RetentionRules {
        message_expiry: MessageExpiry::SERVER_DEFAULT,
        max_topic_size: MaxTopicSize::new(10_000),
    };
    let previewed = PlanRetention { rules: Some(rules), ..plan_retention("s", "t") };
    let previewed = root.call(&previewed).unwrap();
    assert_eq!(previewed.message_expiry.get(), EXPIRY_DEFAULT_US);
    assert_eq!(previewed.max_topic_size, rules.max_topic_size);
    assert_eq!(previewed.segments[0].reason, RetentionReason::Size);
    assert_eq!(root.call(&plan_retention("s", "t")).unwrap(), plan, "nothing was changed");
    // The segments ended three, two and one second ago.
    retain(&rig);
    // What is written is older than a segment gets, so another was begun.
    assert_eq!(shape(&mut root), (3, 6, 8));
    rig.environment.advance_us(100 * expiry);
    let plan = root.call(&plan_retention("s", "t")).unwrap();
    let [due, last] = &plan.segments[..] else { panic!("two are due") };
    assert_eq!((due.base_offset.get(), due.end_offset.get(), due.messages), (8, 11, 4));
    assert_eq!((due.reason, due.held, due.barrier), (RetentionReason::Expired, false, u64::MAX));
    assert_eq!((last.base_offset.get(), last.end_offset.get(), last.messages), (12, 13, 2));
    retain(&rig);
    assert_eq!(shape(&mut root), (1, 0, 14), "all of it has expired");
    let rig = rig.cut_power(3);
    let mut root = rig.root();
    assert_eq!(shape(&mut root), (1, 0, 14));
    root.send("t", to(0), &["next"]).unwrap();
    assert_eq!(shape(&mut root), (1, 1, 14), "offsets go on where they were");
}

/// A segment is not begun because of age before it is old, and never behind an empty one.
#[test]
fn a_segment_gets_as_old_as_its_topic_says() {
    const HOUR_US: u64 = 3_600_000_000;
    let (rig, mut root) = with_segments(|t| t.message_expiry = MessageExpiry::new(80 * HOUR_US));
    let set = |root: &mut Connection, value: &str| {
        let option = TopicOption { name: "segment.max_age".to_owned(), value: value.to_owned() };
        root.call(&ConfigureTopic { stream: id("s"), topic: id("t"), options: vec![option] })
    };
    rig.environment.advance_us(20 * HOUR_US - 2 * RETENTION_INTERVAL_US);
    retain(&rig);
    assert_eq!(shape(&mut root).0, 4);
    set(&mut root, "1h").unwrap();
    retain(&rig);
    assert_eq!(shape(&mut root).0, 5, "it was older than that already");
    for _ in 0..3 {
        rig.environment.advance_us(HOUR_US);
        retain(&rig);
    }
    assert_eq!(shape(&mut root).0, 5, "an empty one stays");
    root.send("t", to(0), &["one"]).unwrap();
    // What was written before a start has its age all the same.
    let rig = rig.kill_alone();
    let mut root = rig.root();
    set(&mut root, "").unwrap();
    rig.environment.advance_us(20 * HOUR_US - 2 * RETENTION_INTERVAL_US);
    retain(&rig);
    assert_eq!(shape(&mut root).0, 5, "a quarter of the expiry again");
    retain(&rig);
    retain(&rig);
    assert_eq!(shape(&mut root).0, 6);
    set(&mut root, "never").unwrap();
    root.send("t", to(0), &["two"]).unwrap();
    rig.environment.advance_us(24 * HOUR_US);
    retain(&rig);
    assert_eq!(shape(&mut root).0, 6);
}

/// All segments went, and the newest checkpoint is damaged: the file that is left says where offsets go on.
#[test]
fn offsets_go_on_behind_messages_that_all_expired_whatever_is_damaged() {
    let expiry = RETENTION_INTERVAL_US + 2_000_000;
    for cut in 0..8 {
        let (rig, mut root) = with_segments(|t| t.message_expiry = MessageExpiry::new(expiry));
        rig.environment.advance_us(expiry);
        for _ in 0..3 {
            retain(&rig);
        }
        assert_eq!(shape(&mut root), (1, 0, 14));
        if cut % 2 == 0 {
            rig.broker.shutdown().unwrap();
        }
        let disk = rig.disk.power_cut_image(cut);
        for name in ["a.ckpt", "b.ckpt"].into_iter().take(1 + (cut as usize / 2) % 2) {
            let path = Path::new("/data/shards/0000/checkpoint").join(name);
            // The second is made by the second checkpoint.
            let _ = disk.flip_bit(&path, 60, 1);
        }
        let rig = Rig::open(disk);
        let mut root = rig.root();
        root.send("t", to(0), &["next"]).unwrap();
        let polled = root.poll(&poll("t", 0, PollingStrategy::Last)).unwrap();
        assert_eq!(polled.messages[0].offset, 14, "cut {cut}");
    }
}

#[test]
fn retention_cuts_a_full_topic_down_to_nine_tenths() {
    let (rig, mut root) = with_segments(|t| t.max_topic_size = MaxTopicSize::new(10_000));
    let full = partition(&mut root).size;
    assert!(full >= 9_000);
    // Consumers on their own hold messages where the topic asks for it.
    let option =
        TopicOption { name: "retention.hold_consumers".to_owned(), value: "on".to_owned() };
    root.call(&ConfigureTopic { stream: id("s"), topic: id("t"), options: vec![option] }).unwrap();
    root.call(&store_offset("slow", "t", (0, 2))).unwrap();
    let plan = root.call(&plan_retention("s", "t")).unwrap();
    assert_eq!(plan.size, full);
    let held: Vec<_> = plan.segments.iter().map(|due| (due.held, due.barrier)).collect();
    assert_eq!(held, [(true, 2)]);
    assert_eq!(plan.segments[0].reason, RetentionReason::Size);
    retain(&rig);
    assert_eq!(shape(&mut root), (4, 14, 0), "somebody has not read it");
    root.call(&store_offset("slow", "t", (0, 3))).unwrap();
    retain(&rig);
    assert_eq!(shape(&mut root), (3, 10, 4));
    assert!(partition(&mut root).size < 9_000);
    retain(&rig);
    assert_eq!(shape(&mut root), (3, 10, 4), "below nine tenths nothing goes");
}

#[test]
fn an_update_to_the_server_default_does_not_mean_that_all_may_go() {
    let (rig, mut root) = with_segments(|_| {});
    let update: UpdateTopic = update_topic("s", "t", "t");
    assert_eq!(update.max_topic_size, MaxTopicSize::SERVER_DEFAULT);
    root.call(&update).unwrap();
    retain(&rig);
    assert_eq!(shape(&mut root), (4, 14, 0));
}

/// A poll that finds its segment removed under its eyes took the missing file for damage, and told the
/// operator so.
#[test]
fn a_poll_of_what_is_being_removed_is_no_alarm() {
    let (rig, mut root) = with_segments(|_| {});
    root.call(&flush("t", 0, true)).unwrap();
    rig.disk.drop_caches();
    let before_drop = root.submit(&poll("t", 0, at(0)));
    root.call(&delete_segments("t", 0, 1)).unwrap();
    rig.broker.tick();
    let bytes = root.finish(before_drop).unwrap();
    assert!(bytes.len() > 16, "it answers with what is left");
    rig.disk.drop_caches();
    let before_deletion = root.submit(&poll("t", 0, at(0)));
    root.call(&delete_topic("s", "t")).unwrap();
    rig.broker.tick();
    let bytes = root.finish(before_deletion).unwrap();
    assert_eq!(bytes.len(), 16, "an answer without messages");
}
