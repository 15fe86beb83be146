//! What becomes of a data directory that lost a part, or got one that is not its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_broker::OpenError;
use galgo_broker::broker::{Acceptance, JournalBounds, Offline, OfflineOptions, RepairReport};
use galgo_broker::environment::ManualEnvironment;
use galgo_broker::vault::KeyRing;
use galgo_storage::disk::sim::{FaultPlan, SimDisk};
use galgo_storage::disk::{Disk as _, OpenMode};
use galgo_storage::metadata_log::MetadataLogError;
use galgo_wire::batch::NewMessage;
use galgo_wire::command::{CommandCode, CreateToken, Durability, LoginWithToken};
use galgo_wire::id::PartitionId;
use galgo_wire::name::{Password, TokenName};
use galgo_wire::{ErrorCode, PartitioningRef, PollingStrategy};

use crate::requests::{create_stream, create_topic_with, poll};
use crate::rig::{Connection, PASSWORD, Rig, login, send_payload};

const FIRST: PartitioningRef<'static> = PartitioningRef::PartitionId(PartitionId::new(0));

fn send(connection: &mut Connection, topic: &str, text: &str) -> Result<(), ErrorCode> {
    let message = NewMessage { payload: text.as_bytes(), ..Default::default() };
    connection.call_bytes(CommandCode::SendMessages, &send_payload(topic, FIRST, &[message]))
}

fn read(connection: &mut Connection, topic: &str) -> Vec<String> {
    let polled = connection.poll(&poll(topic, 0, PollingStrategy::First)).unwrap();
    let texts = polled.messages.iter().map(|message| message.payload.clone());
    texts.map(|payload| String::from_utf8(payload).unwrap()).collect()
}

/// A closed directory with a topic `kept` and, made last, a topic `secret`; a message in each.
fn closed() -> SimDisk {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    for topic in ["kept", "secret"] {
        root.call(&create_topic_with(topic, 1, Durability::Fsync)).unwrap();
    }
    for topic in ["kept", "secret"] {
        send(&mut root, topic, topic).unwrap();
    }
    rig.broker.shutdown().unwrap();
    rig.disk.kill_image()
}

fn files(disk: &SimDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    // The lock says who looked last, and nothing else.
    let names = disk.files().into_iter().map(|(path, _)| path);
    names
        .filter(|path| !path.ends_with("galgo.lock"))
        .map(|p| (p.clone(), disk.contents(&p)))
        .collect()
}

/// The start must be refused, and leave every name and byte as it was.
fn refused(disk: &SimDisk) -> OpenError {
    let before = files(disk);
    let opened = Rig::open_sealed(disk.clone(), KeyRing::default());
    let Err(error) = opened.map(|_| ()) else { panic!("opened") };
    let after = files(disk);
    let differs = before.iter().zip(&after).find(|(one, other)| one != other);
    assert_eq!(differs.map(|(one, _)| &one.0), None, "{error}");
    assert_eq!(before.len(), after.len(), "{error}");
    error
}

fn offline(disk: &SimDisk) -> Offline {
    let random = Arc::new(ManualEnvironment::new(1, 3));
    let options = OfflineOptions {
        disk: Arc::new(disk.clone()),
        random,
        data_dir: "/data".into(),
        encryption: KeyRing::default(),
        journal: JournalBounds { file_bytes: 32 << 10, files_max: 3 },
    };
    Offline::open(options).unwrap()
}

fn repair(disk: &SimDisk, acceptance: Acceptance) -> RepairReport {
    let dry = offline(disk).repair(acceptance, true).unwrap();
    let report = offline(disk).repair(acceptance, false).unwrap();
    assert_eq!((&dry.restored, &dry.lost), (&report.restored, &report.lost));
    report
}

/// The last log file of the metadata and of its copy.
fn metadata_logs(disk: &SimDisk) -> [PathBuf; 2] {
    ["/data/metadata", "/data/copy/metadata"].map(|dir| {
        let names = disk.files().into_iter().map(|(path, _)| path);
        let mut logs = names.filter(|path| path.starts_with(dir) && path.extension().is_some());
        logs.next_back().unwrap()
    })
}

