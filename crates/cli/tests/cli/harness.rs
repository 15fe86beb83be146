//! A server of its own for each test, and short ways to run commands against it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test, without the settings of whoever runs the tests.
pub(crate) fn galgo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galgo"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GALGO_") {
            command.env_remove(name);
        }
    }
    // Nor with the profiles of whoever runs the tests.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.stdin(Stdio::null());
    command
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// The command failed with this exit code, and said so on standard error only.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(!self.err.is_empty());
        self
    }

    /// The command ended with this exit code after it had shown something, and said why on standard error.
    #[track_caller]
    pub(crate) fn fails_with_output(self, code: i32) -> Self {
        assert!(!self.out.is_empty());
        self.fails(code)
    }

    /// The JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// The JSON error on standard error.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let value: Value = serde_json::from_str(self.err.trim())
            .unwrap_or_else(|error| panic!("{error}: {}", self.err));
        value["error"].clone()
    }
}

/// Runs a command with these bytes on standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The command may end without reading all of it.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done::of(output)
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Done {
    Done::of(command.output().unwrap())
}

/// A `galgo server --dev` on a free port.
pub(crate) struct Server {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
    settings: Settings,
}

/// Settings of a server, as environment variables.
type Settings = &'static [(&'static str, &'static str)];

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with these environment variables.
    pub(crate) fn start_with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, address) = start(dir.path(), "127.0.0.1:0", settings);
        Self { child, address, dir, settings }
    }

    /// A server on a data directory that `fill` has made.
    pub(crate) fn start_on(fill: impl FnOnce(&Path)) -> Self {
        let (dir, settings) = (tempfile::tempdir().unwrap(), &[]);
        fill(&dir.path().join("data"));
        let (child, address) = start(dir.path(), "127.0.0.1:0", settings);
        Self { child, address, dir, settings }
    }

    /// Where it listens for another transport than TCP.
    pub(crate) fn listener(&self, section: &str) -> String {
        let ready = self.data_dir().join("runtime/current_config.toml");
        let config: toml::Table = std::fs::read_to_string(ready).unwrap().parse().unwrap();
        config[section]["address"].as_str().unwrap().to_owned()
    }

    /// The end of the process, without a word of warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// An orderly end.
    pub(crate) fn stop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "an orderly stop ends with 0");
    }

    /// The same server again, which was stopped or killed, on the same port with the same data.
    pub(crate) fn restart(&mut self) {
        let (child, address) = start(self.dir.path(), &self.address, self.settings);
        (self.child, self.address) = (child, address);
    }

    /// The same server stopped in order, and started with other environment variables.
    pub(crate) fn stop_and_start(&mut self, settings: Settings) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
        self.settings = settings;
        self.restart();
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command for this server, arguments divided by spaces.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = galgo();
        command.env("GALGO_SERVER", format!("galgo://{}", self.address));
        command.args(line.split_whitespace());
        command
    }

    /// Runs a command for this server.
    pub(crate) fn run(&self, line: &str) -> Done {
        run(self.command(line))
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> Done {
        self.run(line).ok()
    }

    /// Runs a command that must succeed, and reads its JSON.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        self.run(&format!("--output json {line}")).ok().json()
    }

    /// A stream `s` with a topic `t`.
    pub(crate) fn with_topic(partitions: u32) -> Self {
        let server = Self::start();
        server.ok("stream create s");
        server.ok(&format!("topic create s t --partitions {partitions}"));
        server
    }

    /// Sends lines to the topic `t` and expects them all to be acknowledged.
    #[track_caller]
    pub(crate) fn send(&self, line: &str, input: &[u8]) -> Done {
        run_with_input(self.command(&format!("send s t {line}")), input).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(dir: &Path, address: &str, settings: Settings) -> (Child, String) {
    let data = dir.join("data");
    let ready = data.join("runtime/current_config.toml");
    let _ = std::fs::remove_file(&ready);
    let log = std::fs::File::create(dir.join("server.log")).unwrap();
    let mut command = galgo();
    command.args(["server", "--dev", "--tcp", address, "--quic", "127.0.0.1:0"]);
    command.args(["--websocket", "127.0.0.1:0", "--http", "off", "--data-dir"]).arg(&data);
    command.envs(settings.iter().copied());
    command.stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().unwrap();
    match wait_ready(&mut child, &ready) {
        Ok(address) => (child, address),
        Err(what) => {
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
            panic!("{what}\n{log}");
        }
    }
}

fn wait_ready(child: &mut Child, ready: &Path) -> Result<String, String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let config = std::fs::read_to_string(ready).unwrap_or_default();
        if let Some(address) = config.parse().ok().as_ref().and_then(tcp_address) {
            return Ok(address);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the server ended: {status}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the server was not ready in time".to_owned())
}

fn tcp_address(config: &toml::Table) -> Option<String> {
    Some(config.get("tcp")?.get("address")?.as_str()?.to_owned())
}

/// Waits until `done` is true.
#[track_caller]
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
