//! Encryption at rest: nothing readable in the data directory, rotation, wrong and missing keys.

use std::path::PathBuf;

use galgo_broker::vault::KeyRing;
use galgo_storage::disk::sim::{FaultPlan, SimDisk};
use galgo_storage::disk::{Disk as _, OpenMode};
use galgo_wire::batch::NewMessage;
use galgo_wire::command::{CommandCode, Durability};
use galgo_wire::id::PartitionId;
use galgo_wire::{ErrorCode, PartitioningRef, PollingStrategy};

use crate::requests::{create_stream, create_topic_with, poll};
use crate::rig::{Connection, JOURNAL_BATCH_BYTES_MAX, Rig, send_payload};

const FIRST: PartitioningRef<'static> = PartitioningRef::PartitionId(PartitionId::new(0));
const ONE: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_ONE: &str = "1:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const TWO: &str = "2:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
const SECRETS: [&str; 3] = ["ORCHID", "MARIGOLD", "PEONY"];

fn keys(texts: &[&str], active: Option<u32>) -> KeyRing {
    KeyRing::parse(&texts.join(","), active).unwrap()
}

fn open(disk: &SimDisk, texts: &[&str], active: Option<u32>) -> Rig {
    Rig::open_sealed(disk.kill_image(), keys(texts, active)).unwrap_or_else(|e| panic!("{e}"))
}

/// Messages of every size, in the journal and beside it.
fn send(connection: &mut Connection, number: usize) {
    let bytes = [10, 2 * JOURNAL_BATCH_BYTES_MAX as usize][number % 2];
    let payload = format!("{} {number} {}", SECRETS[0], "x".repeat(bytes));
    let user_headers = SECRETS[1].as_bytes();
    let message = NewMessage { payload: payload.as_bytes(), user_headers, ..Default::default() };
    let batch = send_payload("PEONY-topic", FIRST, &[message, message]);
    connection.call_bytes(CommandCode::SendMessages, &batch).unwrap();
}

fn create(rig: &Rig) -> Connection {
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_stream("PEONY-stream")).unwrap();
    root.call(&create_topic_with("PEONY-topic", 1, Durability::Fsync)).unwrap();
    root
}

fn read(connection: &mut Connection) -> Result<usize, ErrorCode> {
    let mut found = 0;
    loop {
        let at = PollingStrategy::Offset(galgo_wire::id::Offset::new(found as u64));
        let polled = connection.poll(&poll("PEONY-topic", 0, at))?;
        if polled.messages.is_empty() {
            return Ok(found);
        }
        for message in &polled.messages {
            let start = format!("{} {} ", SECRETS[0], found / 2);
            assert!(message.payload.starts_with(start.as_bytes()), "message {found}");
            assert_eq!(message.user_headers, SECRETS[1].as_bytes());
            found += 1;
        }
    }
}

