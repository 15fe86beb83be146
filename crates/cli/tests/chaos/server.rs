//! The real `galgo server` of a lane, with everything that can happen to it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::clock;

const KEY: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFate {
    /// It is read.
    Read,
    /// Nobody reads it, and nobody closes it either.
    Stuck,
    /// Its reader is gone.
    Closed,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    encrypted: bool,
    child: Child,
    address: String,
    log: Arc<AtomicU8>,
}

impl Server {
    /// Starts a server in a directory of its own.
    pub(crate) fn start(encrypted: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        clock::set(&dir.path().join("clock"), 0);
        let keys = dir.path().join("keys");
        std::fs::write(&keys, KEY).unwrap();
        make_private(&keys);
        let log = Arc::new(AtomicU8::new(LogFate::Read as u8));
        let (child, address) = launch(dir.path(), encrypted, "127.0.0.1:0", &log);
        Self { dir, encrypted, child, address, log }
    }

    /// What a client of this user connects to; the password is the name twice.
    pub(crate) fn url(&self, user: &str) -> String {
        let password = if user == "galgo" { "galgo".to_owned() } else { format!("{user}{user}") };
        format!("galgo://{user}:{password}@{}", self.address)
    }

    /// `kill -9`, and a start at the same address.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.restart();
    }

    /// An orderly stop, and a start at the same address.
    pub(crate) fn stop_and_restart(&mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.restart();
    }

    fn restart(&mut self) {
        self.child.wait().unwrap();
        self.log = Arc::new(AtomicU8::new(LogFate::Read as u8));
        let address = self.address.clone();
        (self.child, _) = launch(self.dir.path(), self.encrypted, &address, &self.log);
    }

    /// From now on no file grows beyond `bytes`, or files grow again: what is written there fails, as on a full disk.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: bytes.or(maximum), maximum };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Lets the log be stuck, or its reader go away.
    pub(crate) fn lose_log(&self, fate: LogFate) {
        self.log.store(fate as u8, Ordering::Relaxed);
    }

    /// Whether the log is no longer read.
    pub(crate) fn has_lost_log(&self) -> bool {
        self.log.load(Ordering::Relaxed) != LogFate::Read as u8
    }

    /// Lets the clock of the server be ahead.
    pub(crate) fn set_clock(&self, ahead_seconds: i64) {
        clock::set(&self.dir.path().join("clock"), ahead_seconds);
    }

    /// Copies the log and the files to where they outlive the suite.
    pub(crate) fn keep_evidence(&self, round: u64) -> PathBuf {
        let kept = std::env::temp_dir().join(format!("galgo-chaos-{}-{round}", std::process::id()));
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.dir.path()).arg(&kept);
        assert!(copy.status().unwrap().success());
        kept.join("server.log")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn launch(dir: &Path, encrypted: bool, address: &str, log: &Arc<AtomicU8>) -> (Child, String) {
    let data = dir.join("data");
    let ready_file = data.join("runtime/current_config.toml");
    let _ = std::fs::remove_file(&ready_file);
    let mut command = Command::new(env!("CARGO_BIN_EXE_galgo"));
    command
        .args(["server", "--dev", "--tcp", address, "--quic", "off", "--websocket", "off"])
        .args(["--http", "off", "--data-dir"])
        .arg(&data)
        // Segments small enough that a round fills several.
        .envs([("GALGO_STORAGE_SEGMENT_BYTES", "32 KiB"), ("GALGO_RETENTION_INTERVAL", "1s")])
        .env("GALGO_LOG_LEVEL", "debug")
        .env("LD_PRELOAD", clock::library())
        .env("CHAOS_CLOCK", dir.join("clock"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if encrypted {
        command.env("GALGO_ENCRYPTION_ENABLED", "true");
        command.env("GALGO_ENCRYPTION_KEYS_FILE", dir.join("keys"));
    }
    let mut child = command.spawn().unwrap();
    follow_log(dir, &mut child, log);
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
            let end = log.len().saturating_sub(4_000);
            panic!("the server ended with {status}:\n{}", log.get(end..).unwrap_or(&log));
        }
        if let Some(address) = bound_address(&ready_file) {
            return (child, address);
        }
        assert!(started.elapsed() < PATIENCE, "the server is not ready");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Copies the log to a file, until it is to be lost.
fn follow_log(dir: &Path, child: &mut Child, fate: &Arc<AtomicU8>) {
    let mut log = child.stderr.take().unwrap();
    let mut file = File::options().create(true).append(true).open(dir.join("server.log")).unwrap();
    let fate = Arc::clone(fate);
    std::thread::spawn(move || {
        let mut chunk = [0; 8 << 10];
        while let Ok(count @ 1..) = log.read(&mut chunk) {
            file.write_all(&chunk[..count]).unwrap();
            while fate.load(Ordering::Relaxed) == LogFate::Stuck as u8 {
                std::thread::sleep(Duration::from_millis(20));
                // The server is gone, or another one has a log of its own.
                if Arc::strong_count(&fate) == 1 {
                    return;
                }
            }
            if fate.load(Ordering::Relaxed) == LogFate::Closed as u8 {
                return;
            }
        }
    });
}

fn bound_address(ready_file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(ready_file).ok()?;
    let config: toml::Table = text.parse().ok()?;
    let address = config.get("tcp")?.get("address")?.as_str()?;
    (!address.ends_with(":0")).then(|| address.to_owned())
}
