//! Headers on their way from and to other systems.
//!
//! A header of Galgo has a key and a value of at most 255 bytes, and all of a message together have 100,000. What is longer elsewhere is
//! left out and counted, or the payload becomes an envelope: a document of JSON that holds headers and payload whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use galgo::{HeaderError, HeaderKind, HeaderValue, UserHeaders};
use galgo_wire::limits::{USER_HEADER_FIELD_BYTES_MAX, USER_HEADERS_BYTES_MAX};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::IgnoredAny;
#[cfg(feature = "mqtt")]
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::batch::{Form, Row};
use crate::headers::{VIA, to_json, via};
use crate::place::LaneName;

/// Bytes of a header in front of its key and value: two kinds and two lengths.
const FIELD_HEADS_BYTES: usize = 2 * (1 + 4);
/// Between two lines of the log about headers that were left out.
const TELL_EACH: Duration = Duration::from_secs(60);

/// What is done with headers that do not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HeaderRule {
    /// They are left out, and counted.
    #[default]
    DropLong,
    /// The payload becomes JSON that holds all of them.
    Envelope,
}

/// How many headers were left out, told in the log once a minute.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    total: AtomicU64,
    told: Mutex<Option<(Instant, u64)>>,
}

impl LeftOut {
    /// Counts some.
    pub(crate) fn add(&self, count: u64, pipeline: &str) {
        if count == 0 {
            return;
        }
        let total = self.total.fetch_add(count, Ordering::Relaxed) + count;
        let mut told = self.told.lock();
        if told.is_none_or(|(at, _)| at.elapsed() >= TELL_EACH) {
            let before = told.map_or(0, |(_, total)| total);
            *told = Some((Instant::now(), total));
            tracing::warn!(
                pipeline,
                count = total - before,
                "headers left out, as they do not fit; headers = \"envelope\" keeps them"
            );
        }
    }

    /// All since the start.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// Headers of a message that comes in, as they are found.
#[derive(Debug)]
pub(crate) struct GatheredHeaders {
    headers: UserHeaders,
    bytes: usize,
    left_out: u64,
    /// All of them, whatever their length, for an envelope.
    whole: Option<Map<String, Value>>,
}

impl GatheredHeaders {
    /// None yet.
    pub(crate) fn new(rule: HeaderRule) -> Self {
        let whole = (rule == HeaderRule::Envelope).then(Map::new);
        Self { headers: UserHeaders::new(), bytes: 0, left_out: 0, whole }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.add(key, text.parse().ok(), || Value::String(text.to_owned()));
    }

    /// Adds bytes.
    pub(crate) fn bytes(&mut self, key: &str, bytes: &[u8]) {
        let value = HeaderValue::new(HeaderKind::Raw, bytes).ok();
        self.add(key, value, || json!({ "base64": STANDARD.encode(bytes) }));
    }

    /// Adds a value that has a type.
    pub(crate) fn value(&mut self, key: &str, value: impl Into<HeaderValue>, whole: Value) {
        self.add(key, Some(value.into()), || whole);
    }

    /// Adds a value that no header can be.
    pub(crate) fn document(&mut self, key: &str, document: Value) {
        let text = document.to_string();
        self.add(key, text.parse().ok(), || document);
    }

    fn add(&mut self, key: &str, value: Option<HeaderValue>, whole: impl FnOnce() -> Value) {
        if let Some(all) = &mut self.whole {
            all.insert(key.to_owned(), whole());
        }
        let fields = key.parse().ok().zip(value);
        let len = |field: &HeaderValue| field.as_bytes().len();
        match fields {
            Some((key, value))
                if self.bytes + FIELD_HEADS_BYTES + len(&key) + len(&value)
                    <= USER_HEADERS_BYTES_MAX as usize =>
            {
                self.bytes += FIELD_HEADS_BYTES + len(&key) + len(&value);
                self.headers.insert(key, value);
            }
            _ => self.left_out += 1,
        }
    }