/// Cuts the record off that made the topic `secret`, so that the rest is sound.
fn lose_last_record(disk: &SimDisk) {
    for path in metadata_logs(disk) {
        let bytes = disk.contents(&path).unwrap();
        let last = bytes.windows(4).rposition(|window| window == b"grec").unwrap();
        let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
        file.set_len(last as u64).unwrap();
        file.sync_data().unwrap();
    }
}

/// One bit of the last metadata record: the topic was gone, "never acknowledged", and the next topic got
/// its partition and, one start later, showed its messages. The record has a second copy now.
#[test]
fn a_damaged_last_record_loses_no_topic() {
    for (index, bit) in [(0, 1), (0, 40), (0, 90), (1, 1), (1, 90)] {
        let disk = closed();
        let path = &metadata_logs(&disk)[index];
        let len = disk.contents(path).unwrap().len() as u64;
        disk.flip_bit(path, len - 8 - bit, 0).unwrap();
        let rig = Rig::open(disk);
        let mut root = rig.root();
        assert_eq!(read(&mut root, "secret"), ["secret"]);
        root.call(&create_topic_with("public", 1, Durability::Fsync)).unwrap();
        send(&mut root, "public", "hello").unwrap();
        let rig = rig.restart();
        assert_eq!(read(&mut rig.root(), "public"), ["hello"]);
        assert!(rig.report.metadata_repaired.is_empty(), "repaired once");
    }
}

/// What both copies lost showed in the directories of partitions only, as a warning: "left alone".
#[test]
fn metadata_that_lost_a_topic_refuses_the_start() {
    let disk = closed();
    lose_last_record(&disk);
    let error = refused(&disk);
    let OpenError::Incomplete(found) = &error else { panic!("{error}") };
    assert_eq!(found.dirs.len(), 1);
    assert!(
        error.to_string().contains("1 directories of partitions (/data/partitions/"),
        "{error}"
    );
    // Without its directory it still stands in the checkpoint.
    disk.remove_dir_all(&found.dirs[0]).unwrap();
    let OpenError::Incomplete(found) = refused(&disk) else { panic!("not told") };
    assert_eq!((found.dirs.len(), found.uids.len()), (0, 1));
}

#[test]
fn what_the_metadata_lost_is_given_up_when_that_is_accepted_and_shown_to_nobody() {
    let disk = closed();
    lose_last_record(&disk);
    let kept = repair(&disk, Acceptance::Nothing);
    assert!(!kept.is_whole && kept.moved_aside.is_empty());
    assert_eq!(kept.lost.len(), 1);
    refused(&disk);
    let report = offline(&disk).repair(Acceptance::Loss, false).unwrap();
    assert!(report.is_whole);
    let [(from, to)] = &report.moved_aside[..] else { panic!("{report:?}") };
    assert!(from.starts_with("/data/partitions") && to.starts_with("/data/aside"));
    assert!(disk.exists(to).unwrap() && !disk.exists(from).unwrap());

    let rig = Rig::open(disk);
    let mut root = rig.root();
    assert_eq!(read(&mut root, "kept"), ["kept"]);
    root.call(&create_topic_with("public", 1, Durability::Fsync)).unwrap();
    send(&mut root, "public", "hello").unwrap();
    let rig = rig.restart();
    assert_eq!(read(&mut rig.root(), "public"), ["hello"]);
    assert!(!rig.disk.exists(from).unwrap(), "the uid is not given again");
}

/// The server started empty, with a new root user, and the first topic took over an old directory.
#[test]
fn metadata_that_is_gone_refuses_the_start_and_comes_back_from_its_copy() {
    let disk = closed();
    disk.remove_dir_all(Path::new("/data/metadata")).unwrap();
    assert!(matches!(refused(&disk), OpenError::Gone { copy: Some(_), .. }));
    let report = repair(&disk, Acceptance::Nothing);
    assert!(report.is_whole);
    assert_eq!(report.restored[0].path, Path::new("/data/metadata"));
    let rig = Rig::open(disk);
    assert_eq!(read(&mut rig.root(), "secret"), ["secret"]);
}

