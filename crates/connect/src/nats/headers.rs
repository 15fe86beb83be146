//! Headers of Galgo and those of NATS, which are text in lines.
//!
//! What is no text becomes one on the way out. A name that NATS gives a meaning to (`Nats-…`) is left out there: it is not for
//! the sender of a message to expire or replace others.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use galgo::UserHeaders;
use serde_json::{Value, json};

use crate::bridge::carry::GatheredHeaders;

/// Of names that mean something to NATS.
const RESERVED: &str = "nats-";
/// By which a stream knows what comes again.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The headers of a message on its way out; tells how many are lost.
pub(crate) fn leaving(headers: &UserHeaders, message_id: &str) -> (HeaderMap, u64) {
    let mut map = HeaderMap::new();
    let mut left_out = 0;
    map.insert(MESSAGE_ID, message_id);
    for (key, value) in headers.iter() {
        let (key, value) = (key.to_string(), value.to_string());
        let is_reserved = key.to_ascii_lowercase().starts_with(RESERVED);
        // A line has no room for the space around a value.
        let fits = value.trim() == value && !value.is_empty();
        match (key.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) if fits && !is_reserved && map.get(name.clone()).is_none() => {
                map.insert(name, value);
            }
            _ => left_out += 1,
        }
    }
    (map, left_out)
}

/// Gathers the headers of a message that comes in.
pub(crate) fn arriving(gathering: &mut GatheredHeaders, headers: Option<&HeaderMap>) {
    let Some(headers) = headers else { return };
    let mut names: Vec<(&str, &Vec<HeaderValue>)> =
        headers.iter().map(|(name, values)| (name.as_ref(), values)).collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    for (name, values) in names {
        match values.as_slice() {
            [] => {}
            [value] => gathering.text(name, value.as_str()),
            values => {
                let values: Vec<Value> = values.iter().map(|value| json!(value.as_str())).collect();
                gathering.document(name, Value::Array(values));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use galgo::HeaderValue as GalgoValue;

    use super::*;
    use crate::bridge::carry::HeaderRule;
    use crate::headers::to_json;

    #[test]
    fn headers_are_lines_of_text_and_what_means_something_to_nats_is_left_out() {
        let mut headers = UserHeaders::new();
        let entries: [(&str, GalgoValue); 7] = [
            ("count", 7_i32.into()),
            ("text", "a b".parse().unwrap()),
            ("lines", "a\r\nNats-Rollup: all".parse().unwrap()),
            ("around", " a".parse().unwrap()),
            ("a name", "x".parse().unwrap()),
            ("Nats-Rollup", "all".parse().unwrap()),
            ("nats-msg-id", "mine".parse().unwrap()),
        ];
        for (key, value) in entries {
            headers.insert(key.parse().unwrap(), value);
        }
        let (map, left_out) = leaving(&headers, "p/s/t/0/1");
        assert!(left_out >= 4, "{left_out}");
        assert_eq!(map.get(MESSAGE_ID).unwrap().as_str(), "p/s/t/0/1", "INV-PLACE-KEY");
        assert!(map.get("Nats-Rollup").is_none() && map.get("lines").is_none());
        assert_eq!(map.get("count").unwrap().as_str(), "7");

        let mut several = HeaderMap::new();
        several.append("tag", "one");
        several.append("tag", "two");
        several.insert("single", "x");
        let mut gathering = GatheredHeaders::new(HeaderRule::DropLong);
        arriving(&mut gathering, Some(&several));
        arriving(&mut gathering, None);
        let (received, ..) = gathering.finish(Bytes::new());
        assert_eq!(to_json(&received).to_string(), r#"{"single":"x","tag":"[\"one\",\"two\"]"}"#);
    }
}
