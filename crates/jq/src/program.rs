//! Programs in jq: compiled once, run on each message.

use std::fmt;
use std::time::Duration;

use galgo_decode::{Encoding, Limits};
use jaq_core::load::lex::Lexer;
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use crate::watch::{DIGITS_MAX, Exceeded, OUTSIDE, OUTSIDE_DEFS, Scope, TEXT_MAX, Watch, Watched};
use crate::{evaluators, guard, watch};

/// Outputs of a message.
pub const OUTPUTS_MAX: usize = 10_000;
/// How long a message may take.
pub const TIME_MAX: Duration = Duration::from_secs(5);
/// What a thread that does not come back may take on top, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(7);
const _: () = assert!(
    TIME_MAX.as_millis() < PATIENCE.as_millis(),
    "a program that takes too long ends by itself before it is given up"
);
const _: () = assert!(
    TEXT_MAX <= Limits::WHOLE.text_bytes,
    "what a program may print is looked at whole, whether it is JSON"
);
/// The name of the program among the definitions. What calls it is our own.
const PROGRAM: &str = "galgo__program";

/// Why nothing came of a value; no part of the value is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl Fault {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A program, compiled.
pub struct Program {
    filter: Filter<Watched>,
    /// Whether it asks where the message is.
    uses_meta: bool,
}

impl Program {
    /// Compiles a program.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compile(code: &str) -> Result<Self, String> {
        let body = guard::term(parsed(code)?);
        let program = Def { name: PROGRAM, args: vec!["$meta"], body };
        let library = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let library = library.filter(|def| !OUTSIDE_DEFS.contains(&def.name));
        let library = library.map(|def| -> Def<&str> { guard::definition(def) });
        let defs = library.chain([program]);
        let arena = Arena::default();
        let main = File { code: "galgo__program($meta)", path: () };
        let modules = Loader::new(defs).load(&arena, main);
        let Ok(modules) = modules else { unreachable!("the call of a program is a program") };
        let compiler = Compiler::default().with_funs(watch::functions());
        let compiled = compiler.with_global_vars(["$meta"]).compile(modules);
        let filter = compiled.map_err(|errors| {
            let all = errors.iter().flat_map(|(_, errors)| errors);
            let first = all.map(|(name, undefined)| unknown(name, undefined.as_str())).next();
            first.unwrap_or_else(|| "it cannot be compiled".to_owned())
        })?;
        Ok(Self { filter, uses_meta: code.contains("$meta") })
    }

    /// Whether it asks where the message is.
    #[must_use]
    pub fn uses_meta(&self) -> bool {
        self.uses_meta
    }

    /// What it makes of a value, added to `outputs`.
    ///
    /// # Errors
    /// [`Fault`], without a value.
    pub fn run(
        &self,
        input: Val,
        meta: &Val,
        watch: &Watch,
        outputs: &mut Vec<Val>,
    ) -> Result<(), Fault> {
        let scope = Scope { lut: &self.filter.lut, watch };
        let context = Ctx::<Watched>::new(scope, Vars::new([meta.clone()]));
        for output in self.filter.id.run((context, input)) {
            let failure = match output {
                Ok(value) if outputs.len() < OUTPUTS_MAX => {
                    outputs.push(value);
                    watch.step().err().map(Exceeded::reason)
                }
                Ok(_) => Some(format!("the jq program gave more than {OUTPUTS_MAX} outputs")),
                Err(exception) => Some(match exception.get_err() {
                    Ok(error) => fault(&error),
                    Err(other) => {
                        let code = other.get_halt().ok().and_then(Exceeded::of_code);
                        code.map_or_else(|| "the jq program broke off".to_owned(), Exceeded::reason)
                    }
                }),
            };
            if let Some(reason) = failure {
                if matches!(watch.exceeded(), Some(Exceeded::Stack | Exceeded::Made)) {
                    evaluators::retire();
                }
                return Err(Fault(reason));
            }
        }
        Ok(())
    }
}

