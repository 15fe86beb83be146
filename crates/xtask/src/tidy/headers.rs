//! Every module says what it is for: the first thing in a file is its `//!` header.
//!
//! Attributes of the whole file may stand above it; code, `use` and items may not.

use super::source::SourceFile;

/// Adds a fault for every file whose header is missing or empty.
pub(super) fn check(sources: &[SourceFile], faults: &mut Vec<String>) {
    for source in sources {
        if !has_header(&source.text) {
            faults.push(format!("{}: module without its `//!` header", source.path));
        }
    }
}

fn has_header(text: &str) -> bool {
    let mut inside_attribute = false;
    for line in text.lines().map(str::trim) {
        if inside_attribute {
            inside_attribute = !line.ends_with(")]");
        } else if line.starts_with("#![") {
            inside_attribute = !line.ends_with(']');
        } else if let Some(words) = line.strip_prefix("//!") {
            if !words.trim().is_empty() {
                return true;
            }
        } else if !line.is_empty() && !line.starts_with("#!") {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_header;

    #[test]
    fn a_header_comes_before_any_code() {
        for good in [
            "//! Reads segments.\nuse std::fs;",
            "#![deny(missing_docs)]\n\n//! Reads segments.",
            "#![cfg_attr(\n    test,\n    expect(x, reason = \"y\")\n)]\n//! Reads segments.",
            "//!\n//! Reads segments.",
        ] {
            assert!(has_header(good), "{good:?}");
        }
        for bad in
            ["", "\n", "use std::fs;\n//! late", "// not a header\n", "//!\nuse std::fs;", "/// x"]
        {
            assert!(!has_header(bad), "{bad:?}");
        }
    }
}
