//! The simulated disk loses what it may lose, and nothing else.

use std::collections::BTreeSet;

use super::*;

fn file(disk: &SimDisk) -> Arc<dyn DiskFile> {
    disk.open(path(), OpenMode::Create).unwrap()
}

fn path() -> &'static Path {
    Path::new("/file")
}

/// A disk with a synced file of 2,048 bytes of 1.
fn synced() -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    let file = file(&disk);
    file.write_at(&[1; 2048], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

/// Contents over many power cuts.
fn outcomes(disk: &SimDisk) -> BTreeSet<Option<Vec<u8>>> {
    (0..400).map(|seed| disk.power_cut_image(seed).contents(path())).collect()
}

#[test]
fn what_was_synced_survives() {
    let (disk, _file) = synced();
    assert_eq!(outcomes(&disk), [Some(vec![1; 2048])].into());
}

#[test]
fn unsynced_write_is_lost_kept_or_torn_at_sectors_in_any_order() {
    let (disk, file) = synced();
    file.write_at(&[2; 1024], 256).unwrap();
    let outcomes = outcomes(&disk);
    // Three sectors are touched: each is old or new.
    assert_eq!(outcomes.len(), 8);
    for content in outcomes.into_iter().flatten() {
        assert_eq!(content.len(), 2048);
        assert!(content[..256].iter().chain(&content[1280..]).all(|byte| *byte == 1));
        for sector in [256..512, 512..1024, 1024..1280] {
            assert_eq!(content[sector].iter().collect::<BTreeSet<_>>().len(), 1, "a torn sector");
        }
    }
}

#[test]
fn length_is_durable_only_when_synced() {
    let (disk, file) = synced();
    file.write_at(&[2; 512], 2048).unwrap();
    file.set_len(100).unwrap();
    let lens: BTreeSet<usize> = outcomes(&disk).into_iter().flatten().map(|c| c.len()).collect();
    assert_eq!(lens, [100, 2048, 2560].into());
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk), [Some(vec![1; 100])].into());
}

/// INV-DIRSYNC.
#[test]
fn names_are_durable_only_when_their_directory_is_synced() {
    let disk = SimDisk::new(1);
    file(&disk).sync_data().unwrap();
    assert_eq!(outcomes(&disk), [None, Some(Vec::new())].into());
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&disk), [Some(Vec::new())].into());
    disk.remove_file(path()).unwrap();
    assert_eq!(outcomes(&disk), [None, Some(Vec::new())].into());
}

#[test]
fn rename_happened_as_a_whole_or_not() {
    let (disk, _file) = synced();
    let other = disk.open(Path::new("/other"), OpenMode::Create).unwrap();
    other.write_at(b"new", 0).unwrap();
    other.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.rename(Path::new("/other"), path()).unwrap();
    for seed in 0..100 {
        let image = disk.power_cut_image(seed);
        let names = image.files();
        let before = [(path().to_owned(), 2048), (PathBuf::from("/other"), 3)];
        assert!(names == before || names == [(path().to_owned(), 3)], "{names:?}");
    }
}

/// As on Linux: after a failed sync the pages count as clean, and a second sync that succeeds has
/// written nothing.
///
/// INV-SYNC.
#[test]
fn failed_sync_leaves_pages_clean_that_are_not_on_the_platter() {
    let (disk, file) = synced();
    file.write_at(&[2; 2048], 0).unwrap();
    disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(disk.contents(path()), Some(vec![2; 2048]), "reads still see it");
    let left = outcomes(&disk);
    assert_eq!(left.len(), 1, "what became of it is decided");
    assert_ne!(left, [Some(vec![2; 2048])].into());
    disk.drop_caches();
    assert_eq!([disk.contents(path())], *left.into_iter().collect::<Vec<_>>());
}

#[test]
fn stop_ends_everything_until_the_next_start() {
    let (disk, file) = synced();
    disk.plan(FaultPlan { stop_at: Some(2), ..FaultPlan::default() });
    file.write_at(b"a", 0).unwrap();
    assert!(file.write_at(&[9; 600], 0).is_err());
    assert!(disk.stopped());
    assert!(file.read_at(&mut [0], 0).is_err() && disk.exists(path()).is_err());
    disk.kill();
    assert!(file.read_at(&mut [0], 0).is_err(), "a handle from before is stale");
    let content = disk.contents(path()).unwrap();
    let done = content.iter().take_while(|byte| **byte == 9).count();
    assert!(content[done.max(1)..].iter().all(|byte| *byte == 1), "a part from the front is done");
}

#[test]
fn full_disk_takes_what_fits() {
    let (disk, file) = synced();
    disk.plan(FaultPlan { bytes_max: Some(2500), ..FaultPlan::default() });
    let error = file.write_at(&[2; 1000], 2000).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 2500);
    file.write_at(&[3; 2500], 0).unwrap();
    assert!(file.set_len(2501).is_err());
}

#[test]
fn planned_read_errors_hit_the_named_file_alone() {
    let (disk, file) = synced();
    disk.plan(FaultPlan { fail_reads_of: Some("other".into()), ..FaultPlan::default() });
    file.read_at(&mut [0], 0).unwrap();
    disk.plan(FaultPlan { fail_reads_of: Some("fil".into()), ..FaultPlan::default() });
    assert_eq!(file.read_at(&mut [0], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
}

#[test]
fn flipped_bit_is_seen_and_stays() {
    let (disk, _file) = synced();
    disk.flip_bit(path(), 700, 1).unwrap();
    disk.drop_caches();
    let content = disk.contents(path()).unwrap();
    assert_eq!((content[700], content[699]), (3, 1));
}

#[test]
fn cached_tells_what_was_read_or_written_since_the_cache_was_dropped() {
    let (disk, file) = synced();
    file.write_at(&[1; 8192], 4096).unwrap();
    file.sync_data().unwrap();
    disk.drop_caches();
    assert!(!file.cached(0, 10));
    file.read_at(&mut [0; 100], 4000).unwrap();
    assert!(file.cached(0, 8192) && !file.cached(8192, 1));
}

/// INV-SEED.
#[test]
fn same_seeds_give_the_same_disk() {
    let build = || {
        let (disk, file) = synced();
        file.write_at(&[5; 1500], 100).unwrap();
        disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
        let _ = file.sync_data();
        file.write_at(&[6; 3000], 700).unwrap();
        disk
    };
    assert_eq!(outcomes(&build()), outcomes(&build()));
}
