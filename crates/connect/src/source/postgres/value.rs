//! What values of PostgreSQL are in JSON.
//!
//! Truth values, whole and floating numbers are what they are in JSON, documents are embedded as they are; everything else, money
//! and time above all, is text exactly as PostgreSQL prints it.

use serde_json::value::RawValue;

/// What values of a type become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// `true` or `false`.
    Truth,
    /// A number, if JSON has it: it has no infinity.
    Number,
    /// A document.
    Document,
    /// Text.
    Text,
}

impl ValueKind {
    /// Of a type that comes with the server.
    pub(super) fn of_type(type_id: u32) -> Self {
        match type_id {
            16 => Self::Truth,
            20 | 21 | 23 | 26 | 700 | 701 => Self::Number,
            114 | 3802 => Self::Document,
            _ => Self::Text,
        }
    }

    /// Of a type that comes with the server, by its name.
    pub(super) fn of_name(name: &str) -> Self {
        match name {
            "bool" => Self::Truth,
            "int8" | "int2" | "int4" | "oid" | "float4" | "float8" => Self::Number,
            "json" | "jsonb" => Self::Document,
            _ => Self::Text,
        }
    }

    /// Writes a value as JSON.
    pub(super) fn write(self, out: &mut Vec<u8>, value: &str) {
        let raw = match self {
            Self::Truth => match value {
                "t" => Some("true"),
                "f" => Some("false"),
                _ => None,
            },
            Self::Number | Self::Document => {
                serde_json::from_str::<&RawValue>(value).ok().map(RawValue::get)
            }
            Self::Text => None,
        };
        match raw {
            Some(raw) => out.extend_from_slice(raw.as_bytes()),
            None => write_text(out, value),
        }
    }
}

/// Writes text as a string of JSON.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    if serde_json::to_writer(&mut *out, text).is_err() {
        unreachable!("text is always JSON, and memory takes it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: ValueKind, value: &str) -> String {
        let mut out = Vec::new();
        kind.write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_keep_every_digit() {
        for (type_id, value, expected) in [
            (16, "t", "true"),
            (16, "f", "false"),
            (20, "-9223372036854775808", "-9223372036854775808"),
            (701, "1e+20", "1e+20"),
            (701, "NaN", "\"NaN\""),
            (701, "-Infinity", "\"-Infinity\""),
            (1700, "1.10", "\"1.10\""),
            (114, " {\"b\": 1.10,\n \"b\": 2} ", "{\"b\": 1.10,\n \"b\": 2}"),
            (3802, "null", "null"),
            (17, "\\x00ff", "\"\\\\x00ff\""),
            (25, "a \"b\"\u{1}", "\"a \\\"b\\\"\\u0001\""),
            (1007, "{1,NULL,3}", "\"{1,NULL,3}\""),
            (1184, "2026-11-30 15:52:43.5+00", "\"2026-11-30 15:52:43.5+00\""),
        ] {
            assert_eq!(written(ValueKind::of_type(type_id), value), expected, "{type_id}");
        }
    }

    #[test]
    fn what_is_none_of_its_type_becomes_text() {
        assert_eq!(written(ValueKind::Document, "{\"a\":"), "\"{\\\"a\\\":\"");
        assert_eq!(written(ValueKind::Truth, "yes"), "\"yes\"");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(written(ValueKind::Document, &deep), deep);
    }

    #[test]
    fn names_and_numbers_of_types_agree() {
        for (type_id, name) in [
            (16, "bool"),
            (20, "int8"),
            (21, "int2"),
            (23, "int4"),
            (26, "oid"),
            (700, "float4"),
            (701, "float8"),
            (114, "json"),
            (3802, "jsonb"),
            (1700, "numeric"),
            (25, "text"),
        ] {
            assert_eq!(ValueKind::of_type(type_id), ValueKind::of_name(name), "{name}");
        }
    }
}
