//! How much memory this process may have, and what of it requests and answers get.
//!
//! A container's limit is often far below what the machine has. Whoever takes more is killed, with everything
//! that is in progress; so budgets that nobody chose are made to fit.
//!
//! What nobody chose fits together: a request in the share of its user, that in the share of all.

use std::path::{Path, PathBuf};

use galgo_broker::COLD_PIECE_BYTES_MAX;
use galgo_wire::limits::CONTROL_PAYLOAD_BYTES_MAX;
use rustix::process::{Resource, getrlimit};

use crate::config::{ByteSize, Limits, Loaded};

/// What the server needs besides: its code and threads, the cache of indexes, two password hashes.
pub(crate) const FIXED_BYTES: u64 = 92 << 20;

/// Least memory for requests being received.
const IN_FLIGHT_BYTES_MIN: u64 = 16 << 20;

/// Least memory for answers.
pub(crate) const ANSWER_BYTES_MIN: u64 = 8 << 20;

/// Least memory for peers that are not logged in.
pub(crate) const ANONYMOUS_BYTES_MIN: u64 = 4 << 20;
const _: () = assert!(
    ANONYMOUS_BYTES_MIN <= ANSWER_BYTES_MIN && ANSWER_BYTES_MIN <= IN_FLIGHT_BYTES_MIN,
    "where memory is short, strangers have the least of it"
);
const _: () = assert!(
    IN_FLIGHT_BYTES_MIN >= CONTROL_PAYLOAD_BYTES_MAX as u64,
    "INV-LAST-RESORT: the largest request that is not a send can be received anyway"
);
const _: () = assert!(
    COLD_PIECE_BYTES_MAX <= ANSWER_BYTES_MIN,
    "INV-ANSWER-MEMORY: where memory is short, a piece of an answer is read all the same"
);

/// A limit of memory, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MemoryLimit {
    bytes: u64,
    of: &'static str,
}

/// Lowers what nobody chose of `limits.in_flight_bytes`, `in_flight_bytes_per_user`, `request_bytes`,
/// `answer_bytes` and `anonymous_bytes` to what fits in the memory of the machine, the control group, and the address space.
pub(crate) fn fit(loaded: &mut Loaded) {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let Some(memory) = memory(read, getrlimit(Resource::As).current) else { return };
    let body = loaded.config.http.max_request_size.0;
    let origins = &loaded.origins;
    let is_chosen = |key: &str| origins.of(&format!("limits.{key}")).is_some();
    let before = loaded.config.limits.clone();
    lower(&mut loaded.config.limits, body, memory.bytes, is_chosen);
    let limits = &loaded.config.limits;
    if *limits != before {
        tracing::info!(
            memory_bytes = memory.bytes,
            memory_of = memory.of,
            in_flight_bytes = limits.in_flight_bytes.0,
            request_bytes = limits.request_bytes.0,
            answer_bytes = limits.answer_bytes.0,
            "limits lowered to fit in memory"
        );
    }
    if limits.in_flight_bytes.0.saturating_add(limits.answer_bytes.0) > memory.bytes {
        tracing::warn!(
            memory_bytes = memory.bytes,
            memory_of = memory.of,
            next = "lower limits.in_flight_bytes and limits.answer_bytes, or give it more",
            "requests and answers may take more memory than there is"
        );
    }
}

fn lower(limits: &mut Limits, body: u64, memory: u64, is_chosen: impl Fn(&str) -> bool) {
    // Where there is very little, a part of it all the same.
    let free = memory.saturating_sub(FIXED_BYTES).max(memory / 4);
    let all = (free / 2).max(IN_FLIGHT_BYTES_MIN);
    let lower = |key: &str, size: &mut ByteSize, to: u64, least: u64| {
        if !is_chosen(key) {
            size.0 = size.0.min(to.max(least));
        }
    };
    lower("request_bytes", &mut limits.request_bytes, all / 4, 0);
    let request = limits.request_bytes.0;
    lower("in_flight_bytes_per_user", &mut limits.in_flight_bytes_per_user, all / 2, request);
    let least = request.max(body).max(CONTROL_PAYLOAD_BYTES_MAX.into());
    lower("in_flight_bytes", &mut limits.in_flight_bytes, all, least);
    lower("answer_bytes", &mut limits.answer_bytes, free / 4, ANSWER_BYTES_MIN);
    lower("anonymous_bytes", &mut limits.anonymous_bytes, free / 8, ANONYMOUS_BYTES_MIN);
}

