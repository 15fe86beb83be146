//! The seeds of the fuzzers, and their short form.

use galgo_testkit::fuzz::Target;
use galgo_wire::batch::{BatchBuilder, NewMessage, StampOptions, stamp};
use galgo_wire::id::{PartitionUid, Timestamp};

use super::*;
use crate::checkpoint::{
    ActiveSegment, CheckpointedOffset, LogCheckpoint, OffsetNote, SealedSegment, ShardCheckpoint,
};
use crate::index::{Index, IndexEntry};

/// What a journal of some commits left, behind the header of its file.
fn journal_files(commits: u64, checkpoint: u64) -> Vec<u8> {
    let disk = SimDisk::new(1);
    let options = JournalOptions { file_bytes: 8 << 10, ..JournalOptions::after(Lsn::ZERO) };
    let journal = LocalJournal::open(Arc::new(disk.clone()), Path::new(DIR), options).unwrap();
    let own = journal.claim(Epoch::default());
    for number in 0..commits {
        let payload = vec![number as u8; 40 + 300 * (number as usize % 3)];
        let bundle = Bundle { payload, sync: number % 2 == 0, room: JournalRoom::Shared };
        journal.submit(own, bundle).wait().outcome.unwrap();
    }
    journal.checkpoint(Lsn::new(checkpoint)).unwrap();
    let content = |number: u32| disk.contents(&Path::new(DIR).join(format!("{number:04}.jnl")));
    let first = content(1).unwrap_or_default();
    let sectors = first.len().div_ceil(SECTOR_BYTES as usize).saturating_sub(1) as u8;
    let mut out = vec![1, checkpoint as u8, sectors];
    for file in [first, content(2).unwrap_or_default()] {
        out.extend_from_slice(file.get(SECTOR_BYTES as usize..).unwrap_or_default());
    }
    // The empty sectors at the end say nothing.
    let used = out.iter().rposition(|byte| *byte != 0).unwrap();
    out.truncate((used - 2).next_multiple_of(SECTOR_BYTES as usize) + 3);
    out
}

fn checkpoints() -> [Vec<u8>; 2] {
    let sealed = SealedSegment {
        base: Offset::new(0),
        end: Offset::new(10),
        bytes: 1_000,
        checksum: 77,
        last_timestamp: Timestamp::new(5),
    };
    let active = ActiveSegment {
        base: Offset::new(10),
        durable_bytes: 300,
        durable_end: Offset::new(12),
        last_timestamp: Timestamp::new(7),
        running_checksum: Some(9),
    };
    let mut checkpoint = ShardCheckpoint { lsn: Lsn::new(9), ..Default::default() };
    for (uid, active) in [(3, Some(active)), (4, None)] {
        let log = LogCheckpoint { start: Offset::new(0), sealed: vec![sealed.clone(); 2], active };
        checkpoint.logs.insert(PartitionUid::new(uid), log);
    }
    let uid = PartitionUid::new(3);
    let stored = CheckpointedOffset { uid, kind: 1, id: 9, offset: Offset::new(5), note: None };
    checkpoint.offsets = vec![stored; 2];
    let plain = checkpoint_format::encode(3, &checkpoint);
    let (at, user) = (Timestamp::new(8), OffsetNote::NOBODY);
    checkpoint.offsets[1].note = Some(OffsetNote { stored_at: at, active_at: at, user });
    [plain, checkpoint_format::encode(4, &checkpoint)].map(|file| [vec![1], file].concat())
}

fn metadata_files(snapshot: bool) -> Vec<u8> {
    let disk = SimDisk::new(1);
    let dirs = MetadataDirs { first: "/fuzz/first".into(), copy: "/fuzz/copy".into() };
    let (mut log, _) = MetadataLog::open(Arc::new(disk.clone()), &dirs).unwrap();
    for record in [&b"one"[..], b"", b"a third record"] {
        log.append(record).unwrap();
    }
    if snapshot {
        log.snapshot(b"all of it").unwrap();
        log.append(b"behind it").unwrap();
    }
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with("/fuzz/first"));
    let mut contents: Vec<_> = files.map(|(path, _)| disk.contents(&path).unwrap()).collect();
    contents.resize(2, Vec::new());
    let len = u16::try_from(contents[0].len()).unwrap().to_le_bytes();
    [vec![1, len[0], len[1]], contents.concat()].concat()
}

fn index_and_messages() -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for payload in [&b"one"[..], &[2; 200], b"", &[4; 90]] {
        batch.push(&NewMessage { payload, ..NewMessage::default() }).unwrap();
    }
    let (indexes, messages) = batch.parts();
    let mut messages = messages.to_vec();
    let new_id = &mut |_| 9;
    let options =
        StampOptions { first_offset: Offset::new(5), timestamp: Timestamp::new(1), new_id };
    stamp(indexes, &mut messages, 4, options).unwrap();
    let entry = |relative_offset, position| IndexEntry {
        relative_offset,
        position,
        timestamp: Timestamp::new(1),
    };
    let index = Index::from_sorted(vec![entry(0, 0), entry(1, 67), entry(3, 395)]);
    let mut out = vec![1, 0, 3];
    out.extend(index_format::encode_header(Offset::new(5), 64));
    for entry in index.entries() {
        index_format::encode_entry(Offset::new(5), entry, &mut out);
    }
    [out, messages].concat()
}

/// One frame is unsound, and a second file has it and the next one once more, as when somebody put a copy back. Such a
/// journal was read file by file, and so not in the order of its frames, some of them twice.
fn copied() -> Vec<u8> {
    let sector = SECTOR_BYTES as usize;
    let mut files = journal_files(8, 0);
    let frame_5 = 3 + 5 * sector;
    let copy = files[frame_5..frame_5 + 3 * sector].to_vec();
    // Its first lsn is now above its own.
    files[frame_5 + 24 + 5] = 128;
    files.resize(3 + usize::from(files[2]) * sector, 0);
    [files, copy].concat()
}

#[test]
fn any_files_of_a_journal_are_read_or_told() {
    let seeds = vec![
        ("fresh", journal_files(3, 0)),
        ("two_files", journal_files(12, 0)),
        ("checkpointed", journal_files(12, 7)),
        ("copied", copied()),
    ];
    Target { name: "journal", entry: journal, seeds }.hold();
}

#[test]
fn any_checkpoint_is_read_or_refused() {
    let [plain, sections] = checkpoints();
    let seeds = vec![("version_1", plain), ("version_2", sections)];
    Target { name: "checkpoint", entry: checkpoint, seeds }.hold();
}

#[test]
fn any_metadata_log_is_read_or_refused() {
    let seeds = vec![("records", metadata_files(false)), ("snapshot", metadata_files(true))];
    Target { name: "metadata_log", entry: metadata_log, seeds }.hold();
}

#[test]
fn any_index_points_to_messages_in_their_order() {
    let seeds = vec![("four_messages", index_and_messages())];
    Target { name: "index", entry: index, seeds }.hold();
}
