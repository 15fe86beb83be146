//! The measured processes: a server or a bare program of their own, on a port of their own.
//!
//! A started process is ended when its handle is dropped, and its data goes with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use galgo::Durability;
use rustix::process::Signal;

use crate::error::{BenchError, Outcome};
use crate::scratch::Scratch;

/// Longest wait for a process to be ready.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks at the file that says that the server is ready.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
const _: () = assert!(
    LOOK_PAUSE.as_millis() * 100 < START_WAIT_MAX.as_millis(),
    "a server that starts is looked for often"
);

/// Where the server writes its effective configuration when it is ready.
const READY_FILE: &str = "runtime/current_config.toml";

/// The one port a started server listens on.
#[derive(Clone, Copy, Debug)]
pub struct OnePort {
    /// The section of the configuration: `tcp`, `quic` or `websocket`.
    pub section: &'static str,
    /// Whether it speaks TLS where it need not.
    pub tls: bool,
}

impl OnePort {
    /// Plain TCP.
    pub const TCP: Self = Self { section: "tcp", tls: false };
}

/// A server to be started.
#[derive(Clone, Copy, Debug)]
pub struct ProcessOptions<'a> {
    /// The program `galgo`.
    pub program: &'a Path,
    /// Where its data is.
    pub data_dir: &'a Path,
    /// What its acknowledgements promise where a topic does not say.
    pub durability: Durability,
    /// The one port it listens on.
    pub listener: OnePort,
    /// More settings, by the names of their environment variables.
    pub settings: &'a [(&'a str, &'a str)],
}

/// A running process that takes the load.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Process {
    /// Starts `galgo server --dev` and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or is not ready in time; the hint holds what it said.
    pub fn server(options: &ProcessOptions<'_>) -> Outcome<Self> {
        let ProcessOptions { program, data_dir, durability, listener, settings } = options;
        let ready = data_dir.join(READY_FILE);
        // Left from a start before; what it says is no longer true.
        let _ = std::fs::remove_file(&ready);
        let log = log_path(data_dir);
        let log_file = File::create(&log).map_err(|error| {
            BenchError::machine(format!("cannot create {}: {error}", log.display()))
        })?;
        let mut command = without_settings(program);
        command
            .args(["server", "--dev", "--http", "off", "--durability"])
            .arg(durability.to_string());
        for section in ["tcp", "quic", "websocket"] {
            let place = if section == listener.section { "127.0.0.1:0" } else { "off" };
            command.args([format!("--{section}"), place.to_owned()]);
        }
        if listener.tls {
            let name = format!("GALGO_{}_TLS_ENABLED", listener.section.to_ascii_uppercase());
            command.env(name, "true");
        }
        // Ctrl-C is for the bench, which needs its server a little longer.
        command.process_group(0);
        command.arg("--data-dir").arg(data_dir);
        command.envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file);
        let mut child = spawn(command)?;
        match wait_ready(&mut child, &ready, listener.section) {
            Ok(address) => Ok(Self { child, address }),
            Err(failure) => {
                end(&mut child);
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Err(failure.hint(format!("it said: {}", said.trim_end())))
            }
        }
    }

    /// Starts a bare program, which prints where it listens as the last word of its first line, and ends when its
    /// standard input does.
    ///
    /// # Errors
    /// It cannot be started, or does not say where it listens.
    pub fn bare(program: &Path, arguments: &[&str]) -> Outcome<Self> {
        let mut command = without_settings(program);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = spawn(command)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // An unreadable line is an empty one: the error below says it all.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        match line.trim().rsplit(' ').next().and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Self { child, address }),
            None => {
                end(&mut child);
                Err(BenchError::machine("the bare program did not say where it listens"))
            }
        }
    }

    /// Stops a server as an operator would, and waits for its end.
    ///
    /// # Errors
    /// It cannot be signalled or waited for.
    pub fn stop(mut self) -> Outcome {
        self.signal(Signal::TERM)?;
        self.child
            .wait()
            .map_err(|error| BenchError::machine(format!("cannot wait for a process: {error}")))?;
        Ok(())
    }

    /// Takes the processor from it until [`Process::thaw`], so that it costs others nothing.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn freeze(&self) -> Outcome {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn thaw(&self) -> Outcome {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Outcome {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal)
            .map_err(|error| BenchError::machine(format!("cannot signal a process: {error}")))
    }

    /// Memory the process holds, where the system tells.
    pub fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.id())
    }

    /// The most memory the process has held, where the system tells.
    pub fn peak_bytes(&self) -> Option<u64> {
        resident_bytes_max(self.id())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Memory that process `id` holds, where the system tells.
pub(crate) fn resident_bytes(id: u32) -> Option<u64> {
    memory(id, "VmRSS:")
}

/// The most memory it ever held.
pub(crate) fn resident_bytes_max(id: u32) -> Option<u64> {
    memory(id, "VmHWM:")
}

/// Processor time it has used.
pub(crate) fn cpu_time(id: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    cpu_ticks(&stat).map(|ticks| {
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    })
}

fn memory(id: u32, row: &str) -> Option<u64> {
    memory_bytes(&std::fs::read_to_string(format!("/proc/{id}/status")).ok()?, row)
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The data of a server is thrown away, so nothing is lost by ending it hard.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A size in `/proc/<pid>/status`.
fn memory_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// User and system time in the one line of `/proc/<pid>/stat`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name of the program comes in parentheses and may hold anything, so count from its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A program without the settings meant for the server of the user.
fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GALGO_") {
            command.env_remove(name);
        }
    }
    command
}

