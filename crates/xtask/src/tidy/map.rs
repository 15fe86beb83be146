//! The map of the modules, `docs/map.md`: each with the first sentence of its header, so that it can't be wrong alone.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::source::SourceFile;

const MAP: &str = "docs/map.md";

const INTRODUCTION: &str = "\
# The map

Every module with the first sentence of its header, crate by crate, as the crates use each other. Parts of parts are left out.
`cargo xtask tidy` fails when the page is not what the code says; `UPDATE_DOCS=1 cargo xtask tidy` writes it.
";

/// The crates, from the bytes up; others follow in the order of their names.
const ORDER: &[&str] = &["wire", "storage", "broker", "server", "client", "bench", "cli", "judge"];

/// Modules are shown down to this depth under a crate.
const DEPTH_MAX: usize = 2;

/// Compares the page with the headers, or writes it when `UPDATE_DOCS` is set.
pub(super) fn check(
    root: &Path,
    sources: &[SourceFile],
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let path = root.join(MAP);
    let fresh = map(sources);
    if fs::read_to_string(&path).is_ok_and(|stands| stands == fresh) {
        return Ok(());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, fresh).context(MAP);
    }
    faults.push(format!(
        "{MAP}: not what the headers say; write it with UPDATE_DOCS=1 cargo xtask tidy"
    ));
    Ok(())
}

fn map(sources: &[SourceFile]) -> String {
    let place = |name: &str| {
        let place = ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
        (place, name.to_owned())
    };
    let mut rows: Vec<_> = sources
        .iter()
        .filter(|source| !source.test_only || source.path.starts_with("crates/testkit/"))
        .filter_map(|source| {
            let path = source.path.strip_prefix("crates/")?.strip_suffix(".rs")?;
            let (of, module) = path.split_once("/src/")?;
            let parts = module.split('/').count();
            (parts <= DEPTH_MAX).then(|| (place(of), module, source))
        })
        .collect();
    // A crate's own header first, and parts behind their whole.
    rows.sort_by_key(|(of, module, _)| (of.clone(), !is_root(module), *module));
    let mut out = INTRODUCTION.to_owned();
    for ((_, of), module, source) in rows {
        let sentence = first_sentence(&source.text);
        if is_root(module) {
            out += &format!("\n## {of}\n{sentence}\n\n");
        } else {
            let indent = "  ".repeat(module.split('/').count() - 1);
            out += &format!("{indent}- `{}` {sentence}\n", module.replace('/', "::"));
        }
    }
    out
}

fn is_root(module: &str) -> bool {
    matches!(module, "lib" | "main")
}

/// The first sentence of the header, as plain text.
fn first_sentence(text: &str) -> String {
    let header = text.lines().skip_while(|line| !line.starts_with("//! "));
    let paragraph: Vec<&str> = header.map_while(|line| line.strip_prefix("//! ")).collect();
    let paragraph = paragraph.join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    let sentence = paragraph.get(..end).unwrap_or(&paragraph);
    sentence.replace("[`", "`").replace("`]", "`").trim_end_matches(':').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned(), test_only: false }
    }

    #[test]
    fn modules_stand_under_their_crate_with_their_first_sentence() {
        let sources = [
            source("crates/a/src/lib.rs", "//! All of it."),
            source(
                "crates/a/src/b.rs",
                "#![deny(x)]\n//! Does [`B`]\n//! well. And more.\n//!\n//! Not this.",
            ),
            source("crates/a/src/b/c.rs", "//! A part"),
            source("crates/a/src/b/c/d.rs", "//! Too deep."),
            source("crates/wire/src/lib.rs", "//! Bytes."),
            source("crates/a/tests/x.rs", "//! No."),
        ];
        let expected =
            "\n## wire\nBytes.\n\n\n## a\nAll of it.\n\n- `b` Does `B` well.\n  - `b::c` A part\n";
        assert_eq!(map(&sources), format!("{INTRODUCTION}{expected}"));
    }
}
