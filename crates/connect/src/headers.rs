//! Headers of messages between systems: as JSON, and the trace of the pipelines a message passed.
//!
//! INV-NO-LOOP: a message that comes to a pipeline it has passed already is left out there, so that two pipelines that copy in
//! opposite directions do not copy a message for ever.

use galgo::{HeaderField, HeaderKind, HeaderValue, UserHeaders};
use serde_json::{Map, Number, Value};

/// The header that names the pipelines a message has passed, divided by commas.
pub const VIA: &str = "connect.via";
/// Pipelines a message may pass.
const HOPS_MAX: usize = 8;

/// Whether a message is to be left out by a pipeline: it has passed it, or too many others.
#[must_use]
pub fn is_loop(headers: &UserHeaders, pipeline: &str) -> bool {
    let Some(via) = headers.get(VIA).and_then(HeaderField::as_str) else { return false };
    via.split(',').any(|name| name == pipeline) || via.split(',').count() >= HOPS_MAX
}

/// What [`VIA`] says behind this pipeline. A value that would not fit into a header begins anew with this pipeline; the name
/// of a pipeline always fits.
#[must_use]
pub fn via(headers: &UserHeaders, pipeline: &str) -> HeaderValue {
    let before = headers.get(VIA).and_then(HeaderField::as_str);
    let whole = before.map(|before| format!("{before},{pipeline}"));
    let fits = whole.and_then(|text| text.parse().ok());
    let Some(value) = fits.or_else(|| pipeline.parse().ok()) else {
        unreachable!("INV-NO-LOOP: the name of a pipeline has 1 to 100 bytes")
    };
    value
}

/// Headers as an object of JSON: text as text, numbers as numbers with all their digits, bytes in hexadecimal digits.
#[must_use]
pub fn to_json(headers: &UserHeaders) -> Value {
    let member =
        |(key, value): (&HeaderField, &HeaderValue)| (key.to_string(), value_to_json(value));
    Value::Object(headers.iter().map(member).collect::<Map<_, _>>())
}

fn value_to_json(value: &HeaderValue) -> Value {
    let number = |text: String| {
        // Integers only: JSON of serde has 64 bits, and what has more becomes text.
        let integer = text.parse::<i64>().map(Number::from);
        integer.or_else(|_| text.parse::<u64>().map(Number::from)).ok()
    };
    let text = value.to_string();
    match value.kind() {
        HeaderKind::Bool => value.as_bool().map_or(Value::Null, Value::Bool),
        HeaderKind::String | HeaderKind::Raw => Value::String(text),
        HeaderKind::Float32 | HeaderKind::Float64 => {
            let parsed = text.parse().ok().and_then(Number::from_f64);
            parsed.map_or(Value::String(text), Value::Number)
        }
        _ => number(text.clone()).map_or(Value::String(text), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(via: &str) -> UserHeaders {
        let mut headers = UserHeaders::new();
        headers.insert(VIA.parse().unwrap(), via.parse().unwrap());
        headers
    }

    #[test]
    fn a_message_meets_its_own_name_once() {
        assert!(!is_loop(&UserHeaders::new(), "a"));
        assert!(!is_loop(&with("ab,b"), "a"), "a name is whole");
        assert!(is_loop(&with("b,a"), "a"), "INV-NO-LOOP");
        assert!(is_loop(&with("1,2,3,4,5,6,7,8"), "a"), "INV-NO-LOOP");
        assert_eq!(via(&with("b"), "a").as_str(), Some("b,a"));
        assert_eq!(via(&UserHeaders::new(), "a").as_str(), Some("a"));
        assert_eq!(via(&with(&"x".repeat(254)), "a").as_str(), Some("a"));
    }

    #[test]
    fn json_keeps_what_it_can_say() {
        let mut headers = UserHeaders::new();
        let entries: [(&str, HeaderValue); 5] = [
            ("a", u64::MAX.into()),
            ("b", u128::MAX.into()),
            ("c", true.into()),
            ("d", "text".parse().unwrap()),
            ("e", f64::NAN.into()),
        ];
        for (key, value) in entries {
            headers.insert(key.parse().unwrap(), value);
        }
        assert_eq!(
            to_json(&headers).to_string(),
            r#"{"a":18446744073709551615,"b":"340282366920938463463374607431768211455","c":true,"d":"text","e":"NaN"}"#
        );
    }
}
