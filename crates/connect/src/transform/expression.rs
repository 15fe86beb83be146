//! Texts that are made of a message: the key that chooses a partition, an id, a subject, a path.

use std::sync::Arc;

use bytes::Bytes;
use galgo_jq::{self as jq, Program, Val, Watch};

use super::{BadMessage, TransformInput, value_of};
use crate::batch::Row;
use crate::place::LaneName;

/// One text of a message, or none: a program in jq that gives a text, a number, `true`, `false` or null, or one of
/// `@time @offset @partition @topic @id @key`, or `@headers.NAME`.
#[derive(Clone)]
pub struct Expression {
    kind: ExpressionKind,
}

#[derive(Clone)]
enum ExpressionKind {
    /// `@offset`: what `$meta` says under these names.
    Meta(Vec<String>),
    /// `.a.b`: needs no program.
    Fields(Vec<String>),
    Program(Arc<Program>),
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expression(..)")
    }
}

/// What stands behind `@`.
const PLACES: [&str; 6] = ["time", "offset", "partition", "topic", "id", "key"];

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compile(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('@') {
            let path = match name.strip_prefix("headers.") {
                Some(header) if !header.is_empty() => vec!["headers".to_owned(), header.to_owned()],
                _ if PLACES.contains(&name) => vec![name.to_owned()],
                _ => {
                    let known = PLACES.join(", @");
                    return Err(format!(
                        "there is no @{name}; there are @{known} and @headers.NAME"
                    ));
                }
            };
            return Ok(Self { kind: ExpressionKind::Meta(path) });
        }
        if let Some(fields) = fields(text) {
            return Ok(Self { kind: ExpressionKind::Fields(fields) });
        }
        let program = Program::compile(text).map_err(|what| format!("jq: {what}"))?;
        Ok(Self { kind: ExpressionKind::Program(program.into()) })
    }

    /// What it says of a row; `None` for null and for nothing at all. Blocks while a program runs, 5 s at most.
    ///
    /// # Errors
    /// [`BadMessage`], without a value.
    pub fn evaluate(&self, lane: &LaneName, row: &Row) -> Result<Option<String>, BadMessage> {
        self.evaluate_input(&TransformInput::of_row(lane, row))
    }

    /// As [`Expression::evaluate`], of each row, in asynchronous code.
    pub async fn evaluate_each(
        &self,
        lane: &LaneName,
        rows: Vec<Row>,
    ) -> Vec<Result<Option<String>, BadMessage>> {
        let inputs: Vec<_> = rows.iter().map(|row| TransformInput::of_row(lane, row)).collect();
        let ExpressionKind::Program(program) = &self.kind else {
            return inputs.iter().map(|input| self.evaluate_input(input)).collect();
        };
        let (program, count) = (Arc::clone(program), inputs.len());
        let run = move |input: &TransformInput| evaluated(&program, input);
        let work = move || jq::each(inputs, jq::PATIENCE, run);
        match tokio::task::spawn_blocking(work).await {
            Ok(results) => {
                assert_eq!(results.len(), count, "INV-PREFIX: each message has a fate");
                results.into_iter().map(super::or_lost).collect()
            }
            // Only when the runtime shuts down.
            Err(_) => vec![Err(BadMessage::new("the process ends")); count],
        }
    }

    /// As [`Expression::evaluate`], of a message on its way in.
    ///
    /// # Errors
    /// [`BadMessage`], without a value.
    pub fn evaluate_input(&self, input: &TransformInput) -> Result<Option<String>, BadMessage> {
        match &self.kind {
            ExpressionKind::Meta(path) => text_of(field(input.meta.value()?, path)?),
            ExpressionKind::Fields(path) => text_of(field(value_of(input)?, path)?),
            ExpressionKind::Program(program) => {
                let program = Arc::clone(program);
                let run = move |input: &TransformInput| evaluated(&program, input);
                let mut results = jq::each(vec![input.clone()], jq::PATIENCE, run);
                let Some(result) = results.pop() else {
                    unreachable!("INV-PREFIX: each message has a fate")
                };
                super::or_lost(result)
            }
        }
    }
}

fn evaluated(program: &Program, input: &TransformInput) -> Result<Option<String>, BadMessage> {
    let watch = Watch::begin();
    let meta = if program.uses_meta() { input.meta.value()? } else { Val::Null };
    let mut outputs = Vec::new();
    program.run(value_of(input)?, &meta, &watch, &mut outputs)?;
    let output = outputs.pop();
    if !outputs.is_empty() {
        return Err(BadMessage::new("an expression gave more than one value"));
    }
    output.map_or(Ok(None), text_of)
}

/// `.a.b` as its names, if it is no more than that.
fn fields(text: &str) -> Option<Vec<String>> {
    let names = text.strip_prefix('.')?.split('.');
    let is_name = |name: &str| {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    names.map(|name| is_name(name).then(|| name.to_owned())).collect()
}

/// The value of a field of a field, as jq has it: null has every field, and it is null.
fn field(value: Val, path: &[String]) -> Result<Val, BadMessage> {
    path.iter().try_fold(value, |value, name| match value {
        Val::Null => Ok(Val::Null),
        Val::Obj(members) => {
            Ok(members.get(&Val::utf8_str(name.clone())).cloned().unwrap_or_default())
        }
        _ => Err(BadMessage::new("an expression looks for a field in what has none")),
    })
}

fn text_of(value: Val) -> Result<Option<String>, BadMessage> {
    match value {
        Val::Null => Ok(None),
        Val::Bool(truth) => Ok(Some(truth.to_string())),
        Val::Num(number) => Ok(Some(number.to_string())),
        Val::TStr(text) => String::from_utf8(Bytes::into(*text))
            .map(Some)
            .map_err(|_| BadMessage::new("an expression gave a text that is not UTF-8")),
        Val::BStr(_) | Val::Arr(_) | Val::Obj(_) => {
            Err(BadMessage::new("an expression gave a list, an object or bytes, and no text"))
        }
    }
}
