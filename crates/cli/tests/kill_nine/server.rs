//! The real `galgo server`, in a process of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    pub(crate) url: String,
}

impl Server {
    /// Starts a server on `dir` and waits until it is ready.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_at(dir, "127.0.0.1:0")
    }

    /// As [`Server::start`], at this address.
    pub(crate) fn start_at(dir: &Path, address: &str) -> Self {
        let data = dir.join("data");
        let ready_file = data.join("runtime/current_config.toml");
        let _ = std::fs::remove_file(&ready_file);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("server.log"))
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_galgo"))
            .args(["server", "--dev", "--tcp", address, "--quic", "off"])
            .args(["--websocket", "off", "--http", "off", "--data-dir"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
                panic!("the server ended with {status}:\n{log}");
            }
            if let Some(address) = bound_address(&ready_file) {
                let url = format!("galgo://galgo:galgo@{address}");
                return Self { child, address, url };
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the server is not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bound_address(ready_file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(ready_file).ok()?;
    let config: toml::Table = text.parse().ok()?;
    let address = config.get("tcp")?.get("address")?.as_str()?;
    (!address.ends_with(":0")).then(|| address.to_owned())
}