/// The files with one of the secrets, or a key, in them.
fn readable(disk: &SimDisk) -> Vec<String> {
    let mut found = Vec::new();
    for (path, len) in disk.files() {
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        disk.open(&path, OpenMode::Read).unwrap().read_at(&mut bytes, 0).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let key = bytes.windows(32).any(|part| part == [1; 32]);
        if key || SECRETS.into_iter().chain(["argon2", "root"]).any(holds) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn nothing_readable_is_in_any_file_of_the_data_directory() {
    let rig = open(&SimDisk::new(1), &[ONE], Some(1));
    let mut root = create(&rig);
    (0..40).for_each(|number| send(&mut root, number));
    assert_eq!(read(&mut root), Ok(80));
    assert_eq!(readable(&rig.disk), [""; 0]);
    rig.broker.shutdown().unwrap();
    assert_eq!(readable(&rig.disk), [""; 0]);
    let disk = rig.disk.kill_image();
    disk.drop_caches();
    let rig = open(&disk, &[ONE], Some(1));
    assert_eq!(read(&mut rig.root()), Ok(80), "read from the disk and verified");
}

#[test]
fn a_new_key_takes_over_and_the_old_one_still_reads() {
    let mut rig = open(&SimDisk::new(1), &[ONE], Some(1));
    let mut root = create(&rig);
    (0..4).for_each(|number| send(&mut root, number));
    rig = open(&rig.disk, &[ONE, TWO], Some(2));
    root = rig.root();
    (4..8).for_each(|number| send(&mut root, number));
    assert_eq!(read(&mut root), Ok(16));
    // Without the old key: metadata is sealed anew, its messages are an error that names the key.
    rig = open(&rig.disk, &[TWO], Some(2));
    root = rig.root();
    assert_eq!(read(&mut root), Err(ErrorCode::CannotDecryptData));
    let at = PollingStrategy::Offset(galgo_wire::id::Offset::new(8));
    assert_eq!(root.poll(&poll("PEONY-topic", 0, at)).unwrap().messages.len(), 8);
    assert_eq!(readable(&rig.disk), [""; 0]);
}

#[test]
fn a_start_without_the_key_or_with_another_is_refused_and_changes_nothing() {
    let rig = open(&SimDisk::new(1), &[ONE], Some(1));
    let mut root = create(&rig);
    send(&mut root, 0);
    let disk = rig.disk.kill_image();
    for (keys, told) in [
        (KeyRing::default(), "the metadata is encrypted with key 1, which was not given"),
        (keys(&[TWO], Some(2)), "the metadata is encrypted with key 1, which was not given"),
        (keys(&[OTHER_ONE], Some(1)), "key 1 is not the one with which this data was encrypted"),
        (keys(&[OTHER_ONE, TWO], Some(2)), "key 1 is not the one"),
    ] {
        let Err(error) = Rig::open_sealed(disk.clone(), keys) else { panic!("opened") };
        assert!(error.to_string().starts_with(told), "{error}");
    }
    let rig = open(&disk, &[ONE], Some(1));
    assert_eq!(read(&mut rig.root()), Ok(2));
}

#[test]
fn another_key_of_a_used_id_is_refused_also_where_only_messages_need_it() {
    let mut rig = open(&SimDisk::new(1), &[ONE], Some(1));
    let mut root = create(&rig);
    send(&mut root, 0);
    // Turned off: the metadata is in the clear again, what is stored stays sealed.
    rig = open(&rig.disk, &[ONE], None);
    let disk = rig.disk.kill_image();
    for active in [None, Some(1)] {
        let other = Rig::open_sealed(disk.clone(), keys(&[OTHER_ONE], active));
        let Err(error) = other else { panic!("opened") };
        assert!(error.to_string().starts_with("key 1 is not the one"), "{error}");
    }
    let rig = open(&disk, &[ONE], Some(1));
    assert_eq!(read(&mut rig.root()), Ok(2));
}

/// Without the list of keys a start that misses one would begin a directory anew, in the clear.
#[test]
fn the_list_of_keys_comes_back_from_its_second_copy() {
    let rig = open(&SimDisk::new(1), &[ONE], Some(1));
    let mut root = create(&rig);
    send(&mut root, 0);
    for name in ["/data/encryption", "/data/copy/encryption"] {
        let disk = rig.disk.kill_image();
        disk.flip_bit(name.as_ref(), 13, 1).unwrap();
        let again = open(&disk, &[ONE], Some(1));
        assert_eq!(read(&mut again.root()), Ok(2), "{name}");
        let contents = |name: &str| again.disk.contents(name.as_ref());
        assert_eq!(contents("/data/encryption"), contents("/data/copy/encryption"), "{name}");
        disk.remove_file(name.as_ref()).unwrap();
        let other = Rig::open_sealed(disk, keys(&[OTHER_ONE], Some(1)));
        let Err(error) = other.map(|_| ()) else { panic!("opened without {name}") };
        assert!(error.to_string().starts_with("key 1 is not the one"), "{error}");
    }
}

#[test]
fn a_start_that_is_refused_notes_no_key() {
    let rig = open(&SimDisk::new(1), &[ONE], Some(1));
    create(&rig);
    let disk = rig.disk.kill_image();
    // The same record in both places, as one alone is restored from the other.
    let logs = disk.files().into_iter().map(|(path, _)| path);
    let is_log = |path: &PathBuf| path.to_string_lossy().contains("metadata/0");
    let logs: Vec<_> = logs.filter(is_log).collect();
    assert_eq!(logs.len(), 2);
    let flip = || logs.iter().for_each(|path| disk.flip_bit(path, 34, 0).unwrap());
    flip();
    assert!(Rig::open_sealed(disk.clone(), keys(&[ONE, TWO], Some(2))).is_err());
    flip();
    let rig = open(&disk, &[ONE], Some(1));
    assert_eq!(read(&mut rig.root()), Ok(0), "the second key is not needed");
}

#[test]
fn encryption_can_be_turned_on_and_off_for_a_directory_that_is_in_use() {
    let mut rig = Rig::new();
    let mut root = create(&rig);
    (0..2).for_each(|number| send(&mut root, number));
    rig = open(&rig.disk, &[ONE], Some(1));
    let in_metadata = |rig: &Rig| readable(&rig.disk).iter().any(|path| path.contains("metadata"));
    assert!(!in_metadata(&rig), "metadata is sealed at once");
    root = rig.root();
    (2..4).for_each(|number| send(&mut root, number));
    assert_eq!(read(&mut root), Ok(8));
    rig = open(&rig.disk, &[ONE], None);
    assert!(in_metadata(&rig));
    root = rig.root();
    (4..6).for_each(|number| send(&mut root, number));
    assert_eq!(read(&mut root), Ok(12));
    // No key at all: what was sealed is never given out as it is on disk.
    rig = open(&rig.disk, &[], None);
    assert_eq!(read(&mut rig.root()), Err(ErrorCode::CannotDecryptData));
}

#[test]
fn a_changed_byte_is_damage_even_under_a_right_checksum() {
    let rig = open(&SimDisk::new(1), &[ONE], Some(1));
    let mut root = create(&rig);
    send(&mut root, 0);
    rig.broker.shutdown().unwrap();
    let path = rig.partition_files().into_iter().find(|p| p.extension().unwrap() == "log").unwrap();
    let disk = rig.disk.kill_image();
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let len = disk.files().into_iter().find(|(p, _)| *p == path).unwrap().1;
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    let end = bytes.len() / 2;
    bytes[end - 1] ^= 1;
    let checksum = galgo_wire::batch::checksum(&bytes[..end]);
    bytes[..8].copy_from_slice(&checksum.to_le_bytes());
    file.write_at(&bytes, 0).unwrap();
    let rig = open(&disk, &[ONE], Some(1));
    assert_eq!(read(&mut rig.root()), Err(ErrorCode::InvalidMessageChecksum));
}

/// A log in the clear whose removal failed stayed for ever: the metadata was noted as encrypted.
#[test]
fn no_failure_while_encryption_is_turned_on_leaves_metadata_in_the_clear_for_good() {
    let plain = Rig::new();
    create(&plain);
    for nth in 1..400 {
        let disk = plain.disk.kill_image();
        disk.plan(FaultPlan { fail_operation: Some(nth), ..FaultPlan::default() });
        drop(Rig::open_sealed(disk.clone(), keys(&[ONE], Some(1))));
        let all_done = disk.operations() < nth;
        let rig = open(&disk, &[ONE], Some(1));
        let left: Vec<_> = readable(&rig.disk);
        assert!(!left.iter().any(|path| path.contains("metadata")), "operation {nth}: {left:?}");
        if all_done {
            return;
        }
    }
    panic!("the start never ends");
}
