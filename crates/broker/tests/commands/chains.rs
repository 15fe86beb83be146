//! Chained sends: of the batches a client has on their way, none is stored behind one that was refused.
//!
//! What broke: a producer with several batches in flight had one refused (too large, disk full, right taken away),
//! and those behind it were stored before it could know. Its partition had a hole, and sending the missing batch
//! again changed the order. INV-SEND-CHAIN makes that impossible: the server stops what is behind.

use galgo_broker::{Answer, Outcome, Reply};
use galgo_storage::disk::sim::{FaultPlan, SplitMix};
use galgo_wire::batch::NewMessage;
use galgo_wire::command::{
    ChainLink, CommandCode, Deduplication, DeleteTopic, Durability, Payload as _, SendOutcome,
    SendReply, SendWithHeader, UpdatePermissions,
};
use galgo_wire::permission::{GlobalPermissions, Permissions};
use galgo_wire::{ErrorCode, Offset, PartitionId, PartitioningRef, PollingStrategy, Timestamp};

use crate::requests::{
    chosen, create_stream, create_topic, create_topic_with, id, poll, purge_topic, to,
};
use crate::rig::{
    Connection, JOURNAL_BATCH_BYTES_MAX, PASSWORD, Rig, START_US, login, send_payload,
};

fn rig(durability: Durability) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", 1, durability)).unwrap();
    (rig, root)
}

fn link(position: u64) -> ChainLink {
    ChainLink { lane: 1, position, begins: false }
}

fn beginning(position: u64) -> ChainLink {
    ChainLink { begins: true, ..link(position) }
}

fn payload(
    chain: Option<ChainLink>,
    partitioning: PartitioningRef<'_>,
    messages: &[NewMessage<'_>],
) -> Vec<u8> {
    let mut payload = Vec::new();
    SendWithHeader::encode(chain, &mut payload);
    payload.extend(send_payload("t", partitioning, messages));
    payload
}

fn text(payload: &str) -> NewMessage<'_> {
    NewMessage { payload: payload.as_bytes(), ..NewMessage::default() }
}

fn submit(connection: &mut Connection, chain: ChainLink, message: &str) -> Outcome {
    let bytes = payload(Some(chain), to(0), &[text(message)]);
    connection.submit_bytes(CommandCode::SendWith, &bytes)
}

fn told(connection: &mut Connection, outcome: Outcome) -> Result<SendReply, ErrorCode> {
    let bytes = connection.finish(outcome)?;
    assert_eq!(bytes.len(), SendReply::BYTES);
    Ok(SendReply::from_bytes(&bytes).unwrap())
}

fn send(
    connection: &mut Connection,
    chain: ChainLink,
    message: &str,
) -> Result<SendOutcome, ErrorCode> {
    let outcome = submit(connection, chain, message);
    told(connection, outcome).map(|reply| reply.outcome)
}

fn stored(connection: &mut Connection) -> Vec<String> {
    connection.poll(&poll("t", 0, PollingStrategy::First)).unwrap().texts()
}

const STORED: Result<SendOutcome, ErrorCode> = Ok(SendOutcome::Stored);
const MISSING: Result<SendOutcome, ErrorCode> = Ok(SendOutcome::EarlierMissing);

#[test]
fn a_send_is_told_where_its_messages_are() {
    for durability in [Durability::Os, Durability::Fsync] {
        let (rig, mut root) = rig(durability);
        root.send("t", to(0), &["before"]).unwrap();
        rig.environment.advance_us(5);
        let bytes = payload(None, to(0), &[text("a"), text("b")]);
        let outcome = root.submit_bytes(CommandCode::SendWith, &bytes);
        let expected = SendReply {
            outcome: SendOutcome::Stored,
            partition_id: PartitionId::new(0),
            first_offset: Offset::new(1),
            stored: 2,
            timestamp: Timestamp::new(START_US + 5),
            end: Offset::new(3),
            throttle_us: 0,
        };
        assert_eq!(told(&mut root, outcome), Ok(expected));
        assert_eq!(stored(&mut root), ["before", "a", "b"]);
    }
}

#[test]
fn a_send_is_told_how_many_had_been_stored_before() {
    let (rig, mut root) = rig(Durability::Fsync);
    let topic = create_topic("s", "u", 1);
    let (durability, deduplication) = (Durability::Fsync, Deduplication::On);
    root.call(&chosen(topic, durability, deduplication)).unwrap();
    let mut ids = |ids: &[u128]| {
        let messages: Vec<_> = ids
            .iter()
            .map(|id| NewMessage { id: *id, payload: b"x", ..Default::default() })
            .collect();
        let mut bytes = vec![0, 0];
        bytes.extend(send_payload("u", to(0), &messages));
        let outcome = root.submit_bytes(CommandCode::SendWith, &bytes);
        let reply = told(&mut root, outcome).unwrap();
        (reply.outcome, reply.first_offset.get(), reply.stored, reply.end.get())
    };
    assert_eq!(ids(&[1, 2, 3]), (SendOutcome::Stored, 0, 3, 3));
    assert_eq!(ids(&[2, 4, 4]), (SendOutcome::Stored, 3, 1, 4));
    assert_eq!(ids(&[3, 4]), (SendOutcome::StoredBefore, 2, 0, 4));
    drop(rig);
}

