//! Payloads that are JSON already.

use serde_json::value::RawValue;

use crate::{Limits, Reason};

/// The text of a payload that is JSON, as it is.
pub(crate) fn checked<'a>(payload: &'a [u8], limits: &Limits) -> Result<&'a str, Reason> {
    let text =
        str::from_utf8(payload).map_err(|error| Reason::Syntax { at: error.valid_up_to() })?;
    // Before the parser looks at it: how deep it is decides what that needs.
    within(text, limits)?;
    let parsed: Result<&RawValue, _> = serde_json::from_str(text);
    match parsed {
        Ok(_) => Ok(text),
        Err(_) if text.trim().is_empty() => Err(Reason::Empty),
        Err(error) => {
            // The parser counts lines from 1 and columns in bytes.
            let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let at = before.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            Err(Reason::Syntax { at: at.min(text.len()) })
        }
    }
}

/// Whether depth and number of values are within the limits, for text that may be JSON.
fn within(text: &str, limits: &Limits) -> Result<(), Reason> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > limits.depth {
            return Err(Reason::Depth { limit: limits.depth });
        }
        if values > limits.values {
            return Err(Reason::Values { limit: limits.values });
        }
    }
    Ok(())
}
