//! `galgo connect`: runs, their ends, dead letters, rights.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Done, Server, eventually, run};

/// The file of a pipeline from topic `s t` into files, in a folder of its own.
pub(crate) struct Pipeline {
    folder: tempfile::TempDir,
}

impl Pipeline {
    pub(crate) fn new(more: &str) -> Self {
        let pipeline = Self { folder: tempfile::tempdir().unwrap() };
        pipeline.write(more);
        pipeline
    }

    /// Writes the file anew, with these lines in front of the target's.
    fn write(&self, more: &str) {
        self.write_to(more, "[to.file]\npath = 'out'");
    }

    /// Writes the file anew, with another target.
    pub(crate) fn write_to(&self, more: &str, to: &str) {
        let text =
            format!("name = 'p'\n[from.galgo]\nstream = 's'\ntopics = ['t']\n{more}\n{to}\n");
        std::fs::write(self.file(), text).unwrap();
    }

    /// A path beside the file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How much is written, whole or not.
    pub(crate) fn written_bytes(&self) -> u64 {
        let mut delivered = Delivered::default();
        collect(&self.path("out"), &mut delivered);
        delivered.bytes
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("p.toml")
    }

    pub(crate) fn line(&self, line: &str) -> String {
        line.replace("FILE", self.file().to_str().unwrap())
    }

    pub(crate) fn run(&self, server: &Server, line: &str) -> Done {
        server.run(&self.line(&format!("connect {line}")))
    }

    #[track_caller]
    pub(crate) fn json(&self, server: &Server, line: &str) -> Value {
        server.json(&self.line(&format!("connect {line}")))
    }

    /// The lines of all files that are whole, and how many are not.
    pub(crate) fn delivered(&self) -> Delivered {
        let mut delivered = Delivered::default();
        collect(&self.folder.path().join("out"), &mut delivered);
        delivered.lines.sort();
        delivered
    }
}

#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) lines: Vec<String>,
    pub(crate) parts: usize,
    bytes: u64,
}

fn collect(folder: &Path, delivered: &mut Delivered) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(&path, delivered);
            continue;
        }
        // One may have been made whole meanwhile.
        delivered.bytes += std::fs::metadata(&path).map_or(0, |file| file.len());
        if name.ends_with(".part") {
            delivered.parts += 1;
        } else if !name.starts_with('.') {
            let text = std::fs::read_to_string(&path).unwrap();
            delivered.lines.extend(text.lines().map(str::to_owned));
        }
    }
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|number| format!("{{\"n\":{number}}}\n").into_bytes()).collect()
}

