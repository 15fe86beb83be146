//! Entries for fuzzers: they take any bytes for files, and assert what holds whatever those are.
//!
//! Only there with the feature `fuzzing` and in the tests of this crate. Checksums would stop nearly every
//! input at the door; so each entry puts them right first when the first byte of its input is odd.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use galgo_wire::batch::first_invalid;
use galgo_wire::id::{Epoch, Offset};

use crate::checkpoint::format as checkpoint_format;
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, OpenMode};
use crate::index::format as index_format;
use crate::index::rebuild::{IndexSpan, complete, load};
use crate::index::{follows, format::ENTRY_BYTES};
use crate::journal::format::{self as frames, FRAME_HEADER_BYTES, SECTOR_BYTES};
use crate::journal::{Bundle, Journal, JournalOptions, JournalRoom, LocalJournal, Lsn};
use crate::metadata_log::{MetadataDirs, MetadataLog, format as records};
use crate::segment::Boundary;

#[cfg(test)]
mod tests;

const DIR: &str = "/fuzz/journal";

/// Writes a file of the simulated disk, where nothing fails, and syncs it with its name.
fn write(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    let parent = path.parent().unwrap_or(path);
    let written = crate::disk::create_dir_synced(disk, parent)
        .and_then(|()| disk.open(path, OpenMode::Create))
        .and_then(|file| file.write_at(bytes, 0).and_then(|_| file.sync_data()))
        .and_then(|()| disk.sync_dir(parent));
    assert!(written.is_ok(), "{}: {written:?}", path.display());
}

/// `| seal | checkpoint | sectors of the first file | files of a journal ... |`: opens them.
///
/// INV-LOUD: every number behind the checkpoint is read or told, up to the last; INV-LSN: in order, and what is
/// committed behind them is read back by the next start as it was written.
pub fn journal(input: &[u8]) {
    let Some((&[seal, checkpoint, sectors], bytes)) = input.split_first_chunk() else { return };
    let mut bytes = bytes.to_vec();
    if seal % 2 == 1 {
        seal_frames(&mut bytes);
    }
    let cut = (usize::from(sectors) * SECTOR_BYTES as usize).min(bytes.len());
    let (first, second) = bytes.split_at(cut);
    let disk = SimDisk::new(1);
    for (number, content) in (1_u32..).zip([first, second]) {
        let header = frames::FileHeader {
            version: frames::VERSION,
            number,
            file_bytes: SECTOR_BYTES + content.len() as u64,
            salt_check: frames::salt_check(0),
        };
        let file = [&header.encode(), content].concat();
        write(&disk, &format!("{DIR}/{number:04}.jnl"), &file);
    }
    let checkpoint = Lsn::new(checkpoint.into());
    let Some(before) = open_and_read(&disk, checkpoint) else { return };
    let options = JournalOptions { file_bytes: 8 << 10, ..JournalOptions::after(checkpoint) };
    let Ok(journal) = LocalJournal::open(Arc::new(disk.clone()), Path::new(DIR), options) else {
        return;
    };
    let bundle = Bundle { payload: b"behind it".to_vec(), sync: true, room: JournalRoom::Shared };
    let committed = journal.submit(journal.claim(Epoch::default()), bundle).wait().outcome;
    drop(journal);
    let Ok(lsn) = committed else { return };
    disk.crash(2);
    let after = open_and_read(&disk, checkpoint).unwrap_or_default();
    let mut expected = before;
    expected.push((lsn.get(), b"behind it".to_vec()));
    assert_eq!(after, expected, "INV-LSN: what was there before, and what was committed");
}

