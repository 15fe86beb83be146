//! Version 1 of segment and index, byte by byte. Fixtures are added, never changed.

use crate::rig::{Rig, append, message, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::{Disk, OpenMode};
use std::fmt::Write;

const LOG: &str = "00000000000000000000.log";
const INDEX: &str = "00000000000000000000.index";

fn all() -> Vec<Vec<u8>> {
    let times = [1_700_000_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_500];
    let payloads: [&[u8]; 3] = [b"first", b"", b"the third message"];
    let numbered = (0..).zip(times.iter().zip(payloads));
    numbered.map(|(offset, (time, payload))| message(offset, *time, payload)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes().chunks(2);
    let bytes = digits.map(|pair| std::str::from_utf8(pair).unwrap());
    bytes.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// INV-WIRE.
#[test]
fn version_1_bytes_are_golden() {
    let mut rig = Rig::new(1);
    rig.options.index_interval_bytes = 100;
    let mut log = rig.create();
    append(&mut log, &all()).unwrap();
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    let segment = rig.disk.contents(&rig.path(LOG)).unwrap();
    let index = rig.disk.contents(&rig.path(INDEX)).unwrap();
    assert_eq!(hex(&segment), include_str!("../../fixtures/v1/segment.hex").trim());
    assert_eq!(hex(&index), include_str!("../../fixtures/v1/index.hex").trim());
    assert_eq!(known.active.unwrap().running_checksum, Some(2_141_035_646_199_959_799));
}

#[test]
fn version_1_files_are_read() {
    let mut rig = Rig::new(2);
    rig.disk.create_dir_all(&rig.options.dir).unwrap();
    for (name, text) in [
        (LOG, include_str!("../../fixtures/v1/segment.hex")),
        (INDEX, include_str!("../../fixtures/v1/index.hex")),
    ] {
        let file = rig.disk.open(&rig.path(name), OpenMode::Create).unwrap();
        file.write_at(&unhex(text), 0).unwrap();
    }
    let (log, report) = rig.recover(&LogCheckpoint::default(), &[]);
    assert_eq!(report.accepted_messages, 3);
    assert_eq!(read_all(&log.reader(), log.end()), (all(), vec![]));
}
