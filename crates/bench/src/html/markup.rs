//! What is common to all elements of the page.

use crate::show::text::is_unsafe;

/// How many colors there are before they repeat; the style sheet has as many.
pub(crate) const COLORS: usize = 8;

/// Text as it may stand in an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Unseen on a page, and able to turn text around.
            _ if is_unsafe(character) => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}
