//! Which crate may use which: the layering of the workspace, as a list that fails the build.
//!
//! ARROWS: dependencies go one way, from the process down to the bytes. A crate that is not listed
//! here is a fault too, so that a new crate gets its place by decision and not by accident.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use toml::{Table, Value};

/// Folder of a crate, and the folders of the crates its product code may use.
///
/// Tests (`dev-dependencies`) may use more: a server test drives the server with the SDK, a crash
/// test of storage uses its simulated disk.
const ARROWS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("storage", &["wire"]),
    ("broker", &["wire", "storage"]),
    ("console", &[]),
    ("kafka", &["wire", "storage", "broker"]),
    ("replica", &["wire", "storage", "broker"]),
    ("server", &["wire", "storage", "broker", "console", "kafka", "replica"]),
    ("client", &["wire"]),
    ("decode", &["wire"]),
    ("jq", &["decode"]),
    ("connect", &["wire", "client", "decode", "jq"]),
    ("bench", &["wire", "client"]),
    ("judge", &["wire", "client", "bench"]),
    ("cli", &["wire", "client", "bench", "connect", "server"]),
    ("sim", &["wire", "storage", "broker", "server", "client", "kafka", "replica"]),
    ("testkit", &["wire", "storage", "broker", "server", "client"]),
    ("xtask", &["wire"]),
];

/// Checks the manifest of every folder in `crates/`; returns how many there are.
pub(super) fn check(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<usize> {
    for (place, (name, allowed)) in ARROWS.iter().enumerate() {
        let above = |used: &&str| ARROWS.iter().take(place).any(|(other, _)| other == used);
        assert!(
            allowed.iter().all(above),
            "{name}: arrows lead up the list, so there is no circle"
        );
    }
    let workspace = manifest(&root.join("Cargo.toml"))?;
    let crates = manifests(root)?;
    let folder_of: BTreeMap<&str, &str> = crates
        .iter()
        .filter_map(|(folder, manifest)| Some((package_name(manifest)?, folder.as_str())))
        .collect();

    for (folder, manifest) in &crates {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == folder) else {
            faults.push(format!(
                "crates/{folder}: not in the list of arrows (xtask/src/tidy/arrows.rs)"
            ));
            continue;
        };
        for used in product_dependencies(manifest, &workspace) {
            let Some(target) = folder_of.get(used.as_str()) else { continue };
            if target != folder && !allowed.contains(target) {
                faults.push(format!(
                    "crates/{folder}: may not use crates/{target} (package `{used}`); it may use: {}",
                    if allowed.is_empty() { "none of our crates".to_owned() } else { allowed.join(", ") },
                ));
            }
        }
    }
    Ok(crates.len())
}

fn manifests(root: &Path) -> anyhow::Result<BTreeMap<String, Table>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let path = entry?.path();
        let file = path.join("Cargo.toml");
        if let Some(folder) = path.file_name().and_then(|name| name.to_str())
            && file.is_file()
        {
            found.insert(folder.to_owned(), manifest(&file)?);
        }
    }
    if found.is_empty() {
        bail!("no crate found under {}", root.join("crates").display());
    }
    Ok(found)
}

fn manifest(path: &Path) -> anyhow::Result<Table> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

fn package_name(manifest: &Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

/// Package names the product code of a crate asks for, with `package = ".."` and the workspace's
/// own renames resolved, so that an alias cannot hide an arrow.
fn product_dependencies(manifest: &Table, workspace: &Table) -> Vec<String> {
    let shared = workspace.get("workspace").and_then(|table| table.get("dependencies"));
    let per_target = manifest.get("target").and_then(Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(per_target.into_iter().flat_map(|all| all.values()).filter_map(Value::as_table));

    let mut names = Vec::new();
    for table in tables {
        for section in ["dependencies", "build-dependencies"] {
            let Some(entries) = table.get(section).and_then(Value::as_table) else { continue };
            for (alias, entry) in entries {
                let inherited = entry.get("workspace").and_then(Value::as_bool) == Some(true);
                let source =
                    if inherited { shared.and_then(|all| all.get(alias)) } else { Some(entry) };
                let renamed = source.and_then(|it| it.get("package")).and_then(Value::as_str);
                names.push(renamed.unwrap_or(alias).to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(manifest: &str) -> Vec<String> {
        let workspace = "[workspace.dependencies]\nshort = { path = 'x', package = 'galgo-wire' }";
        product_dependencies(&manifest.parse().unwrap(), &workspace.parse().unwrap())
    }

    #[test]
    fn an_alias_does_not_hide_the_package() {
        assert_eq!(used("[dependencies]\na = { path = '../b', package = 'b' }"), ["b"]);
        assert_eq!(used("[dependencies]\nshort = { workspace = true }"), ["galgo-wire"]);
        assert_eq!(used("[dependencies]\nplain = '1.0'"), ["plain"]);
    }

    #[test]
    fn build_and_target_dependencies_count_and_dev_dependencies_do_not() {
        let manifest = "[target.'cfg(unix)'.dependencies]\nt = '1'\n[build-dependencies]\nb = '1'\n\
                        [dev-dependencies]\nd = '1'";
        let mut names = used(manifest);
        names.sort();
        assert_eq!(names, ["b", "t"]);
    }

    #[test]
    fn the_list_itself_has_no_cycle() {
        fn reaches(from: &str, to: &str) -> bool {
            let (_, below) = ARROWS.iter().find(|(name, _)| *name == from).unwrap();
            below.iter().any(|next| *next == to || reaches(next, to))
        }
        for (name, _) in ARROWS {
            assert!(!reaches(name, name), "{name} reaches itself");
        }
    }
}
