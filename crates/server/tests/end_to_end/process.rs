//! The server as a process of its own: signals, exit codes, what it prints.
//!
//! The test binary is its own server: started again with [`CHILD`] set, it runs [`child_server`] only.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use galgo_server::{Overrides, ServerOptions};
use rustix::process::{Pid, Signal, kill_process};

use crate::wire::*;

const CHILD: &str = "SERVER_TEST_DATA_DIR";

/// Not a test of its own: what the child runs.
#[test]
fn child_server() {
    let Some(data_dir) = std::env::var_os(CHILD) else { return };
    let overrides = Overrides {
        data_dir: Some(data_dir.into()),
        tcp: Some("127.0.0.1:0".to_owned()),
        quic: Some("off".to_owned()),
        websocket: Some("off".to_owned()),
        http: Some("off".to_owned()),
        ..Default::default()
    };
    let options = ServerOptions { overrides, ..Default::default() };
    let ended = galgo_server::run(options, |error| error.to_string());
    let code = ended.map_or_else(|error| error.exit_code(), |()| 0);
    std::process::exit(code.into());
}

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(data_dir: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_as(Command::new(std::env::current_exe().unwrap()), data_dir, variables)
    }

    /// Starts after this command of a shell, which sets a limit.
    fn start_under(limit: &str, data_dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")]);
        shell.arg(std::env::current_exe().unwrap());
        Self::start_as(shell, data_dir, variables)
    }

    fn start_as(mut command: Command, data_dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = command
            .args(["--exact", "process::child_server", "--nocapture"])
            .env(CHILD, data_dir)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Everything printed up to the ready line.
    fn until_ready(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "ended before it was ready");
            let ready = line.contains("is ready");
            lines.push(line.trim().to_owned());
            if ready {
                return lines;
            }
        }
    }

    /// The most memory it has taken so far.
    #[cfg(target_os = "linux")]
    fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(ready: &str) -> Wire {
    let address = ready.split("tcp ").nth(1).unwrap().split(',').next().unwrap();
    Wire::connect(address.parse().unwrap())
}

/// Connects once the places of connections that are gone are free again, in a moment.
fn connect_when_free(ready: &str) {
    let begun = Instant::now();
    while connect(ready).status(PING, &[]) != 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody can connect any more");
    }
}

fn after<'a>(line: &'a str, word: &str) -> &'a str {
    line.split(word).nth(1).unwrap().split([' ', ',']).next().unwrap()
}

#[test]
fn a_generated_password_is_printed_once_and_works() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), &[]);
    let lines = process.until_ready();
    let shown = lines.iter().find(|line| line.contains("root user created")).unwrap();
    let (username, password) = (after(shown, "username "), after(shown, "password "));
    assert_eq!(connect(lines.last().unwrap()).login(username, password), 0);
    process.signal(Signal::TERM);
    let (status, log) = process.exit();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains(password));

    let mut process = Process::start(dir.path(), &[]);
    let lines = process.until_ready();
    assert!(!lines.iter().any(|line| line.contains("password")), "{lines:?}");
    assert_eq!(connect(lines.last().unwrap()).login(username, password), 0);
}

#[test]
fn either_signal_stops_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(dir.path(), &[]);
        let mut wire = connect(process.until_ready().last().unwrap());
        wire.assert_in_step();
        process.signal(signal);
        assert_eq!(wire.answer().0, 8);
        wire.assert_closed();
        let (status, log) = process.exit();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("server stopped"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("GALGO_LIMITS_WRITE_TIMEOUT", "1h"), ("GALGO_LIMITS_STOP_TIMEOUT", "1h")];
    let mut process = Process::start(dir.path(), &[variables, CREDENTIALS].concat());
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    create_topic(&mut wire, 1);
    for _ in 0..8 {
        assert_eq!(wire.status(SEND, &send_payload(&[&vec![5; 1 << 20]])), 0);
    }
    // Answers nobody reads keep the orderly stop waiting.
    for _ in 0..20 {
        wire.send(POLL, &poll_payload(0, 8));
    }
    // The first of them is on its way, and no socket buffer takes it whole.
    assert_eq!(wire.socket.peek(&mut [0]).unwrap(), 1);
    process.signal(Signal::TERM);
    // Those of the first second ask for the same stop, which waits for the answers to be taken.
    let begun = Instant::now();
    while process.child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the process does not end");
        process.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let (status, log) = process.exit();
    assert_eq!(status.code(), Some(143));
    assert!(log.contains("signal taken for the same request to stop"), "{log}");
    assert!(log.contains("leaving without an orderly stop"), "{log}");
}

