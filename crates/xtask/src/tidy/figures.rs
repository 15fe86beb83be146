//! Prints rulers of the whole workspace: what a reviewer would count, so that one version can be held against another.
//!
//! They are counted in the text, not by a compiler, and fail nothing. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::longest::{test_blocks, without_test_blocks};
use super::mask::mask;
use super::source::SourceFile;

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
    empty_ranges: usize,
    /// Something else looked up, the default when it is not there.
    default_lookups: usize,
    /// A number that does not fit, taken for the largest.
    unfit: usize,
    /// Something that is not there, for which the largest number stands; most often that is what is meant.
    absent: usize,
}

/// What a count comes to, as it is shown.
type Ruler = fn(&Figures) -> String;

/// What is counted, in the words in which it is judged.
const RULERS: &[(&str, Ruler)] = &[
    ("lines of code", |of| of.lines.to_string()),
    ("functions", |of| of.functions.to_string()),
    ("functions that take a tuple as a parameter", |of| of.tuples.to_string()),
    ("assertions for 1,000 lines, those at compile time counted", |of| {
        per(of.assertions, 1_000, of.lines)
    }),
    ("comment lines for 100 lines, documentation not counted", |of| {
        per(of.comments, 100, of.lines)
    }),
    (
        "ranges looked up that are empty when they are not there, `get(a..b).unwrap_or_default()`",
        |of| of.empty_ranges.to_string(),
    ),
    ("other lookups answered with the default, `get(key).unwrap_or_default()`", |of| {
        of.default_lookups.to_string()
    }),
    ("numbers that do not fit and become the largest, `try_from(n).unwrap_or(T::MAX)`", |of| {
        of.unfit.to_string()
    }),
    ("values that are absent and for which the largest stands, other `unwrap_or(T::MAX)`", |of| {
        of.absent.to_string()
    }),
];

/// Where the types of the workspace are declared, and where their methods are.
#[derive(Debug, Default)]
struct Types {
    declared: BTreeMap<String, usize>,
    /// By crate and name.
    methods: BTreeMap<(String, String), BTreeSet<String>>,
}

/// Prints the figures of each crate, and of all.
pub(super) fn report(sources: &[SourceFile]) {
    let mut crates: BTreeMap<String, Figures> = BTreeMap::new();
    let mut types = Types::default();
    for source in sources.iter().filter(|source| !source.test_only) {
        let name = source.path.split('/').nth(1).unwrap_or("?").to_owned();
        let masked = mask(&source.text);
        let code = without_test_blocks(&masked);
        let figures = Figures::of(&code, comment_lines(&source.text, &masked));
        types.take(&name, &source.path, &code);
        crates.entry(name).or_default().add(&figures);
    }
    let mut all = Figures::default();
    crates.values().for_each(|figures| all.add(figures));
    println!("Rulers of a reviewer, tests left out; of all, then of each crate:");
    for (what, ruler) in RULERS {
        let parts: Vec<String> =
            crates.iter().map(|(name, figures)| format!("{name} {}", ruler(figures))).collect();
        println!("  {what}: {} ({})", ruler(&all), parts.join(", "));
    }
    types.print();
}

impl Figures {
    /// Of masked code without tests, and the count of its comments.
    fn of(code: &str, comments: usize) -> Self {
        let parameters = parameter_lists(code);
        let asserts = ["assert!(", "assert_eq!(", "assert_ne!(", "unreachable!("];
        Self {
            lines: code.lines().count(),
            comments,
            functions: parameters.len(),
            tuples: parameters.iter().filter(|list| takes_tuple(list)).count(),
            assertions: asserts.iter().map(|name| words(code, name)).sum(),
            empty_ranges: defaults(code, true),
            default_lookups: defaults(code, false),
            unfit: largest(code, true),
            absent: largest(code, false),
        }
    }

    fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.comments += other.comments;
        self.functions += other.functions;
        self.tuples += other.tuples;
        self.assertions += other.assertions;
        self.empty_ranges += other.empty_ranges;
        self.default_lookups += other.default_lookups;
        self.unfit += other.unfit;
        self.absent += other.absent;
    }
}

