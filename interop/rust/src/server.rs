//! A Galgo server process of one scenario: its own data directory, a port the system chose.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

pub const USERNAME: &str = "iggy";
pub const PASSWORD: &str = "iggy-secret";

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const LOG_LINES_SHOWN: usize = 60;

/// A running, or killed, server.
pub struct Server {
    binary: PathBuf,
    home: PathBuf,
    address: SocketAddr,
    process: Child,
}

impl Server {
    /// Starts a server on an empty data directory and waits until it is ready.
    pub fn start(name: &str) -> anyhow::Result<Server> {
        let binary = env::var_os("GALGO_BIN").context("GALGO_BIN must name the galgo binary")?;
        let binary = fs::canonicalize(&binary).context("GALGO_BIN")?;
        let home = env::temp_dir().join(format!("galgo-interop-{}-{name}", std::process::id()));
        fs::create_dir_all(&home)?;
        let any_port = "127.0.0.1:0".parse()?;
        let process = spawn(&binary, &home, any_port)?;
        let mut server = Server { binary, home, address: any_port, process };
        server.address = server.wait_until_ready()?;
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the process as a power failure would, without a chance to tidy up.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks the process to stop and checks that it exits with code 0.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.terminate()?;
        if !status.success() {
            bail!("expected exit code 0, got {status}");
        }
        Ok(())
    }

    /// Starts the server again: same data directory, same port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        // The file of the last run must not be taken for this one's.
        fs::remove_file(self.readiness_file()).ok();
        self.process = spawn(&self.binary, &self.home, self.address)?;
        let address = self.wait_until_ready()?;
        if address != self.address {
            bail!("expected the restarted server on {}, got {address}", self.address);
        }
        Ok(())
    }

    /// Prints the end of what the server logged.
    pub fn print_log(&self) {
        let log = fs::read_to_string(self.home.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        println!("--- the server's last lines ---");
        for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN)) {
            println!("  {line}");
        }
    }

    fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.process.try_wait()? {
            bail!("the server had already ended: {status}");
        }
        let pid = i32::try_from(self.process.id())?;
        // SAFETY: kill takes no pointers, and the child has not been waited for, so the id is its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > STOP_TIMEOUT {
                bail!("the server still runs {STOP_TIMEOUT:?} after SIGTERM");
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn readiness_file(&self) -> PathBuf {
        self.home.join("data/runtime/current_config.toml")
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<SocketAddr> {
        let started = Instant::now();
        while started.elapsed() < READY_TIMEOUT {
            if let Some(status) = self.process.try_wait()? {
                self.print_log();
                bail!("the server ended before it was ready: {status}");
            }
            if let Some(address) = bound_address(&self.readiness_file()) {
                return Ok(address);
            }
            sleep(Duration::from_millis(20));
        }
        bail!("the server is not ready after {READY_TIMEOUT:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        fs::remove_dir_all(&self.home).ok();
    }
}

fn spawn(binary: &Path, home: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(home.join("server.log"))?;
    let errors: File = log.try_clone()?;
    Command::new(binary)
        .args(["server", "--tcp", &address.to_string(), "--quic", "off"])
        .args(["--websocket", "off", "--http", "off", "--data-dir"])
        .arg(home.join("data"))
        .env("GALGO_ROOT_USERNAME", USERNAME)
        .env("GALGO_ROOT_PASSWORD", PASSWORD)
        .env("GALGO_HTTP_ADDRESS", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))
}

/// The address in the readiness file, once it is there in full.
fn bound_address(file: &Path) -> Option<SocketAddr> {
    let config: toml::Table = fs::read_to_string(file).ok()?.parse().ok()?;
    config.get("tcp")?.get("address")?.as_str()?.parse().ok()
}
