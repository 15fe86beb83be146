//! What we build of others: how many packages, from where, under which licenses.
//!
//! `deny.toml` is the one list; this reads from it what can be checked without a tool that takes
//! longer to build than the product. Security advisories are left to `cargo deny`.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::cargo;

mod license;

/// Packages `Cargo.lock` may list, our own included.
pub(super) const PACKAGES_MAX: usize = 405;

/// The one place packages may come from besides this repository.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every package of the lock file; returns how many there are.
pub(super) fn check(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<usize> {
    let rules: Table = fs::read_to_string(root.join("deny.toml"))?.parse().context("deny.toml")?;
    let allowed = texts(&rules, "licenses", "allow");
    let banned = texts(&rules, "bans", "deny");
    let packages = locked_packages(root)?;
    if packages.len() > PACKAGES_MAX {
        faults.push(format!(
            "Cargo.lock: {} packages, over the limit of {PACKAGES_MAX}",
            packages.len()
        ));
    }
    for package in &packages {
        // What cargo has nothing to say of is null.
        let text = |field: &str| package.get(field).and_then(Json::as_str).unwrap_or("");
        let (name, source, license) = (text("name"), text("source"), text("license"));
        if banned.contains(&name) {
            faults.push(format!("Cargo.lock: package `{name}` is banned by deny.toml"));
        }
        // Without a source it is one of ours.
        if !source.is_empty() && source != REGISTRY {
            faults.push(format!("Cargo.lock: package `{name}` comes from {source}"));
        }
        let excepted = exceptions(&rules, name);
        if !license::permits(license, &[allowed.as_slice(), &excepted].concat()) {
            faults.push(format!("Cargo.lock: deny.toml does not allow `{name}` under `{license}`"));
        }
    }
    Ok(packages.len())
}

/// The packages of the lock file as cargo describes them.
fn locked_packages(root: &Path) -> anyhow::Result<Vec<Json>> {
    let mut metadata = cargo::metadata(root, "--all-features")?;
    match metadata.get_mut("packages").map(Json::take) {
        Some(Json::Array(packages)) => Ok(packages),
        _ => bail!("cargo metadata lists no packages"),
    }
}

/// The licenses that are allowed for this package alone.
fn exceptions<'a>(rules: &'a Table, name: &str) -> Vec<&'a str> {
    let licenses = rules.get("licenses").and_then(|table| table.get("exceptions"));
    let items = licenses.and_then(Value::as_array).into_iter().flatten();
    items
        .filter(|item| item.get("crate").and_then(Value::as_str) == Some(name))
        .filter_map(|item| item.get("allow")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The texts of a list in a section; of tables in it, their `crate`.
fn texts<'a>(rules: &'a Table, section: &str, list: &str) -> Vec<&'a str> {
    let items = rules.get(section).and_then(|table| table.get(list)).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().or_else(|| item.get("crate")?.as_str()))
        .collect()
}
