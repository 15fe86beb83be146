//! What the operating system says of this process and machine, from `/proc` where there is one.
//! Values that cannot be read are 0 or empty; nothing here is worth failing for.

use galgo_storage::lock::{Ranked, rank};
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// Clock ticks per second in `/proc`: fixed by the kernel's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading of the process and its machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// Percent of one core since the last reading.
    pub cpu_percent: f32,
    /// Percent of all cores since the last reading.
    pub total_cpu_percent: f32,
    /// Resident bytes.
    pub memory_bytes: u64,
    /// Bytes of memory in the machine.
    pub total_memory_bytes: u64,
    /// Bytes of memory that could still be used.
    pub available_memory_bytes: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
    /// Threads of the process.
    pub threads: u32,
    /// Free bytes of the volume with the data.
    pub free_disk_bytes: u64,
    /// Size of the volume with the data.
    pub total_disk_bytes: u64,
}

/// Names of the machine and its system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemNames {
    /// The machine's name.
    pub hostname: String,
    /// The system's name.
    pub os_name: String,
    /// The system's version.
    pub os_version: String,
    /// The kernel's version.
    pub kernel_version: String,
}

/// Reads processor use as the difference between two readings.
#[derive(Debug, Default)]
pub struct ProcessReader {
    last: Ranked<{ rank::PROCESS }, CpuReading>,
}

#[derive(Clone, Copy, Debug, Default)]
struct CpuReading {
    at_us: u64,
    process_ticks: u64,
    machine_busy_ticks: u64,
    machine_ticks: u64,
}

impl ProcessReader {
    /// Reads everything; `now_us` is monotonic, `data_dir` tells the volume.
    #[must_use]
    pub fn read(&self, now_us: u64, data_dir: &Path) -> ProcessStats {
        let (cpu_percent, total_cpu_percent) = self.read_cpu(now_us);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let (free_disk_bytes, total_disk_bytes) = volume(data_dir);
        ProcessStats {
            cpu_percent,
            total_cpu_percent,
            memory_bytes: field::<u64>(&status, "VmRSS:").saturating_mul(1024),
            total_memory_bytes: field::<u64>(&memory, "MemTotal:").saturating_mul(1024),
            available_memory_bytes: field::<u64>(&memory, "MemAvailable:").saturating_mul(1024),
            read_bytes: field(&io, "read_bytes:"),
            written_bytes: field(&io, "write_bytes:"),
            threads: field(&status, "Threads:"),
            free_disk_bytes,
            total_disk_bytes,
        }
    }

    fn read_cpu(&self, now_us: u64) -> (f32, f32) {
        let (machine_busy_ticks, machine_ticks) = machine_ticks();
        let reading = CpuReading {
            at_us: now_us,
            process_ticks: process_ticks(),
            machine_busy_ticks,
            machine_ticks,
        };
        // In one step: of two who ask at the same time, each has the time since another reading.
        let before = std::mem::replace(&mut *self.last.lock(), reading);
        let seconds = now_us.saturating_sub(before.at_us) as f64 / 1e6;
        let used = reading.process_ticks.saturating_sub(before.process_ticks) as f64;
        let busy = reading.machine_busy_ticks.saturating_sub(before.machine_busy_ticks) as f64;
        let all = reading.machine_ticks.saturating_sub(before.machine_ticks) as f64;
        (percent(used / TICKS_PER_SECOND, seconds), percent(busy, all))
    }
}

impl SystemNames {
    /// Asks the system.
    #[must_use]
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let named = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        Self {
            hostname: uname.nodename().to_string_lossy().into_owned(),
            os_name: named("NAME=")
                .unwrap_or_else(|| uname.sysname().to_string_lossy().into_owned()),
            os_version: named("VERSION_ID=").unwrap_or_default(),
            kernel_version: uname.release().to_string_lossy().into_owned(),
        }
    }
}

fn percent(part: f64, whole: f64) -> f32 {
    if whole > 0.0 { (100.0 * part / whole) as f32 } else { 0.0 }
}

/// The first number behind `name` in a file of `/proc`.
fn field<T: FromStr + Default>(text: &str, name: &str) -> T {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn process_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; the fields behind it start with the state.
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    let ticks = |n: usize| fields.split_whitespace().nth(n).and_then(|text| text.parse().ok());
    ticks(11).unwrap_or(0u64).saturating_add(ticks(12).unwrap_or(0))
}

/// Busy and all ticks of the machine's cores.
fn machine_ticks() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else { return (0, 0) };
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (all.saturating_sub(idle), all)
}

/// Free and total bytes of the volume that holds `path`.
fn volume(path: &Path) -> (u64, u64) {
    rustix::fs::statvfs(path).map_or((0, 0), |volume| {
        (
            volume.f_bavail.saturating_mul(volume.f_frsize),
            volume.f_blocks.saturating_mul(volume.f_frsize),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn reads_this_process() {
        let stats = ProcessReader::default().read(1_000_000, Path::new("."));
        assert!(stats.memory_bytes > 1 << 20 && stats.memory_bytes < stats.total_memory_bytes);
        assert!(stats.threads >= 1);
        assert!(stats.total_disk_bytes >= stats.free_disk_bytes);
        assert!(!SystemNames::read().kernel_version.is_empty());
    }
}
