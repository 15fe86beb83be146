//! `galgo server`, `galgo connect run` and the other commands, each in a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::{MARK, PARTITIONS, PATIENCE};

/// A server with a topic, and the folder all of a test is in.
pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    server: Option<Child>,
    /// Host and port, the same after each start.
    address: String,
}

impl Rig {
    /// A server with the topic `shop/orders`.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Self { folder, server: None, address: "127.0.0.1:0".to_owned() };
        rig.start_server();
        rig.does(&["stream", "create", "shop"]);
        rig.make_topic();
        rig
    }

    pub(crate) fn make_topic(&self) {
        let partitions = PARTITIONS.to_string();
        self.does(&["topic", "create", "shop", "orders", "--partitions", &partitions]);
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the server again, where it was.
    pub(crate) fn start_server(&mut self) {
        let data = self.path().join("data");
        let ready_file = data.join("runtime/current_config.toml");
        let _ = std::fs::remove_file(&ready_file);
        let log = File::options().create(true).append(true).open(self.path().join("server.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_galgo"))
            .args(["server", "--dev", "--tcp", &self.address, "--quic", "off"])
            .args(["--websocket", "off", "--http", "off", "--data-dir"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        self.server = Some(child);
        self.address = wait_for("the server is ready", || bound_address(&ready_file));
    }

    /// `kill -9` of the server.
    pub(crate) fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// A command of the tool that talks to this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_galgo"));
        command
            .args(arguments)
            .env("GALGO_SERVER", format!("galgo://galgo:galgo@{}", self.address));
        command.env("GALGO_CONFIG_HOME", self.path()).current_dir(self.path());
        command
    }

    /// What a command says, whatever comes of it.
    pub(crate) fn says(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command says that has to work.
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        let said = self.says(arguments);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(said.stdout).unwrap()
    }

    /// Sends numbered messages of some 200 bytes to each partition: those with these numbers.
    pub(crate) fn send(&self, numbers: std::ops::Range<u64>) {
        for lane in 0..PARTITIONS {
            let lines: String =
                numbers.clone().map(|number| message(lane, number) + "\n").collect();
            self.send_lines(lane, &lines);
        }
    }

    /// Sends each line as a message.
    pub(crate) fn send_lines(&self, lane: u32, lines: &str) {
        let file = self.path().join(format!("lines-{lane}"));
        std::fs::write(&file, lines).unwrap();
        let partition = lane.to_string();
        self.does(&["send", "shop", "orders", file.to_str().unwrap(), "--partition", &partition]);
    }

    /// Writes a pipeline file: from the topic into what the section says.
    pub(crate) fn pipeline(&self, name: &str, section: &str) -> PathBuf {
        let text = format!(
            "name = \"{name}\"\n[from.galgo]\nstream = \"shop\"\ntopics = [\"orders\"]\nsession_timeout = \"5s\"\n{section}"
        );
        let file = self.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Starts `galgo connect run`, with its output in a log.
    pub(crate) fn run(&self, file: &Path, arguments: &[&str]) -> Connector {
        let number = std::fs::read_dir(self.path()).unwrap().count();
        let log = self.path().join(format!("connect-{number}.log"));
        let output = File::create(&log).unwrap();
        let child = self
            .command(&["connect", "run"])
            .args(arguments)
            .arg(file)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Connector { child, log }
    }

    /// Runs up to the end there is, and returns when that is delivered.
    pub(crate) fn run_once(&self, file: &Path) -> Finished {
        let mut connector = self.run(file, &["--once"]);
        let status = connector.wait();
        Finished { status, log: connector.said() }
    }

    /// INV-MUTE: no value of a message is in anything that processes wrote beside the target.
    pub(crate) fn assert_mute(&self) {
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "log") {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains(MARK), "INV-MUTE: {}: {text}", path.display());
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            let kept = self.path().with_extension("kept");
            let _ = std::fs::rename(self.path(), &kept);
            eprintln!("what the test left is in {}", kept.display());
        }
    }
}

/// A message of some 200 bytes.
pub(crate) fn message(lane: u32, number: u64) -> String {
    format!(
        "{{\"lane\":{lane},\"number\":{number},\"text\":\"{MARK}\",\"customer\":{{\"name\":\"Ada Lovelace\",\"city\":\"London\"}},\
         \"items\":[{{\"sku\":\"A-{number}\",\"price\":12.50}},{{\"sku\":\"B-{lane}\",\"price\":0.99}}]}}"
    )
}

/// How a run ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Finished {
    pub(crate) fn assert_well(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.log);
    }
}

/// A running `galgo connect run`; killed when dropped.
pub(crate) struct Connector {
    child: Child,
    log: PathBuf,
}

impl Connector {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("galgo connect run ends", || child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it wrote so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The most memory it had, in bytes; zero when it is gone.
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is there.
pub(crate) fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn bound_address(ready_file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(ready_file).ok()?;
    let config: toml::Table = text.parse().ok()?;
    let address = config.get("tcp")?.get("address")?.as_str()?;
    (!address.ends_with(":0")).then(|| address.to_owned())
}
