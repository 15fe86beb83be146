//! One of two files is always enough.

use super::*;
use crate::disk::OpenMode;
use crate::disk::sim::{FaultPlan, SimDisk};

const OLD: &[u8] = b"sound old";
const NEW: &[u8] = b"sound new content";

fn twin() -> Twin {
    Twin { path: "/data/file".into(), copy: "/data/copy/file".into() }
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, Unsound> {
    match bytes {
        b"newer" => Err(Unsound::Newer(7)),
        _ if bytes.starts_with(b"sound") => Ok(bytes.to_vec()),
        _ => Err(Unsound::Damaged),
    }
}

fn read(disk: &SimDisk) -> Result<Option<Kept<Vec<u8>>>, TwinError> {
    twin().read(disk, 100, decode)
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
}

fn written() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/data")).unwrap();
    twin().write(&disk, OLD).unwrap();
    disk
}

#[test]
fn either_of_the_two_is_enough_and_mends_the_other() {
    for (path, is_copy) in [(twin().path, true), (twin().copy, false)] {
        for bytes in [None, Some(&b""[..]), Some(b"souND old"), Some(&[0; 200])] {
            let disk = written();
            match bytes {
                None => disk.remove_file(&path).unwrap(),
                Some(bytes) => put(&disk, &path, bytes),
            }
            let kept = read(&disk).unwrap().unwrap();
            assert_eq!((&kept.value[..], kept.is_copy()), (OLD, is_copy));
            twin().mend(&disk, &kept).unwrap();
            assert_eq!(disk.contents(&twin().path), disk.contents(&twin().copy));
            assert_eq!(read(&disk).unwrap().unwrap().value, OLD);
        }
    }
}

#[test]
fn two_damaged_ones_are_told_and_so_is_a_newer_one() {
    let disk = written();
    put(&disk, &twin().path, b"what");
    put(&disk, &twin().copy, b"what");
    assert!(matches!(read(&disk), Err(TwinError::Damaged { .. })));
    put(&disk, &twin().copy, b"newer");
    assert!(matches!(read(&disk), Err(TwinError::Newer { found: 7, .. })));
    assert_eq!(read(&SimDisk::new(1)).unwrap(), None);
}

#[test]
fn a_stop_at_any_operation_leaves_the_old_or_the_new() {
    for stop_at in 1..30 {
        let disk = written();
        disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
        let told = twin().write(&disk, NEW).is_ok();
        disk.crash(stop_at);
        disk.plan(FaultPlan::default());
        let kept = read(&disk).unwrap().unwrap();
        assert!(kept.value == NEW || (!told && kept.value == OLD), "INV-TWIN");
        twin().mend(&disk, &kept).unwrap();
        assert_eq!(disk.contents(&twin().path), disk.contents(&twin().copy));
    }
}
