//! Writes JSON in one line, up to a limit.
//!
//! Part of INV-DECODE-BOUND: what is behind the limit is looked at, and not kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Limits, Reason};

/// JSON as far as it is written.
pub(crate) struct Writer {
    text: String,
    bytes_max: usize,
    truncated: bool,
    values_left: usize,
    values_max: usize,
    depth_left: usize,
    depth_max: usize,
}

impl Writer {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            text: String::new(),
            bytes_max: limits.text_bytes,
            truncated: false,
            values_left: limits.values,
            values_max: limits.values,
            depth_left: limits.depth,
            depth_max: limits.depth,
        }
    }

    /// The text, and whether it was cut off.
    pub(crate) fn finish(self) -> (String, bool) {
        (self.text, self.truncated)
    }

    /// Appends what is JSON already.
    pub(crate) fn raw(&mut self, text: &str) {
        if self.truncated {
            return;
        }
        let room = self.bytes_max - self.text.len();
        let end = text.floor_char_boundary(room);
        self.text.extend(text.get(..end));
        self.truncated = end < text.len();
        assert!(
            self.text.len() <= self.bytes_max,
            "INV-DECODE-BOUND: no text is longer than it may be"
        );
    }

    /// Counts a value.
    pub(crate) fn value(&mut self) -> Result<(), Reason> {
        match self.values_left.checked_sub(1) {
            Some(left) => self.values_left = left,
            None => return Err(Reason::Values { limit: self.values_max }),
        }
        Ok(())
    }

    /// Writes a value that is JSON already: a number, `true`, `null`.
    pub(crate) fn scalar(&mut self, text: &str) -> Result<(), Reason> {
        self.value()?;
        self.raw(text);
        Ok(())
    }

    /// Writes a number with a fraction; infinities and NaN as text.
    pub(crate) fn float(&mut self, digits: &str) -> Result<(), Reason> {
        match digits {
            "NaN" | "inf" | "-inf" => self.string(digits),
            digits => self.scalar(digits),
        }
    }

    /// Writes text.
    pub(crate) fn string(&mut self, text: &str) -> Result<(), Reason> {
        self.value()?;
        self.raw("\"");
        self.escaped(text);
        self.raw("\"");
        Ok(())
    }

    /// Writes bytes as base64.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.value()?;
        self.raw("\"");
        // Not more at a time than is kept: 3 bytes are 4 digits.
        for chunk in bytes.chunks(3 << 10) {
            if self.truncated {
                break;
            }
            self.raw(&STANDARD.encode(chunk));
        }
        self.raw("\"");
        Ok(())
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
            let (plain, from) = rest.split_at(at);
            self.raw(plain);
            let mut chars = from.chars();
            match chars.next() {
                Some('\n') => self.raw("\\n"),
                Some('\r') => self.raw("\\r"),
                Some('\t') => self.raw("\\t"),
                Some(c @ ('"' | '\\')) => {
                    self.raw("\\");
                    self.raw(c.encode_utf8(&mut [0; 4]));
                }
                Some(c) => self.raw(&format!("\\u{:04x}", u32::from(c))),
                None => {}
            }
            rest = chars.as_str();
            if self.truncated {
                return;
            }
        }
        self.raw(rest);
    }

    /// Goes into a list or a map.
    pub(crate) fn enter(&mut self, open: &str) -> Result<(), Reason> {
        self.value()?;
        match self.depth_left.checked_sub(1) {
            Some(left) => self.depth_left = left,
            None => return Err(Reason::Depth { limit: self.depth_max }),
        }
        self.raw(open);
        Ok(())
    }

    /// Leaves it.
    pub(crate) fn leave(&mut self, close: &str) {
        self.depth_left += 1;
        assert!(self.depth_left <= self.depth_max, "what is left was entered");
        self.raw(close);
    }

    /// How many levels and how many values there may still be.
    pub(crate) fn left(&self) -> (usize, usize) {
        (self.depth_left, self.values_left)
    }

    /// One for a part whose text is wanted by itself, with what is left of the limits.
    pub(crate) fn part(&self) -> Self {
        Self {
            text: String::new(),
            bytes_max: self.bytes_max,
            truncated: false,
            values_left: self.values_left,
            values_max: self.values_max,
            depth_left: self.depth_left,
            depth_max: self.depth_max,
        }
    }

    /// Writes the text of a part as a key: as it is where it is text, else quoted. What the part cost is counted here.
    pub(crate) fn key(&mut self, part: Self) {
        assert!(
            part.values_left <= self.values_left && part.depth_left == self.depth_left,
            "INV-DECODE-BOUND: a key takes of the values there may be, and leaves what it enters"
        );
        self.values_left = part.values_left;
        let is_text = part.text.starts_with('"');
        match is_text {
            true => self.raw(&part.text),
            false => {
                self.raw("\"");
                self.escaped(&part.text);
                self.raw("\"");
            }
        }
        self.truncated |= part.truncated;
        self.raw(":");
    }
}
