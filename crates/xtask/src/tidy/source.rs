//! The Rust files of the workspace, read once for all checks.

use std::fs;
use std::io;
use std::path::Path;

/// One Rust file.
pub(super) struct SourceFile {
    /// Path from the root of the repository.
    pub(super) path: String,
    /// The whole file.
    pub(super) text: String,
    /// Whether it is compiled for tests or benchmarks only.
    pub(super) test_only: bool,
}

/// Reads every `.rs` file under `crates/` and `fuzz/`, in the order of their paths.
pub(super) fn collect(root: &Path) -> io::Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    walk(root, &root.join("crates"), &mut found)?;
    walk(root, &root.join("fuzz"), &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            // Build output and fuzz corpora are not ours to judge.
            if !matches!(entry.file_name().to_str(), Some("target" | "corpus" | "artifacts")) {
                walk(root, &path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let Ok(relative) = path.strip_prefix(root) else {
                unreachable!("what is found is below the root, where the search began");
            };
            let relative = relative.display().to_string();
            let test_only = is_test(&relative);
            found.push(SourceFile { text: fs::read_to_string(&path)?, path: relative, test_only });
        }
    }
    Ok(())
}

fn is_test(path: &str) -> bool {
    let for_tests = [
        "tests",
        "tests.rs",
        "benches",
        "fuzz",
        "fuzzing",
        "fuzzing.rs",
        "testkit",
        "crash_tests",
        "crash_tests.rs",
        "conformance.rs",
    ];
    path.split('/').any(|part| for_tests.contains(&part))
}
