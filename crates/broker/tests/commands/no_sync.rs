//! INV-NO-SYNC: whoever serves connections never waits for a sync.
//!
//! With few open files and many partitions, each append to a partition whose file was closed made room by
//! syncing somebody else's, on the thread that served the connection: 171 syncs in a few seconds of small
//! sends, each of which all connections of the thread waited for. Now such an append goes to a thread that may
//! block, before anything of it is done.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use galgo_broker::{BrokerOptions, LogBounds, Outcome};
use galgo_storage::disk::{DirEntry, Disk, DiskFile, OpenMode};
use galgo_wire::PollingStrategy;
use galgo_wire::command::{CommandCode, Durability};

use crate::requests::{create_stream, create_topic_with, poll, send_payload, to};
use crate::rig::{Connection, Rig};

const PARTITIONS: u32 = 64;
const OPEN_FILES_MAX: usize = 16;

thread_local! {
    /// Whether the thread is in the middle of what the thread of a connection does.
    static SERVING: Cell<bool> = const { Cell::new(false) };
}

fn must_not_be_serving(what: &str) {
    assert!(!SERVING.get(), "{what} on the thread that serves a connection");
}

/// A disk that notices who syncs, and how many files are open.
struct Watched {
    disk: Arc<dyn Disk>,
    open: Arc<()>,
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    is_log: bool,
    _open: Arc<()>,
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let counted = if is_log { Arc::clone(&self.open) } else { Arc::default() };
        Ok(Arc::new(WatchedFile { file, is_log, _open: counted }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        must_not_be_serving("a removal");
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        must_not_be_serving("a removal");
        self.disk.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        must_not_be_serving("a renaming");
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        must_not_be_serving("a sync of a directory");
        self.disk.sync_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_at(bytes, position)
    }

    fn write_vectored_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        self.file.write_vectored_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        must_not_be_serving(if self.is_log { "a sync of a segment" } else { "a sync" });
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn cached(&self, position: u64, len: u64) -> bool {
        self.file.cached(position, len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}

/// What the thread of a connection does with a request.
fn serve(connection: &mut Connection, code: CommandCode, payload: &[u8]) -> Outcome {
    SERVING.set(true);
    let outcome = connection.submit_bytes(code, payload);
    SERVING.set(false);
    outcome
}

#[test]
fn few_open_files_and_many_partitions_sync_nothing_where_connections_are_served() {
    let open = Arc::new(());
    let counted = Arc::clone(&open);
    let mut rig = Rig::with_options(|options| BrokerOptions {
        disk: Arc::new(Watched { disk: Arc::clone(&options.disk), open: counted }),
        bounds: LogBounds { open_files_max: OPEN_FILES_MAX, ..options.bounds },
        ..options
    });
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("os", PARTITIONS, Durability::Os)).unwrap();
    root.call(&create_topic_with("fsync", PARTITIONS, Durability::Fsync)).unwrap();
    let mut elsewhere = 0;
    for round in 0..4 {
        for partition in 0..PARTITIONS {
            for topic in ["os", "fsync"] {
                // Every few of them fill a segment, so that files are made as well as opened.
                let text = format!("{round} {}", "x".repeat(1500));
                let message = galgo_wire::batch::NewMessage {
                    payload: text.as_bytes(),
                    ..Default::default()
                };
                let payload = send_payload(topic, to(partition), &[message]);
                let outcome = serve(&mut root, CommandCode::SendMessages, &payload);
                elsewhere += u32::from(matches!(outcome, Outcome::Offload(_)));
                root.finish(outcome).unwrap();
                assert!(Arc::strong_count(&open) - 2 <= OPEN_FILES_MAX + 2, "too many open files");
            }
        }
        rig.commit_round();
    }
    assert!(elsewhere > 0, "there was never too little room");
    for partition in 0..PARTITIONS {
        for topic in ["os", "fsync"] {
            let asked = poll(topic, partition, PollingStrategy::First);
            let payload = galgo_wire::Payload::to_bytes(&asked);
            let outcome = serve(&mut root, CommandCode::PollMessages, &payload);
            root.finish(outcome).unwrap();
            let found = root.poll(&asked).unwrap().texts();
            assert!(
                found.first().is_some_and(|text| text.starts_with("0 ")),
                "{topic} {partition}"
            );
        }
    }
}
