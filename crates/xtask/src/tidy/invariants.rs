//! Every invariant has one meaning, a place that keeps it and a test that holds it: `docs/invariants.md` is true.
//!
//! The page has a row for each name. A name that is in no row, a row without a test that cites it or without code that
//! does, and a name that two modules define are faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::source::SourceFile;

const REGISTER: &str = "docs/invariants.md";

/// Its own tests make names up.
const NOT_LOOKED_AT: &str = "crates/xtask/";

/// Where the parts of a file that are for tests alone begin.
const TESTS_BEGIN: &str = "#[cfg(test)]\nmod ";

/// One row of the register.
#[derive(Debug, PartialEq, Eq)]
struct RegisterRow<'a> {
    name: &'a str,
    sentence: &'a str,
    kept_by: Vec<&'a str>,
    held_by: Vec<&'a str>,
}

/// Checks the register against the code and the pages that cite it; returns how many names it has.
pub(super) fn check(
    root: &Path,
    sources: &[SourceFile],
    faults: &mut Vec<String>,
) -> anyhow::Result<usize> {
    let register = fs::read_to_string(root.join(REGISTER)).context(REGISTER)?;
    let entries = entries(&register);
    let sources: Vec<&SourceFile> =
        sources.iter().filter(|source| !source.path.starts_with(NOT_LOOKED_AT)).collect();
    let known: BTreeSet<&str> = entries.iter().map(|entry| entry.name).collect();
    for (path, text) in pages(root)? {
        unknown(&path, &text, &known, faults);
    }
    for source in &sources {
        unknown(&source.path, &source.text, &known, faults);
    }
    let mut seen = BTreeSet::new();
    for entry in &entries {
        if !seen.insert(entry.name) {
            faults.push(format!("{REGISTER}: {} is there twice", entry.name));
        }
        entry.check(&sources, faults);
    }
    twice_defined(&sources, faults);
    Ok(entries.len())
}

/// The pages that speak of invariants.
fn pages(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths = vec![root.join("ARCHITECTURE.md"), root.join("CONTRIBUTING.md")];
    for entry in fs::read_dir(root.join("docs"))? {
        paths.push(entry?.path());
    }
    paths.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    let read = |path: &Path| -> anyhow::Result<(String, String)> {
        let Ok(shown) = path.strip_prefix(root) else {
            unreachable!("pages are listed below the root");
        };
        let shown = shown.display().to_string();
        Ok((shown, fs::read_to_string(path)?))
    };
    paths.iter().map(|path| read(path)).collect()
}

fn entries(register: &str) -> Vec<RegisterRow<'_>> {
    let rows = register.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let &[name, sentence, kept_by, held_by] = cells.as_slice() else { return None };
        let (kept_by, held_by) = (quoted(kept_by), quoted(held_by));
        let is_name = names(name) == BTreeSet::from([name]);
        is_name.then_some(RegisterRow { name, sentence, kept_by, held_by })
    });
    rows.collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

impl RegisterRow<'_> {
    fn check(&self, sources: &[&SourceFile], faults: &mut Vec<String>) {
        let Self { name, sentence, kept_by, held_by } = self;
        let mut fault = |what: String| faults.push(format!("{REGISTER}: {name} {what}"));
        if !sentence.ends_with('.') {
            fault("is not told in a sentence".to_owned());
        }
        let find = |path: &str| {
            sources.iter().find(|source| source.path.strip_prefix("crates/") == Some(path))
        };
        if held_by.is_empty() {
            fault("has no test".to_owned());
        }
        for path in held_by {
            if !find(path).is_some_and(|source| names(test_part(source)).contains(name)) {
                fault(format!("is cited by no test in crates/{path}"));
            }
        }
        // Promises are kept by more than a file.
        if name.starts_with("P-") {
            return;
        }
        if kept_by.is_empty() {
            fault("is kept nowhere".to_owned());
        }
        for path in kept_by {
            if !find(path).is_some_and(|source| names(product_part(source)).contains(name)) {
                fault(format!("is not cited in crates/{path}"));
            }
        }
    }
}

fn test_part(source: &SourceFile) -> &str {
    match source.text.find(TESTS_BEGIN) {
        _ if source.test_only => &source.text,
        Some(at) => source.text.split_at(at).1,
        None => "",
    }
}

