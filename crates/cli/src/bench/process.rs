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

use rustix::process::Signal;

use crate::bench::scratch::Scratch;
use crate::failure::{Failure, Outcome};

/// Longest wait for a process to be ready.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks at the file that says that the server is ready.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// Where the server writes its effective configuration when it is ready.
const READY_FILE: &str = "runtime/current_config.toml";

/// The one port a started server listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    /// The section of the configuration: `tcp`, `quic` or `websocket`.
    pub(crate) section: &'static str,
    /// Whether it speaks TLS where it need not.
    pub(crate) tls: bool,
}

impl Listener {
    /// Plain TCP.
    pub(crate) const TCP: Self = Self { section: "tcp", tls: false };
}

/// A running process that takes the load.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts `galgo server --dev` over `data_dir`, with settings by the names of their environment variables,
    /// and waits until it is ready.
    pub(crate) fn server_with(
        data_dir: &Path,
        durability: &str,
        settings: &[(&str, &str)],
    ) -> Outcome<Self> {
        Self::serve(data_dir, durability, Listener::TCP, settings)
    }

    /// The same, with a listener that is not plain TCP.
    pub(crate) fn serve(
        data_dir: &Path,
        durability: &str,
        listener: Listener,
        settings: &[(&str, &str)],
    ) -> Outcome<Self> {
        let ready = data_dir.join(READY_FILE);
        // Left from a start before; what it says is no longer true.
        let _ = std::fs::remove_file(&ready);
        let log = log_path(data_dir);
        let log_file = File::create(&log)
            .map_err(|error| Failure::io(format!("cannot create {}: {error}", log.display())))?;
        let mut command = this_program()?;
        command.args(["server", "--dev", "--durability", durability, "--http", "off"]);
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

    /// Starts a bare program of this binary, which prints its address as its first line.
    pub(crate) fn bare(arguments: &[&str]) -> Outcome<Self> {
        let mut command = this_program()?;
        command.args(arguments).arg("--until-stdin-ends");
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
                Err(Failure::io("the bare program did not say where it listens"))
            }
        }
    }

    /// Stops a server as an operator would, and waits for its end.
    pub(crate) fn stop(mut self) -> Outcome {
        self.signal(Signal::TERM)?;
        self.child
            .wait()
            .map_err(|error| Failure::io(format!("cannot wait for a process: {error}")))?;
        Ok(())
    }

    /// Takes the processor from it until [`Process::thaw`], so that it costs others nothing.
    pub(crate) fn freeze(&self) -> Outcome {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) -> Outcome {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Outcome {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal)
            .map_err(|error| Failure::io(format!("cannot signal a process: {error}")))
    }

    /// Memory the process holds, where the system tells.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.id())
    }

    /// The most memory the process has held, where the system tells.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        resident_bytes_max(self.id())
    }

    /// Processor time the process has used, where the system tells.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        cpu_time(self.id())
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

/// This binary, without the settings meant for the server of the user.
fn this_program() -> Outcome<Command> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::io(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GALGO_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

fn spawn(mut command: Command) -> Outcome<Child> {
    command.spawn().map_err(|error| Failure::io(format!("cannot start a process: {error}")))
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
            return Err(Failure::io(format!("the server ended at its start: {status}")));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Err(Failure::io(format!("the server was not ready after {} s", START_WAIT_MAX.as_secs())))
}

fn bound_address(config: &str, section: &str) -> Option<SocketAddr> {
    let config: toml::Table = config.parse().ok()?;
    config.get(section)?.get("address")?.as_str()?.parse().ok()
}

/// A server with data of its own, both gone when dropped.
#[derive(Debug)]
pub(crate) struct FreshServer {
    // Dropped in this order: the process must be gone before its files are.
    pub(crate) process: Process,
    _scratch: Scratch,
}

impl FreshServer {
    /// Starts one with its data under `parent`.
    pub(crate) fn start(parent: &Path, durability: &str) -> Outcome<Self> {
        Self::listening(parent, durability, Listener::TCP)
    }

    /// The same, with a listener that is not plain TCP.
    pub(crate) fn listening(parent: &Path, durability: &str, listener: Listener) -> Outcome<Self> {
        let scratch = Scratch::create(parent)?;
        // All connections of a bench come from one address.
        let settings = [("GALGO_LIMITS_CONNECTIONS_PER_ADDRESS", "100000")];
        let data_dir = scratch.path().join("data");
        let process = Process::serve(&data_dir, durability, listener, &settings)?;
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