#[test]
fn a_chain_begins_once_on_each_connection() {
    let (rig, mut root) = rig(Durability::Fsync);
    assert_eq!(send(&mut root, link(0), "x"), MISSING);
    assert_eq!(send(&mut root, beginning(3), "a"), STORED);
    assert_eq!(send(&mut root, link(4), "b"), STORED);
    let mut other = rig.root();
    assert_eq!(send(&mut other, link(5), "x"), MISSING, "another connection");
    assert_eq!(send(&mut root, ChainLink { lane: 2, ..link(5) }, "x"), MISSING, "another lane");
    assert_eq!(send(&mut root, link(4), "x"), MISSING, "taken already");
    assert_eq!(send(&mut root, link(6), "x"), MISSING, "one too far");
    assert_eq!(send(&mut root, link(5), "c"), STORED);
    assert_eq!(stored(&mut root), ["a", "b", "c"]);
}

#[test]
fn a_full_disk_stops_the_chain_until_the_missing_batch_comes() {
    for durability in [Durability::Os, Durability::Fsync] {
        let (rig, mut root) = rig(durability);
        assert_eq!(send(&mut root, beginning(0), "a"), STORED);
        rig.disk.plan(FaultPlan { bytes_max: Some(0), ..FaultPlan::default() });
        let refused = submit(&mut root, link(1), "b");
        rig.disk.plan(FaultPlan::default());
        // On its way before anybody could know, and the disk has room again.
        assert_eq!(send(&mut root, link(2), "c"), MISSING);
        assert_eq!(told(&mut root, refused), Err(ErrorCode::CannotSaveMessagesToSegment));
        for (position, text) in [(1, "b"), (2, "c")] {
            assert_eq!(send(&mut root, link(position), text), STORED);
        }
        assert_eq!(stored(&mut root), ["a", "b", "c"]);
    }
}

#[test]
fn rights_that_were_away_for_a_moment_leave_no_hole() {
    let (rig, mut root) = rig(Durability::Fsync);
    let allow = |root: &mut Connection, send_messages: bool| {
        let global = GlobalPermissions { send_messages, poll_messages: true, ..Default::default() };
        let permissions = Some(Permissions { global, ..Permissions::default() });
        root.call(&UpdatePermissions { user: id("nobody"), permissions }).unwrap();
    };
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    allow(&mut root, true);
    assert_eq!(send(&mut nobody, beginning(0), "a"), STORED);
    allow(&mut root, false);
    assert_eq!(send(&mut nobody, link(1), "b"), Err(ErrorCode::Unauthorized));
    allow(&mut root, true);
    assert_eq!(send(&mut nobody, link(2), "c"), MISSING);
    assert_eq!(send(&mut nobody, beginning(2), "c"), STORED, "the caller goes on without b");
    assert_eq!(stored(&mut root), ["a", "c"]);
}

#[test]
fn a_topic_that_was_away_for_a_moment_gets_no_hole() {
    let (_rig, mut root) = rig(Durability::Fsync);
    assert_eq!(send(&mut root, beginning(0), "a"), STORED);
    root.call(&DeleteTopic { stream: id("s"), topic: id("t") }).unwrap();
    assert_eq!(send(&mut root, link(1), "b"), Err(ErrorCode::TopicIdNotFound));
    root.call(&create_topic("s", "t", 1)).unwrap();
    assert_eq!(send(&mut root, link(2), "c"), MISSING);
    assert!(stored(&mut root).is_empty());
    root.call(&purge_topic("s", "t")).unwrap();
    assert_eq!(send(&mut root, link(1), "b"), STORED, "a purge refuses nothing");
}

#[test]
fn malformed_batches_stop_the_chain_and_nothing_else() {
    let (_rig, mut root) = rig(Durability::Fsync);
    assert_eq!(send(&mut root, beginning(0), "a"), STORED);
    let mut cut = payload(Some(link(1)), to(0), &[text("b")]);
    cut.pop();
    assert!(root.call_bytes(CommandCode::SendWith, &cut).is_err());
    let unknown = [&[64, 0], payload(None, to(0), &[text("b")]).as_slice()].concat();
    let refused = root.call_bytes(CommandCode::SendWith, &unknown);
    assert_eq!(refused, Err(ErrorCode::InvalidCommand), "a flag of a later version");
    assert_eq!(send(&mut root, link(2), "c"), MISSING);
    root.send("t", to(0), &["classic"]).unwrap();
    assert_eq!(send(&mut root, link(1), "b"), STORED);
    assert_eq!(stored(&mut root), ["a", "classic", "b"]);
}