#[test]
fn metadata_that_is_gone_with_its_copy_refuses_the_start_until_that_is_accepted() {
    let disk = closed();
    disk.remove_dir_all(Path::new("/data/metadata")).unwrap();
    disk.remove_dir_all(Path::new("/data/copy/metadata")).unwrap();
    assert!(matches!(refused(&disk), OpenError::Gone { copy: None, .. }));
    // Nor with partitions only, as after a partial restore.
    let partial = disk.kill_image();
    partial.remove_dir_all(Path::new("/data/shards")).unwrap();
    assert!(matches!(refused(&partial), OpenError::Gone { copy: None, .. }));
    let report = offline(&disk).repair(Acceptance::Loss, false).unwrap();
    assert_eq!((report.lost.len(), report.moved_aside.len()), (2, 2), "{report:?}");
    let rig = Rig::open(disk);
    assert!(rig.report.created);
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("public", 1, Durability::Fsync)).unwrap();
    assert_eq!(read(&mut root, "public"), [""; 0]);
}

#[test]
fn shards_that_are_gone_refuse_the_start_until_that_is_accepted() {
    let disk = closed();
    disk.remove_dir_all(Path::new("/data/shards")).unwrap();
    let OpenError::Gone { path, .. } = refused(&disk) else { panic!("not told") };
    assert_eq!(path, Path::new("/data/shards"));
    let report = offline(&disk).repair(Acceptance::Loss, false).unwrap();
    assert!(report.is_whole);
    let rig = Rig::open(disk);
    let mut root = rig.root();
    assert_eq!(read(&mut root, "kept"), ["kept"]);
    send(&mut root, "kept", "more").unwrap();
    assert_eq!(read(&mut rig.restart().root(), "kept"), ["kept", "more"]);
}

fn copy_dir(from: (&SimDisk, &Path), to: (&SimDisk, &Path)) {
    let _ = to.0.remove_dir_all(to.1);
    to.0.create_dir_all(to.1).unwrap();
    for (path, _) in from.0.files().iter().filter(|(path, _)| path.starts_with(from.1)) {
        let copied = to.0.open(&to.1.join(path.file_name().unwrap()), OpenMode::Create).unwrap();
        copied.write_at(&from.0.contents(path).unwrap(), 0).unwrap();
    }
}

fn partition_dirs(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.read_dir(Path::new("/data/partitions")).unwrap().into_iter();
    names.map(|entry| Path::new("/data/partitions").join(entry.name)).collect()
}

/// Messages pass every checksum wherever their files are copied to.
#[test]
fn a_partition_directory_that_was_copied_from_elsewhere_refuses_the_start() {
    let disk = closed();
    let [kept, secret] = &partition_dirs(&disk)[..] else { panic!("two partitions") };
    copy_dir((&disk.kill_image(), secret), (&disk, kept));
    let error = refused(&disk);
    assert!(matches!(&error, OpenError::NotOurs { dir, .. } if dir == kept), "{error}");

    let other = SimDisk::new(99);
    let rig = Rig::open_with(other.clone(), PASSWORD);
    rig.broker.shutdown().unwrap();
    let disk = closed();
    for (name, identity) in [("identity", &other), ("copy/identity", &other)] {
        let path = Path::new("/data").join(name);
        let bytes = identity.contents(&path).unwrap();
        disk.open(&path, OpenMode::Create).unwrap().write_at(&flipped_cluster(&bytes), 0).unwrap();
    }
    let error = refused(&disk);
    assert!(error.to_string().contains("another server"), "{error}");
}

/// The same identity with another cluster id.
fn flipped_cluster(identity: &[u8]) -> Vec<u8> {
    let mut other = galgo_storage::data_dir::Identity::decode(identity).unwrap();
    other.cluster_id ^= 1;
    other.encode()
}