/// The smallest of all limits that can be found; files are read with `read`.
fn memory(
    read: impl Fn(&Path) -> Option<String>,
    address_space: Option<u64>,
) -> Option<MemoryLimit> {
    let machine = machine(&read).map(|bytes| MemoryLimit { bytes, of: "the machine" });
    let group = group(&read).map(|bytes| MemoryLimit { bytes, of: "the control group" });
    // Stacks and what the allocator keeps for later take addresses without taking memory.
    let space =
        address_space.map(|bytes| MemoryLimit { bytes: bytes / 2, of: "half the address space" });
    [machine, group, space].into_iter().flatten().min_by_key(|memory| memory.bytes)
}

fn machine(read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let text = read(Path::new("/proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The limit of the control group, of whichever version, and of those it is in.
fn group(read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let below = Path::new(path.trim_start_matches('/'));
        // In a container the path may be that of the host, of which only the root is there.
        let places = below.ancestors().map(|part| PathBuf::from(root).join(part).join(file));
        let bytes = places.filter_map(|place| read(&place)?.trim().parse::<u64>().ok());
        bytes.collect()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const MIB: u64 = 1 << 20;

    fn files(known: &'static [(&'static str, &'static str)]) -> impl Fn(&Path) -> Option<String> {
        move |path| {
            let found = known.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemFree: 1 kB\nMemTotal:        2048 kB\n");

    #[test]
    fn the_smallest_limit_counts() {
        let v2 = files(&[
            MEMINFO,
            ("/proc/self/cgroup", "0::/system.slice/galgo.service\n"),
            ("/sys/fs/cgroup/system.slice/galgo.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1048576\n"),
        ]);
        let of_group = Some(MemoryLimit { bytes: MIB, of: "the control group" });
        assert_eq!(memory(&v2, None), of_group);
        assert_eq!(memory(&v2, Some(4 * MIB)), of_group);
        assert_eq!(memory(&v2, Some(MIB)).unwrap().bytes, MIB / 2);
        let v1 = files(&[
            MEMINFO,
            ("/proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/1f\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "524288\n"),
        ]);
        assert_eq!(memory(v1, None).unwrap().bytes, MIB / 2);
        let none = files(&[MEMINFO, ("/proc/self/cgroup", "0::/\n")]);
        assert_eq!(memory(none, None), Some(MemoryLimit { bytes: 2 * MIB, of: "the machine" }));
        assert_eq!(memory(|_: &Path| None, None), None);
    }

    #[test]
    fn a_large_machine_changes_nothing() {
        let mut limits = Config::default().limits;
        lower(&mut limits, 2 * MIB, 2048 * MIB, |_| false);
        assert_eq!(limits, Config::default().limits);
    }

    /// In a container of 256 MiB the defaults gave requests 512 MiB and answers 256 MiB: a few clients were enough
    /// to have the process killed.
    #[test]
    fn budgets_fit_in_what_there_is() {
        for mib in [32, 64, 128, 256, 512, 1024] {
            let mut limits = Config::default().limits;
            lower(&mut limits, 2 * MIB, mib * MIB, |_| false);
            let (all, user) = (limits.in_flight_bytes.0, limits.in_flight_bytes_per_user.0);
            assert!(limits.request_bytes.0 <= user && user <= all, "{mib}: {limits:?}");
            if mib >= 128 {
                let others = limits.answer_bytes.0 + limits.anonymous_bytes.0;
                let taken = all + others + FIXED_BYTES;
                assert!(taken <= mib * MIB, "{mib}: {limits:?}");
            }
        }
    }

    #[test]
    fn what_was_chosen_stays_and_the_rest_fits_to_it() {
        let mut limits = Config::default().limits;
        limits.request_bytes = ByteSize(100 * MIB);
        lower(&mut limits, 2 * MIB, 128 * MIB, |key| key == "request_bytes");
        assert_eq!(limits.request_bytes.0, 100 * MIB);
        assert_eq!(limits.in_flight_bytes.0, 100 * MIB);
        assert_eq!(limits.in_flight_bytes_per_user.0, 100 * MIB);
    }
}
