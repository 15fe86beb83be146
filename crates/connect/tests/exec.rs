//! Programs as targets and origins: the examples, programs that keep positions, and programs that do everything wrong.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails by a panic has done its work"
)]

#[path = "exec/conformance.rs"]
mod conformance;
#[path = "exec/origins.rs"]
mod origins;
#[path = "exec/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::{
    Batch, Failure, Form, LaneName, Place, Position, Row, SinkSpec, SourceSpec, kind,
};
use galgo_testkit::service::program;

/// The examples.
fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/connect-exec")
        .canonicalize()
        .unwrap()
}

/// A folder with a program in it.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    /// `None` where there is no Python.
    fn new(text: &str) -> Option<Self> {
        program("python3", &[])?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("it.py"), format!("{PRELUDE}\n{text}")).unwrap();
        Some(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn sink(&self, more: &str) -> Box<dyn SinkSpec> {
        sink_spec(self.path(), &format!("command = ['python3', 'it.py']\n{more}"))
    }

    fn source(&self, more: &str) -> Box<dyn SourceSpec> {
        source_spec(self.path(), &format!("command = ['python3', 'it.py']\n{more}"))
    }
}

/// What all programs here have in common.
const PRELUDE: &str = "
import json, os, random, subprocess, sys, time
def say(line): print(json.dumps(line), flush=True)
def hear(): return json.loads(sys.stdin.readline() or '{\"stop\":{}}')
hello = hear()['hello']
";

fn surroundings(folder: &Path) -> Surroundings {
    Surroundings { pipeline: "p".to_owned(), folder: folder.to_owned() }
}

fn sink_spec(folder: &Path, text: &str) -> Box<dyn SinkSpec> {
    let exec = kind::sinks().iter().find(|kind| kind.name == "exec").unwrap();
    (exec.read)(text.parse().unwrap(), &surroundings(folder)).unwrap()
}

fn source_spec(folder: &Path, text: &str) -> Box<dyn SourceSpec> {
    let exec = kind::sources().iter().find(|kind| kind.name == "exec").unwrap();
    (exec.read)(text.parse().unwrap(), &surroundings(folder)).unwrap()
}

fn lane(partition: u32) -> LaneName {
    LaneName {
        pipeline: "p".to_owned(),
        stream: "shop".to_owned(),
        topic: "orders".to_owned(),
        partition,
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
    let last = end.saturating_sub(1);
    let end = Position { next: end, topic_made_at: 7, last_id: last.into(), last_time: last };
    Batch::new(begin, end, (begin..end.next).map(row).collect())
}

fn away(result: Result<(), Failure>) -> String {
    match result {
        Err(failure @ Failure::Away { .. }) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}
