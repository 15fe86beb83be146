//! Keeps the number of packages we build, and must trust, under a limit.

use std::fs;
use std::path::Path;

/// Packages `Cargo.lock` may list, our own included.
pub(super) const PACKAGES_MAX: usize = 249;

/// Counts the packages in the lock file; one more than the limit is a fault.
pub(super) fn check(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<usize> {
    let text = fs::read_to_string(root.join("Cargo.lock"))?;
    let packages = text.lines().filter(|line| *line == "[[package]]").count();
    if packages > PACKAGES_MAX {
        faults.push(format!("Cargo.lock: {packages} packages, over the limit of {PACKAGES_MAX}"));
    }
    Ok(packages)
}
