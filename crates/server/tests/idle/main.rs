//! What an idle connection costs. In a process of its own, whose memory is measured.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use galgo_testkit::frames::Wire;
use galgo_testkit::server::TestServer;

/// Connections opened. Both ends of each are in this process, so it takes two descriptors.
const CONNECTIONS: u64 = 2000;

/// Most memory one may cost.
const BYTES_MAX: u64 = 32 << 10;

/// Bytes of this process in memory; the clients' ends are descriptors and nothing else.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn open_files_max() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}

/// P-BOUND.
#[test]
fn an_idle_connection_costs_little() {
    let connections = CONNECTIONS.min(open_files_max() / 4);
    let server = TestServer::start();
    let mut warm: Vec<Wire> = (0..50).map(|_| server.connect()).collect();
    warm.iter_mut().for_each(Wire::assert_in_step);
    let before = resident_bytes();
    let mut idle: Vec<Wire> = (0..connections).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(Wire::assert_in_step);
    let each = resident_bytes().saturating_sub(before) / connections;
    println!("{connections} connections, {each} bytes each");
    assert!(each < BYTES_MAX, "{each} bytes each");
}
