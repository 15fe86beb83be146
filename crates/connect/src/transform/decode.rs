//! What payloads are by their format, before anything is made of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use galgo_decode::{Encoding, Limits, Reason};
use serde::Deserialize;

use super::BadMessage;
use crate::batch::Form;

/// How the payloads of an origin are written. All but `bytes` are unpacked first when they are compressed with gzip or zstd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadFormat {
    /// A document of JSON. Its text stays as it is, with the digits of its numbers, keys that are there twice, and all.
    #[default]
    Json,
    /// Text in UTF-8.
    Text,
    /// Any bytes; in jq a text in base64.
    Bytes,
    /// Lines of fields with commas between them, without a line of names: a list of lists of texts.
    Csv,
    /// MessagePack, as the JSON nearest to it.
    Msgpack,
    /// CBOR, as the JSON nearest to it.
    Cbor,
    /// Protobuf without its schema: fields by their numbers.
    Protobuf,
}

/// Records in a payload of CSV.
const RECORDS_MAX: usize = 1_000_000;

impl PayloadFormat {
    /// The payload as what it is.
    ///
    /// # Errors
    /// [`BadMessage`] when it is not in this format.
    pub fn decode(self, payload: &Bytes) -> Result<(Form, Bytes), BadMessage> {
        let json = |encoding| to_json(payload, encoding).map(|json| (Form::Json, json));
        match self {
            Self::Json => json(Encoding::Json),
            Self::Msgpack => json(Encoding::Msgpack),
            Self::Cbor => json(Encoding::Cbor),
            Self::Protobuf => json(Encoding::Protobuf),
            Self::Bytes => Ok((Form::Bytes, payload.clone())),
            Self::Text => text(payload).map(|text| (Form::Text, text)),
            Self::Csv => csv_to_json(&text(payload)?).map(|json| (Form::Json, json)),
        }
    }
}

/// The payload as JSON, whatever it is: text as a text, bytes as a text in base64.
///
/// # Errors
/// [`BadMessage`] when it is not what it is said to be.
pub fn as_json(form: Form, payload: &Bytes) -> Result<Bytes, BadMessage> {
    let quoted = |text: &str| {
        let json = serde_json::to_vec(text).map_err(|_| BadMessage::new("it is no text"))?;
        Ok(Bytes::from(json))
    };
    match form {
        Form::Json => Ok(payload.clone()),
        Form::Text => quoted(as_text(payload)?),
        Form::Bytes => quoted(&STANDARD.encode(payload)),
    }
}

fn as_text(payload: &[u8]) -> Result<&str, BadMessage> {
    str::from_utf8(payload).map_err(|error| {
        BadMessage::new(format!("it is no text in UTF-8 from byte {}", error.valid_up_to()))
    })
}

fn name_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "JSON",
        Encoding::Msgpack => "MessagePack",
        Encoding::Cbor => "CBOR",
        Encoding::Protobuf => "Protobuf",
        Encoding::Text | Encoding::Hex => "text",
    }
}

fn to_json(payload: &Bytes, encoding: Encoding) -> Result<Bytes, BadMessage> {
    let json = galgo_decode::to_json(payload, encoding, &Limits::WHOLE);
    let json = json
        .map_err(|reason| BadMessage::new(format!("it is no {}: {reason}", name_of(encoding))))?;
    Ok(match json {
        // It is the payload itself: nothing is copied.
        std::borrow::Cow::Borrowed(text) => payload.slice_ref(text.as_bytes()),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    })
}

/// The text of a payload, unpacked.
fn text(payload: &Bytes) -> Result<Bytes, BadMessage> {
    if as_text(payload).is_ok() {
        return Ok(payload.clone());
    }
    let json = to_json(payload, Encoding::Text)?;
    let text: String =
        serde_json::from_slice(&json).map_err(|_| BadMessage::new("it is no text in UTF-8"))?;
    Ok(Bytes::from(text))
}

fn csv_to_json(text: &[u8]) -> Result<Bytes, BadMessage> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut records: Vec<Vec<String>> = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let line = records.len() + 1;
        match reader.read_record(&mut record) {
            Ok(true) if records.len() < RECORDS_MAX => {
                records.push(record.iter().map(str::to_owned).collect());
            }
            Ok(true) => {
                return Err(BadMessage::new(format!("it has more than {RECORDS_MAX} records")));
            }
            Ok(false) => break,
            Err(_) => return Err(BadMessage::new(format!("its record {line} is no CSV"))),
        }
    }
    if records.is_empty() {
        return Err(BadMessage::new(format!("it is no CSV: {}", Reason::Empty)));
    }
    let json = serde_json::to_vec(&records).map_err(|_| BadMessage::new("it is no CSV"))?;
    Ok(Bytes::from(json))
}
