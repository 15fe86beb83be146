//! What the payload of a message says, as text and as JSON.
//!
//! A payload is bytes; the log does not look into it. Whoever shows messages to people, or hands them to a system
//! that wants JSON, decodes them here.
//!
//! INV-ALL-BYTES: a payload is said to be in an encoding only if that accounts for every byte of it.
//! INV-NUMBERS: a whole number keeps all its digits, whatever reads the JSON later. JSON itself is not written anew: its
//! own text is what is shown.
//! INV-DECODE-BOUND: memory, depth and the number of values are bounded by [`Limits`], whatever the bytes are.
//!
//! MessagePack and CBOR know more than JSON does. Bytes become base64. A key that is no text becomes the JSON of itself
//! as text. Times become text as in RFC 3339. What has no number in JSON (infinities, NaN) becomes text, too.

mod cbor;
mod hex;
mod json;
mod msgpack;
mod protobuf;
mod wrapping;
mod writer;

use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub use wrapping::Wrapping;

/// How a payload says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// JSON, RFC 8259.
    Json,
    /// Text in UTF-8, without control characters but tabs and ends of lines.
    Text,
    /// MessagePack.
    Msgpack,
    /// CBOR, RFC 8949.
    Cbor,
    /// Fields of Protobuf by their numbers, without a schema.
    Protobuf,
    /// Anything else, as hexadecimal digits.
    Hex,
}

/// Which encoding is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The first of JSON, text, MessagePack and CBOR that fits. Protobuf has no mark to tell it by, so it has to be asked for;
    /// nor has a lone number in MessagePack or CBOR, which need a map or a list here.
    #[default]
    Auto,
    /// This one; where it does not fit, the payload is shown in hexadecimal digits.
    Only(Encoding),
}

/// How much a payload may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text that are made of it; what is behind them is cut off.
    pub text_bytes: usize,
    /// How deep lists and maps may lie in one another.
    pub depth: usize,
    /// How many values there may be.
    pub values: usize,
    /// Bytes that compressed payloads may have when they are unpacked.
    pub unwrapped_bytes: usize,
}

impl Limits {
    /// For what people look at.
    pub const SHOWN: Self =
        Self { text_bytes: 1 << 20, depth: 64, values: 100_000, unwrapped_bytes: 16 << 20 };

    /// For what is handed on: whole or not at all, up to the largest message there is.
    pub const WHOLE: Self =
        Self { text_bytes: 256 << 20, depth: 64, values: 10_000_000, unwrapped_bytes: 64 << 20 };
}

const _: () = assert!(
    Limits::SHOWN.text_bytes <= Limits::WHOLE.text_bytes
        && Limits::SHOWN.depth == Limits::WHOLE.depth
        && Limits::SHOWN.values <= Limits::WHOLE.values
        && Limits::SHOWN.unwrapped_bytes <= Limits::WHOLE.unwrapped_bytes,
    "what is shown whole is read whole, too"
);

/// Why a payload is not what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It breaks a rule of the encoding at this byte.
    #[error("it breaks off or is wrong at byte {at}")]
    Syntax {
        /// How many bytes are in front of the fault.
        at: usize,
    },
    /// A whole value ends before the payload does.
    #[error("{left} bytes are left over behind a whole value")]
    LeftOver {
        /// How many.
        left: usize,
    },
    /// Lists or maps lie too deep in one another.
    #[error("it is more than {limit} levels deep")]
    Depth {
        /// How deep they may.
        limit: usize,
    },
    /// There are too many values.
    #[error("it has more than {limit} values")]
    Values {
        /// How many there may be.
        limit: usize,
    },
    /// It would be longer than it may be.
    #[error("it would be more than {limit} bytes long")]
    Size {
        /// How many bytes it may have.
        limit: usize,
    },
    /// It has control characters.
    #[error("it has control characters, the first at byte {at}")]
    Control {
        /// Where the first is.
        at: usize,
    },
    /// One number, text or the like fits by chance.
    #[error("it is no list and no map")]
    Scalar,
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
}

/// An encoding that was tried, and why it did not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Which.
    pub encoding: Encoding,
    /// Why not, for people.
    pub reason: String,
}

/// What a payload says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decoded {
    /// How it was compressed, from the outside in.
    pub wrapped: Vec<Wrapping>,
    /// How it says it.
    pub encoding: Encoding,
    /// As text: its own where it is JSON or text, JSON in one line for what can be written so, else hexadecimal digits.
    pub text: String,
    /// Whether there is more of it.
    pub truncated: bool,
    /// What it was not.
    pub tried: Vec<Tried>,
}