/// `timeout` signals the process and its group, a Ctrl-C the tool and who started it: the second of the two
/// came a millisecond after the first and ended the server before it had stopped in order.
///
/// INV-STOP-ONCE.
#[test]
fn two_signals_at_once_stop_it_in_order() {
    for second in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(dir.path(), &[]);
        let mut wire = connect(process.until_ready().last().unwrap());
        wire.assert_in_step();
        process.signal(Signal::TERM);
        process.signal(second);
        assert_eq!(wire.answer().0, 8);
        let (status, log) = process.exit();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("server stopped"), "{log}");
    }
}

/// Whoever reads the log went away. The next line to be logged was a failed write, which became a panic in the
/// task that accepts connections: the process lived on, and nobody could connect any more.
#[test]
fn a_log_whose_reader_is_gone_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("GALGO_LIMITS_CONNECTIONS", "3"), ("GALGO_LOG_LEVEL", "debug")];
    let mut process = Process::start(dir.path(), &variables);
    let ready = process.until_ready().pop().unwrap();
    drop(process.child.stderr.take());
    for _ in 0..3 {
        // One more than there may be: a warning.
        let held: Vec<_> = (0..4).map(|_| connect(&ready)).collect();
        drop(held);
    }
    connect_when_free(&ready);
    process.signal(Signal::TERM);
    let code = process.child.wait().unwrap().code();
    assert_eq!(code, Some(0), "it stops in order all the same");
}

/// The log is a pipe that nobody reads (Ctrl-S, a log driver that hangs). Once it was full, whoever had
/// something to log waited for its reader, and soon nobody got an answer.
#[test]
fn a_log_that_is_not_read_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), &[("GALGO_LOG_LEVEL", "debug")]);
    let ready = process.until_ready().pop().unwrap();
    // More than the 64 KiB a pipe takes: two lines for each connection.
    for _ in 0..1000 {
        connect(&ready).assert_in_step();
    }
    process.signal(Signal::TERM);
    let code = process.child.wait().unwrap().code();
    assert_eq!(code, Some(0), "not even the end of the process waits for it");
    let mut log = String::new();
    process.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.len() > 60 << 10, "the pipe was full: {} bytes", log.len());
}

/// The log was JSON, and the one line that says why the server ended was not.
#[test]
fn a_fatal_error_is_json_where_the_log_is() {
    let dir = tempfile::tempdir().unwrap();
    let is_json = |log: &str| log.lines().all(|line| line.starts_with('{') && line.ends_with('}'));
    let json = ("GALGO_LOG_FORMAT", "json");
    let (status, log) =
        Process::start(dir.path(), &[json, ("GALGO_TCP_REUSE_PORT", "maybe")]).exit();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(is_json(&log) && log.contains("tcp.reuse_port"), "{log}");
    let mut first = Process::start(dir.path(), &[]);
    first.until_ready();
    let (status, log) = Process::start(dir.path(), &[json]).exit();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(is_json(&log) && log.contains("is in use by the server with pid"), "{log}");
    assert!(log.contains("\"exit_code\":4"), "{log}");
}

#[test]
fn logs_are_json_on_request_and_go_to_standard_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut process =
        Process::start(dir.path(), &[("GALGO_LOG_FORMAT", "json"), ("GALGO_TCP_ADRESS", "x")]);
    let lines = process.until_ready();
    assert!(!lines.iter().any(|line| line.starts_with('{')), "{lines:?}");
    process.signal(Signal::TERM);
    let (_, log) = process.exit();
    assert!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
    assert!(log.contains("did you mean GALGO_TCP_ADDRESS?"), "{log}");
}

#[test]
fn a_refused_start_has_an_exit_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (status, log) = Process::start(dir.path(), &[("GALGO_TCP_REUSE_PORT", "maybe")]).exit();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("tcp.reuse_port = \"maybe\""), "{log}");
    let mut first = Process::start(dir.path(), &[]);
    first.until_ready();
    let pid = first.child.id();
    let (status, log) = Process::start(dir.path(), &[]).exit();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains(&format!("pid {pid}")), "{log}");
}

const CREDENTIALS: [(&str, &str); 2] =
    [("GALGO_ROOT_USERNAME", "root"), ("GALGO_ROOT_PASSWORD", "root")];

/// A limit of the file size sent SIGXFSZ with the first write beyond it, which ended the server.
#[test]
fn a_limit_of_the_file_size_refuses_what_does_not_fit_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = ("GALGO_STORAGE_JOURNAL_FILE_BYTES", "1 MiB");
    let variables = [&CREDENTIALS[..], &[journal]].concat();
    // In blocks of 512 bytes: 2 MiB.
    let mut process = Process::start_under("ulimit -f 4096", dir.path(), &variables);
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    create_topic(&mut wire, 1);
    for _ in 0..10 {
        let fits = send_payload(&[&vec![1; 900 << 10]]);
        assert_eq!(wire.status(SEND, &fits), 0, "segments are made small enough");
    }
    let too_large = send_payload(&[&vec![1; 3 << 20]]);
    assert_eq!(wire.status(SEND, &too_large), 4006);
    assert_eq!(wire.status(SEND, &send_payload(&[b"fits"])), 0);
    process.signal(Signal::TERM);
    let (status, log) = process.exit();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("segments made smaller"), "{log}");
    assert!(log.contains("raise the limit of the file size"), "{log}");
}

