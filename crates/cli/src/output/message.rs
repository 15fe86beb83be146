//! Messages on standard output: as text, JSON lines or a hex dump.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use clap::ValueEnum;
use galgo::{HeaderField, HeaderKind};
use galgo::{ReceivedMessage, UserHeaders};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::output::json;
use crate::output::text::{base64, hex_dump, visible_bytes};
use crate::value::time::show_time;

/// The form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// The payload and a line end; control characters are escaped on a terminal.
    Text,
    /// One JSON object on a line, with offset, time and headers.
    Json,
    /// A line with offset and time, then the payload in hexadecimal.
    Hex,
}

/// A message as JSON: the payload as text when it is text, else in base64.
#[derive(Debug, Serialize)]
pub(crate) struct MessageJson {
    partition: u32,
    offset: u64,
    timestamp: String,
    origin_timestamp: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl MessageJson {
    /// The JSON form of `message`.
    pub(crate) fn of(message: &ReceivedMessage) -> Self {
        let text = std::str::from_utf8(message.payload()).ok();
        let block = message.user_headers();
        let headers = UserHeaders::pairs(block);
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: show_time(message.timestamp()),
            origin_timestamp: show_time(message.origin_timestamp()),
            id: format!("{:032x}", message.id()),
            headers_base64: headers.is_err().then(|| base64(block)),
            headers: headers.ok().filter(|pairs| !pairs.is_empty()).map(headers_json),
            payload: text.map(str::to_owned),
            payload_base64: text.is_none().then(|| base64(message.payload())),
        }
    }
}

/// Headers by the text of their keys; a list of pairs when a key comes twice, in which nothing is lost.
fn headers_json(pairs: Vec<(HeaderField, HeaderField)>) -> Value {
    let shown: Vec<(String, Value)> =
        pairs.iter().map(|(key, value)| (key.to_string(), header_value(value))).collect();
    let keys: BTreeSet<&String> = shown.iter().map(|(key, _)| key).collect();
    match keys.len() == shown.len() {
        true => Value::Object(shown.into_iter().collect()),
        false => json!(shown),
    }
}

/// Numbers that JSON readers keep exact as numbers, the rest as text.
fn header_value(value: &HeaderField) -> Value {
    match value.kind() {
        HeaderKind::Bool => json!(value.as_bool()),
        HeaderKind::Raw => json!({ "base64": base64(value.as_bytes()) }),
        HeaderKind::String | HeaderKind::Int128 | HeaderKind::Uint128 => json!(value.to_string()),
        _ => {
            let text = value.to_string();
            text.parse().map_or_else(|_| json!(text), Value::Number)
        }
    }
}

/// Writes messages to standard output, many at a time.
#[derive(Debug)]
pub(crate) struct MessageWriter {
    format: MessageFormat,
    out: BufWriter<Stdout>,
    on_terminal: bool,
}

impl MessageWriter {
    /// A writer in this form.
    pub(crate) fn new(format: MessageFormat) -> Self {
        let out = io::stdout();
        let on_terminal = out.is_terminal();
        Self { format, out: BufWriter::with_capacity(64 * 1024, out), on_terminal }
    }

    /// Writes one message; it may stay in the buffer until [`MessageWriter::flush`].
    pub(crate) fn write(&mut self, message: &ReceivedMessage) -> Outcome {
        let written = match self.format {
            MessageFormat::Text if self.on_terminal => {
                writeln!(self.out, "{}", visible_bytes(message.payload()))
            }
            MessageFormat::Text => {
                self.out.write_all(message.payload()).and_then(|()| self.out.write_all(b"\n"))
            }
            MessageFormat::Json => writeln!(self.out, "{}", json::line(&MessageJson::of(message))?),
            MessageFormat::Hex => {
                let dump = hex_dump(message.payload());
                writeln!(self.out, "{}\n{dump}", hex_title(message))
            }
        };
        written.map_err(|error| Failure::output(&error))
    }

    /// Hands over what is in the buffer.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.out.flush().map_err(|error| Failure::output(&error))
    }

    /// Whether the reader of a pipe has gone away.
    pub(crate) fn reader_is_gone(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdout = io::stdout();
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let answered = poll(&mut asked, Some(&now));
        let gone = PollFlags::ERR | PollFlags::NVAL;
        answered.is_ok() && asked.iter().any(|answer| answer.revents().intersects(gone))
    }
}

fn hex_title(message: &ReceivedMessage) -> String {
    format!(
        "partition {} offset {} at {} ({} bytes)",
        message.partition(),
        message.offset(),
        show_time(message.timestamp()),
        message.payload().len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_twice_is_shown_twice() {
        let pair = |key: &str, value: u8| (key.parse().unwrap(), value.into());
        let once = headers_json(vec![pair("a", 1), pair("b", 2)]);
        assert_eq!(once, json!({ "a": 1, "b": 2 }));
        let twice = headers_json(vec![pair("b", 1), pair("a", 2), pair("b", 3)]);
        assert_eq!(twice, json!([["b", 1], ["a", 2], ["b", 3]]));
    }

    #[test]
    fn header_values_keep_their_kind() {
        assert_eq!(header_value(&"text".parse().unwrap()), json!("text"));
        assert_eq!(header_value(&true.into()), json!(true));
        assert_eq!(header_value(&7u64.into()), json!(7));
        assert_eq!(header_value(&(-7i8).into()), json!(-7));
        assert_eq!(header_value(&u128::MAX.into()), json!(u128::MAX.to_string()));
        assert_eq!(header_value(&f64::NAN.into()), json!("NaN"));
        let raw = HeaderField::new(HeaderKind::Raw, b"\xff").unwrap();
        assert_eq!(header_value(&raw), json!({ "base64": "/w==" }));
    }
}