/// A directory that is there already was taken over, refused writes as if the disk was full, and showed
/// its old messages after the next start.
#[test]
fn a_partition_is_not_made_where_a_directory_is_already() {
    let rig = Rig::open(closed());
    let mut root = rig.root();
    let [kept, _] = &partition_dirs(&rig.disk)[..] else { panic!("two partitions") };
    let next = Path::new("/data/partitions/0000000000000002");
    copy_dir((&rig.disk.kill_image(), kept), (&rig.disk, next));
    let made = root.call(&create_topic_with("public", 1, Durability::Fsync));
    assert_eq!(made.map(|_| ()), Err(ErrorCode::CannotAppendToFile));
    rig.disk.remove_dir_all(next).unwrap();
    root.call(&create_topic_with("public", 1, Durability::Fsync)).unwrap();
    send(&mut root, "public", "hello").unwrap();
}

#[test]
fn a_directory_of_an_earlier_version_gets_copies_and_stamps() {
    let disk = closed();
    disk.remove_dir_all(Path::new("/data/copy")).unwrap();
    for dir in partition_dirs(&disk) {
        disk.remove_file(&dir.join("partition.id")).unwrap();
    }
    let rig = Rig::open(disk.clone());
    assert_eq!(read(&mut rig.root(), "secret"), ["secret"]);
    for name in ["identity", "copy/identity", "copy/metadata"] {
        assert!(disk.exists(&Path::new("/data").join(name)).unwrap(), "{name}");
    }
    for dir in partition_dirs(&disk) {
        assert!(disk.exists(&dir.join("partition.id")).unwrap());
    }
}

#[test]
fn metadata_damaged_in_both_places_is_told_and_left_as_it_is() {
    let disk = closed();
    for path in metadata_logs(&disk) {
        disk.flip_bit(&path, 34, 0).unwrap();
    }
    let error = refused(&disk);
    assert!(matches!(error, OpenError::Metadata(MetadataLogError::Damaged { .. })), "{error}");
}

#[test]
fn a_first_start_that_ends_at_any_operation_is_begun_again() {
    for stop_at in 1.. {
        let disk = SimDisk::new(stop_at);
        disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
        let opened = Rig::open_sealed(disk.clone(), KeyRing::default()).is_ok();
        disk.crash(stop_at);
        disk.plan(FaultPlan::default());
        let rig = Rig::open_with(disk, PASSWORD);
        rig.root();
        if opened {
            return;
        }
    }
}

/// Root's personal access tokens outlived it: whoever had taken over root's account kept a way in.
#[test]
fn root_gets_a_new_password_while_no_server_runs_and_old_logins_and_tokens_end() {
    let rig = Rig::open(closed());
    let mut root = rig.root();
    let create = CreateToken { name: TokenName::parse("laptop").unwrap(), expiry_us: 0 };
    let token = root.call(&create).unwrap().token;
    let (user, serial) = (root.session.user().unwrap(), root.session.user_serial().unwrap());
    rig.broker.shutdown().unwrap();
    let disk = rig.disk.kill_image();
    let password = Password::parse("quite another").unwrap();
    let done = offline(&disk).reset_root(&password).unwrap();
    assert_eq!((done.username.as_str(), done.was_inactive, done.tokens), ("root", false, 1));
    let rig = Rig::open(disk);
    let by_token = rig.connect().call(&LoginWithToken { token });
    assert_eq!(by_token.unwrap_err(), ErrorCode::ResourceNotFound);
    assert!(!rig.broker.is_jwt_good(user, serial, 9), "a login over HTTP outlived it");
    let refused = rig.connect().call(&login("root", PASSWORD));
    assert_eq!(refused.map(|_| ()), Err(ErrorCode::InvalidCredentials));
    rig.connect().call(&login("root", "quite another")).unwrap();
    assert_eq!(read_as(&rig, "quite another"), ["secret"]);
}

fn read_as(rig: &Rig, password: &str) -> Vec<String> {
    let mut connection = rig.connect();
    connection.call(&login("root", password)).unwrap();
    read(&mut connection, "secret")
}