#[test]
fn a_limit_of_the_file_size_below_a_file_of_the_journal_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (status, log) = Process::start_under("ulimit -f 4096", dir.path(), &[]).exit();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("lower storage.journal_file_bytes"), "{log}");
}

/// Connections beyond the limit of open files wait until there are some again, which is told once; a segment that
/// can't be opened refuses its send.
///
/// P-START.
#[test]
fn a_limit_of_open_files_is_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [&CREDENTIALS[..], &[("GALGO_STORAGE_JOURNAL_FILE_BYTES", "1 MiB")]].concat();
    let mut process = Process::start_under("ulimit -n 68", dir.path(), &variables);
    let ready = process.until_ready().pop().unwrap();
    let mut wire = connect(&ready);
    assert_eq!(wire.login("root", "root"), 0);
    create_topic(&mut wire, 40);
    let held: Vec<_> = (0..100).map(|_| connect(&ready)).collect();
    for partition in 0..40 {
        let status = wire.status(SEND, &send_payload_to(partition, &[b"x"]));
        assert!([0, 4006].contains(&status), "{status}");
    }
    drop(held);
    connect_when_free(&ready);
    process.signal(Signal::TERM);
    let (status, log) = process.exit();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.matches("no connection could be accepted").count() <= 2, "{log}");
}

/// A start held the whole journal in memory.
#[cfg(target_os = "linux")]
/// INV-STREAM.
#[test]
fn a_start_with_a_full_journal_takes_little_memory() {
    const KIB: usize = 1 << 10;
    let dir = tempfile::tempdir().unwrap();
    let journal = ("GALGO_STORAGE_JOURNAL_FILE_BYTES", "256 MiB");
    let variables = [&CREDENTIALS[..], &[journal]].concat();
    let mut process = Process::start(dir.path(), &variables);
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    create_topic(&mut wire, 4);
    let payload = vec![7; 100 * KIB];
    for number in 0..1_500 {
        assert_eq!(wire.status(SEND, &send_payload_to(number % 4, &[&payload])), 0);
    }
    process.signal(Signal::KILL);
    let _ = process.exit();

    let mut process = Process::start(dir.path(), &variables);
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    let memory = process.peak_memory_bytes();
    assert!(memory < 64 << 20, "{} MiB for a journal of 146", memory >> 20);
    process.signal(Signal::TERM);
    let (_, log) = process.exit();
    assert_eq!(log.matches("partition recovered").count(), 4, "{log}");
}

/// One log that could not be opened refused the start of the server.
#[test]
fn a_log_that_cannot_be_opened_is_told_and_takes_nobody_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), &CREDENTIALS);
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    create_topic(&mut wire, 2);
    for partition in [0, 1] {
        assert_eq!(wire.status(SEND, &send_payload_to(partition, &[b"x"])), 0);
    }
    process.signal(Signal::TERM);
    let _ = process.exit();
    let mut partitions: Vec<_> =
        std::fs::read_dir(dir.path().join("partitions")).unwrap().collect();
    partitions.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let log = partitions.pop().unwrap().unwrap().path().join("00000000000000000000.log");
    let aside = dir.path().join("aside");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::create_dir(&log).unwrap();

    let mut process = Process::start(dir.path(), &CREDENTIALS);
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    assert_eq!(wire.status(SEND, &send_payload_to(0, &[b"y"])), 0);
    assert_eq!(wire.status(SEND, &send_payload_to(1, &[b"y"])), 10009);
    std::fs::remove_dir(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    let begun = Instant::now();
    while wire.status(SEND, &send_payload_to(1, &[b"y"])) == 10009 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not tried again");
        std::thread::sleep(Duration::from_millis(50));
    }
    process.signal(Signal::TERM);
    let (status, text) = process.exit();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("partition is offline") && text.contains("partition=1"), "{text}");
    assert!(text.contains("partition is online again"), "{text}");

    let mut process = Process::start(dir.path(), &CREDENTIALS);
    let mut wire = connect(process.until_ready().last().unwrap());
    assert_eq!(wire.login("root", "root"), 0);
    assert_eq!(wire.status(SEND, &send_payload_to(1, &[b"y"])), 0);
    process.signal(Signal::TERM);
    let (_, text) = process.exit();
    assert!(!text.contains("offline"), "{text}");
}
