//! The data directory: one server, one identity, nothing foreign touched.

use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;
use crate::disk::sim::{FaultPlan, SimDisk};
use crate::twin::Unsound;

const FRESH: Identity = Identity { cluster_id: 0x11, node_id: 0x22 };
const OTHER: Identity = Identity { cluster_id: 0x33, node_id: 0x44 };

fn path() -> &'static Path {
    Path::new("/srv/galgo")
}

fn write(disk: &SimDisk, name: &str, bytes: &[u8]) {
    disk.create_dir_all(path()).unwrap();
    disk.open(&path().join(name), OpenMode::Create).unwrap().write_at(bytes, 0).unwrap();
}

/// Opening must fail and leave every name and byte as it was.
fn refused(disk: &SimDisk) -> DataDirError {
    let all = |disk: &SimDisk| -> Vec<_> {
        disk.files().into_iter().map(|(path, _)| (disk.contents(&path), path)).collect()
    };
    let before = all(disk);
    let error = DataDir::open(disk, path(), FRESH).map(|_| ()).unwrap_err();
    assert_eq!(all(disk), before, "INV-UNTOUCHED");
    error
}

proptest! {
    #[test]
    fn identities_round_trip(cluster_id: u128, node_id: u128, at: usize, bit in 0..8_u8) {
        let identity = Identity { cluster_id, node_id };
        let mut bytes = identity.encode();
        prop_assert_eq!(bytes.len(), format::IDENTITY_BYTES);
        prop_assert_eq!(Identity::decode(&bytes), Ok(identity));
        for len in 0..bytes.len() {
            prop_assert_eq!(Identity::decode(&bytes[..len]), Err(Unsound::Damaged));
        }
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(Identity::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = Identity::decode(&bytes);
    }
}

/// Written by layout 1; a reader of today must read it for ever.
#[test]
fn layout_1_identity_is_golden() {
    let hex: String = FRESH.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../../fixtures/v1/identity.hex").trim());
}

#[test]
fn first_identity_stays() {
    let disk = SimDisk::new(1);
    assert_eq!(DataDir::open(&disk, path(), FRESH).unwrap().identity(), FRESH);
    assert_eq!(DataDir::open(&disk, path(), OTHER).unwrap().identity(), FRESH);
}

#[test]
fn identity_once_told_survives_a_power_cut_at_every_operation() {
    for seed in 0..20 {
        for stop_at in 1..40 {
            let disk = SimDisk::new(seed);
            disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
            let told = DataDir::open(&disk, path(), FRESH).ok().map(|dir| dir.identity());
            if seed % 2 == 0 {
                disk.kill();
                // What a second start tells must be as durable as what the first would have.
                let told = DataDir::open(&disk, path(), OTHER).unwrap().identity();
                disk.crash(seed);
                assert_eq!(DataDir::open(&disk, path(), FRESH).unwrap().identity(), told);
                continue;
            }
            disk.crash(seed);
            let found = DataDir::open(&disk, path(), OTHER).unwrap().identity();
            assert!(told.is_none_or(|told| told == found));
        }
    }
}

#[test]
fn newer_layout_is_refused_untouched() {
    let disk = SimDisk::new(1);
    let mut bytes = FRESH.encode();
    bytes[8] = 2;
    // A flipped bit of the version is damage, not a newer version.
    write(&disk, "identity", &bytes);
    assert!(matches!(refused(&disk), DataDirError::Damaged { .. }));
    let crc = crc32fast::hash(&bytes[..48]).to_le_bytes();
    bytes[48..].copy_from_slice(&crc);
    bytes.extend_from_slice(b"more");
    write(&disk, "identity", &bytes);
    let error = refused(&disk);
    assert!(matches!(error, DataDirError::Newer { found: 2, .. }));
    assert_eq!(
        error.to_string(),
        "/srv/galgo has layout version 2; this program knows 1 and older"
    );
}

#[test]
fn foreign_directory_is_refused_untouched() {
    let disk = SimDisk::new(1);
    write(&disk, "thesis.tex", b"years of work");
    let error = refused(&disk);
    assert!(matches!(error, DataDirError::Foreign { ref name, .. } if name == "thesis.tex"));
}

#[test]
fn damaged_identity_is_refused_untouched() {
    let disk = SimDisk::new(1);
    write(&disk, "identity", &FRESH.encode()[..30]);
    assert!(matches!(refused(&disk), DataDirError::Damaged { .. }));
}

#[test]
fn identity_that_is_damaged_or_gone_comes_back_from_its_copy() {
    for name in ["identity", "copy/identity"] {
        for bytes in [None, Some(&FRESH.encode()[..30]), Some(&[0; 52][..])] {
            let disk = SimDisk::new(1);
            drop(DataDir::open(&disk, path(), FRESH).unwrap());
            disk.remove_file(&path().join(name)).unwrap();
            if let Some(bytes) = bytes {
                write(&disk, name, bytes);
            }
            assert_eq!(DataDir::open(&disk, path(), OTHER).unwrap().identity(), FRESH);
            assert_eq!(disk.contents(&path().join(name)), Some(FRESH.encode()));
        }
    }
}

#[test]
fn identity_with_the_copy_of_another_server_is_refused_untouched() {
    let disk = SimDisk::new(1);
    drop(DataDir::open(&disk, path(), FRESH).unwrap());
    write(&disk, "copy/identity", &OTHER.encode());
    assert!(matches!(refused(&disk), DataDirError::Mixed { .. }));
}

#[test]
fn new_volume_with_its_usual_content_is_taken() {
    let disk = SimDisk::new(1);
    write(&disk, ".gitkeep", b"");
    disk.create_dir_all(&path().join("lost+found")).unwrap();
    assert!(DataDir::open(&disk, path(), FRESH).is_ok());
}

#[test]
fn read_only_directory_is_told() {
    let disk = SimDisk::new(1);
    drop(DataDir::open(&disk, path(), FRESH).unwrap());
    disk.plan(FaultPlan { read_only: true, ..FaultPlan::default() });
    assert!(matches!(refused(&disk), DataDirError::ReadOnly { .. }));
}

/// INV-ONE-SERVER.
#[test]
fn second_server_is_refused_with_the_pid_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    let disk = RealDisk::new();
    let first = DataDir::open(&disk, &path, FRESH).unwrap();
    match DataDir::open(&disk, &path, FRESH).map(|_| ()) {
        Err(error @ DataDirError::Locked { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().ends_with(&format!("(pid {})", std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    assert_eq!(DataDir::open(&disk, &path, OTHER).unwrap().identity(), FRESH);
}

#[test]
fn names_are_those_of_the_format() {
    let disk = SimDisk::new(1);
    let dir = DataDir::open(&disk, path(), FRESH).unwrap();
    assert_eq!(dir.metadata_dirs().first, path().join("metadata"));
    assert_eq!(dir.metadata_dirs().copy, path().join("copy/metadata"));
    assert_eq!(dir.journal_dir(0), path().join("shards/0000/journal"));
    assert_eq!(dir.checkpoint_dir(7), path().join("shards/0007/checkpoint"));
    let partition = dir.partition_dir(PartitionUid::new(0xab));
    assert_eq!(partition, path().join("partitions/00000000000000ab"));
}
