//! A Galgo server process of one scenario: its own data directory, ports the system chose.

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

/// What a scenario's clients connect with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Quic,
    WebSocket,
    Http,
}

impl Transport {
    pub const ALL: [Transport; 4] =
        [Transport::Tcp, Transport::Quic, Transport::WebSocket, Transport::Http];

    /// The transports that carry frames.
    pub const BINARY: [Transport; 3] = [Transport::Tcp, Transport::Quic, Transport::WebSocket];

    /// The section of the server's configuration, which is also its name here.
    pub fn section(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
            Transport::WebSocket => "websocket",
            Transport::Http => "http",
        }
    }
}

/// Where a server listens, by transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses([SocketAddr; 4]);

impl Addresses {
    fn any() -> Addresses {
        Addresses([SocketAddr::from(([127, 0, 0, 1], 0)); 4])
    }

    pub fn of(&self, transport: Transport) -> SocketAddr {
        self.0[transport as usize]
    }
}

/// A running, or killed, server.
pub struct Server {
    binary: PathBuf,
    home: PathBuf,
    addresses: Addresses,
    transport: Transport,
    settings: Vec<(&'static str, String)>,
    process: Child,
}

impl Server {
    /// Starts a server on an empty data directory and waits until it is ready. `settings` are environment
    /// variables.
    pub fn start(
        name: &str,
        transport: Transport,
        settings: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Server> {
        let binary = env::var_os("GALGO_BIN").context("GALGO_BIN must name the galgo binary")?;
        let binary = fs::canonicalize(&binary).context("GALGO_BIN")?;
        let unique = format!("galgo-interop-{}-{name}-{}", std::process::id(), transport.section());
        let home = env::temp_dir().join(unique);
        fs::create_dir_all(&home)?;
        let addresses = Addresses::any();
        let process = spawn(&binary, &home, &addresses, &settings)?;
        let mut server = Server { binary, home, addresses, transport, settings, process };
        server.addresses = server.wait_until_ready()?;
        Ok(server)
    }

    /// What the scenario's clients connect with.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Where those clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address_of(self.transport)
    }

    pub fn address_of(&self, transport: Transport) -> SocketAddr {
        self.addresses.of(transport)
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
        self.process = spawn(&self.binary, &self.home, &self.addresses, &self.settings)?;
        let addresses = self.wait_until_ready()?;
        if addresses != self.addresses {
            bail!("expected the restarted server on {:?}, got {addresses:?}", self.addresses);
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

    fn wait_until_ready(&mut self) -> anyhow::Result<Addresses> {
        let started = Instant::now();
        while started.elapsed() < READY_TIMEOUT {
            if let Some(status) = self.process.try_wait()? {
                self.print_log();
                bail!("the server ended before it was ready: {status}");
            }
            if let Some(addresses) = bound_addresses(&self.readiness_file()) {
                return Ok(addresses);
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

fn spawn(
    binary: &Path,
    home: &Path,
    addresses: &Addresses,
    settings: &[(&'static str, String)],
) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(home.join("server.log"))?;
    let errors: File = log.try_clone()?;
    let mut command = Command::new(binary);
    for transport in Transport::ALL {
        let variable = format!("GALGO_{}_ADDRESS", transport.section().to_uppercase());
        command.env(variable, addresses.of(transport).to_string());
    }
    command
        .args(["server", "--data-dir"])
        .arg(home.join("data"))
        .env("GALGO_ROOT_USERNAME", USERNAME)
        .env("GALGO_ROOT_PASSWORD", PASSWORD)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))
}

/// The addresses in the readiness file, once it is there in full.
fn bound_addresses(file: &Path) -> Option<Addresses> {
    let config: toml::Table = fs::read_to_string(file).ok()?.parse().ok()?;
    let mut addresses = Addresses::any();
    for transport in Transport::ALL {
        let section = config.get(transport.section())?;
        addresses.0[transport as usize] = section.get("address")?.as_str()?.parse().ok()?;
    }
    Some(addresses)
}