/// The frames behind the checkpoint, in order; `None` when the journal is refused.
fn open_and_read(disk: &SimDisk, checkpoint: Lsn) -> Option<Vec<(u64, Vec<u8>)>> {
    let options = JournalOptions { file_bytes: 8 << 10, ..JournalOptions::after(checkpoint) };
    let journal = LocalJournal::open(Arc::new(disk.clone()), Path::new(DIR), options).ok()?;
    let mut found = Vec::new();
    let report = journal.read(checkpoint.next(), &mut |frame| {
        found.push((frame.lsn.get(), frame.payload.to_vec()));
        ControlFlow::Continue(())
    });
    let report = report.ok()?;
    let numbers: Vec<u64> = found.iter().map(|(lsn, _)| *lsn).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "INV-LSN: {numbers:?}");
    let frames = numbers.iter().map(|lsn| *lsn..=*lsn);
    let mut told: Vec<_> =
        frames.chain(report.damaged.iter().chain(&report.deposed).cloned()).collect();
    told.sort_by_key(|range| *range.start());
    let mut upto = checkpoint.get();
    for range in told {
        assert_eq!(*range.start(), upto + 1, "INV-LOUD: numbers are missing, or there twice");
        upto = *range.end();
    }
    assert_eq!(upto, journal.last().get(), "INV-LOUD: the last numbers are missing");
    Some(found)
}

/// Puts the checksums of all frames right that lie in `bytes` at a sector.
fn seal_frames(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(SECTOR_BYTES as usize) {
        let Some(rest) = bytes.get_mut(at..) else { return };
        let Some((header, behind)) = rest.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else {
            return;
        };
        if !header.starts_with(&frames::FRAME_MAGIC) {
            continue;
        }
        let generation = number_at(header, 8);
        let len = number_at(header, 40) as u32 as usize;
        let Some(payload) = behind.get(..len) else { continue };
        let crc = frames::payload_crc(0, generation, payload);
        put(header, 44, &crc.to_le_bytes());
        let crc = frames::payload_crc(0, generation, header.get(..60).unwrap_or(&[]));
        put(header, 60, &crc.to_le_bytes());
    }
}

