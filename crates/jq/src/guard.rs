//! Programs in jq, rewritten so that whatever they do passes by the [watch](crate::Watch).
//!
//! Part of INV-JQ-BOUND: a call of a definition, an iteration, a list or an object that is made, a sum, a product and a text that is put
//! together are followed by a filter of ours that changes nothing and ends the program when it has used up what it may. Without them
//! a program has no loop and nothing that grows.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

/// Called first in each definition. No name in a program begins so, therefore no program can define it anew.
pub(crate) const CALL: &str = "!call";
/// Behind what may give many values.
pub(crate) const STEP: &str = "!step";
/// Behind a list or an object that is made.
pub(crate) const MADE: &str = "!made";
/// Behind a sum.
pub(crate) const SIZED: &str = "!sized";
/// Instead of a product.
pub(crate) const PRODUCT: &str = "!product";
/// Instead of the text of a value that is put into another.
pub(crate) const TEXT: &str = "!text";
/// What is added or multiplied in place.
const OPERAND: &str = "$!operand";

/// A definition under watch.
pub(crate) fn definition(def: Def<&str>) -> Def<&str> {
    let Def { name, args, body } = def;
    Def { name, args, body: behind(call(CALL), term(body)) }
}

/// A term under watch.
pub(crate) fn term(of: Term<&str>) -> Term<&str> {
    match of {
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) | Term::Arr(None) => of,
        Term::Recurse => behind(of, call(STEP)),
        Term::Str(format, parts) => {
            let is_plain = format.is_none();
            Term::Str(format, parts.into_iter().map(|it| part_of_text(it, is_plain)).collect())
        }
        Term::Arr(Some(items)) => behind(Term::Arr(Some(boxed(*items))), call(MADE)),
        Term::Obj(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (term(key), value.map(term)));
            behind(Term::Obj(entries.collect()), call(MADE))
        }
        Term::Neg(of) => Term::Neg(boxed(*of)),
        Term::BinOp(left, op, right) => operation(term(*left), op, term(*right)),
        Term::Label(name, of) => Term::Label(name, boxed(*of)),
        Term::Fold(name, of, pattern_of, args) => {
            let args = args.into_iter().map(term).collect();
            Term::Fold(name, boxed(*of), pattern(pattern_of), args)
        }
        Term::TryCatch(of, catch) => Term::TryCatch(boxed(*of), catch.map(|it| boxed(*it))),
        Term::IfThenElse(cases, otherwise) => {
            let cases = cases.into_iter().map(|(when, then)| (term(when), term(then)));
            Term::IfThenElse(cases.collect(), otherwise.map(|it| boxed(*it)))
        }
        Term::Def(defs, of) => Term::Def(defs.into_iter().map(definition).collect(), boxed(*of)),
        Term::Call(name, args) => {
            let is_range = name == "range" && args.len() == 3;
            let called = Term::Call(name, args.into_iter().map(term).collect());
            if is_range { behind(called, call(STEP)) } else { called }
        }
        Term::Path(of, Path(parts)) => {
            let iterates = parts.iter().any(|(part, _)| matches!(part, Part::Range(None, None)));
            let parts = parts.into_iter().map(|(part, opt)| (part_of_path(part), opt)).collect();
            let path = Term::Path(boxed(*of), Path(parts));
            if iterates { behind(path, call(STEP)) } else { path }
        }
    }
}

fn boxed(of: Term<&str>) -> Box<Term<&str>> {
    Box::new(term(of))
}

fn call<'s>(name: &'static str) -> Term<&'s str> {
    Term::Call(name, Vec::new())
}

/// `first | second`.
fn behind<'s>(first: Term<&'s str>, second: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(first), BinaryOp::Pipe(None), Box::new(second))
}

fn operation<'s>(
    left: Term<&'s str>,
    op: BinaryOp<&'s str>,
    right: Term<&'s str>,
) -> Term<&'s str> {
    match op {
        BinaryOp::Pipe(Some(bound)) => {
            let op = BinaryOp::Pipe(Some(pattern(bound)));
            Term::BinOp(Box::new(left), op, Box::new(right))
        }
        BinaryOp::Math(Math::Mul) => Term::Call(PRODUCT, vec![left, right]),
        BinaryOp::Math(Math::Add) => {
            behind(Term::BinOp(Box::new(left), op, Box::new(right)), call(SIZED))
        }
        // `left += right` is `right as $operand | left |= . + $operand`.
        BinaryOp::UpdateMath(math @ (Math::Add | Math::Mul)) => {
            let result = operation(Term::Id, BinaryOp::Math(math), Term::Var(OPERAND));
            let update = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(result));
            let bound = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
            Term::BinOp(Box::new(right), bound, Box::new(update))
        }
        op => Term::BinOp(Box::new(left), op, Box::new(right)),
    }
}

fn pattern(of: Pattern<&str>) -> Pattern<&str> {
    match of {
        Pattern::Var(_) => of,
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(pattern).collect()),
        Pattern::Obj(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (term(key), pattern(value)));
            Pattern::Obj(entries.collect())
        }
    }
}

fn part_of_text<'s>(
    of: StrPart<&'s str, Term<&'s str>>,
    is_plain: bool,
) -> StrPart<&'s str, Term<&'s str>> {
    match of {
        StrPart::Term(it) if is_plain => StrPart::Term(behind(term(it), call(TEXT))),
        StrPart::Term(it) => StrPart::Term(term(it)),
        StrPart::Str(_) | StrPart::Char(_) => of,
    }
}

fn part_of_path(of: Part<Term<&str>>) -> Part<Term<&str>> {
    match of {
        Part::Index(at) => Part::Index(term(at)),
        Part::Range(from, upto) => Part::Range(from.map(term), upto.map(term)),
    }
}
