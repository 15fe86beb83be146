//! `cargo xtask bench`: builds the server and its judge in release, and runs the judge.
//!
//! The judge is a program of its own, so that the other tasks need not wait for what it is linked with.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cargo;

/// Runs the judge with `arguments`, whose first says what to measure.
pub(crate) fn run(
    root: &Path,
    arguments: impl Iterator<Item = String>,
) -> anyhow::Result<ExitCode> {
    // First the server as a user builds it, with the features of nothing else.
    build(root, &[])?;
    build(root, &["--package", "galgo-judge"])?;
    let release = target_directory(root)?.join("release");
    let status = Command::new(release.join("galgo-judge"))
        .args(arguments)
        .status()
        .context("galgo-judge cannot be started")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let built = cargo::command(root)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(packages)
        .status()
        .context("cargo cannot be started")?;
    if !built.success() {
        bail!("the build failed");
    }
    Ok(())
}

/// Where cargo builds to, whoever configured it.
fn target_directory(root: &Path) -> anyhow::Result<PathBuf> {
    let metadata = cargo::metadata(root, "--no-deps")?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(directory.context("cargo metadata names no target directory")?.into())
}
