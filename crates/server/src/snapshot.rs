//! What a snapshot archive tells of this process and its machine.
//!
//! Of other processes only names and numbers are told, never arguments or environment;
//! the configuration is told as the runtime file has it, with secrets left out.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use galgo_broker::snapshot::SnapshotSources;
use galgo_wire::command::SnapshotKind;

use crate::telemetry::recent;

/// Most files and directories listed.
const LISTED_MAX: usize = 20_000;
/// Most processes listed.
const PROCESSES_MAX: usize = 10_000;

/// Reads `/proc` and the data directory.
pub(crate) struct Machine {
    /// The data directory.
    pub(crate) data_dir: PathBuf,
}

impl SnapshotSources for Machine {
    fn read(&self, kind: SnapshotKind) -> io::Result<Vec<u8>> {
        match kind {
            SnapshotKind::FilesystemOverview => Ok(self.files().into_bytes()),
            SnapshotKind::ProcessList => processes().map(String::into_bytes),
            SnapshotKind::ResourceUsage => Ok(resources().into_bytes()),
            SnapshotKind::ServerLogs => Ok(recent::lines()),
            SnapshotKind::ServerConfig => {
                let path = self.data_dir.join("runtime").join("current_config.toml");
                fs::read_to_string(path).map(|text| without_secrets(&text).into_bytes())
            }
            SnapshotKind::Test | SnapshotKind::All => {
                Err(io::Error::from(io::ErrorKind::Unsupported))
            }
        }
    }
}

impl Machine {
    /// Every file of the data directory with its size, and what is mounted where.
    fn files(&self) -> String {
        let mut text = format!("data directory {}\n\n", self.data_dir.display());
        let mut waiting = vec![self.data_dir.clone()];
        let mut listed = 0;
        while let Some(dir) = waiting.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                listed += 1;
                if listed > LISTED_MAX {
                    text.push_str("... and more\n");
                    waiting.clear();
                    break;
                }
                // Links are not followed: they may lead out, or round.
                let Ok(found) = entry.metadata() else { continue };
                let path = entry.path();
                let shown = path.strip_prefix(&self.data_dir).unwrap_or(Path::new("")).display();
                let _ = writeln!(text, "{:>16} {shown}", found.len());
                if found.is_dir() {
                    waiting.push(path);
                }
            }
        }
        text.push_str("\nmounts\n\n");
        for line in fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines() {
            // Device, place and kind; the options behind them are nobody's business.
            let parts: Vec<&str> = line.split_whitespace().take(3).collect();
            let _ = writeln!(text, "{}", parts.join(" "));
        }
        text
    }
}

fn processes() -> io::Result<String> {
    let mut text = "     pid     ppid state  threads   rss_kib name\n".to_owned();
    let numbered = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.parse::<u32>().ok()
    });
    let mut pids: Vec<u32> = numbered.collect();
    pids.sort_unstable();
    for pid in pids.into_iter().take(PROCESSES_MAX) {
        // One that has ended meanwhile is left out.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()).unwrap_or("-")
        };
        let _ = writeln!(
            text,
            "{pid:>8} {:>8} {:>5} {:>8} {:>9} {}",
            field("PPid:"),
            field("State:"),
            field("Threads:"),
            field("VmRSS:"),
            field("Name:")
        );
    }
    Ok(text)
}

fn resources() -> String {
    let mut text = String::new();
    for path in [
        "/proc/loadavg",
        "/proc/uptime",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/self/status",
        "/proc/self/io",
        "/proc/self/limits",
        "/proc/pressure/cpu",
        "/proc/pressure/io",
        "/proc/pressure/memory",
    ] {
        // What this kernel does not have is left out.
        let Ok(content) = fs::read_to_string(path) else { continue };
        let _ = writeln!(text, "== {path}\n{content}");
    }
    text
}

/// The runtime file shows no secret; this holds whatever is added to it.
fn without_secrets(config: &str) -> String {
    let shown = config.lines().map(|line| {
        let Some((key, _)) = line.split_once('=') else { return line.to_owned() };
        let name = key.trim();
        let secret = !name.starts_with('#')
            && ["password", "secret", "token"].iter().any(|word| name.contains(word));
        let secret = secret
            || ["key", "keys"].contains(&name)
            || name.ends_with("_key")
            || name.ends_with("_keys");
        if secret { format!("{key}= \"(redacted)\"") } else { line.to_owned() }
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_of_the_configuration() {
        let text = "[jwt]\nencoding_secret = \"abc\"\nkey = \"abc\"\nkeys = [\"abc\"]\nexpiry = \"1h\"\n# password = 1";
        let shown = without_secrets(text);
        assert!(!shown.contains("abc"));
        assert!(shown.contains("expiry = \"1h\"") && shown.contains("# password = 1"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn tells_of_this_process_and_its_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a-file"), b"12345").unwrap();
        let machine = Machine { data_dir: dir.path().to_owned() };
        let text = |kind| String::from_utf8(machine.read(kind).unwrap()).unwrap();
        assert!(text(SnapshotKind::FilesystemOverview).contains("5 a-file"));
        assert!(text(SnapshotKind::ProcessList).contains(&std::process::id().to_string()));
        assert!(text(SnapshotKind::ResourceUsage).contains("VmRSS"));
        machine.read(SnapshotKind::ServerConfig).unwrap_err();
    }
}
