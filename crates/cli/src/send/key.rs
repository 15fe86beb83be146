//! The key of a line: what decides its partition, so that lines of one key keep their order.
//!
//! Equal keys give equal partitions. A line without the field counts as having the key
//! `-`, so such lines keep their order among each other as well.

use std::num::NonZeroUsize;

use galgo_wire::limits::MESSAGES_KEY_BYTES_MAX;

/// Longest key of the protocol; a longer one counts by its beginning, so equal keys still give equal partitions.
const KEY_BYTES_MAX: usize = MESSAGES_KEY_BYTES_MAX;

/// Key of lines that lack the field.
const KEY_OF_NONE: &[u8] = b"-";
const _: () = assert!(
    !KEY_OF_NONE.is_empty() && KEY_OF_NONE.len() <= KEY_BYTES_MAX,
    "a line without the field has a key that servers take"
);

/// The n-th field of a line, from 1, fields divided by white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyField(pub(crate) NonZeroUsize);

/// The key of one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageKey<'a> {
    /// Its bytes, 1 to 255.
    pub(crate) bytes: &'a [u8],
    /// Whether the line has the field at all.
    pub(crate) found: bool,
}

impl KeyField {
    /// The key of `line`.
    pub(crate) fn key_of(self, line: &[u8]) -> MessageKey<'_> {
        let mut fields =
            line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
        let found = fields.nth(self.0.get() - 1);
        let bytes = found.unwrap_or(KEY_OF_NONE);
        MessageKey { bytes: bytes.get(..KEY_BYTES_MAX).unwrap_or(bytes), found: found.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: usize) -> KeyField {
        KeyField(NonZeroUsize::new(number).unwrap())
    }

    #[test]
    fn fields_are_divided_by_any_white_space() {
        let line = b"  2026-03-01\t12:00:00  install libc6:amd64 ";
        for (number, expected) in
            [(1, &b"2026-03-01"[..]), (2, b"12:00:00"), (3, b"install"), (4, b"libc6:amd64")]
        {
            let key = field(number).key_of(line);
            assert_eq!((key.bytes, key.found), (expected, true));
        }
    }

    #[test]
    fn a_line_without_the_field_has_the_key_of_none() {
        for line in [&b"one two"[..], b"   ", b""] {
            let key = field(3).key_of(line);
            assert_eq!((key.bytes, key.found), (&b"-"[..], false));
        }
    }

    #[test]
    fn long_keys_count_by_their_beginning() {
        let line = "k".repeat(300);
        assert_eq!(field(1).key_of(line.as_bytes()).bytes.len(), 255);
    }
}
