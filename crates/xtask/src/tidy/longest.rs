//! Prints the longest files and functions, for the reader to judge: a figure fails nothing.
//!
//! Tests are not counted: neither test files nor `#[cfg(test)] mod … { … }` blocks.

use std::ops::Range;

use super::mask::mask;
use super::source::SourceFile;

const SHOWN: usize = 8;
const FILE_LINES_AIM: usize = 500;
const FUNCTION_LINES_AIM: usize = 70;
const _: () = assert!(FUNCTION_LINES_AIM * 2 < FILE_LINES_AIM, "a file holds several functions");

/// Prints figures for all files that are not tests.
pub(super) fn report(sources: &[SourceFile]) {
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for source in sources.iter().filter(|source| !source.test_only) {
        let code = without_test_blocks(&mask(&source.text));
        files.push((code.lines().count(), source.path.clone()));
        functions.extend(
            find_functions(&code)
                .into_iter()
                .map(|f| (f.lines, format!("{}:{} {}", source.path, f.line, f.name))),
        );
    }
    print_longest("files", files, FILE_LINES_AIM);
    print_longest("functions", functions, FUNCTION_LINES_AIM);
}

fn print_longest(what: &str, mut items: Vec<(usize, String)>, aim: usize) {
    items.sort_by(|a, b| b.cmp(a));
    let rank = |percent: usize| {
        let below_top = items.len() * (100 - percent) / 100;
        items.get(below_top).map_or(0, |item| item.0)
    };
    println!(
        "{} {what}, lines: median {}, p90 {}, p99 {}, max {} (aim {aim}); the longest:",
        items.len(),
        rank(50),
        rank(90),
        rank(99),
        items.first().map_or(0, |item| item.0),
    );
    for (lines, name) in items.iter().take(SHOWN) {
        println!("  {lines:>5}{} {name}", if *lines > aim { " !" } else { "  " });
    }
}

/// A function with a body.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    /// Line of its `fn`, from 1.
    line: usize,
    lines: usize,
}

/// Where items behind `#[cfg(test)]` are in masked code, in their order: a module with its block, or the line that names
/// its file.
pub(super) fn test_blocks(code: &str) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut from = 0;
    while let Some(at) = code.get(from..).and_then(|rest| rest.find("#[cfg(test)]")) {
        let start = from + at;
        from = start + item_len(code.split_at(start).1);
        assert!(from > start, "an item has a length, or the search would not get on");
        blocks.push(start..from);
    }
    blocks
}

/// Cuts `#[cfg(test)] mod … { … }` out of masked code.
pub(super) fn without_test_blocks(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut from = 0;
    for block in test_blocks(code) {
        kept.push_str(code.get(from..block.start).unwrap_or(""));
        from = block.end;
    }
    kept.push_str(code.get(from..).unwrap_or(""));
    kept
}

/// Length of the item at the start of masked code: to its closing brace, or to a `;` before any.
fn item_len(code: &str) -> usize {
    body(code).map_or_else(|| code.find(';').map_or(code.len(), |at| at + 1), |(_, end)| end)
}

/// Start and end of the first `{ … }` in masked code, unless a `;` outside brackets comes first.
fn body(code: &str) -> Option<(usize, usize)> {
    let (mut brackets, mut braces, mut start) = (0_i32, 0_i32, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' if braces == 0 => brackets += 1,
            ')' | ']' if braces == 0 => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => {
                if braces == 0 {
                    start = at;
                }
                braces += 1;
            }
            '}' => {
                braces -= 1;
                if braces <= 0 {
                    return Some((start, at + 1));
                }
            }
            _ => {}
        }
    }
    None
}

fn find_functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let (before, from) = code.split_at(at);
        let starts_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String =
            from.chars().skip(3).take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        if let Some((_, end)) = body(from) {
            let lines = from.split_at(end).0.lines().count();
            found.push(Function { name, line: before.matches('\n').count() + 1, lines });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_lines() {
        let code = mask(
            "trait T {\n    fn none(&self, x: [u8; 4]);\n    fn some() {\n        1;\n    }\n}\n",
        );
        assert_eq!(find_functions(&code), [Function { name: "some".into(), line: 3, lines: 3 }]);
        assert_eq!(find_functions("type F = fn (u8);"), []);
    }

    #[test]
    fn test_blocks_are_cut_and_what_follows_stays() {
        let code =
            "a\n#[cfg(test)]\nmod tests {\n fn t() { }\n}\nfn b() {}\n#[cfg(test)]\nmod more;\nc";
        assert_eq!(without_test_blocks(code), "a\n\nfn b() {}\n\nc");
    }
}
