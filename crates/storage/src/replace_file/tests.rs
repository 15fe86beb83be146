//! Replacing a file is all or nothing at every operation.

use super::*;
use crate::disk::sim::{FaultPlan, SimDisk};

fn path() -> &'static Path {
    Path::new("/dir/name")
}

fn content(disk: &SimDisk) -> Option<Vec<u8>> {
    read_file(disk, path(), 1 << 20).unwrap()
}

/// Replaces twice, the second time with a fault; then `end`s, and tells what is there and whether the
/// second was acknowledged.
fn replaced(seed: u64, plan: FaultPlan, end: fn(&SimDisk, u64)) -> (Vec<u8>, bool) {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new("/dir")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    replace_file(&disk, path(), &old()).unwrap();
    disk.plan(plan);
    let acknowledged = replace_file(&disk, path(), &new()).is_ok();
    end(&disk, seed);
    (content(&disk).unwrap(), acknowledged)
}

fn old() -> Vec<u8> {
    vec![1; 3000]
}

fn new() -> Vec<u8> {
    vec![2; 2000]
}

#[test]
fn file_is_the_old_or_the_new_one_at_every_operation() {
    let ends: [fn(&SimDisk, u64); 2] = [SimDisk::crash, |disk, _| disk.kill()];
    for end in ends {
        for seed in 0..100 {
            for nth in 1..=8 {
                for stop in [true, false] {
                    let (stop_at, fail_operation) =
                        if stop { (Some(nth), None) } else { (None, Some(nth)) };
                    let plan = FaultPlan { stop_at, fail_operation, ..FaultPlan::default() };
                    let (content, acknowledged) = replaced(seed, plan, end);
                    assert!(content == new() || (content == old() && !acknowledged), "INV-REPLACE");
                }
            }
        }
    }
}

/// A try whose sync failed left pages that count as clean: the same file written and synced again
/// would be acknowledged without being on the platter.
#[test]
fn second_try_after_a_failed_sync_is_durable() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/dir")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
        replace_file(&disk, path(), &new()).unwrap_err();
        replace_file(&disk, path(), &new()).unwrap();
        disk.crash(seed);
        assert_eq!(content(&disk), Some(new()));
    }
}

#[test]
fn missing_file_is_none_and_a_large_one_refused() {
    let disk = SimDisk::new(1);
    assert_eq!(content(&disk), None);
    disk.create_dir_all(Path::new("/dir")).unwrap();
    replace_file(&disk, path(), &old()).unwrap();
    let refused = read_file(&disk, path(), 2999).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
}
