//! The seeds of the fuzzers, and their short form.

use galgo_storage::checkpoint::OffsetNote;
use galgo_testkit::fuzz::Target;
use galgo_wire::command::UserStatus;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::{ConsumerId, Offset, PartitionUid, Timestamp};

use super::*;
use crate::metadata::tests::records::every_record;
use crate::shard::{OffsetOwner, ShardRecord};

fn bundle() -> Vec<u8> {
    let uid = PartitionUid::new(7);
    let owner = OffsetOwner { kind: ConsumerKind::Group, id: ConsumerId::new(9) };
    let (offset, at) = (Offset::new(3), Timestamp::new(77));
    let note = Some(OffsetNote { stored_at: at, active_at: at, user: 5 });
    let messages = &b"not looked at here"[..];
    let mut out = Vec::new();
    for record in [
        ShardRecord::Batch { uid, base_offset: offset, high_watermark: offset, messages },
        ShardRecord::OffsetStored { uid, owner, offset, note: None },
        ShardRecord::OffsetStored { uid, owner, offset, note },
        ShardRecord::OffsetGone { uid, owner },
        ShardRecord::StartMoved { uid, start: offset },
        ShardRecord::EndReached { uid, end: offset, synced: true },
    ] {
        record.encode(&mut out);
    }
    out
}

/// A state with something of every kind in it, and a record behind it.
fn snapshot(record: &Record) -> Vec<u8> {
    let mut state = State::default();
    for (_, record) in every_record() {
        // Those that take away again are left out.
        if !record.removes_messages() && !matches!(record, Record::DeleteUser { .. }) {
            let _ = state.apply(&record);
        }
    }
    let snapshot = state.to_snapshot();
    let len = u16::try_from(snapshot.len()).unwrap().to_le_bytes();
    [&len[..], &snapshot, &record.to_bytes()].concat()
}

#[test]
fn any_bundle_is_records_or_refused() {
    Target { name: "journal_record", entry: journal_record, seeds: vec![("each_kind", bundle())] }
        .hold();
}

#[test]
fn any_record_of_the_metadata_encodes_to_itself_or_is_refused() {
    let seeds = every_record().into_iter().map(|(name, record)| (name, record.to_bytes()));
    Target { name: "metadata_record", entry: metadata_record, seeds: seeds.collect() }.hold();
}

#[test]
fn any_snapshot_of_the_metadata_encodes_to_itself_or_is_refused() {
    let seeds = vec![
        ("and_a_removal", snapshot(&Record::DeleteStream { id: galgo_wire::id::StreamId::new(0) })),
        (
            "and_a_change",
            snapshot(&Record::UpdateUser {
                id: galgo_wire::id::UserId::new(1),
                name: "ann".parse().unwrap(),
                status: UserStatus::Active,
            }),
        ),
    ];
    Target { name: "metadata_snapshot", entry: metadata_snapshot, seeds }.hold();
}
