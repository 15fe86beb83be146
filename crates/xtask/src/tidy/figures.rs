//! Prints rulers of the whole workspace: what a reviewer would count, so that one version can be held against another.
//!
//! They are counted in the text, not by a compiler, and fail nothing. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::longest::without_test_blocks;
use super::mask::mask;
use super::source::Source;

/// A type whose methods lie in so many files is cut up, not put together.
const FILES_OF_ONE_TYPE: usize = 3;

/// Counts of some code.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    lines: usize,
    comments: usize,
    functions: usize,
    /// Functions that take a tuple, whose parts have no names where they are called.
    tuples: usize,
    assertions: usize,
    /// A range looked up, empty when it is not there.
    empty: usize,
    /// A number that does not fit, taken for the largest.
    largest: usize,
}

/// Where the types of the workspace are declared, and where their methods are.
#[derive(Debug, Default)]
struct Types {
    declared: BTreeMap<String, usize>,
    /// By crate and name.
    methods: BTreeMap<(String, String), BTreeSet<String>>,
}

/// Prints the figures of each crate, and of all.
pub(super) fn report(sources: &[Source]) {
    let mut crates: BTreeMap<String, Figures> = BTreeMap::new();
    let mut types = Types::default();
    for source in sources.iter().filter(|source| !source.test_only) {
        let name = source.path.split('/').nth(1).unwrap_or("?").to_owned();
        let code = without_test_blocks(&mask(&source.text));
        let figures = Figures::of(&source.text, &code);
        types.take(&name, &source.path, &code);
        crates.entry(name).or_default().add(&figures);
    }
    let mut all = Figures::default();
    println!(
        "{:8} {:>7} {:>9} {:>10} {:>7} {:>11} {:>6} {:>8}",
        "crate", "lines", "functions", "take tuple", "asserts", "comments", "empty", "largest"
    );
    for (name, figures) in &crates {
        figures.print(name);
        all.add(figures);
    }
    all.print("all");
    println!("(asserts for 1,000 lines; comments that are no documentation, for 100)");
    types.print();
}

impl Figures {
    fn of(text: &str, code: &str) -> Self {
        let is_comment = |line: &&str| {
            let line = line.trim_start();
            line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!")
        };
        let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
        let parameters = parameter_lists(code);
        let asserts = ["assert!(", "assert_eq!(", "assert_ne!(", "unreachable!("];
        Self {
            lines: code.lines().count(),
            comments: product.lines().filter(is_comment).count(),
            functions: parameters.len(),
            tuples: parameters.iter().filter(|list| takes_tuple(list)).count(),
            assertions: asserts.iter().map(|name| words(code, name)).sum(),
            empty: lookups_answered_with_empty(code),
            largest: taken_for_the_largest(code),
        }
    }

    fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.comments += other.comments;
        self.functions += other.functions;
        self.tuples += other.tuples;
        self.assertions += other.assertions;
        self.empty += other.empty;
        self.largest += other.largest;
    }

    fn print(&self, name: &str) {
        let Self { lines, functions, tuples, empty, largest, .. } = self;
        let asserts = per(self.assertions, 1_000, *lines);
        let comments = per(self.comments, 100, *lines);
        println!(
            "{name:8} {lines:>7} {functions:>9} {tuples:>10} {asserts:>7} {comments:>11} {empty:>6} {largest:>8}"
        );
    }
}

/// `count` for each `per` of `lines`, with one digit behind the point.
fn per(count: usize, per: usize, lines: usize) -> String {
    let tenths = (count * per * 10).checked_div(lines).unwrap_or(0);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// How often `name` stands in the code, not as the end of another word.
fn words(code: &str, name: &str) -> usize {
    let starts_word = |at: usize| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    };
    code.match_indices(name).filter(|(at, _)| starts_word(*at)).count()
}

/// The parameters of every function with a name, without the brackets around them.
fn parameter_lists(code: &str) -> Vec<&str> {
    let mut lists = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code.get(..at).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code.get(at + 3..).unwrap_or_default();
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(0);
        let rest = rest.get(name..).unwrap_or_default();
        // Behind the generics, if there are any; `->` in them closes nothing.
        let (mut angles, mut open, mut last) = (0_i32, None, ' ');
        for (at, c) in rest.char_indices() {
            match c {
                '<' => angles += 1,
                '>' if last != '-' => angles -= 1,
                '(' if angles == 0 => {
                    open = Some(at);
                    break;
                }
                ';' | '{' => break,
                _ => {}
            }
            last = c;
        }
        let Some(open) = open.filter(|_| name > 0) else { continue };
        let list = rest.get(open + 1..).unwrap_or_default();
        lists.push(list.get(..closing(list)).unwrap_or_default());
    }
    lists
}