/// Encodings that tell by themselves whether they fit, in the order in which they are tried.
const AUTO: [Encoding; 4] = [Encoding::Json, Encoding::Text, Encoding::Msgpack, Encoding::Cbor];

/// Says what a payload says; in hexadecimal digits if there is nothing better.
#[must_use]
pub fn decode(payload: &[u8], choice: Choice, limits: &Limits) -> Decoded {
    let (wrapped, payload) = wrapping::unwrap(payload, limits.unwrapped_bytes);
    let candidates = match &choice {
        Choice::Auto => &AUTO[..],
        Choice::Only(encoding) => std::slice::from_ref(encoding),
    };
    let mut tried = Vec::new();
    for encoding in candidates {
        match text_of(&payload, *encoding, choice == Choice::Auto, limits) {
            Ok((text, truncated)) => {
                return Decoded { wrapped, encoding: *encoding, text, truncated, tried };
            }
            Err(reason) => tried.push(Tried { encoding: *encoding, reason: reason.to_string() }),
        }
    }
    let (text, truncated) = hex::text(&payload, limits);
    Decoded { wrapped, encoding: Encoding::Hex, text, truncated, tried }
}

/// The JSON that a payload in this encoding stands for; of JSON its own text. Compressed ones are unpacked.
///
/// # Errors
/// [`Reason`], when it is not in this encoding, or larger than `limits` allow: nothing is cut off.
pub fn to_json<'a>(
    payload: &'a [u8],
    encoding: Encoding,
    limits: &Limits,
) -> Result<Cow<'a, str>, Reason> {
    let (_, payload) = wrapping::unwrap(payload, limits.unwrapped_bytes);
    if encoding == Encoding::Json
        && let Cow::Borrowed(bytes) = payload
    {
        return json::checked(bytes, limits).map(Cow::Borrowed);
    }
    let (text, truncated) = text_of(&payload, encoding, false, limits)?;
    if truncated {
        return Err(Reason::Size { limit: limits.text_bytes });
    }
    Ok(Cow::Owned(match encoding {
        Encoding::Text | Encoding::Hex => {
            let mut writer = writer::Writer::new(limits);
            writer.string(&text)?;
            match writer.finish() {
                (text, false) => text,
                (_, true) => return Err(Reason::Size { limit: limits.text_bytes }),
            }
        }
        _ => text,
    }))
}

fn text_of(
    payload: &[u8],
    encoding: Encoding,
    guesses: bool,
    limits: &Limits,
) -> Result<(String, bool), Reason> {
    match encoding {
        Encoding::Json => json::checked(payload, limits).map(|text| cut(text, limits.text_bytes)),
        Encoding::Text => plain_text(payload, guesses).map(|text| cut(text, limits.text_bytes)),
        Encoding::Msgpack => msgpack::text(payload, guesses, limits),
        Encoding::Cbor => cbor::text(payload, guesses, limits),
        Encoding::Protobuf => protobuf::text(payload, limits),
        Encoding::Hex => Ok(hex::text(payload, limits)),
    }
}

/// The payload as text. A guess is not made where there are control characters, or nothing at all: they are as likely
/// something else.
fn plain_text(payload: &[u8], guesses: bool) -> Result<&str, Reason> {
    let text =
        str::from_utf8(payload).map_err(|error| Reason::Syntax { at: error.valid_up_to() })?;
    let control = |c: &char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    match text.char_indices().find(|(_, c)| control(c)).filter(|_| guesses) {
        Some((at, _)) => Err(Reason::Control { at }),
        None => Ok(text),
    }
}

/// So much of a text, and whether there is more.
fn cut(text: &str, bytes_max: usize) -> (String, bool) {
    let end = text.floor_char_boundary(bytes_max);
    let (shown, rest) = text.split_at(end);
    (shown.to_owned(), !rest.is_empty())
}

impl Encoding {
    /// Each of them, and what it is called.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Json, "json"),
        (Self::Text, "text"),
        (Self::Msgpack, "msgpack"),
        (Self::Cbor, "cbor"),
        (Self::Protobuf, "protobuf"),
        (Self::Hex, "hex"),
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(encoding, _)| *encoding == self);
        let Some((_, name)) = found else { unreachable!("each encoding is in the table") };
        name
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is that of no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of auto, json, text, msgpack, cbor, protobuf and hex")]
pub struct UnknownEncoding;

impl FromStr for Choice {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let found = Encoding::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(encoding, _)| Self::Only(*encoding)).ok_or(UnknownEncoding)
    }
}

#[cfg(test)]
mod tests;
