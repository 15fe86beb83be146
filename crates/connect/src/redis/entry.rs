//! Messages of Galgo and entries of streams, which are fields with values of any bytes.
//!
//! One field holds the payload, each other one is a header. An entry of others that has no such field becomes a document of JSON with
//! all its fields, but for the names of the pipelines it has passed: those are always a header (INV-NO-LOOP).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use galgo::{HeaderKind, UserHeaders};
use serde_json::{Map, Value, json};

use crate::bridge::carry::GatheredHeaders;
use crate::headers::VIA;

/// The field of the payload, unless the file says another one.
pub(crate) const PAYLOAD: &str = "payload";
/// Fields of an entry at most; a script cannot take many more.
const FIELDS_MAX: usize = 1_000;

/// A field of an entry and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryField {
    /// Its name.
    pub name: Vec<u8>,
    /// What is in it.
    pub value: Vec<u8>,
}

/// Headers on their way out.
#[derive(Debug)]
pub(crate) struct LeavingFields {
    /// Those that are fields.
    pub fields: Vec<EntryField>,
    /// How many are lost.
    pub left_out: u64,
}

/// The fields of headers on their way out.
pub(crate) fn leaving(headers: &UserHeaders, payload_field: &str) -> LeavingFields {
    let mut fields = Vec::new();
    let mut left_out = 0;
    for (key, value) in headers.iter() {
        let name = key.to_string().into_bytes();
        let is_via = name == VIA.as_bytes();
        // Whoever passed it is kept, whatever else there is.
        if name == payload_field.as_bytes() || (fields.len() >= FIELDS_MAX && !is_via) {
            left_out += 1;
            continue;
        }
        let value = match value.kind() {
            HeaderKind::Raw => value.as_bytes().to_vec(),
            _ => value.to_string().into_bytes(),
        };
        fields.push(EntryField { name, value });
    }
    LeavingFields { fields, left_out }
}

/// Gathers the headers of an entry that comes in; returns the payload.
pub(crate) fn arriving(
    gathering: &mut GatheredHeaders,
    fields: Vec<EntryField>,
    payload_field: &str,
) -> Bytes {
    let is_payload = |field: &EntryField| field.name == payload_field.as_bytes();
    let has_payload = fields.iter().any(is_payload);
    let mut payload = None;
    let mut document = Map::new();
    for field in fields {
        if is_payload(&field) && payload.is_none() {
            payload = Some(Bytes::from(field.value));
        } else if has_payload || field.name == VIA.as_bytes() {
            let name = String::from_utf8_lossy(&field.name);
            match std::str::from_utf8(&field.value) {
                Ok(text) => gathering.text(&name, text),
                Err(_) => gathering.bytes(&name, &field.value),
            }
        } else {
            let name = String::from_utf8_lossy(&field.name).into_owned();
            let value = match String::from_utf8(field.value) {
                Ok(text) => Value::String(text),
                Err(bytes) => json!({ "base64": STANDARD.encode(bytes.as_bytes()) }),
            };
            document.insert(name, value);
        }
    }
    payload.unwrap_or_else(|| Bytes::from(Value::Object(document).to_string()))
}

#[cfg(test)]
mod tests {
    use galgo::HeaderValue;

    use super::*;
    use crate::bridge::carry::HeaderRule;
    use crate::headers::to_json;

    fn field(name: &str, value: &[u8]) -> EntryField {
        EntryField { name: name.into(), value: value.to_vec() }
    }

    #[test]
    fn what_leaves_as_fields_comes_back_as_headers() {
        let mut headers = UserHeaders::new();
        let entries: [(&str, HeaderValue); 4] = [
            ("bytes", HeaderValue::new(HeaderKind::Raw, &[0xff, 0]).unwrap()),
            ("count", 7_i32.into()),
            (VIA, "a,b".parse().unwrap()),
            ("payload", "no".parse().unwrap()),
        ];
        for (key, value) in entries {
            headers.insert(key.parse().unwrap(), value);
        }
        let LeavingFields { mut fields, left_out } = leaving(&headers, PAYLOAD);
        assert_eq!((fields.len(), left_out), (3, 1));
        fields.push(field(PAYLOAD, b"[1.10]"));
        let mut gathering = GatheredHeaders::new(HeaderRule::DropLong);
        let payload = arriving(&mut gathering, fields, PAYLOAD);
        let (headers, ..) = gathering.finish(payload.clone());
        assert_eq!(payload, b"[1.10]".as_slice());
        let expected = r#"{"bytes":"ff00","connect.via":"a,b","count":"7"}"#;
        assert_eq!(to_json(&headers).to_string(), expected);
    }

    #[test]
    fn an_entry_without_a_payload_is_a_document() {
        let fields = vec![field("t", b"20"), field(VIA, b"a"), field("raw", &[0xff])];
        let mut gathering = GatheredHeaders::new(HeaderRule::DropLong);
        let payload = arriving(&mut gathering, fields, PAYLOAD);
        let (headers, ..) = gathering.finish(payload.clone());
        assert_eq!(payload, r#"{"t":"20","raw":{"base64":"/w=="}}"#.as_bytes());
        assert_eq!(to_json(&headers).to_string(), r#"{"connect.via":"a"}"#, "INV-NO-LOOP");
    }

    #[test]
    fn an_entry_has_so_many_fields_and_no_more() {
        let mut headers = UserHeaders::new();
        for number in 0..FIELDS_MAX + 10 {
            headers.insert(format!("a{number:05}").parse().unwrap(), 1_i32.into());
        }
        headers.insert(VIA.parse().unwrap(), "a".parse().unwrap());
        let LeavingFields { fields, left_out } = leaving(&headers, PAYLOAD);
        assert_eq!((fields.len(), left_out), (FIELDS_MAX + 1, 10), "INV-NO-LOOP");
    }
}