fn spawn(mut command: Command) -> Outcome<Child> {
    command.spawn().map_err(|error| BenchError::machine(format!("cannot start a process: {error}")))
}

/// The log lies beside the data directory, which belongs to the server alone.
fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}

fn wait_ready(child: &mut Child, ready: &Path, section: &str) -> Outcome<SocketAddr> {
    let deadline = Instant::now() + START_WAIT_MAX;
    while Instant::now() < deadline {
        let config = std::fs::read_to_string(ready).unwrap_or_default();
        if let Some(address) = bound_address(&config, section) {
            return Ok(address);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(BenchError::machine(format!("the server ended at its start: {status}")));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Err(BenchError::machine(format!(
        "the server was not ready after {} s",
        START_WAIT_MAX.as_secs()
    )))
}

fn bound_address(config: &str, section: &str) -> Option<SocketAddr> {
    let config: toml::Table = config.parse().ok()?;
    config.get(section)?.get("address")?.as_str()?.parse().ok()
}

/// A server with data of its own, both gone when dropped.
#[derive(Debug)]
pub struct FreshServer {
    // Dropped in this order: the process must be gone before its files are.
    /// The process.
    pub process: Process,
    _scratch: Scratch,
}

/// A server of its own to be started.
#[derive(Clone, Copy, Debug)]
pub struct FreshOptions<'a> {
    /// The program `galgo`.
    pub program: &'a Path,
    /// Where its data goes, in a directory of its own.
    pub dir: &'a Path,
    /// What its acknowledgements promise.
    pub durability: Durability,
    /// The one port it listens on.
    pub listener: OnePort,
}

impl FreshServer {
    /// Starts one.
    ///
    /// # Errors
    /// As [`Process::server`]; or there is no room for its data.
    pub fn start(options: &FreshOptions<'_>) -> Outcome<Self> {
        let FreshOptions { program, dir, durability, listener } = *options;
        let scratch = Scratch::create(dir)?;
        let data_dir = &scratch.path().join("data");
        // All connections of a bench come from one address.
        let settings = &[("GALGO_LIMITS_CONNECTIONS_PER_ADDRESS", "100000")];
        let options = ProcessOptions { program, data_dir, durability, listener, settings };
        let process = Process::server(&options)?;
        Ok(Self { process, _scratch: scratch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "17 (a) b c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("17"), None);
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\tgalgo\nVmHWM:\t   2048 kB\nVmRSS:\t    512 kB\n";
        assert_eq!(memory_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(memory_bytes(status, "VmRSS:"), Some(512 << 10));
        assert_eq!(memory_bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn the_bound_address_is_read_from_the_effective_configuration() {
        let config = "data_dir = \"x\"\n[tcp]\nenabled = true\naddress = \"127.0.0.1:41233\"\n";
        assert_eq!(bound_address(config, "tcp"), Some("127.0.0.1:41233".parse().unwrap()));
        assert_eq!(bound_address("[tcp]\naddress = \"127.0.0", "tcp"), None);
        assert_eq!(bound_address("", "tcp"), None);
    }
}
