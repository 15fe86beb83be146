//! The cargo that runs this task, and what it tells of the workspace.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The cargo that runs this task.
pub(crate) fn command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// What `cargo metadata` says under the lock file, with one more flag.
pub(crate) fn metadata(root: &Path, flag: &str) -> anyhow::Result<Value> {
    let output = command(root)
        .args(["metadata", "--format-version", "1", "--locked", flag])
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}