/// Where the bracket closes that was opened in front of the text.
fn closing(text: &str) -> usize {
    let mut depth = 1_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn takes_tuple(parameters: &str) -> bool {
    let types = parameters.match_indices(": ").filter_map(|(at, _)| parameters.get(at + 2..));
    types
        .map(|of| of.trim_start_matches('&'))
        .any(|of| of.starts_with('(') && !of.starts_with("()"))
}

/// `get(...)` answered with `unwrap_or_default()` in the same statement.
fn lookups_answered_with_empty(code: &str) -> usize {
    let statements = code.split([';', '{', '}']);
    let empty = statements.filter(|statement| {
        let looks_up = [".get(", ".get_mut("].iter().any(|get| statement.contains(get));
        looks_up && statement.contains(".unwrap_or_default()")
    });
    empty.count()
}

/// `unwrap_or(T::MAX)`.
fn taken_for_the_largest(code: &str) -> usize {
    let of = code.match_indices("unwrap_or(").filter_map(|(at, name)| code.get(at + name.len()..));
    of.filter(|of| of.get(..closing(of)).is_some_and(|of| of.ends_with("::MAX"))).count()
}

impl Types {
    fn take(&mut self, of: &str, path: &str, code: &str) {
        for line in code.lines() {
            let line = line.trim_start();
            let item = line.strip_prefix("pub(").and_then(|rest| Some(rest.split_once(") ")?.1));
            let item = item.or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
            let kinds = ["struct ", "enum ", "trait "];
            if let Some(rest) = kinds.iter().find_map(|kind| item.strip_prefix(kind)) {
                *self.declared.entry(name_at(rest)).or_default() += 1;
            }
            if let Some(name) = inherent(line) {
                let key = (of.to_owned(), name);
                self.methods.entry(key).or_default().insert(path.to_owned());
            }
        }
    }

    fn print(&self) {
        let all: usize = self.declared.values().sum();
        let shared: usize = self.declared.values().filter(|count| **count > 1).sum();
        let percent = (shared * 100).checked_div(all).unwrap_or(0);
        println!("{shared} of {all} types share their name with another ({percent} %)");
        let cut: Vec<String> = self
            .methods
            .iter()
            .filter(|(_, files)| files.len() >= FILES_OF_ONE_TYPE)
            .map(|((of, name), files)| format!("{of}::{name} ({})", files.len()))
            .collect();
        let count = cut.len();
        println!(
            "{count} types have methods in {FILES_OF_ONE_TYPE} files or more: {}",
            cut.join(", ")
        );
    }
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The type of an `impl` that is of no trait, at the beginning of a line.
fn inherent(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generics) => {
            let (mut angles, mut last) = (1_i32, ' ');
            let end = generics.char_indices().find(|(_, c)| {
                angles += i32::from(*c == '<') - i32::from(*c == '>' && last != '-');
                last = *c;
                angles == 0
            });
            generics.get(end?.0 + 1..)?
        }
        None => rest,
    };
    let rest = rest.strip_prefix(' ')?;
    let is_of_trait = rest.contains(" for ");
    let name = name_at(rest);
    (!is_of_trait && rest.ends_with('{') && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "
pub struct A;
impl A {
    fn one(&self, (a, b): (u8, u8), c: &(u8, u8)) {}
    fn two<F: Fn(u8) -> (u8, u8)>(&self, f: F, none: ()) -> (u8, u8) {
        // Why it is so.
        let x = list.get(1..).unwrap_or_default();
        let y = u8::try_from(z).unwrap_or(u8::MAX);
        assert!(x); debug_assert!(y);
    }
}
impl<T: Into<A>> B<T> {
impl Display for A {
";

    #[test]
    fn what_a_reviewer_would_count_is_counted() {
        let figures = Figures::of(CODE, &mask(CODE));
        let expected = Figures {
            lines: 13,
            comments: 1,
            functions: 2,
            tuples: 1,
            assertions: 1,
            empty: 1,
            largest: 1,
        };
        assert_eq!(figures, expected);
        let mut types = Types::default();
        types.take("c", "one.rs", CODE);
        types.take("c", "two.rs", CODE);
        assert_eq!(types.declared, BTreeMap::from([("A".to_owned(), 2)]));
        let methods: Vec<_> =
            types.methods.iter().map(|((_, name), f)| (&**name, f.len())).collect();
        assert_eq!(methods, [("A", 2), ("B", 2)]);
        assert_eq!((per(3, 1_000, 2_000), per(0, 100, 0)), ("1.5".to_owned(), "0.0".to_owned()));
    }
}
