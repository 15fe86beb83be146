//! A damaged end is not a torn write: what tells them apart, and what becomes of each.
//!
//! The story: after a kill, one flipped bit in message 10 of 3,000 ended the log there, as if that
//! message had been cut off in the middle of its write. The 2,990 behind it were acknowledged, had
//! right checksums, and lost their offsets to the next ones sent. Now the end is judged by what the
//! rest proves, damage is fenced in place, and no offset is given twice.

use crate::rig::{Rig, append, message, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::{Disk, OpenMode};
use galgo_storage::log::{Evidence, FencedRange};
use galgo_wire::id::Offset;

const FIRST: &str = "00000000000000000000.log";
const MESSAGES: u64 = 12;

fn survived(end: u64) -> Evidence {
    Evidence { end: Offset::new(end), cache_survived: true }
}

fn range(from: u64, to: u64) -> FencedRange {
    FencedRange { from: Offset::new(from), to: Offset::new(to) }
}

/// A log no checkpoint knows of, as a killed process leaves it, and its messages.
fn killed(segment_bytes: u64) -> (Rig, Vec<Vec<u8>>) {
    let mut rig = Rig::new(1);
    rig.options.segment_bytes = segment_bytes;
    let mut log = rig.create();
    let all: Vec<_> = (0..MESSAGES).map(|at| message(at, at + 1, &[at as u8 + 1; 150])).collect();
    for batch in all.chunks(2) {
        append(&mut log, batch).unwrap();
    }
    drop(log);
    rig.disk.kill();
    (rig, all)
}

fn other(rig: &Rig) -> Rig {
    let mut other = Rig::on(rig.disk.kill_image());
    other.options = rig.options.clone();
    other
}

impl Rig {
    fn recover_with(mut self, evidence: Evidence) -> galgo_storage::log::Log {
        self.evidence = evidence;
        self.recover(&LogCheckpoint::default(), &[]).0
    }
}

/// Recovers, cuts the recovery short once and does it twice; the log must be `expected` each time, take a
/// message at `end`, and read the same after a clean stop.
fn check(rig: &Rig, expected: &[Vec<u8>], fenced: &[(u64, u64)], end: u64, story: &str) {
    let mut cut_short = Rig::on(rig.disk.kill_image());
    (cut_short.options, cut_short.evidence) = (rig.options.clone(), rig.evidence);
    drop(cut_short.recover(&LogCheckpoint::default(), &[]));
    cut_short.disk.kill();
    let mut rig = cut_short;
    let (mut log, report) = rig.recover(&LogCheckpoint::default(), &[]);
    let ranges: Vec<_> = fenced.iter().map(|(from, to)| range(*from, *to)).collect();
    assert_eq!(report.fenced, ranges, "{story}");
    assert_eq!(log.end(), Offset::new(end), "{story}");
    let next = message(end, 1_000, b"next");
    append(&mut log, std::slice::from_ref(&next)).unwrap();
    let expected = [expected, &[next]].concat();
    let found = read_all(&log.reader(), log.end());
    assert!(found == (expected.clone(), fenced.to_vec()), "{story}: {:?}", found.1);
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    drop(log);
    rig.disk.crash(3);
    rig.evidence = Evidence::default();
    let (log, _) = rig.recover(&known, &[]);
    let found = read_all(&log.reader(), log.end());
    assert!(found == (expected, fenced.to_vec()), "{story}, once more: {:?}", found.1);
}

#[test]
fn a_flipped_bit_costs_one_message_wherever_it_is() {
    let (rig, all) = killed(1 << 20);
    let len = all[0].len() as u64;
    for byte in 0..len {
        let mut rig = other(&rig);
        rig.evidence = survived(0);
        rig.disk.flip_bit(&rig.path(FIRST), 3 * len + byte, (byte % 8) as u8).unwrap();
        let expected = [&all[..3], &all[4..]].concat();
        check(&rig, &expected, &[(3, 4)], MESSAGES, &format!("byte {byte}"));
    }
}

#[test]
fn damage_in_the_last_message_is_told_from_a_write_that_was_cut_short() {
    let (rig, all) = killed(1 << 20);
    let (len, last) = (all[0].len() as u64, MESSAGES - 1);
    for byte in 0..len {
        for proven in [0, MESSAGES] {
            let mut rig = other(&rig);
            rig.evidence = survived(proven);
            rig.disk.flip_bit(&rig.path(FIRST), last * len + byte, 7).unwrap();
            let kept = &all[..last as usize];
            let story = format!("byte {byte}, {proven}");
            // A length that points behind the file is all that a message cut short can show, too.
            if [48, 49, 53, 54].contains(&byte) && proven == 0 {
                check(&rig, kept, &[], last, &story);
                continue;
            }
            // Without its lengths the bytes might have been as many as four messages.
            let to = other(&rig).recover_with(rig.evidence).end().get();
            let whole = !(48..64).contains(&byte);
            assert!(if whole { to == MESSAGES } else { to <= MESSAGES + 3 }, "{story}: {to}");
            check(&rig, kept, &[(last, to)], to, &story);
        }
    }
}

/// INV-TAIL.
#[test]
fn a_write_that_was_cut_short_ends_the_log_at_any_length() {
    let (rig, all) = killed(1 << 20);
    let len = all[0].len() as u64;
    for keep in 0..=MESSAGES * len {
        let mut rig = other(&rig);
        rig.evidence = survived(0);
        let file = rig.disk.open(&rig.path(FIRST), OpenMode::ReadWrite).unwrap();
        file.set_len(keep).unwrap();
        let whole = keep / len;
        check(&rig, &all[..whole as usize], &[], whole, &format!("kept {keep}"));
    }
}

/// INV-NO-REUSE.
#[test]
fn a_file_that_is_shorter_than_the_evidence_is_fenced_and_no_offset_is_given_twice() {
    let (rig, all) = killed(1 << 20);
    let len = all[0].len() as u64;
    for keep in (0..MESSAGES * len).step_by(7) {
        for cache_survived in [true, false] {
            let mut rig = other(&rig);
            rig.evidence = Evidence { cache_survived, ..survived(MESSAGES) };
            let file = rig.disk.open(&rig.path(FIRST), OpenMode::ReadWrite).unwrap();
            file.set_len(keep).unwrap();
            let whole = keep / len;
            if whole == MESSAGES {
                continue;
            }
            // Of the rest of a message that is cut off it may be that there were more.
            let to = other(&rig).recover_with(rig.evidence).end().get();
            assert!((MESSAGES..MESSAGES + 4).contains(&to), "kept {keep}: {to}");
            let fenced = [(whole, to)];
            check(&rig, &all[..whole as usize], &fenced, to, &format!("kept {keep}"));
        }
    }
}

#[test]
fn a_zeroed_sector_costs_the_messages_in_it() {
    let (rig, all) = killed(1 << 20);
    let len = all[0].len() as u64;
    for sector in 0..MESSAGES * len / 512 {
        let mut rig = other(&rig);
        // The last sector may hold the last message, whose number only evidence knows then.
        rig.evidence = survived(MESSAGES);
        let file = rig.disk.open(&rig.path(FIRST), OpenMode::ReadWrite).unwrap();
        file.write_at(&[0; 512], sector * 512).unwrap();
        let (from, to) = (sector * 512 / len, (sector * 512 + 512).div_ceil(len).min(MESSAGES));
        let expected = [&all[..from as usize], &all[to as usize..]].concat();
        let end = other(&rig).recover_with(rig.evidence).end().get();
        // With the last message in it, how many there were is only known from the evidence and the bytes.
        assert!(end == MESSAGES || to == MESSAGES, "sector {sector}: {end}");
        let to = if to == MESSAGES { end } else { to };
        check(&rig, &expected, &[(from, to)], end, &format!("sector {sector}"));
    }
}

#[test]
fn an_unreadable_end_of_unknown_length_gives_no_offset_again() {
    // Three messages of 214 bytes are zeros, and nothing knows that there were three.
    let (mut rig, all) = killed(1 << 20);
    let len = all[0].len() as u64;
    rig.evidence = survived(0);
    let file = rig.disk.open(&rig.path(FIRST), OpenMode::ReadWrite).unwrap();
    file.write_at(&vec![0; 3 * len as usize], (MESSAGES - 3) * len).unwrap();
    // A message has at least 64 bytes.
    let end = MESSAGES - 3 + (3 * len).div_ceil(64);
    check(&rig, &all[..MESSAGES as usize - 3], &[(MESSAGES - 3, end)], end, "zeros");
}

#[test]
fn a_segment_that_is_gone_or_begins_with_damage_costs_what_was_in_it() {
    let (rig, all) = killed(500);
    // 214 bytes a message: a segment takes two batches of two.
    let second = format!("{:020}.log", 4);
    for change in 0..3 {
        let mut rig = other(&rig);
        rig.evidence = survived(0);
        let path = rig.path(&second);
        let cost = match change {
            0 => {
                rig.disk.remove_file(&path).unwrap();
                4
            }
            1 => {
                rig.disk.flip_bit(&path, 100, 1).unwrap();
                1
            }
            _ => {
                let file = rig.disk.open(&path, OpenMode::ReadWrite).unwrap();
                file.set_len(300).unwrap();
                3
            }
        };
        let (from, to) = if change == 2 { (5, 8) } else { (4, 4 + cost) };
        let expected = [&all[..from as usize], &all[to as usize..]].concat();
        check(&rig, &expected, &[(from, to)], MESSAGES, &format!("change {change}"));
    }
}

#[test]
fn messages_inside_the_payload_of_a_damaged_one_are_not_served() {
    let mut rig = Rig::new(2);
    rig.options.segment_bytes = 1 << 20;
    let mut log = rig.create();
    let forged: Vec<u8> = (3..6).flat_map(|at| message(at, 9, b"forged")).collect();
    let mut all: Vec<_> = (0..MESSAGES).map(|at| message(at, at + 1, &[7; 40])).collect();
    all[2] = message(2, 3, &forged);
    append(&mut log, &all).unwrap();
    drop(log);
    rig.disk.kill();
    let at = all[..2].concat().len() as u64;
    // The offset and the length of the outer message, so that nothing is left but to search.
    for byte in [24, 52] {
        let mut other = other(&rig);
        other.disk.flip_bit(&other.path(FIRST), at + byte, 0).unwrap();
        other.evidence = survived(0);
        let expected = [&all[..2], &all[3..]].concat();
        check(&other, &expected, &[(2, 3)], MESSAGES, &format!("byte {byte}"));
    }
}

/// INV-BOOT.
#[test]
fn after_a_restart_of_the_system_a_hole_ends_the_log_unless_evidence_lies_behind_it() {
    // What was never acknowledged may be on the disk in part, with whole messages behind a hole. It is
    // kept aside, and its offsets, which nobody was promised, are given out.
    let (mut rig, all) = killed(1 << 20);
    let len = all[0].len() as u64;
    rig.disk.flip_bit(&rig.path(FIRST), 3 * len + 90, 0).unwrap();
    let mut unproven = other(&rig);
    let (log, report) = unproven.recover(&LogCheckpoint::default(), &[]);
    assert_eq!((log.end(), report.kept_aside.len()), (Offset::new(3), 1));
    rig.evidence = Evidence { end: Offset::new(5), cache_survived: false };
    let expected = [&all[..3], &all[4..]].concat();
    check(&rig, &expected, &[(3, 4)], MESSAGES, "proven");
}
