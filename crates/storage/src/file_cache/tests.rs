//! The file cache is bounded, and never loses track of an unsynced write.

use super::*;
use crate::disk::RealDisk;
use crate::disk::sim::{FaultPlan, SimDisk};

fn cache(disk: &SimDisk, capacity: usize) -> Arc<FileCache> {
    disk.create_dir_all(Path::new("/d")).unwrap();
    FileCache::new(Arc::new(disk.clone()), capacity)
}

fn handle(cache: &Arc<FileCache>, number: usize) -> FileHandle {
    cache.handle(PathBuf::from(format!("/d/{number}")), OpenMode::Create)
}

fn write(handle: &FileHandle, bytes: &[u8]) {
    let file = handle.get().unwrap();
    file.write_at(bytes, 0).unwrap();
    handle.mark_dirty();
}

#[test]
fn no_more_than_the_capacity_stays_open_and_every_file_is_reachable() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 4);
    let handles: Vec<FileHandle> = (0..20).map(|number| handle(&cache, number)).collect();
    assert_eq!(cache.open_files(), 0, "a handle alone opens nothing");
    for round in 0..3_u8 {
        for (number, handle) in handles.iter().enumerate() {
            write(handle, &[round, u8::try_from(number).unwrap()]);
            assert!(cache.open_files() <= 4);
        }
    }
    for (number, handle) in handles.iter().enumerate() {
        let mut bytes = [0; 2];
        handle.get().unwrap().read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [2, u8::try_from(number).unwrap()]);
    }
}

/// INV-WRITER.
#[test]
fn file_in_use_is_not_closed_and_comes_on_top() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 2);
    let handles: Vec<FileHandle> = (0..4).map(|number| handle(&cache, number)).collect();
    let held: Vec<_> = handles.iter().map(|handle| handle.get().unwrap()).collect();
    assert_eq!(cache.open_files(), 4);
    drop(held);
    let one_more = handle(&cache, 9);
    one_more.get().unwrap();
    assert!(cache.open_files() <= 2);
}

#[test]
fn clean_files_are_closed_before_dirty_ones() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 3);
    let dirty = handle(&cache, 0);
    write(&dirty, b"dirty");
    for number in 1..10 {
        handle(&cache, number).get().unwrap();
        let clean = handle(&cache, 100 + number);
        clean.get().unwrap();
    }
    assert!(dirty.is_dirty(), "it was synced to be closed, though clean files were open");
}

#[test]
fn dirty_file_is_synced_before_it_is_closed() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 1);
    disk.sync_dir(Path::new("/")).unwrap();
    let (first, second) = (handle(&cache, 1), handle(&cache, 2));
    write(&first, b"first");
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&second, b"second");
    assert!(!first.is_dirty());
    for seed in 0..10 {
        let image = disk.power_cut_image(seed);
        assert_eq!(image.contents(Path::new("/d/1")).as_deref(), Some(&b"first"[..]));
    }
}

/// Opening it to sync it once more counted as a failed sync where the process could open no more files.
#[test]
fn a_file_that_was_closed_synced_is_not_opened_to_be_synced() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 1);
    let (first, second) = (handle(&cache, 1), handle(&cache, 2));
    write(&first, b"first");
    write(&second, b"second");
    let before = disk.operations();
    first.sync().unwrap();
    assert_eq!((disk.operations(), cache.open_files()), (before, 1));
    assert!(second.is_dirty(), "nothing made room");
}

/// The kernel tells of a failed writeback once. Had the cache closed the file and forgotten, the next
/// sync would have opened it anew, succeeded, and acknowledged what was lost.
///
/// INV-UNSYNCED.
#[test]
fn failed_sync_on_closing_fails_every_later_sync_of_the_handle() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 1);
    let (first, second) = (handle(&cache, 1), handle(&cache, 2));
    write(&first, b"first");
    disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    write(&second, b"second");
    for _ in 0..3 {
        let error = first.sync().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    second.sync().unwrap();
    // Reading goes on.
    assert_eq!(first.len().unwrap(), 5);
}

#[test]
fn failed_sync_of_a_handle_is_never_followed_by_a_good_one() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 4);
    let first = handle(&cache, 1);
    write(&first, b"first");
    disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    assert!(first.sync().is_err());
    assert!(first.sync().is_err());
}

#[test]
fn file_removed_on_purpose_is_let_go_without_a_sync() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 4);
    let first = handle(&cache, 1);
    write(&first, b"first");
    disk.plan(FaultPlan::default());
    first.close();
    assert_eq!((cache.open_files(), disk.operations(), first.is_dirty()), (0, 0, false));
    drop(first);
    assert_eq!(cache.open_files(), 0);
}

#[test]
fn dropped_handles_leave_nothing_open() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 100);
    for number in 0..50 {
        write(&handle(&cache, number), b"x");
    }
    assert_eq!(cache.open_files(), 0);
}

#[test]
fn missing_file_is_an_error_each_time() {
    let disk = SimDisk::new(1);
    let cache = cache(&disk, 4);
    let missing = cache.handle(PathBuf::from("/d/none"), OpenMode::ReadWrite);
    for _ in 0..2 {
        let error = missing.get().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    assert_eq!(cache.open_files(), 0);
}

#[test]
fn threads_share_a_small_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FileCache::new(Arc::new(RealDisk::new()), 3);
    let handles: Vec<FileHandle> =
        (0..8).map(|n| cache.handle(dir.path().join(n.to_string()), OpenMode::Create)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let handles = &handles;
            scope.spawn(move || {
                for round in 0..200_u64 {
                    let index = usize::try_from((thread * 31 + round * 7) % 8).unwrap();
                    let file = handles[index].get().unwrap();
                    file.write_at(&round.to_le_bytes(), thread * 8).unwrap();
                    handles[index].mark_dirty();
                    drop(file);
                    if round % 50 == 0 {
                        handles[index].sync().unwrap();
                    }
                }
            });
        }
    });
    assert!(cache.open_files() <= 3 + 4, "{} open", cache.open_files());
    for handle in &handles {
        handle.sync().unwrap();
    }
    assert!(cache.open_files() <= 3);
}