/// The program as a term.
fn parsed(code: &str) -> Result<Term<&str>, String> {
    let place = |at: &str| {
        let offset = (at.as_ptr() as usize).saturating_sub(code.as_ptr() as usize);
        let near: String = at.chars().take(20).collect();
        let before = code.get(..offset).unwrap_or(code);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        match near.is_empty() {
            true => format!("line {line}, column {column}, at its end"),
            false => format!("line {line}, column {column}, at \"{near}\""),
        }
    };
    let tokens = Lexer::new(code).lex().map_err(|errors| {
        let first = errors.first();
        first.map_or_else(String::new, |(wanted, at)| {
            format!("expected {} in {}", wanted.as_str(), place(at))
        })
    })?;
    let term = Parser::new(&tokens).parse(|parser| parser.term());
    term.map_err(|errors| {
        let first = errors.first();
        first.map_or_else(String::new, |(wanted, found)| {
            let at = found.map_or(code.get(code.len()..).unwrap_or(""), |token| token.as_str());
            format!("expected {} in {}", wanted.as_str(), place(at))
        })
    })
}

/// Says of a name that there is none.
fn unknown(name: &str, what: &str) -> String {
    let advice = match name {
        "now" => "; a message has to give the same whenever it is read, so use $meta.time",
        "env" | "$ENV" | "input" | "inputs" => "; programs see the message and $meta, nothing else",
        "debug" | "stderr" | "halt" | "halt_error" => {
            "; programs show nothing and end nothing: use `galgo connect run --dry-run`, or error"
        }
        name if OUTSIDE.contains(&name) => {
            "; programs do not know where they run: use gmtime or strftime"
        }
        _ => "",
    };
    format!("there is no {what} `{name}`{advice}")
}

/// What an error of a program is about: the fixed words that jaq begins it with, and no value.
fn fault(error: &jaq_json::Error) -> String {
    let kinds = [
        ("cannot index ", "it looks for a field or an item in what has none"),
        ("cannot use ", "a value is of another type than a function needs"),
        ("cannot calculate ", "it calculates with what are no numbers"),
        ("cannot parse ", "a text is not what it is parsed as"),
        ("invalid path ", "it assigns to what is no path"),
        ("invalid regex", "a regular expression is none"),
    ];
    let mut head = Head(String::new());
    // An error that is longer than the head ends the writing, which is no failure of ours.
    let _ = fmt::Write::write_fmt(&mut head, format_args!("{error}"));
    let kind = kinds.iter().find(|(words, _)| head.0.starts_with(words));
    let about = kind.map_or("it gave an error of its own", |(_, about)| about);
    format!("the jq program failed: {about}")
}

/// The first bytes of what is written.
struct Head(String);

impl fmt::Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.chars().take(32_usize.saturating_sub(self.0.len())));
        if self.0.len() < 32 { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Reads JSON, within the limits of payloads. Of keys that are there twice the last one counts.
///
/// # Errors
/// [`Fault`], also for what is JSON and no text: half of a pair of surrogates.
pub fn read(json: &[u8]) -> Result<Val, Fault> {
    let text = galgo_decode::to_json(json, Encoding::Json, &Limits::WHOLE)
        .map_err(|reason| Fault::new(format!("it is no JSON: {reason}")))?;
    if text.len() as u64 > DIGITS_MAX && has_long_number(&text) {
        let reason = format!("a number in it has more than {DIGITS_MAX} digits");
        return Err(Fault(reason));
    }
    jaq_json::read::parse_single(text.as_bytes())
        .map_err(|_| Fault::new("a text in it holds half of a character (a lone surrogate)"))
}

/// Whether digits outside of text are more than a whole number may have.
fn has_long_number(json: &str) -> bool {
    let (mut digits, mut in_text, mut escaped) = (0_u64, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'0'..=b'9' if !in_text => {
                digits += 1;
                if digits > DIGITS_MAX {
                    return true;
                }
                continue;
            }
            _ => {}
        }
        digits = 0;
    }
    false
}

/// Prints an output as JSON that everybody can read, of `bytes_max` bytes at most.
///
/// # Errors
/// [`Fault`] for what JSON cannot say, or is too deep or too large.
pub fn printed(value: &Val, watch: &Watch, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let text = watch::print(value, watch, bytes_max.min(TEXT_MAX)).map_err(|what| match what {
        Exceeded::Size => Fault::new("the outputs of the jq program are more than 64 MiB"),
        what => Fault(what.reason()),
    })?;
    if let Err(reason) = galgo_decode::to_json(&text, Encoding::Json, &Limits::WHOLE) {
        let reason = format!(
            "an output of the jq program is no JSON (NaN, infinity, bytes or a key that is no text?): {reason}"
        );
        return Err(Fault(reason));
    }
    Ok(text)
}
