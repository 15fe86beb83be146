//! Payloads as hexadecimal digits.

use std::fmt::Write as _;

use crate::Limits;

/// The digits of as many bytes as there is room for, and whether there are more.
pub(crate) fn text(payload: &[u8], limits: &Limits) -> (String, bool) {
    let (shown, rest) = payload.split_at(payload.len().min(limits.text_bytes / 2));
    let mut text = String::with_capacity(shown.len() * 2);
    for byte in shown {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    (text, !rest.is_empty())
}
