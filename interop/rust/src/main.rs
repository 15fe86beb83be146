//! Runs the classic Rust client, `iggy` 0.10.0, unchanged against a freshly started Galgo server.
//!
//! Usage: `GALGO_BIN=target/release/galgo galgo-interop [SCENARIO]…`; without names every scenario
//! runs, over each transport it is for, against a server of
//! its own on an empty data directory. Each check is a named step; the
//! last line is `N passed, N failed`, and the exit code is 1 when a step failed.

use std::env;
use std::process::ExitCode;

use checks::Checks;
use scenario::{SCENARIOS, Scenario};
use server::{Server, Transport};

mod checks;
mod client;
mod raw;
mod scenario;
mod server;

// One thread: a consumer of the classic client hears of its connection's beginning once more when it is
// initialized, in a task of its own, and forgets then that it has joined its group. It never polls again if
// that task runs late. On one thread it runs before the answer to the join can.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let known = || SCENARIOS.iter().map(|scenario| scenario.name);
    if let Some(name) = wanted.iter().find(|name| !known().any(|it| it == name.as_str())) {
        let names: Vec<&str> = known().collect();
        eprintln!("no scenario `{name}`; there are: {}", names.join(", "));
        return Ok(ExitCode::from(2));
    }

    let mut checks = Checks::default();
    for scenario in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|it| it == scenario.name) {
            continue;
        }
        for &transport in scenario.transports {
            run(scenario, transport, &mut checks).await?;
        }
    }
    println!("{} passed, {} failed", checks.passed(), checks.failed());
    Ok(if checks.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(scenario: &Scenario, transport: Transport, checks: &mut Checks) -> anyhow::Result<()> {
    let failed_before = checks.failed();
    checks.enter(scenario.name, transport.section());
    let settings = scenario.settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let mut server = Server::start(scenario.name, transport, settings.collect())?;
    let ended = checks::scenario((scenario.run)(&mut server, checks)).await;
    checks.record("the scenario runs to its end", ended);
    checks.record("the server stops cleanly on SIGTERM", server.stop());
    if checks.failed() > failed_before {
        server.print_log();
    }
    Ok(())
}