/// A batch whose commit fails is taken back with those behind it in its partition. Where they were staged later, the
/// partition is fenced today; the chain does not rely on that.
#[test]
fn a_commit_that_fails_ends_the_chain() {
    for bytes in [1, JOURNAL_BATCH_BYTES_MAX as usize] {
        let (mut rig, mut root) = rig(Durability::Fsync);
        root.call(&create_topic("s", "u", 1)).unwrap();
        // From now on the journal has its file, whose making is a sync of its own.
        root.send("t", to(0), &["before"]).unwrap();
        let body = "x".repeat(bytes);
        let mut waiting = Vec::new();
        for position in 0..3 {
            let chain = if position == 0 { beginning(0) } else { link(position) };
            match submit(&mut root, chain, &body) {
                Outcome::Answer(Answer { after: Some(ticket), reply: Reply::Sent(_) }) => {
                    waiting.push(ticket)
                }
                other => panic!("not waiting for a commit: {other:?}"),
            }
        }
        rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
        while rig.commit_round() || rig.sync_round() {}
        for ticket in waiting {
            assert_eq!(ticket.outcome(), Some(Err(ErrorCode::CannotSyncFile)));
        }
        // To another partition, which is not fenced.
        let elsewhere = |chain: ChainLink| {
            let mut bytes = Vec::new();
            SendWithHeader::encode(Some(chain), &mut bytes);
            bytes.extend(send_payload("u", to(0), &[text("y")]));
            bytes
        };
        let outcome = root.submit_bytes(CommandCode::SendWith, &elsewhere(link(3)));
        assert_eq!(told(&mut root, outcome).map(|reply| reply.outcome), MISSING);
    }
}

#[test]
fn the_first_send_after_a_start_keeps_the_chain() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let (durability, deduplication) = (Durability::Fsync, Deduplication::On);
    let topic = create_topic("s", "t", 1);
    root.call(&chosen(topic, durability, deduplication)).unwrap();
    assert_eq!(send(&mut root, beginning(0), "a"), STORED);
    drop(root);
    let rig = rig.restart();
    let mut root = rig.root();
    let first = submit(&mut root, beginning(1), "b");
    assert!(matches!(first, Outcome::Offload(_)), "the ids are read off the thread");
    assert_eq!(told(&mut root, first).map(|reply| reply.outcome), STORED);
    assert_eq!(send(&mut root, link(3), "d"), MISSING);
    assert_eq!(send(&mut root, link(2), "c"), STORED);
}

/// A client that keeps batches on their way, and a disk that is full now and then: what is stored is the beginning of
/// what was sent, and grows only at its end.
///
/// P-ORDER.
#[test]
fn whatever_is_refused_what_is_stored_has_no_hole() {
    for seed in 0..200 {
        let mut random = SplitMix::new(seed);
        let durability = if random.chance(50) { Durability::Os } else { Durability::Fsync };
        let (rig, mut root) = rig(durability);
        let (mut first_missing, mut begun) = (0_u64, false);
        while first_missing < 30 {
            // A window of batches goes out before any answer is looked at.
            let window = first_missing..first_missing + 1 + random.below(6);
            let mut outcomes = Vec::new();
            for position in window.clone() {
                if random.chance(25) {
                    rig.disk.plan(FaultPlan { bytes_max: Some(0), ..FaultPlan::default() });
                }
                let begins = !begun && position == window.start;
                let chain = if begins { beginning(position) } else { link(position) };
                outcomes.push(submit(&mut root, chain, &position.to_string()));
                rig.disk.plan(FaultPlan::default());
            }
            let mut is_stopped = false;
            for outcome in outcomes {
                match told(&mut root, outcome).map(|reply| reply.outcome) {
                    STORED => {
                        assert!(!is_stopped, "seed {seed}: stored behind a refusal");
                        begun = true;
                        first_missing += 1;
                    }
                    MISSING => assert!(is_stopped, "seed {seed}: nothing is missing"),
                    refused => {
                        assert_eq!(refused, Err(ErrorCode::CannotSaveMessagesToSegment));
                        assert!(!is_stopped, "seed {seed}: looked at behind a refusal");
                        is_stopped = true;
                    }
                }
            }
        }
        let expected: Vec<_> = (0..first_missing).map(|position| position.to_string()).collect();
        assert_eq!(stored(&mut root), expected, "seed {seed}");
    }
}
