//! `cargo xtask tidy`: fails on what a reader cannot see in a diff, reports what only a reader can judge.
//!
//! It fails on a crate arrow that points the wrong way, on a module without its `//!` header, on an invariant without its
//! row in the register or without a test, and on
//! packages of others that are too many or that `deny.toml` does not let in. The longest files and
//! functions are printed and fail nothing, and so are other rulers when they are asked for.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

mod arrows;
mod figures;
mod headers;
mod invariants;
mod longest;
mod map;
mod mask;
mod packages;
mod source;

/// Prints the rulers of the repository at `root`.
pub(crate) fn figures(root: &Path) -> anyhow::Result<ExitCode> {
    let sources = source::collect(root).context("reading the Rust sources")?;
    longest::report(&sources);
    figures::report(&sources);
    Ok(ExitCode::SUCCESS)
}

/// Runs every check on the repository at `root` and prints what it found.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let sources = source::collect(root).context("reading the Rust sources")?;
    let mut faults = Vec::new();
    let crates = arrows::check(root, &mut faults).context("reading the crates' manifests")?;
    headers::check(&sources, &mut faults);
    let names = invariants::check(root, &sources, &mut faults).context("reading the invariants")?;
    map::check(root, &sources, &mut faults).context("comparing the map")?;
    let packages = packages::check(root, &mut faults).context("reading the packages")?;

    longest::report(&sources);
    println!(
        "tidy: {crates} crates, {} Rust files, {names} promises and invariants, {packages} packages in Cargo.lock (limit {})",
        sources.len(),
        packages::PACKAGES_MAX,
    );
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} fault(s)", faults.len());
    Ok(ExitCode::FAILURE)
}
