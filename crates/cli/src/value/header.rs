//! User headers on the command line: `KEY=VALUE`, both text.

use galgo_wire::limits::USER_HEADER_FIELD_BYTES_MAX;

/// Longest key and longest value the protocol takes.
const PART_BYTES_MAX: usize = USER_HEADER_FIELD_BYTES_MAX;

/// One text header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderText {
    /// The name of the header.
    pub(crate) key: String,
    /// Its text.
    pub(crate) value: String,
}

/// Parses `KEY=VALUE`; the first `=` divides.
pub(crate) fn parse_header(text: &str) -> Result<HeaderText, String> {
    let (key, value) =
        text.split_once('=').ok_or("a header is written KEY=VALUE, like source=web")?;
    for (what, part) in [("key", key), ("value", value)] {
        match part.len() {
            0 => return Err(format!("the {what} of a header may not be empty")),
            1..=PART_BYTES_MAX => {}
            len => {
                return Err(format!(
                    "the {what} has {len} bytes, over the limit of {PART_BYTES_MAX}"
                ));
            }
        }
    }
    Ok(HeaderText { key: key.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_equals_sign_divides() {
        let header = parse_header("query=a=b").unwrap();
        assert_eq!((header.key.as_str(), header.value.as_str()), ("query", "a=b"));
    }

    #[test]
    fn bad_headers() {
        for text in ["", "a", "=b", "a=", &format!("a={}", "x".repeat(256))] {
            assert!(parse_header(text).is_err(), "{text}");
        }
    }
}
