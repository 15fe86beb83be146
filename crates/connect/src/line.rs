//! A row as one line of JSON, for files and programs.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use uuid::Uuid;

use crate::batch::{Form, Row};
use crate::headers;

/// Adds `{"offset":..,"id":..,"time":..,"headers":{..},"payload":..}`, without an end of the line. `part` is there for all
/// rows of a message but the first. A payload that is no text is `base64`, and so is a block of headers that is none.
pub(crate) fn put_envelope(row: &Row, line: &mut String) {
    let Row { place, id, time, .. } = row;
    let _ = write!(line, "{{\"offset\":{}", place.offset);
    if place.part > 0 {
        let _ = write!(line, ",\"part\":{}", place.part);
    }
    let _ = write!(line, ",\"id\":\"{}\",\"time\":{time}", Uuid::from_u128(*id));
    match row.headers() {
        Ok(headers) if headers.is_empty() => {}
        Ok(headers) => {
            let _ = write!(line, ",\"headers\":{}", headers::to_json(&headers));
        }
        Err(_) => {
            line.push_str(",\"headers_base64\":");
            put_json(&STANDARD.encode(&row.headers_block), line);
        }
    }
    let text = std::str::from_utf8(&row.payload).ok();
    match text.filter(|_| row.form != Form::Bytes) {
        Some(_) => {
            line.push_str(",\"payload\":");
            put_payload(row, line);
        }
        None => {
            line.push_str(",\"base64\":");
            put_json(&STANDARD.encode(&row.payload), line);
        }
    }
    line.push('}');
}

/// Adds the payload alone: a document of JSON as it is, but in one line; anything else as text of JSON, bytes in base64.
pub(crate) fn put_payload(row: &Row, line: &mut String) {
    match (row.form, std::str::from_utf8(&row.payload)) {
        // Inside of its texts JSON has no ends of lines, so those there are mean nothing.
        (Form::Json, Ok(json)) => {
            line.extend(json.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
        }
        (Form::Text, Ok(text)) => put_json(text, line),
        _ => put_json(&STANDARD.encode(&row.payload), line),
    }
}

/// Adds a value as JSON.
pub(crate) fn put_json<T: Serialize + ?Sized>(value: &T, line: &mut String) {
    let Ok(json) = serde_json::to_string(value) else {
        unreachable!("texts and maps of texts can be written as JSON")
    };
    line.push_str(&json);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use galgo::UserHeaders;

    use super::*;
    use crate::batch::tests::row;

    fn line(row: &Row) -> String {
        let mut line = String::new();
        put_envelope(row, &mut line);
        line
    }

    #[test]
    fn a_row_is_one_line_whatever_its_payload_is() {
        let head = r#"{"offset":5,"id":"00000000-0000-0000-0000-000000000005","time":5,"#;
        for (form, payload, expected) in [
            (Form::Json, "{\"a\":\n\r [1.10, 2]}".as_bytes(), r#""payload":{"a":   [1.10, 2]}}"#),
            (Form::Text, "one\ntwo \"x\"".as_bytes(), r#""payload":"one\ntwo \"x\""}"#),
            (Form::Bytes, "one".as_bytes(), r#""base64":"b25l"}"#),
            (Form::Text, &[0xff, 0xfe], r#""base64":"//4="}"#),
        ] {
            let row = Row { form, payload: Bytes::copy_from_slice(payload), ..row(5, 0) };
            assert_eq!(line(&row), format!("{head}{expected}"));
        }
    }

    #[test]
    fn parts_and_headers_are_said_where_there_are_some() {
        let mut headers = UserHeaders::new();
        headers.insert("a".parse().unwrap(), "b".parse().unwrap());
        let with = Row { headers_block: headers.to_bytes().unwrap().into(), ..row(1, 2) };
        let value: serde_json::Value = serde_json::from_str(&line(&with)).unwrap();
        assert_eq!((&value["part"], &value["headers"]["a"]), (&2.into(), &"b".into()));
        let torn = Row { headers_block: Bytes::from_static(&[9, 9]), ..row(1, 0) };
        let value: serde_json::Value = serde_json::from_str(&line(&torn)).unwrap();
        assert_eq!(value["headers_base64"], "CQk=");
    }
}
