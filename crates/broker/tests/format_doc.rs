//! The tables of records in `docs/format.md` are those of the code.
//!
//! `UPDATE_DOCS=1 cargo test -p galgo-broker --test format_doc` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fmt::Write;

use galgo_broker::metadata::record::Record;
use galgo_broker::shard::{OffsetOwner, ShardRecord};
use galgo_storage::checkpoint::OffsetNote;
use galgo_testkit::docs::{bytes_of, check};
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::{ConsumerId, Offset, PartitionUid, Timestamp};

const TEST: &str = "cargo test -p galgo-broker --test format_doc";

#[test]
fn the_tables_of_records_are_those_of_the_code() {
    let tables = [("metadata records", metadata_records()), ("journal records", journal_records())];
    check("format.md", TEST, &tables);
}

/// How a field of this type is told.
fn form(name: &str, of: &str) -> String {
    let form = match of {
        "StreamId" | "TopicId" | "UserId" | "u32" => "u32",
        "PartitionUid" | "Timestamp" | "UserSerial" | "u64" => "u64",
        "u128" | "IdKey" => "u128",
        "UserStatus" | "bool" => "u8",
        "StreamName" | "TokenName" | "Username" => return "name".to_owned(),
        "String" => "text",
        "Vec<TopicId>" => "list of u32",
        "Vec<PartitionUid>" => "list of u64",
        "ResolvedSettings" => return "settings".to_owned(),
        "UserMetadata" => return "user".to_owned(),
        "HashedToken" => return "token".to_owned(),
        "Option<Permissions>" => return "permissions".to_owned(),
        "Membership" => return "stream `u32`, topic `u32`, group `u32`".to_owned(),
        "GroupMetadata" => return "serial `u32`, name".to_owned(),
        "NewPartitions" => return "count `u32`, first uid `u64`".to_owned(),
        other => panic!("say in docs/format.md how a {other} lies in a record"),
    };
    format!("{} `{form}`", name.replace('_', " "))
}

fn metadata_records() -> String {
    let mut kinds = Record::KINDS.to_vec();
    kinds.sort_by_key(|(number, ..)| *number);
    let mut out = "| kind | | fields |\n|---|---|---|\n".to_owned();
    for (number, title, fields) in kinds {
        let fields: Vec<String> = fields.iter().map(|(name, of)| form(name, of)).collect();
        writeln!(out, "| {number} | {title} | {} |", fields.join(", ")).unwrap();
    }
    out
}

fn journal_records() -> String {
    let uid = PartitionUid::new(7);
    let owner = OffsetOwner { kind: ConsumerKind::Group, id: ConsumerId::new(9) };
    let (offset, at) = (Offset::new(3), Timestamp::new(77));
    let note = Some(OffsetNote { stored_at: at, active_at: at, user: 5 });
    let of_owner = "consumer kind `u8`, 3 zeros, consumer id `u32`";
    let stored = format!("{of_owner}, offset `u64`");
    let noted = format!("{stored}, stored at `u64`, mark of the user `u64`");
    let batch =
        ShardRecord::Batch { uid, base_offset: offset, high_watermark: offset, messages: b"" };
    let batch_fields = "base offset `u64`, high watermark `u64`, messages as in the `.log`";
    let rows = [
        ("batch", batch, batch_fields),
        ("offset stored", ShardRecord::OffsetStored { uid, owner, offset, note: None }, &stored),
        ("offset stored", ShardRecord::OffsetStored { uid, owner, offset, note }, &noted),
        ("offset deleted", ShardRecord::OffsetGone { uid, owner }, of_owner),
        ("start moved", ShardRecord::StartMoved { uid, start: offset }, "start `u64`"),
        ("synced end", ShardRecord::EndReached { uid, end: offset, synced: true }, "end `u64`"),
        ("written end", ShardRecord::EndReached { uid, end: offset, synced: false }, "end `u64`"),
    ];
    let mut out = "| kind | version | | body |\n|---|---|---|---|\n".to_owned();
    for (title, record, fields) in rows {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(bytes.len() - 16, bytes_of(fields), "{title}: {fields}");
        writeln!(out, "| {} | {} | {title} | {fields} |", bytes[0], bytes[1]).unwrap();
    }
    out
}
