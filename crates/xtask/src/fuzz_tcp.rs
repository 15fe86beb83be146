//! `cargo xtask fuzz-tcp`: the long run of the fuzzer that the server's tests run for a moment.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

/// Frames when nobody says how many.
const FRAMES: &str = "1000000";
const _: () = assert!(
    matches!(u64::from_str_radix(FRAMES, 10), Ok(1..)),
    "what is sent unless told otherwise is a number, as what is told"
);

/// Builds the fuzzer as people run the server, and runs it.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<ExitCode> {
    let (mut frames, mut seed) = (FRAMES.to_owned(), "1".to_owned());
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} takes a number"))?;
        value.parse::<u64>().with_context(|| format!("{option} {value}"))?;
        match option.as_str() {
            "--frames" => frames = value,
            "--seed" => seed = value,
            _ => bail!("unknown option {option}"),
        }
    }
    let status = Command::new("cargo")
        .args(["test", "--release", "--locked", "-p", "galgo-server", "--test", "fuzz"])
        .args(["--", "--nocapture"])
        .env("FUZZ_FRAMES", frames)
        .env("FUZZ_SEED", seed)
        .status()
        .context("starting cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