#[test]
fn files_are_whole_at_the_end_of_a_run_and_at_a_stop() {
    let server = Server::with_topic(2);
    server.send("--partition 0", &numbers(0..30));
    server.send("--partition 1", &numbers(30..50));
    let pipeline = Pipeline::new("");
    pipeline.run(&server, "run --once FILE").ok();
    let delivered = pipeline.delivered();
    assert_eq!((delivered.lines.len(), delivered.parts), (50, 0), "{delivered:?}");

    let mut command = server.command(&pipeline.line("connect run FILE"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    server.send("--partition 1", &numbers(50..70));
    eventually("the rest is delivered", || {
        let lanes = pipeline.run(&server, "status FILE --output json");
        lanes.code == 0 && lanes.json().as_array().unwrap().iter().all(|lane| lane["lag"] == 0)
    });
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success(), "an orderly stop ends with 0");
    let delivered = pipeline.delivered();
    assert_eq!((delivered.lines.len(), delivered.parts), (70, 0), "{delivered:?}");
}

const ERRORS: &str = "[errors]\non_bad = 'dead-letter'\ndead_letter = 's/dead'";

/// Messages with these numbers cannot be shaped.
fn refusing(condition: &str) -> String {
    format!("[[transform]]\njq = 'if {condition} then error(\"no\") else . end'\n{ERRORS}")
}

#[test]
fn dead_letters_are_listed_delivered_again_and_dropped() {
    let server = Server::with_topic(2);
    server.send("--partition 1 --header kind=order", &numbers(0..10));
    let pipeline = Pipeline::new(&refusing(".n > 5"));
    assert_eq!(pipeline.json(&server, "dead FILE list")["letters"], serde_json::json!([]));
    assert_eq!(pipeline.json(&server, "dead FILE drop --yes")["dropped"], 0);
    pipeline.run(&server, "run --once FILE").ok();
    assert_eq!(pipeline.delivered().lines.len(), 6);
    let list = pipeline.json(&server, "dead FILE list");
    let letters = list["letters"].as_array().unwrap();
    assert_eq!((letters.len(), &list["more"]), (4, &false.into()));
    assert_eq!(
        (&letters[0]["from_topic"], &letters[0]["from_partition"]),
        (&"s/t".into(), &1.into())
    );
    assert_eq!((&letters[0]["from_offset"], &letters[0]["size_bytes"]), (&6.into(), &7.into()));
    assert!(letters[0]["buried_at"].as_str().unwrap().ends_with('Z'), "{list}");
    let shown = pipeline.run(&server, "dead FILE list --limit 2").ok().out;
    assert!(shown.contains("s/t/1 6") && shown.contains("there are more"), "{shown}");
    assert!(!shown.contains("s/t/1 8"), "{shown}");

    // Half of it is mended.
    pipeline.write(&refusing(".n > 7"));
    let retried = pipeline.json(&server, "dead FILE retry");
    assert_eq!((&retried["delivered_rows"], &retried["not_taken"]), (&2.into(), &2.into()));
    assert_eq!(pipeline.delivered().lines.len(), 8);
    assert_eq!(pipeline.delivered().parts, 0);
    let list = pipeline.json(&server, "dead FILE list");
    let letters = list["letters"].as_array().unwrap();
    assert_eq!(letters.len(), 2, "{list}");
    assert_eq!((&letters[0]["from_offset"], &letters[0]["from_topic"]), (&8.into(), &"s/t".into()));
    // What was delivered is not delivered again.
    let retried = pipeline.json(&server, "dead FILE retry");
    assert_eq!((&retried["delivered_rows"], &retried["not_taken"]), (&0.into(), &2.into()));
    assert_eq!(pipeline.delivered().lines.len(), 8);

    let asked = pipeline.run(&server, "dead FILE drop").fails(2);
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    assert_eq!(pipeline.json(&server, "dead FILE drop --yes")["dropped"], 2);
    let shown = pipeline.run(&server, "dead FILE list").ok().out;
    assert!(shown.contains("no letters"), "{shown}");
    pipeline.write(ERRORS);
    let retried = pipeline.run(&server, "dead FILE retry").ok().out;
    assert!(retried.contains("0 rows delivered; 0 letters not taken again"), "{retried}");
    // The pipeline itself is where it was.
    pipeline.run(&server, "run --once FILE").ok();
    assert_eq!(pipeline.delivered().lines.len(), 8);
    let removed = pipeline.json(&server, "cleanup FILE --yes").to_string();
    assert!(removed.contains("group p of topic s/dead"), "{removed}");
}

#[test]
fn letters_of_a_pipeline_without_a_topic_for_them_are_refused_with_words() {
    let server = Server::with_topic(1);
    let pipeline = Pipeline::new("");
    let refused = pipeline.run(&server, "dead FILE list").fails(4);
    assert!(refused.err.contains("errors.dead_letter"), "{}", refused.err);
}

#[test]
fn a_user_with_the_listed_rights_runs_the_pipeline() {
    let server = Server::with_topic(2);
    server.ok("topic create s dead --deduplication on");
    server.send("--partition 1", &numbers(0..10));
    let pipeline = Pipeline::new(&refusing(".n > 5"));
    let rights = pipeline.json(&server, "check --rights FILE");
    let options: Vec<&str> = rights
        .as_array()
        .unwrap()
        .iter()
        // The topic of dead letters is there.
        .filter(|right| !right["why"].as_str().unwrap().starts_with("only to make"))
        .map(|right| right["option"].as_str().unwrap())
        .collect();
    assert_eq!(options, ["--topic s/t:read-topic", "--topic s/dead:send-messages"]);
    let mut command = server.command(&format!(
        "user create connector --password-env NEW_PASSWORD {}",
        options.join(" ")
    ));
    command.env("NEW_PASSWORD", "secret");
    run(command).ok();
    let mut command = server.command(&pipeline.line("connect run --once FILE"));
    command.env("GALGO_USERNAME", "connector").env("GALGO_PASSWORD", "secret");
    run(command).ok();
    assert_eq!(pipeline.delivered().lines.len(), 6);
    let shown = pipeline.run(&server, "check --rights FILE").ok().out;
    assert!(shown.contains("--stream s:manage-topics"), "{shown}");
}

#[test]
fn a_pipeline_goes_on_from_a_time_or_an_offset() {
    let server = Server::with_topic(2);
    server.send("--partition 0", &numbers(0..5));
    server.send("--partition 1", &numbers(5..8));
    let pipeline = Pipeline::new("");
    // Also before it has run.
    std::fs::create_dir(pipeline.path("out")).unwrap();
    let moved = pipeline.json(&server, "position FILE --partition 0 --next 2");
    assert_eq!(moved["moved"][0]["next"], 2);
    pipeline.run(&server, "run --once FILE").ok();
    assert_eq!(pipeline.delivered().lines.len(), 6);
    let shown = pipeline.json(&server, "position FILE");
    assert_eq!((&shown[0]["target_next"], &shown[1]["target_next"]), (&5.into(), &3.into()));
    // Files that are there are not written over.
    pipeline.run(&server, "position FILE --time 2020-01-01T00:00:00Z").fails(4);
    std::fs::rename(pipeline.path("out"), pipeline.path("old")).unwrap();
    std::fs::create_dir(pipeline.path("out")).unwrap();
    let moved = pipeline.json(&server, "position FILE --time 2020-01-01T00:00:00Z");
    let lanes = moved["moved"].as_array().unwrap();
    assert!(lanes.len() == 2 && lanes.iter().all(|lane| lane["next"] == 0), "{moved}");
    let moved = pipeline.json(&server, "position FILE --partition 1 --time 2099-01-01T00:00:00Z");
    assert_eq!(
        (&moved["moved"][0]["partition"], &moved["moved"][0]["next"]),
        (&1.into(), &3.into())
    );
    pipeline.run(&server, "position FILE --partition 7 --time 2020-01-01T00:00:00Z").fails(4);
    pipeline.run(&server, "position FILE --partition 1").fails(2);
    pipeline.run(&server, "position FILE --next 1").fails(2);
}

#[test]
fn a_check_shows_rows_with_their_own_place() {
    let server = Server::with_topic(2);
    server.send("--partition 1", &numbers(0..3));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let text = "name = 'p'\n[from.galgo]\nstream = 's'\ntopics = ['t']\n[to.sqlite]\nfile = 'p.db'\ntable = 'rows'\n";
    std::fs::write(&file, text).unwrap();
    let checked = server.json(&format!("connect check {}", file.display()));
    let row = checked["rows"][0].as_str().unwrap();
    assert!(row.starts_with("topic = t, partition = 1, offset = 0"), "{row}");
}

#[test]
fn a_program_that_is_none_of_galgos_is_found_out() {
    let server = Server::start();
    let found = server.run("connect conform -- false").fails_with_output(4);
    assert!(found.out.contains("fault"), "{}", found.out);
    let silent = server.run("connect conform --source --timeout 1s -- cat").fails_with_output(4);
    assert!(silent.out.contains("fault"), "{}", silent.out);
    server.run("connect conform").fails(2);
    server.run("connect conform --settings 7 -- true").fails(2);
}