/// Lines of `text` that are comments and no documentation, those of tests not counted; `masked` has the same lines.
fn comment_lines(text: &str, masked: &str) -> usize {
    let tests = test_blocks(masked);
    let mut at = 0;
    let lines = text.lines().zip(masked.split_inclusive('\n')).filter(|(line, masked)| {
        let is_test = tests.iter().any(|block| block.contains(&at));
        at += masked.len();
        let line = line.trim_start();
        !is_test && line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!")
    });
    lines.count()
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
        let (before, behind) = code.split_at(at);
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = behind.trim_start_matches("fn ");
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(0);
        let (_, rest) = rest.split_at(name);
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
        let (_, list) = rest.split_at(open + 1);
        lists.push(list.split_at(closing(list)).0);
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

/// How often `get(...)` is answered with `unwrap_or_default()` in the same statement: of ranges, or of other things.
fn defaults(code: &str, of_ranges: bool) -> usize {
    let statements = code.split([';', '{', '}']);
    let answered = statements.filter(|statement| statement.contains(".unwrap_or_default()"));
    let lookups = answered.filter(|statement| {
        let looked_up = [".get(", ".get_mut("].iter().flat_map(|get| {
            let behind = statement.match_indices(get).map(|(at, get)| at + get.len());
            behind.filter_map(|at| statement.get(at..))
        });
        let mut arguments = looked_up.map(|of| of.get(..closing(of)).unwrap_or(of)).peekable();
        arguments.peek().is_some() && arguments.any(|of| of.contains("..")) == of_ranges
    });
    lookups.count()
}

/// How often `unwrap_or(T::MAX)` stands behind a conversion, or behind anything else.
fn largest(code: &str, of_conversions: bool) -> usize {
    let behind = code.match_indices("unwrap_or(").filter(|(at, name)| {
        let of = code.get(at + name.len()..).unwrap_or("");
        of.get(..closing(of)).is_some_and(|of| of.ends_with("::MAX"))
    });
    let conversions = behind.filter(|(at, _)| {
        let before = code.get(..*at).unwrap_or("");
        let statement = before.rsplit([';', '{', '}']).next().unwrap_or(before);
        let converts = ["try_from(", "try_into()"].iter().any(|of| statement.contains(of));
        converts == of_conversions
    });
    conversions.count()
}

impl Types {
    fn take(&mut self, of: &str, path: &str, code: &str) {
        for line in code.lines() {
            let line = line.trim_start();
            let item = line.strip_prefix("pub(").and_then(|rest| Some(rest.split_once(") ")?.1));
            let item = item.or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
            let kinds = ["struct ", "enum ", "trait "];
            let name = kinds.iter().find_map(|kind| item.strip_prefix(kind)).map(name_at);
            // A macro's has none yet.
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                *self.declared.entry(name).or_default() += 1;
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
        println!("  types that share their name with another: {shared} of {all} ({percent} %)");
        let mut most: Vec<_> = self.declared.iter().filter(|(_, count)| **count > 2).collect();
        most.sort_by_key(|(name, count)| (usize::MAX - **count, (*name).clone()));
        let most = most.iter().map(|(name, count)| format!("{name} {count}"));
        println!("    more than twice: {}", most.collect::<Vec<_>>().join(", "));
        let cut: Vec<String> = self
            .methods
            .iter()
            .filter(|(_, files)| files.len() >= FILES_OF_ONE_TYPE)
            .map(|((of, name), files)| format!("{of}::{name} ({})", files.len()))
            .collect();
        let count = cut.len();
        println!(
            "  types whose own methods lie in {FILES_OF_ONE_TYPE} files or more: {count}: {}",
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
        let w = map.get(&key).unwrap_or_default();
        let v = list.first().unwrap_or(u8::MAX);
        assert!(x); debug_assert!(y);
    }
}
impl<T: Into<A>> B<T> {
impl Display for A {
";

    #[test]
    fn what_a_reviewer_would_count_is_counted() {
        let figures = Figures::of(&mask(CODE), comment_lines(CODE, &mask(CODE)));
        let expected = Figures {
            lines: 15,
            comments: 1,
            functions: 2,
            tuples: 1,
            assertions: 1,
            empty_ranges: 1,
            default_lookups: 1,
            unfit: 1,
            absent: 1,
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
    /// A module of tests in a file of its own, named at the top, hid all comments below it.
    #[test]
    fn comments_below_a_line_that_names_a_module_of_tests_are_counted() {
        let text = "//! Ü.\n// Why.\n#[cfg(test)]\nmod tests;\n/// A.\nfn a() {\n    // Because.\n}\n\
                    #[cfg(test)]\nmod more {\n    // Not this.\n}\n// At the end.\n";
        assert_eq!(comment_lines(text, &mask(text)), 3);
    }
}