    /// The headers, and what is stored as payload; tells how many headers are lost.
    pub(crate) fn finish(self, payload: Bytes) -> (UserHeaders, Bytes, Form, u64) {
        assert!(
            self.bytes <= USER_HEADERS_BYTES_MAX as usize,
            "headers that are kept fit into a message together"
        );
        match self.whole {
            None => {
                let form = form_of(&payload);
                (self.headers, payload, form, self.left_out)
            }
            Some(whole) => {
                let envelope = envelope(&Value::Object(whole).to_string(), &payload, "");
                (self.headers, envelope, Form::Json, 0)
            }
        }
    }
}

/// What a payload is, as far as looking at it tells.
pub(crate) fn form_of(payload: &[u8]) -> Form {
    match std::str::from_utf8(payload) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Form::Json,
        Ok(_) => Form::Text,
        Err(_) => Form::Bytes,
    }
}

/// The headers of a row on its way out, with the name of this pipeline among those it passed.
///
/// # Errors
/// What another client sent as headers is none.
pub(crate) fn leaving(lane: &LaneName, row: &Row) -> Result<UserHeaders, HeaderError> {
    let mut headers = row.headers()?;
    let passed = via(&headers, &lane.pipeline);
    let Ok(key) = VIA.parse() else { unreachable!("INV-NO-LOOP: the header has a name") };
    headers.insert(key, passed);
    Ok(headers)
}

/// A row and its headers as one document.
pub(crate) fn leaving_envelope(row: &Row, headers: &UserHeaders) -> Bytes {
    let more = format!("\"id\":\"{:032x}\",\"time\":{},", row.id, row.time);
    envelope(&to_json(headers).to_string(), &row.payload, &more)
}

/// A document of JSON with headers, and the payload as it is if it is JSON, as text, or in base64.
fn envelope(headers: &str, payload: &[u8], more: &str) -> Bytes {
    let body = match (form_of(payload), std::str::from_utf8(payload)) {
        (Form::Json, Ok(json)) => format!("\"payload\":{json}"),
        (Form::Text, Ok(text)) => format!("\"text\":{}", Value::from(text)),
        _ => format!("\"base64\":\"{}\"", STANDARD.encode(payload)),
    };
    Bytes::from(format!("{{{more}\"headers\":{headers},{body}}}"))
}

const _: () = assert!(
    2 * USER_HEADER_FIELD_BYTES_MAX + FIELD_HEADS_BYTES < USER_HEADERS_BYTES_MAX as usize,
    "any one header fits"
);

/// What [`envelope`] makes, as far as it is taken apart again.
#[cfg(feature = "mqtt")]
#[derive(Deserialize)]
struct OpenedEnvelope<'a> {
    headers: Map<String, Value>,
    // As it was written, with every digit.
    #[serde(borrow, default, deserialize_with = "as_written")]
    payload: Option<&'a RawValue>,
    text: Option<String>,
    base64: Option<String>,
}

