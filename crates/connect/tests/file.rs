//! Files as a target, under a process that is killed and on a disk that is full.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::{Batch, Failure, Form, LaneName, Place, Position, Row, SinkSpec, kind};

const FOLDER: &str = "GALGO_TEST_FILE_FOLDER";
const MESSAGES: u64 = 3_000;
const BATCH: u64 = 7;

fn spec(path: &Path) -> Box<dyn SinkSpec> {
    let text = format!("path = {path:?}\nrotate = {{ bytes = \"8KiB\" }}");
    let surroundings = Surroundings { pipeline: "p".to_owned(), folder: PathBuf::from("/") };
    let file = kind::sinks().iter().find(|kind| kind.name == "file").unwrap();
    (file.read)(text.parse().unwrap(), &surroundings).unwrap()
}

fn lane() -> LaneName {
    LaneName {
        pipeline: "p".to_owned(),
        stream: "shop".to_owned(),
        topic: "orders".to_owned(),
        partition: 3,
    }
}

fn batch(begin: u64, end: u64) -> Batch {
    let row = |offset| Row {
        place: Place { offset, part: 0 },
        id: offset.into(),
        time: offset,
        origin_time: offset,
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from(format!("{{\"n\":{offset}}}")),
    };
    let last = end - 1;
    let end = Position { next: end, topic_made_at: 7, last_id: last.into(), last_time: last };
    Batch::new(begin, end, (begin..end.next).map(row).collect())
}

fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path.join("shop/orders/partition=3")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.file_name().unwrap().to_str().unwrap().starts_with('.'));
    files.sort_unstable();
    files
}

fn offsets(path: &Path) -> Vec<u64> {
    let texts = files(path).into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    let offset = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_u64().unwrap()
    };
    texts.flat_map(|text| text.lines().map(offset).collect::<Vec<_>>()).collect()
}

/// What is killed, again and again.
#[tokio::test]
#[ignore = "is run by the test of kills"]
async fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let spec = spec(Path::new(&folder));
    spec.prepare().await.unwrap();
    let mut sink = spec.sink();
    let mut next = sink.position(&lane()).await.unwrap().map_or(0, |position| position.next);
    while next < MESSAGES {
        let end = (next + BATCH).min(MESSAGES);
        sink.write(&lane(), &batch(next, end)).await.unwrap();
        next = end;
    }
    sink.finish().await.unwrap();
}

/// INV-FILE-MARK: each message is there once, in order, whenever the process was killed.
#[test]
fn killed_again_and_again_it_writes_each_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "writer", "--ignored"]).env(FOLDER, dir.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let size = || -> u64 {
        files(dir.path()).iter().filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum()
    };
    for round in 0..20 {
        let before = size();
        let mut writer = start();
        let begun = Instant::now();
        while size() <= before && writer.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it writes nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(round * 731));
        let _ = writer.kill();
        writer.wait().unwrap();
    }
    assert!(start().wait().unwrap().success());
    let expected: Vec<u64> = (0..MESSAGES).collect();
    assert_eq!(offsets(dir.path()), expected);
    let files = files(dir.path());
    assert!(files.len() > 5, "{files:?}");
    assert!(files.iter().all(|file| file.extension().unwrap() == "ndjson"), "{files:?}");
}

/// A file system of its own, which is small; `None` where nobody may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(dir.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: nothing can be mounted here");
        }
        mounted.then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_half_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path();
    let ballast = path.join("ballast");
    let spec = spec(path);
    let mut sink = spec.sink();
    let mut next = 0;
    let failure = loop {
        match sink.write(&lane(), &batch(next, next + 100)).await {
            Ok(()) => next += 100,
            Err(failure) => break failure,
        }
        if next == 200 {
            std::fs::write(&ballast, vec![0; 60 << 10]).unwrap();
        }
    };
    assert!(matches!(failure, Failure::Away { .. }), "{failure}");
    assert!(failure.to_string().contains("No space left"), "{failure}");
    let again = sink.write(&lane(), &batch(next, next + 100)).await.unwrap_err();
    assert!(matches!(again, Failure::Away { .. } | Failure::Moved), "{again}");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(sink.position(&lane()).await.unwrap().unwrap().next, next);
    sink.write(&lane(), &batch(next, next + 100)).await.unwrap();
    sink.finish().await.unwrap();
    assert_eq!(offsets(path), (0..next + 100).collect::<Vec<_>>());
}