/// `| seal | a checkpoint file ... |`: one that encodes to itself, or a refusal.
pub fn checkpoint(input: &[u8]) {
    let Some((seal, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if seal % 2 == 1 && bytes.len() >= 48 {
        let payload = bytes.get(48..).unwrap_or(&[]);
        let (len, crc) = ((payload.len() as u64).to_le_bytes(), crc32fast::hash(payload));
        put(&mut bytes, 32, &len);
        put(&mut bytes, 40, &crc.to_le_bytes());
        let crc = crc32fast::hash(bytes.get(..44).unwrap_or(&[]));
        put(&mut bytes, 44, &crc.to_le_bytes());
    }
    if let Ok((sequence, checkpoint)) = checkpoint_format::decode(&bytes) {
        let again = checkpoint_format::encode(sequence, &checkpoint);
        assert_eq!(checkpoint_format::decode(&again), Ok((sequence, checkpoint)));
    }
}

/// `| seal | bytes of the log u16 | log file | snapshot ... |`, the same in both places but for one byte of
/// the copy: opened, or refused.
///
/// INV-META-WHOLE: what opening gives, the next start gives, too, and what was appended behind it.
pub fn metadata_log(input: &[u8]) {
    let Some((&[seal, low, high], bytes)) = input.split_first_chunk() else { return };
    let mut bytes = bytes.to_vec();
    let len = usize::from(u16::from_le_bytes([low, high])).min(bytes.len());
    let (log, snapshot) = bytes.split_at_mut(len);
    if seal % 2 == 1 {
        seal_records(log);
        seal_snapshot(snapshot);
    }
    let first = number_at(log, 16);
    let disk = SimDisk::new(1);
    for (place, spoilt) in [("first", 0), ("copy", seal >> 1)] {
        if let Some(byte) = log.get_mut(usize::from(spoilt)).filter(|_| spoilt > 0) {
            *byte = !*byte;
        }
        write(&disk, &format!("/fuzz/{place}/{first:020}.log"), log);
        if !snapshot.is_empty() {
            write(&disk, &format!("/fuzz/{place}/snapshot"), snapshot);
        }
    }
    let dirs = MetadataDirs { first: "/fuzz/first".into(), copy: "/fuzz/copy".into() };
    let Ok((mut log, found)) = MetadataLog::open(Arc::new(disk.clone()), &dirs) else { return };
    let appended = log.append(b"behind it");
    drop(log);
    disk.crash(2);
    let again = MetadataLog::open(Arc::new(disk.clone()), &dirs);
    let again = again.map(|(_, again)| (again.snapshot, again.records));
    let mut expected = found.records;
    if appended.is_ok() {
        expected.push(b"behind it".to_vec());
    }
    assert_eq!(again.ok(), Some((found.snapshot, expected)), "INV-META-WHOLE");
}

fn seal_records(log: &mut [u8]) {
    let crc = crc32fast::hash(log.get(..24).unwrap_or(&[]));
    put(log, 24, &crc.to_le_bytes());
    for at in (records::LOG_HEADER_BYTES..log.len()).step_by(records::RECORD_ALIGN) {
        let Some(rest) = log.get_mut(at..) else { return };
        let len = number_at(rest, 4) as u32 as usize;
        let payload = rest.get(records::RECORD_HEADER_BYTES..).and_then(|rest| rest.get(..len));
        let Some(payload) = payload.filter(|_| rest.starts_with(&records::RECORD_MAGIC)) else {
            continue;
        };
        let crc = crc32fast::hash(payload);
        put(rest, 16, &crc.to_le_bytes());
        let crc = crc32fast::hash(rest.get(..20).unwrap_or(&[]));
        put(rest, 20, &crc.to_le_bytes());
    }
}

fn seal_snapshot(snapshot: &mut [u8]) {
    let payload = snapshot.get(records::SNAPSHOT_HEADER_BYTES..).unwrap_or(&[]);
    let (len, crc) = ((payload.len() as u64).to_le_bytes(), crc32fast::hash(payload));
    put(snapshot, 24, &len);
    put(snapshot, 32, &crc.to_le_bytes());
    let crc = crc32fast::hash(snapshot.get(..36).unwrap_or(&[]));
    put(snapshot, 36, &crc.to_le_bytes());
}

/// `| seal | interval | entries u8 | an index file | messages ... |`: what the index of the messages becomes.
///
/// INV-INDEX: no entry points past the messages; INV-SORTED: they are in order.
pub fn index(input: &[u8]) {
    let Some((&[seal, interval, entries], bytes)) = input.split_first_chunk() else { return };
    let (base, interval_bytes) = (Offset::new(5), 64 + u32::from(interval));
    let len = index_format::HEADER_BYTES + usize::from(entries) * ENTRY_BYTES;
    let (index, log) = bytes.split_at(len.min(bytes.len()));
    let mut index = index.to_vec();
    if seal % 2 == 1 {
        seal_index(&mut index, base, interval_bytes);
    }
    let disk = SimDisk::new(1);
    write(&disk, "/fuzz/log/5.index", &index);
    write(&disk, "/fuzz/log/5.log", log);
    let sound = first_invalid(log, base);
    let end = Boundary {
        offset: Offset::new(base.get() + u64::from(sound.count)),
        position: sound.bytes as u64,
    };
    // Half of the inputs: as if messages that were found damaged later had been counted, too.
    let end = match seal & 2 {
        0 => end,
        _ => Boundary { offset: Offset::new(end.offset.get() + 9), position: log.len() as u64 },
    };
    let span = IndexSpan { base, end, interval_bytes };
    let slots = load(&disk, Path::new("/fuzz/log/5.index"), span);
    let Ok(file) = disk.open(Path::new("/fuzz/log/5.log"), OpenMode::Read) else { return };
    let Ok(index) = complete(&*file, span, slots) else { return };
    for pair in index.entries().windows(2) {
        assert!(matches!(pair, [a, b] if follows(a, b)), "INV-SORTED: {pair:?}");
    }
    for entry in index.entries() {
        let place = entry.place(base);
        assert!(place.position < end.position && place.offset < end.offset, "INV-INDEX: {place:?}");
    }
}

fn seal_index(bytes: &mut Vec<u8>, base: Offset, interval_bytes: u32) {
    let mut sealed = index_format::encode_header(base, interval_bytes);
    let entries = bytes.get(index_format::HEADER_BYTES..).unwrap_or(&[]);
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let fields = crate::index::IndexEntry {
            relative_offset: number_at(entry, 0) as u32,
            position: number_at(entry, 4) as u32,
            timestamp: galgo_wire::id::Timestamp::new(number_at(entry, 8)),
        };
        index_format::encode_entry(base, &fields, &mut sealed);
    }
    *bytes = sealed;
}

/// The number at `at`, zeros behind the end.
fn number_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    for (to, from) in number.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u64::from_le_bytes(number)
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(what) {
        *to = *from;
    }
}