/// `null` is a payload, too.
#[cfg(feature = "mqtt")]
fn as_written<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Takes an envelope apart: gathers the headers, returns the payload. `None` of what is no envelope.
#[cfg(feature = "mqtt")]
pub(crate) fn open_envelope(gathering: &mut GatheredHeaders, envelope: &[u8]) -> Option<Bytes> {
    let opened: OpenedEnvelope<'_> = serde_json::from_slice(envelope).ok()?;
    let payload = match (opened.payload, opened.text, opened.base64) {
        (Some(json), None, None) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, Some(text), None) => Bytes::from(text),
        (None, None, Some(base64)) => Bytes::from(STANDARD.decode(base64).ok()?),
        _ => return None,
    };
    for (key, value) in opened.headers {
        match value {
            Value::String(text) => gathering.text(&key, &text),
            Value::Bool(truth) => gathering.value(&key, truth, json!(truth)),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(signed), ..) => gathering.value(&key, signed, json!(number)),
                (_, Some(unsigned), _) => gathering.value(&key, unsigned, json!(number)),
                (.., float) => gathering.value(&key, float.unwrap_or(f64::NAN), json!(number)),
            },
            document => gathering.document(&key, document),
        }
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::row;

    #[test]
    fn headers_that_do_not_fit_are_counted_or_in_the_envelope() {
        let long = "x".repeat(256);
        let gathered = |rule| {
            let mut gathering = GatheredHeaders::new(rule);
            gathering.text("short", "yes");
            gathering.text("long", &long);
            gathering.text("empty", "");
            gathering.text(&long, "y");
            gathering.value("n", 7_i32, json!(7));
            gathering.bytes("b", &[0xff]);
            gathering.document("d", json!({"a": [1]}));
            gathering
        };
        let (headers, payload, form, left_out) =
            gathered(HeaderRule::DropLong).finish(Bytes::from_static(b"[1.10]"));
        assert_eq!((left_out, form, payload.as_ref()), (3, Form::Json, b"[1.10]".as_slice()));
        assert_eq!(
            to_json(&headers).to_string(),
            r#"{"b":"ff","d":"{\"a\":[1]}","n":7,"short":"yes"}"#
        );
        let (headers, payload, form, left_out) =
            gathered(HeaderRule::Envelope).finish(Bytes::from_static(b"[1.10]"));
        assert_eq!((left_out, form, headers.len()), (0, Form::Json, 4));
        let text = std::str::from_utf8(&payload).unwrap();
        assert!(text.ends_with(r#","payload":[1.10]}"#), "every digit is kept: {text}");
        let whole: Value = serde_json::from_str(text).unwrap();
        assert_eq!(whole["headers"]["long"], long.as_str());
        assert_eq!(whole["headers"]["b"]["base64"], "/w==");
        assert_eq!(whole["headers"]["d"]["a"][0], 1);
    }

    #[cfg(feature = "mqtt")]
    #[test]
    fn an_envelope_is_taken_apart_again() {
        let lane =
            LaneName { pipeline: "p".into(), stream: "s".into(), topic: "t".into(), partition: 0 };
        let mut row = row(41, 0);
        let mut sent = UserHeaders::new();
        sent.insert("n".parse().unwrap(), 7_i64.into());
        sent.insert("yes".parse().unwrap(), true.into());
        row.headers_block = Bytes::from(sent.to_bytes().unwrap());
        for payload in [&b"[1.10]"[..], b"plain \"text\"", b"\xff", b"", b"null"] {
            row.payload = Bytes::copy_from_slice(payload);
            let envelope = leaving_envelope(&row, &leaving(&lane, &row).unwrap());
            let mut gathering = GatheredHeaders::new(HeaderRule::DropLong);
            let opened = open_envelope(&mut gathering, &envelope).unwrap();
            assert_eq!(opened, row.payload, "{}", String::from_utf8_lossy(&envelope));
            let (headers, ..) = gathering.finish(opened);
            let expected = r#"{"connect.via":"p","n":7,"yes":true}"#;
            assert_eq!(to_json(&headers).to_string(), expected, "INV-NO-LOOP");
        }
        for none in ["", "{}", "7", r#"{"payload":1}"#, r#"{"headers":{},"text":"a","payload":1}"#]
        {
            let mut gathering = GatheredHeaders::new(HeaderRule::DropLong);
            assert_eq!(open_envelope(&mut gathering, none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn all_headers_together_are_bounded() {
        let mut gathering = GatheredHeaders::new(HeaderRule::DropLong);
        for number in 0..1_000 {
            gathering.text(&format!("{number:0>200}"), &"v".repeat(255));
        }
        let (headers, _, _, left_out) = gathering.finish(Bytes::new());
        assert_eq!(headers.len() as u64 + left_out, 1_000);
        assert!(left_out > 0);
        headers.to_bytes().unwrap();
        let counter = LeftOut::default();
        counter.add(left_out, "p");
        counter.add(2, "p");
        assert_eq!(counter.total(), left_out + 2);
    }

    #[test]
    fn an_envelope_on_the_way_out_holds_what_the_message_was() {
        let lane =
            LaneName { pipeline: "p".into(), stream: "s".into(), topic: "t".into(), partition: 0 };
        let mut row = row(41, 0);
        row.payload = Bytes::from_static(b"plain \"text\"");
        let headers = leaving(&lane, &row).unwrap();
        assert_eq!(headers.get(VIA).and_then(HeaderValue::as_str), Some("p"), "INV-NO-LOOP");
        assert_eq!(
            leaving_envelope(&row, &headers),
            r#"{"id":"00000000000000000000000000000029","time":41,"headers":{"connect.via":"p"},"text":"plain \"text\""}"#
        );
        row.payload = Bytes::from_static(&[0xff]);
        let text = leaving_envelope(&row, &UserHeaders::new());
        assert!(text.ends_with(br#""headers":{},"base64":"/w=="}"#));
        row.headers_block = Bytes::from_static(b"nonsense");
        leaving(&lane, &row).unwrap_err();
    }
}
