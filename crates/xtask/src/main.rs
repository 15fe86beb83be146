//! `cargo xtask …`: the repository's own checks and chores.
//!
//! Nothing here is part of the product, and the product depends on nothing here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

mod bench;
mod cargo;
mod fuzz_tcp;
mod tidy;

const USAGE: &str = "\
usage: cargo xtask <task>

  tidy    check crate arrows, module headers and the packages in Cargo.lock;
          print the longest files and functions
  tidy --figures
          print those and other rulers: tuples as parameters, assertions, comments, answers with
          nothing, names of types; check nothing
  bench compare|connections [--only TEXT] [--seconds N] [--rounds N] [--dir DIR] [--output json]
          build a release and hold it against what this machine can do; bench --help has more
  fuzz-tcp [--frames N] [--seed S]
          send structured and random frames to a server's TCP port; 1,000,000 by default
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    if task.as_deref() == Some("fuzz-tcp") {
        return fuzz_tcp::run(arguments);
    }
    if task.as_deref() == Some("bench") {
        return bench::run(&repository_root()?, arguments);
    }
    let option = arguments.next();
    if (task.as_deref(), option.as_deref()) == (Some("tidy"), Some("--figures")) {
        return tidy::figures(&repository_root()?);
    }
    if let Some(extra) = option.or_else(|| arguments.next()) {
        bail!("unexpected argument `{extra}`\n\n{USAGE}");
    }
    match task.as_deref() {
        Some("tidy") => tidy::run(&repository_root()?),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => bail!("unknown task `{other}`\n\n{USAGE}"),
        None => bail!("no task given\n\n{USAGE}"),
    }
}

/// The folder that holds `crates/`, wherever cargo was called from.
fn repository_root() -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).context("xtask is not in crates/xtask")?;
    Ok(root.to_path_buf())
}