fn product_part(source: &SourceFile) -> &str {
    match source.text.find(TESTS_BEGIN) {
        _ if source.test_only => "",
        Some(at) => source.text.split_at(at).0,
        None => &source.text,
    }
}

fn unknown(path: &str, text: &str, known: &BTreeSet<&str>, faults: &mut Vec<String>) {
    for name in names(text).difference(known) {
        faults.push(format!("{path}: {name} is not in {REGISTER}"));
    }
}

/// Adds a fault for every name that the headers of two modules define.
fn twice_defined(sources: &[&SourceFile], faults: &mut Vec<String>) {
    let mut defined: BTreeMap<&str, &str> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.test_only) {
        let header = source.text.lines().filter_map(|line| line.strip_prefix("//! "));
        for line in header {
            let line = line.strip_prefix("- ").unwrap_or(line);
            let Some((name, _)) = line.split_once(": ") else { continue };
            // A module may say what its part of a promise is.
            if !name.starts_with("INV-") || names(name) != BTreeSet::from([name]) {
                continue;
            }
            if let Some(other) = defined.insert(name, &source.path) {
                faults.push(format!("{}: {name} is defined in {other}, too", source.path));
            }
        }
    }
}

/// The names of invariants and promises in a text: `INV-` or `P-`, and words of capitals.
fn names(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    for (prefix, letters) in [("INV-", 1), ("P-", 3)] {
        for (at, _) in text.match_indices(prefix) {
            let (before, rest) = text.split_at(at);
            let before = before.chars().next_back();
            let name = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or("");
            let name = name.trim_end_matches('-');
            let behind = name.get(prefix.len()..).unwrap_or("");
            let starts = behind.starts_with(|c: char| c.is_ascii_uppercase());
            let is_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_');
            if is_word && starts && behind.len() >= letters {
                found.insert(name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str, test_only: bool) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned(), test_only }
    }

    const ROW: &str = "| INV-A | It holds. | `s/src/a.rs` | `s/tests/a.rs` |";

    fn faults_of(register: &str, sources: &[SourceFile]) -> Vec<String> {
        let sources: Vec<&SourceFile> = sources.iter().collect();
        let (entries, mut faults) = (entries(register), Vec::new());
        let known = entries.iter().map(|entry| entry.name).collect();
        sources.iter().for_each(|one| unknown(&one.path, &one.text, &known, &mut faults));
        entries.iter().for_each(|entry| entry.check(&sources, &mut faults));
        twice_defined(&sources, &mut faults);
        faults
    }

    #[test]
    fn names_are_told_from_other_words() {
        let text = "INV-A-B: and (P-ACK), not P-256, xINV-C, INV-, P-A or P-…; INV-D2.";
        assert_eq!(names(text), BTreeSet::from(["INV-A-B", "P-ACK", "INV-D2"]));
    }

    #[test]
    fn a_row_that_is_true_has_no_fault() {
        let sources = [
            source("crates/s/src/a.rs", "//! INV-A: it holds.", false),
            source("crates/s/tests/a.rs", "/// INV-A.", true),
        ];
        assert_eq!(faults_of(ROW, &sources), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_kept_not_held_not_known_or_defined_twice_is_told() {
        let code = "//! INV-A: it holds.\n#[cfg(test)]\nmod tests {\n// INV-A";
        let beside = "| INV-A | It holds. | `s/src/a.rs` | `s/src/a.rs` |";
        let kept = || source("crates/s/src/a.rs", code, false);
        assert_eq!(faults_of(beside, &[kept()]), Vec::<String>::new(), "tests may lie beside");
        for (register, sources, count) in [
            (ROW, vec![kept()], 1),
            (ROW, vec![source("crates/s/tests/a.rs", "INV-A", true)], 1),
            (beside, vec![kept(), source("crates/s/src/b.rs", "//! INV-A: it is new.", false)], 1),
            (beside, vec![kept(), source("crates/s/src/b.rs", "// INV-B.", false)], 1),
            ("| INV-A | Holds | `s/src/a.rs` |  |", vec![kept()], 2),
        ] {
            assert_eq!(faults_of(register, &sources).len(), count, "{register}");
        }
    }
}
