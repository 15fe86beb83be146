//! Text from outside, made safe to show.
//!
//! Names and payloads are whatever a client sent; shown raw on a terminal they could move the
//! cursor, change its title or worse.

use std::fmt::Write as _;

use galgo_bench::show::text::is_unsafe;
pub(crate) use galgo_bench::show::text::visible;

/// A payload for a terminal: text as it is, control bytes and broken UTF-8 escaped.
pub(crate) fn visible_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character != '\t' && is_unsafe(character) {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// How much of a payload a cell of a table shows, in characters.
const PREVIEW_CHARACTERS_MAX: usize = 100;

/// The beginning of a payload for a cell of a table, with `…` where it goes on; a payload may have 64 MB,
/// and a table of it would be millions of lines.
pub(crate) fn preview_bytes(bytes: &[u8]) -> String {
    // No character has more than four bytes, so what is cut off here could not be shown anyway.
    let head = bytes.get(..4 * (PREVIEW_CHARACTERS_MAX + 1)).unwrap_or(bytes);
    let mut shown = visible_bytes(head);
    if let Some((end, _)) = shown.char_indices().nth(PREVIEW_CHARACTERS_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            if index <= group.len() {
                let sextet = (bits >> (18 - 6 * index)) & 63;
                text.push(char::from(ALPHABET[sextet as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Sixteen bytes a line: position, hexadecimal, text.
pub(crate) fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::with_capacity(bytes.len() * 5);
    for (row, line) in bytes.chunks(16).enumerate() {
        let _ = write!(dump, "{:08x} ", row * 16);
        for index in 0..16 {
            if index == 8 {
                dump.push(' ');
            }
            match line.get(index) {
                Some(byte) => {
                    let _ = write!(dump, " {byte:02x}");
                }
                None => dump.push_str("   "),
            }
        }
        dump.push_str("  |");
        dump.extend(line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        }));
        dump.push_str("|\n");
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible_bytes(b"tab\tok \x1b[1m \xff"), "tab\tok \\u{1b}[1m \\xff");
    }

    #[test]
    fn base64_vectors() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff\xfe\xfd", "//79"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn hex_dump_aligns_the_last_line() {
        let dump = hex_dump(b"0123456789abcdef\x00z");
        assert_eq!(
            dump,
            "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n\
             00000010  00 7a                                             |.z|\n"
        );
        assert_eq!(hex_dump(b""), "");
    }

    #[test]
    fn a_preview_is_short_whatever_the_payload() {
        assert_eq!(preview_bytes(b"short\n"), "short\\n");
        assert_eq!(preview_bytes(&[b'x'; 100]), "x".repeat(100));
        assert_eq!(preview_bytes(&[b'x'; 64_000_000]), format!("{}…", "x".repeat(100)));
        assert_eq!(preview_bytes("ö".repeat(1000).as_bytes()), format!("{}…", "ö".repeat(100)));
    }
}
