//! JSON for programs.
//!
//! The largest number of 64 bits stands for "none" or "without end" in the protocol;
//! a document says `null` instead, because most readers of JSON would round the number.

use std::borrow::Cow;

use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// The largest number of 64 bits, as JSON has it.
const SENTINEL: &str = "18446744073709551615";
const _: () = assert!(
    matches!(u64::from_str_radix(SENTINEL, 10), Ok(u64::MAX)),
    "what is written as null is the largest number"
);

/// A document of its own: indented, since `jq` does not mind and people read it too.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Outcome<String> {
    let failed = |error: serde_json::Error| Failure::io(format!("cannot write JSON: {error}"));
    let text = serde_json::to_string_pretty(value).map_err(failed)?;
    // Rare, and not worth the order of the fields, which going through `Value` would lose.
    if !text.contains(SENTINEL) {
        return Ok(text);
    }
    Ok(text.split('\n').map(without_sentinel).collect::<Vec<_>>().join("\n"))
}

/// One document of many, on a line of its own.
pub(crate) fn line<T: Serialize>(value: &T) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::io(format!("cannot write JSON: {error}")))
}

/// A line of an indented document; a text ends with a quotation mark, so only numbers are met.
fn without_sentinel(line: &str) -> Cow<'_, str> {
    let (value, comma) = line.strip_suffix(',').map_or((line, ""), |value| (value, ","));
    match value.strip_suffix(SENTINEL) {
        Some(before) if before.ends_with(' ') => Cow::Owned(format!("{before}null{comma}")),
        _ => Cow::Borrowed(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_means_none_is_null_and_a_text_like_it_stays() {
        let document = serde_json::json!({
            "a": u64::MAX, "b": [u64::MAX, 7], "c": SENTINEL, "d": format!("x {SENTINEL}"), "e": u64::MAX,
        });
        let read: serde_json::Value = serde_json::from_str(&pretty(&document).unwrap()).unwrap();
        let expected = serde_json::json!({
            "a": null, "b": [null, 7], "c": SENTINEL, "d": format!("x {SENTINEL}"), "e": null,
        });
        assert_eq!(read, expected);
    }
}
