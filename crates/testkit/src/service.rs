//! Real servers of others, for the tests of connectors: found, started on a port of their own, killed.
//!
//! Where one is not installed a test says so and does nothing, unless `GALGO_TEST_SERVICES=required` is set, as the gate
//! does: then it fails.

pub mod clickhouse;
pub mod http;
pub mod mosquitto;
pub mod nats;
pub mod postgres;
pub mod rabbitmq;
pub mod redis;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// No server takes longer to answer, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program of that name, on the path or in one of these folders; says what is missing, and fails if it may not be.
pub fn program(name: &str, folders: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).chain(folders.iter().map(PathBuf::from));
    let found = named.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        let required = std::env::var("GALGO_TEST_SERVICES").is_ok_and(|value| value == "required");
        assert!(!required, "{name} is not installed, and GALGO_TEST_SERVICES=required is set");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// So many ports in a row that nobody uses, below those that are given to outgoing connections.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other processes of tests count from somewhere else.
    let begin = u16::try_from(std::process::id() % 9_000).expect("it is below 9,000");
    for _ in 0..2_000 {
        let port = 20_000 + (begin + NEXT.fetch_add(count, Ordering::Relaxed)) % 12_000;
        let all_free =
            (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        if all_free {
            return port;
        }
    }
    panic!("no free ports");
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether somebody listens there.
pub fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts it; what it prints goes to a file.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let errors = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().unwrap();
        Self { child }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash does, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
