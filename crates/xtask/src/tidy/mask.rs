//! Blanks out what only looks like code, so that braces can be counted.
//!
//! MASK-LINES: the result has the same lines as the text; only characters inside comments, strings
//! and character literals became spaces.

/// The text with comments and literals blanked out.
pub(super) fn mask(text: &str) -> String {
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()), last: ' ' };
    while scanner.step() {}
    assert!(
        scanner.out.lines().count() == text.lines().count(),
        "what is masked has the lines of the text, by which both are compared"
    );
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
    /// The last code character, to tell `r"` from the end of a name such as `for"`.
    last: char,
}

impl Scanner<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        let starts_word = !(self.last.is_alphanumeric() || self.last == '_');
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment_len(self.rest));
        } else if let Some(len) = raw_string_len(self.rest).filter(|_| starts_word) {
            self.blank(len);
        } else if first == '"' {
            self.blank(quoted_len(self.rest, '"'));
        } else if first == '\'' && is_char_literal(self.rest) {
            self.blank(quoted_len(self.rest, '\''));
        } else {
            self.out.push(first);
            self.last = first;
            self.rest = self.rest.split_at(first.len_utf8()).1;
        }
        true
    }

    fn blank(&mut self, len: usize) {
        let Some((gone, rest)) = self.rest.split_at_checked(len) else {
            unreachable!("what is blanked ends behind a character of the text");
        };
        self.out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.last = ' ';
        self.rest = rest;
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Length of a raw string (`r"…"`, `br#"…"#`) at the start of the text, if there is one.
fn raw_string_len(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let body = after_r.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let opening = text.len() - body.len();
    Some(body.find(&close).map_or(text.len(), |end| opening + end + close.len()))
}

/// Length of a literal between two `quote`s, with backslash escapes.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn braces_in_literals_and_comments_vanish_and_lines_stay() {
        for (text, masked) in [
            ("a(\"{\\\"\");", "a(     );"),
            ("b('{', '\\'', 'x');", "b(   ,     ,    );"),
            ("fn c<'a>(x: &'a str) {}", "fn c<'a>(x: &'a str) {}"),
            ("d // {\n}", "d     \n}"),
            ("e /* { /* } */ \n */ {", "e              \n    {"),
            ("r#\"{\"}\"# }", "         }"),
            ("for\"{\"", "for   "),
        ] {
            assert_eq!(mask(text), masked, "{text:?}");
        }
    }
}
