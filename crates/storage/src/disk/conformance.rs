//! What every [`Disk`] must do, as a suite that the real and the simulated one run.

use std::io::ErrorKind;
use std::path::Path;

use super::{Disk, OpenMode, create_dir_synced};

/// Runs the suite in the empty directory `root`.
fn run(disk: &dyn Disk, root: &Path) {
    let tests: [fn(&dyn Disk, &Path); 8] = [
        open_modes_differ_in_what_they_make,
        bytes_written_are_read_where_they_were_written,
        vectored_writes_are_one_after_the_other,
        length_is_set_cut_and_grown_with_zeros,
        names_are_made_listed_renamed_and_removed,
        removed_file_stays_readable_through_its_handle,
        missing_things_are_not_found,
        handle_for_reading_does_not_write,
    ];
    for (index, test) in tests.iter().enumerate() {
        let dir = root.join(index.to_string());
        create_dir_synced(disk, &dir).unwrap();
        test(disk, &dir);
    }
}

fn open_modes_differ_in_what_they_make(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("file");
    let kind = |mode| disk.open(&path, mode).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind(OpenMode::Read), Err(ErrorKind::NotFound));
    assert_eq!(kind(OpenMode::ReadWrite), Err(ErrorKind::NotFound));
    assert_eq!(kind(OpenMode::CreateNew), Ok(()));
    assert_eq!(kind(OpenMode::CreateNew), Err(ErrorKind::AlreadyExists));
    disk.open(&path, OpenMode::ReadWrite).unwrap().write_at(b"kept", 0).unwrap();
    assert_eq!(disk.open(&path, OpenMode::Create).unwrap().len().unwrap(), 4);
}

fn bytes_written_are_read_where_they_were_written(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("file"), OpenMode::Create).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(b"world", 6).unwrap();
    file.write_at(b"hello ", 0).unwrap();
    file.write_at(b"", 100).unwrap();
    assert_eq!(file.len().unwrap(), 11);
    let mut bytes = [0; 32];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 11);
    assert_eq!(&bytes[..11], b"hello world");
    assert_eq!(file.read_at(&mut bytes, 9).unwrap(), 2);
    assert_eq!(file.read_at(&mut bytes, 11).unwrap(), 0);
    assert_eq!(file.read_at(&mut bytes, 5000).unwrap(), 0);
    let short = file.read_exact_at(&mut bytes, 0).unwrap_err();
    assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
    file.sync_data().unwrap();
    match file.read_cached_at(&mut bytes[..5], 6) {
        Ok(read) => assert_eq!((read, &bytes[..5]), (5, &b"world"[..])),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
    // More may be said of a simulated disk alone: the kernel may refuse to tell, or have evicted.
    assert!(file.cached(3, 0) && !file.cached(0, 1 << 20), "cached where there is no file");
}

fn vectored_writes_are_one_after_the_other(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("file"), OpenMode::Create).unwrap();
    let parts: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![n; usize::from(n) % 5]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    file.write_vectored_at(&slices, 3).unwrap();
    file.write_vectored_at(&[], 9).unwrap();
    file.write_vectored_at(&[b"", b""], 9).unwrap();
    let mut bytes = vec![0; 3 + 400];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes[3..], parts.concat());
    assert_eq!(file.len().unwrap(), 403);
}

fn length_is_set_cut_and_grown_with_zeros(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("file"), OpenMode::Create).unwrap();
    file.write_at(&[7; 1000], 0).unwrap();
    file.set_len(10).unwrap();
    file.set_len(2000).unwrap();
    let mut bytes = vec![1; 2000];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[..10].iter().all(|byte| *byte == 7));
    assert!(bytes[10..].iter().all(|byte| *byte == 0), "what was cut does not come back");
}

fn names_are_made_listed_renamed_and_removed(disk: &dyn Disk, dir: &Path) {
    disk.create_dir_all(&dir.join("a/b")).unwrap();
    disk.create_dir_all(&dir.join("a/b")).unwrap();
    for (name, bytes) in [("two", &b"22"[..]), ("one", b"1")] {
        disk.open(&dir.join("a").join(name), OpenMode::Create).unwrap().write_at(bytes, 0).unwrap();
    }
    let list = |path: &Path| -> Vec<(String, u64, bool)> {
        let entries = disk.read_dir(path).unwrap().into_iter();
        entries.map(|entry| (entry.name, entry.len, entry.is_dir)).collect()
    };
    let entry = |name: &str, len, is_dir| (name.to_owned(), len, is_dir);
    let all = [entry("b", 0, true), entry("one", 1, false), entry("two", 2, false)];
    assert_eq!(list(&dir.join("a")), all);
    disk.rename(&dir.join("a/two"), &dir.join("a/one")).unwrap();
    disk.sync_dir(&dir.join("a")).unwrap();
    assert_eq!(list(&dir.join("a")), [entry("b", 0, true), entry("one", 2, false)]);
    assert!(!disk.exists(&dir.join("a/two")).unwrap());
    disk.remove_file(&dir.join("a/one")).unwrap();
    disk.rename(&dir.join("a/b"), &dir.join("c")).unwrap();
    assert!(disk.exists(&dir.join("c")).unwrap());
    disk.open(&dir.join("c/deep"), OpenMode::Create).unwrap();
    disk.remove_dir_all(&dir.join("c")).unwrap();
    assert_eq!(list(dir), [entry("a", 0, true)]);
}

fn removed_file_stays_readable_through_its_handle(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("file");
    let file = disk.open(&path, OpenMode::Create).unwrap();
    file.write_at(b"still here", 0).unwrap();
    disk.remove_file(&path).unwrap();
    disk.sync_dir(dir).unwrap();
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"still here");
}

fn missing_things_are_not_found(disk: &dyn Disk, dir: &Path) {
    let missing = dir.join("none");
    let not_found = |result: std::io::Result<()>| {
        assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    };
    not_found(disk.remove_file(&missing));
    not_found(disk.remove_dir_all(&missing));
    not_found(disk.rename(&missing, &dir.join("other")));
    not_found(disk.sync_dir(&missing));
    not_found(disk.read_dir(&missing).map(|_| ()));
    not_found(disk.open(&missing.join("file"), OpenMode::Create).map(|_| ()));
    assert!(!disk.exists(&missing).unwrap());
}

fn handle_for_reading_does_not_write(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("file");
    disk.open(&path, OpenMode::Create).unwrap().write_at(b"abc", 0).unwrap();
    let file = disk.open(&path, OpenMode::Read).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.set_len(0).is_err());
    let mut bytes = [0; 3];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"abc");
}

#[test]
fn real_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    run(&super::RealDisk::new(), dir.path());
}

#[test]
fn simulated_disk_conforms() {
    run(&super::SimDisk::new(1), Path::new("/root"));
}
