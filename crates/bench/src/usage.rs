//! What server and client spend during the counted time, as far as the system tells.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::{cpu_time, resident_bytes, resident_bytes_max};

/// What a process spent.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Usage {
    /// Processor time.
    pub cpu_seconds: f64,
    /// The same for each gigabyte of payload sent and received; none without payload.
    pub cpu_seconds_per_gb: Option<f64>,
    /// The same for each request answered.
    pub cpu_us_per_request: Option<f64>,
    /// The most memory it held.
    pub peak_resident_bytes: u64,
}

/// Watches one process.
#[derive(Debug)]
pub(crate) struct ProcessWatch {
    id: u32,
    begun: Option<Mark>,
    ended: Option<Mark>,
    resident_max: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    cpu: Duration,
    resident_ever: u64,
}

impl ProcessWatch {
    /// Watches process `id`.
    pub(crate) fn new(id: u32) -> Self {
        Self { id, begun: None, ended: None, resident_max: 0 }
    }

    /// The counted time begins.
    pub(crate) fn begin(&mut self) {
        self.begun = self.mark();
        self.look();
    }

    /// Some of the counted time has passed.
    pub(crate) fn look(&mut self) {
        self.resident_max = self.resident_max.max(resident_bytes(self.id).unwrap_or(0));
    }

    /// The counted time ends.
    pub(crate) fn end(&mut self) {
        self.look();
        self.ended = self.mark();
    }

    fn mark(&self) -> Option<Mark> {
        let resident_ever = resident_bytes_max(self.id).unwrap_or(0);
        cpu_time(self.id).map(|cpu| Mark { cpu, resident_ever })
    }

    /// What it spent on `bytes` of payload in so many requests.
    pub(crate) fn usage(&self, bytes: u64, requests: u64) -> Option<Usage> {
        let (begun, ended) = (self.begun?, self.ended?);
        let cpu_seconds = ended.cpu.saturating_sub(begun.cpu).as_secs_f64();
        // The clock of the system ticks a hundred times a second; less than a tick is not nothing.
        let seen = cpu_seconds > 0.0;
        // A peak between two looks is known if it was the highest ever.
        let is_highest = ended.resident_ever > begun.resident_ever;
        let between = if is_highest { ended.resident_ever } else { 0 };
        Some(Usage {
            cpu_seconds,
            cpu_seconds_per_gb: (seen && bytes > 0).then(|| cpu_seconds / (bytes as f64 / 1e9)),
            cpu_us_per_request: (seen && requests > 0).then(|| cpu_seconds * 1e6 / requests as f64),
            peak_resident_bytes: self.resident_max.max(between),
        })
    }
}

/// Whether process `id` of this machine is the one that listens on `port`. A server behind a tunnel, or in a
/// container, has a number that may be anybody's here.
pub(crate) fn listens(id: u32, port: u16) -> bool {
    let sockets: BTreeSet<String> = ["tcp", "tcp6", "udp", "udp6"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(Path::new("/proc/net").join(table)).ok())
        .flat_map(|table| listeners(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let Ok(files) = std::fs::read_dir(format!("/proc/{id}/fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|link| sockets.contains(link.to_string_lossy().as_ref()))
}

/// The inodes of the sockets in a table of `/proc/net` that listen on `port`.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, local_port) = local.rsplit_once(':')?;
        // 0A: a listening TCP socket; 07: a UDP socket of no peer.
        let is_listener =
            u16::from_str_radix(local_port, 16) == Ok(port) && matches!(*state, "0A" | "07");
        is_listener.then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_by_their_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F9A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41237 1 0 100 0 0 10 0
   1: 0100007F:1F9A 0100007F:D2A4 01 00000000:00000000 00:00000000 00000000     0        0 41238 1 0 100 0 0 10 0
   2: 0100007F:1F9B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41239 1 0 100 0 0 10 0
";
        assert_eq!(listeners(table, 8090), ["41237"]);
        assert_eq!(listeners("", 8090), Vec::<String>::new());
    }

    #[test]
    fn this_process_listens_where_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }

    #[test]
    fn usage_needs_a_begin_and_an_end() {
        let mut watch = ProcessWatch::new(std::process::id());
        assert_eq!(watch.usage(1, 1), None);
        watch.begin();
        watch.end();
        watch.ended.as_mut().unwrap().cpu = watch.begun.unwrap().cpu + Duration::from_secs(2);
        let usage = watch.usage(1_000_000_000, 1_000_000).unwrap();
        assert!(usage.peak_resident_bytes > 0);
        assert_eq!((usage.cpu_seconds_per_gb, usage.cpu_us_per_request), (Some(2.0), Some(2.0)));
        assert_eq!(watch.usage(0, 0).unwrap().cpu_seconds_per_gb, None);
        watch.ended = watch.begun;
        let usage = watch.usage(1_000_000_000, 1_000_000).unwrap();
        assert_eq!((usage.cpu_seconds_per_gb, usage.cpu_us_per_request), (None, None));
    }
}
