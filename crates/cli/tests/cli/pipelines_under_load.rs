//! `galgo connect` with much to do, a slow target, a stop in the middle, a topic that is not what it was.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Server, eventually};
use crate::pipelines::{Pipeline, numbers};

/// A program that takes a second for each batch.
const SLOW: &str = r#"
read -r hello
echo '{"ready":{}}'
while read -r line; do
    case "$line" in
        '{"batch":'*) number=${line#'{"batch":'}; sleep 1; echo "{\"done\":${number%%,*}}" ;;
        '{"stop"'*) exit 0 ;;
    esac
done
"#;

/// A pipeline that runs, and what it says.
struct Running {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Running {
    fn start(server: &Server, pipeline: &Pipeline, options: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = server.command(&pipeline.line(&format!("connect run FILE {options}")));
        let stderr = File::create(log.path()).unwrap();
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// The most memory it had, in bytes.
    fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }

    /// Tells it to stop, and waits for that; returns how long it took.
    #[track_caller]
    fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "an orderly stop ends with 0: {}", self.said());
        begun.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stop_in_the_middle_loses_nothing_and_repeats_nothing() {
    let server = Server::with_topic(4);
    server.send("", &numbers(0..50_000));
    let pipeline = Pipeline::new("[batch]\nmessages = 100");
    for part in 1..4 {
        let mut running = Running::start(&server, &pipeline, "");
        eventually("it goes on", || pipeline.written_bytes() > part * 1_000_000);
        running.stop();
        assert_eq!(pipeline.delivered().parts, 0);
    }
    pipeline.run(&server, "run --once FILE").ok();
    let mut lines = pipeline.delivered().lines;
    assert_eq!(lines.len(), 50_000);
    lines.dedup();
    assert_eq!(lines.len(), 50_000);
}

#[test]
fn a_slow_target_takes_no_memory_and_a_stop_does_not_wait_for_all_of_it() {
    let server = Server::with_topic(4);
    let filler = "x".repeat(1_000);
    let lines: Vec<u8> =
        (0..200_000_u32).flat_map(|number| format!("k{number} {filler}\n").into_bytes()).collect();
    server.send("--key-field 1", &lines);
    drop(lines);
    let pipeline = Pipeline::new("");
    std::fs::write(pipeline.path("slow.sh"), SLOW).unwrap();
    pipeline.write_to("", "[to.exec]\ncommand = ['sh', 'slow.sh']");
    let mut running = Running::start(&server, &pipeline, "--stop-timeout 20s");
    std::thread::sleep(Duration::from_secs(10));
    let peak = running.peak_bytes();
    assert!(peak < 96 << 20, "{peak} bytes: {}", running.said());
    let lag = |lanes: &serde_json::Value| -> u64 {
        lanes.as_array().unwrap().iter().map(|lane| lane["lag"].as_u64().unwrap()).sum()
    };
    let lag = lag(&server.json(&pipeline.line("connect status FILE")));
    assert!(lag > 0 && lag < 200_000, "{lag}");
    let took = running.stop();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_topic_that_was_purged_or_made_again_stops_its_lanes_with_words() {
    let server = Server::with_topic(1);
    server.send("", &numbers(0..10));
    let pipeline = Pipeline::new("");
    pipeline.run(&server, "run --once FILE").ok();
    let running = Running::start(&server, &pipeline, "");
    eventually("it runs", || running.said().contains("running p"));
    std::thread::sleep(Duration::from_secs(1));
    server.ok("topic purge s t --yes");
    server.send("", &numbers(10..12));
    eventually("it says so", || running.said().contains("purged"));
    drop(running);
    let stands = pipeline.run(&server, "run --once FILE").fails(5);
    assert!(stands.err.contains("purged"), "{}", stands.err);
    server.ok("topic delete s t --yes");
    server.ok("topic create s t --partitions 1");
    server.send("", &numbers(20..23));
    let stands = pipeline.run(&server, "run --once FILE").fails(5);
    assert!(stands.err.contains("on_new_topic"), "{}", stands.err);
    assert_eq!(pipeline.delivered().lines.len(), 10, "nothing was delivered in silence");
    // Somebody decides; what is there is not written over.
    pipeline.run(&server, "position FILE --partition 0 --next 0").fails(4);
    std::fs::rename(pipeline.path("out"), pipeline.path("old")).unwrap();
    std::fs::create_dir(pipeline.path("out")).unwrap();
    pipeline.json(&server, "position FILE --partition 0 --next 0");
    pipeline.run(&server, "run --once FILE").ok();
    assert_eq!(pipeline.delivered().lines.len(), 3);
}
