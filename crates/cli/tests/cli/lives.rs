//! Readers over purges, topics that are made again, damage, and answers that are cut.
//!
//! A reader went on behind the offset it had reached: it left out as many messages of the new log as it had
//! read of the old one, without a word, and a group committed them.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::harness::{PATIENCE, Server, eventually, galgo, run};

/// A command that goes on, and the lines of both its outputs.
struct Reader {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Reader {
    fn start(server: &Server, line: &str) -> Self {
        let mut command = server.command(line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, out: lines(out), err: lines(err) }
    }

    #[track_caller]
    fn shows(&self, expected: impl IntoIterator<Item = String>) {
        for expected in expected {
            let line = self.out.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{expected} does not come"));
            assert_eq!(line, expected);
        }
    }

    #[track_caller]
    fn says(&self, part: &str) {
        loop {
            let line = self.err.recv_timeout(PATIENCE);
            if line.unwrap_or_else(|_| panic!("no word of: {part}")).contains(part) {
                return;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbered(word: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{word} {number}")).collect()
}

fn send(server: &Server, messages: &[String]) {
    server.send("--partition 0", (messages.join("\n") + "\n").as_bytes());
}

fn purge(server: &Server) {
    server.ok("topic purge s t --yes");
}

fn make_again(server: &Server) {
    server.ok("topic delete s t --yes");
    server.ok("topic create s t --partitions 1");
}

fn make_stream_again(server: &Server) {
    server.ok("stream delete s --yes");
    server.ok("stream create s");
    server.ok("topic create s t --partitions 1");
}

const WAYS: [fn(&Server); 3] = [purge, make_again, make_stream_again];

#[test]
fn a_following_tail_shows_each_life_from_its_first_message() {
    let server = Server::with_topic(1);
    send(&server, &numbered("old", 20));
    let reader = Reader::start(&server, "tail s t -f --from start");
    reader.shows(numbered("old", 20));
    for begin_again in WAYS {
        begin_again(&server);
        // More than it had read, and at once: nothing but the life tells them from what came before.
        send(&server, &numbered("new", 50));
        reader.says("purged or made again");
        reader.shows(numbered("new", 50));
    }
}

#[test]
fn a_purge_while_the_server_was_away_is_told_too() {
    let mut server = Server::with_topic(1);
    send(&server, &numbered("old", 20));
    let reader = Reader::start(&server, "tail s t -f --from start");
    reader.shows(numbered("old", 20));
    purge(&server);
    server.kill();
    server.restart();
    send(&server, &numbered("new", 50));
    reader.shows(numbered("new", 50));
}

#[test]
fn a_member_stores_in_the_life_it_read_in() {
    let server = Server::with_topic(1);
    server.ok("group create s t g");
    send(&server, &numbered("old", 20));
    let reader = Reader::start(&server, "tail s t -f --group g");
    reader.shows(numbered("old", 20));
    purge(&server);
    send(&server, &numbered("new", 50));
    reader.says("purged or made again");
    reader.shows(numbered("new", 50));
    eventually("all is committed", || {
        let stored = server.run("--output json offset get s t --partition 0 --group g");
        stored.code == 0 && stored.json()["stored_offset"] == 49
    });
}

fn mirror(from: &Server, to: &Server, options: &[&str]) -> std::process::Command {
    let mut command = galgo();
    command.arg("mirror").arg(format!("galgo://{}", from.address())).args(["s", "t"]);
    command.arg(format!("galgo://{}", to.address())).args(["s", "t"]).args(options);
    command
}

fn payloads(server: &Server) -> Vec<String> {
    let done = server.run("tail s t --from start");
    done.out.lines().map(str::to_owned).collect()
}

#[test]
fn a_mirror_copies_each_life_whole() {
    let (from, to) = (Server::with_topic(1), Server::start());
    send(&from, &numbered("old", 20));
    let mut command = mirror(&from, &to, &["--follow"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let err = lines(child.stderr.take().unwrap());
    let mut expected = numbered("old", 20);
    eventually("the first life is copied", || payloads(&to) == expected);
    for begin_again in WAYS {
        begin_again(&from);
        send(&from, &numbered("new", 50));
        expected.extend(numbered("new", 50));
        eventually("the next life is copied", || payloads(&to) == expected);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(err.try_iter().any(|line| line.contains("purged or made again")));
    // It goes on where it was, and a later one does not take another topic for this one.
    send(&from, &numbered("more", 5));
    expected.extend(numbered("more", 5));
    run(mirror(&from, &to, &[])).ok();
    assert_eq!(payloads(&to), expected);
    purge(&from);
    send(&from, &numbered("newest", 90));
    let refused = run(mirror(&from, &to, &[])).fails(2);
    assert!(refused.err.contains("--begin-anew"), "{}", refused.err);
    let done = run(mirror(&from, &to, &["--begin-anew", "--output", "json"])).ok().json();
    assert_eq!((&done["messages"], &done["verified"]), (&90.into(), &true.into()));
    expected.extend(numbered("newest", 90));
    assert_eq!(payloads(&to), expected);
}

#[test]
fn a_poll_shows_as_many_as_were_asked_for() {
    let server = Server::with_topic(1);
    let large = "x".repeat(20_000_000);
    for _ in 0..5 {
        send(&server, std::slice::from_ref(&large));
    }
    for place in ["--first", "--last", "--offset 0"] {
        let polled = server.json(&format!("poll s t --partition 0 --count 5 {place}"));
        assert_eq!((&polled["count"], &polled["cut"]), (&5.into(), &false.into()), "{place}");
        let offsets = polled["messages"].as_array().unwrap().iter();
        let offsets: Vec<_> = offsets.map(|message| message["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
    }
}

/// Flips a bit in the payload of message `number`, all being `length` bytes long.
fn damage(server: &Server, number: usize, length: usize) {
    let partitions = std::fs::read_dir(server.data_dir().join("partitions")).unwrap();
    let mut logs = partitions
        .flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let log = logs.next().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[number * length + 64] ^= 1;
    std::fs::write(&log, bytes).unwrap();
}

#[test]
fn damage_is_named_and_left_out_when_asked_for() {
    let mut server = Server::with_topic(1);
    let all = (10..30).map(|number| number.to_string()).collect::<Vec<_>>();
    send(&server, &all);
    server.stop();
    damage(&server, 7, 66);
    server.restart();
    for line in ["tail s t --from start", "poll s t --partition 0 --offset 7"] {
        let failed = server.run(line);
        assert_eq!(failed.code, 4, "{line}: {}", failed.err);
        for part in ["partition 0 of topic t of stream s", "offset 7", "--skip-damaged"] {
            assert!(failed.err.contains(part), "{line}: {}", failed.err);
        }
    }
    let left: Vec<String> = all.iter().filter(|text| *text != "17").cloned().collect();
    let done = server.run("tail s t --from start --skip-damaged").ok();
    assert_eq!(done.out.lines().collect::<Vec<_>>(), left);
    assert!(done.err.contains("from offset 7 to 7 are damaged"), "{}", done.err);

    let to = Server::start();
    let failed = run(mirror(&server, &to, &[])).fails(1);
    assert!(
        failed.err.contains("offset 7") && failed.err.contains("--skip-damaged"),
        "{}",
        failed.err
    );
    let done = run(mirror(&server, &to, &["--skip-damaged", "--output", "json"])).ok();
    let summary: Value = done.json();
    assert_eq!((&summary["damaged"], &summary["verified"]), (&1.into(), &true.into()));
    assert_eq!(payloads(&to), left);
}
