//! Structured and random frames against the server's TCP port.
//!
//! A short run is part of the tests. For a long one:
//! `cargo xtask fuzz-tcp --frames 10000000 --seed 7`
//!
//! Every request has one answer, whatever it says, unless the connection is closed by one
//! that says so; after each round a PING is answered in its turn.
//! Memory does not grow with the number of frames.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod frames;
mod numbers;
mod round;

use std::net::SocketAddr;
use std::time::Instant;

use galgo_server::{Environment, Overrides, Server, ServerOptions};

use crate::numbers::Numbers;

/// Frames of the run that is part of the tests.
const FRAMES: u64 = 20_000;

/// Connections that send at the same time.
const CLIENTS: u64 = 4;

/// Growth between the first part of a run and its end that is not for the number of frames: caches,
/// buffers of the allocator, open files.
const GROWTH_BYTES_MAX: u64 = 128 << 20;

const USERNAME: &str = "fuzz";
const PASSWORD: &str = "fuzz-secret";

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

fn start(dir: &std::path::Path) -> Server {
    let variables = [
        ("GALGO_ROOT_USERNAME", USERNAME),
        ("GALGO_ROOT_PASSWORD", PASSWORD),
        ("GALGO_TCP_ADDRESS", "127.0.0.1:0"),
        ("GALGO_QUIC_ENABLED", "false"),
        ("GALGO_WEBSOCKET_ENABLED", "false"),
        ("GALGO_HTTP_ENABLED", "false"),
        ("GALGO_LOG_LEVEL", "error"),
        ("GALGO_STORAGE_DURABILITY", "os"),
        ("GALGO_STORAGE_JOURNAL_FILE_BYTES", "1 MiB"),
        // Guessing at logins is slowed elsewhere; here it would only take time.
        ("GALGO_LOGIN_FREE_FAILURES", "1000000"),
        ("GALGO_LOGIN_FAILURES_MAX", "1000000"),
    ];
    let overrides = Overrides { data_dir: Some(dir.join("data")), ..Default::default() };
    let options = ServerOptions { overrides, ..Default::default() };
    Server::start(options, variables.into_iter().collect::<Environment>()).unwrap()
}

/// Bytes of this process in memory; the server is part of it.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Sends about `frames` frames over some connections; returns how many answers came.
fn run(address: SocketAddr, frames: u64, seed: u64) -> u64 {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let numbers = Numbers::new(seed.wrapping_mul(CLIENTS).wrapping_add(client));
                scope.spawn(move || round::rounds(address, numbers, frames / CLIENTS))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

/// P-BOUND.
#[test]
fn no_frame_brings_it_out_of_step() {
    let frames = number("FUZZ_FRAMES", FRAMES);
    let seed = number("FUZZ_SEED", 1);
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let address = server.tcp_address().unwrap();
    let begun = Instant::now();
    let first = frames / 5;
    let mut answers = run(address, first, seed);
    let warm = resident_bytes();
    answers += run(address, frames - first, seed ^ (1 << 60));
    let end = resident_bytes();
    println!(
        "seed {seed}: {answers} answers in {:?}, memory {} KiB, then {} KiB",
        begun.elapsed(),
        warm >> 10,
        end >> 10
    );
    assert!(answers >= frames - frames / 20, "{answers} answers");
    assert!(end < warm + GROWTH_BYTES_MAX, "memory grew from {warm} to {end} bytes");
    server.stop().unwrap();
}
