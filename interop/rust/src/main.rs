//! Runs the classic Rust client, `iggy` 0.10.0, unchanged against a freshly started Galgo server.
//!
//! Usage: `GALGO_BIN=target/release/galgo galgo-interop [SCENARIO]…`; without names every scenario
//! runs, each against a server of its own on an empty data directory. Each check is a named step; the
//! last line is `N passed, N failed`, and the exit code is 1 when a step failed.

use std::env;
use std::process::ExitCode;

use checks::Checks;
use server::Server;

mod checks;
mod client;
mod raw;
mod scenario;
mod server;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let unknown = wanted.iter().find(|name| !scenario::NAMES.contains(&name.as_str()));
    if let Some(name) = unknown {
        eprintln!("no scenario `{name}`; there are: {}", scenario::NAMES.join(", "));
        return Ok(ExitCode::from(2));
    }

    let mut checks = Checks::default();
    for &name in scenario::NAMES {
        if !wanted.is_empty() && !wanted.iter().any(|it| it == name) {
            continue;
        }
        let failed_before = checks.failed();
        checks.enter(name);
        let mut server = Server::start(name)?;
        let ended = checks::scenario(scenario::run(name, &mut server, &mut checks)).await;
        checks.record("the scenario runs to its end", ended);
        checks.record("the server stops cleanly on SIGTERM", server.stop());
        if checks.failed() > failed_before {
            server.print_log();
        }
    }
    println!("{} passed, {} failed", checks.passed(), checks.failed());
    Ok(if checks.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
