//! Headers of Galgo and properties of AMQP.
//!
//! Types are kept where both sides have them: whole numbers up to 64 bits, fractions, truth values, text, bytes; the rest is text.
//! Properties of AMQP that mean something to its programs are headers in Galgo: `content-type`, `content-encoding`, and with
//! `amqp.` in front `correlation_id`, `reply_to`, `type`, `app_id`, `priority`. On the way out those become properties again.

use amqprs::{BasicProperties, DecimalValue, Deliver, FieldName, FieldTable, FieldValue};
use galgo::{HeaderField, HeaderKind, HeaderValue, UserHeaders};
use serde_json::{Map, Value, json};

use super::SHORT_TEXT_BYTES_MAX;
use crate::bridge::carry::GatheredHeaders;

const MICROS_PER_SECOND: u64 = 1_000_000;
/// Headers by which RabbitMQ would send a message to more queues: not for others to set.
const ROUTES: [&str; 2] = ["CC", "BCC"];

/// What a message is called and when it was made.
pub(crate) struct Naming<'a> {
    /// Its id.
    pub message_id: &'a str,
    /// When it was made, in microseconds since the Unix epoch.
    pub made_at: u64,
    /// Whether the payload is an envelope of JSON.
    pub is_envelope: bool,
}

/// The properties of a persistent message; tells how many headers are lost.
pub(crate) fn leaving(headers: &UserHeaders, naming: &Naming<'_>) -> (BasicProperties, u64) {
    let mut properties = BasicProperties::default();
    properties.with_persistence(true);
    properties.with_message_id(naming.message_id);
    properties.with_timestamp(naming.made_at / MICROS_PER_SECOND);
    let mut table = FieldTable::new();
    let mut left_out = 0;
    for (key, value) in headers.iter() {
        let key = key.to_string();
        if set_property(&mut properties, &key, value) {
            continue;
        }
        match FieldName::try_from(key.as_str()) {
            // A name that comes twice, of two kinds of keys, would spoil the table.
            Ok(name) if !ROUTES.contains(&key.as_str()) && table.get(&name).is_none() => {
                table.insert(name, field(value));
            }
            _ => left_out += 1,
        }
    }
    if naming.is_envelope {
        properties.with_content_type("application/json");
    }
    properties.with_headers(table);
    (properties, left_out)
}

/// Sets the property that a header stands for, if it does.
fn set_property(properties: &mut BasicProperties, key: &str, value: &HeaderValue) -> bool {
    if key == "amqp.priority" {
        let Ok(priority) = u8::try_from(value) else { return false };
        properties.with_priority(priority);
        return true;
    }
    let Some(text) = value.as_str().filter(|text| text.len() <= SHORT_TEXT_BYTES_MAX) else {
        return false;
    };
    match key {
        "content-type" => properties.with_content_type(text),
        "content-encoding" => properties.with_content_encoding(text),
        "amqp.correlation_id" => properties.with_correlation_id(text),
        "amqp.reply_to" => properties.with_reply_to(text),
        "amqp.type" => properties.with_message_type(text),
        "amqp.app_id" => properties.with_app_id(text),
        _ => return false,
    };
    true
}

fn field(value: &HeaderField) -> FieldValue {
    fn number<T>(value: &HeaderField, field: impl Fn(T) -> FieldValue) -> Option<FieldValue>
    where
        T: for<'a> TryFrom<&'a HeaderField>,
    {
        T::try_from(value).ok().map(field)
    }
    let typed = match value.kind() {
        HeaderKind::Bool => value.as_bool().map(FieldValue::t),
        HeaderKind::Int8 => number(value, FieldValue::b),
        HeaderKind::Int16 => number(value, FieldValue::s),
        HeaderKind::Int32 => number(value, FieldValue::I),
        HeaderKind::Int64 => number(value, FieldValue::l),
        HeaderKind::Uint8 => number(value, FieldValue::B),
        HeaderKind::Uint16 => number(value, FieldValue::u),
        HeaderKind::Uint32 => number(value, FieldValue::i),
        HeaderKind::Uint64 => {
            u64::try_from(value).ok().and_then(|it| i64::try_from(it).ok()).map(FieldValue::l)
        }
        HeaderKind::Float32 => number(value, FieldValue::f),
        HeaderKind::Float64 => number(value, FieldValue::d),
        HeaderKind::Raw => value.as_bytes().to_vec().try_into().ok().map(FieldValue::x),
        HeaderKind::String | HeaderKind::Int128 | HeaderKind::Uint128 => None,
    };
    typed.unwrap_or_else(|| FieldValue::from(value.to_string()))
}

/// Gathers the headers of a message that comes in.
pub(crate) fn arriving(
    gathering: &mut GatheredHeaders,
    deliver: &Deliver,
    properties: &BasicProperties,
) {
    if let Some(table) = properties.headers() {
        // The table has no order; headers have one.
        let mut fields: Vec<_> = table.as_ref().iter().collect();
        fields.sort_by(|(one, _), (other, _)| one.as_ref().cmp(other.as_ref()));
        for (name, value) in fields {
            gather(gathering, name.as_ref(), value);
        }
    }
    let texts = [
        ("content-type", properties.content_type()),
        ("content-encoding", properties.content_encoding()),
        ("amqp.correlation_id", properties.correlation_id()),
        ("amqp.reply_to", properties.reply_to()),
        ("amqp.type", properties.message_type()),
        ("amqp.app_id", properties.app_id()),
        ("amqp.message_id", properties.message_id()),
        ("amqp.exchange", Some(deliver.exchange())),
        ("amqp.routing_key", Some(deliver.routing_key())),
    ];
    for (key, text) in texts {
        // An empty one says no more than none.
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            gathering.text(key, text);
        }
    }
    if let Some(priority) = properties.priority() {
        gathering.value("amqp.priority", priority, json!(priority));
    }
    if deliver.redelivered() {
        gathering.value("amqp.redelivered", true, json!(true));
    }
}

fn gather(gathering: &mut GatheredHeaders, key: &str, value: &FieldValue) {
    match value {
        FieldValue::t(value) => gathering.value(key, *value, json!(value)),
        FieldValue::b(value) => gathering.value(key, *value, json!(value)),
        FieldValue::B(value) => gathering.value(key, *value, json!(value)),
        FieldValue::s(value) => gathering.value(key, *value, json!(value)),
        FieldValue::u(value) => gathering.value(key, *value, json!(value)),
        FieldValue::I(value) => gathering.value(key, *value, json!(value)),
        FieldValue::i(value) => gathering.value(key, *value, json!(value)),
        FieldValue::l(value) => gathering.value(key, *value, json!(value)),
        FieldValue::f(value) => gathering.value(key, *value, json!(value)),
        FieldValue::d(value) => gathering.value(key, *value, json!(value)),
        FieldValue::T(seconds) => gathering.value(key, *seconds, json!(seconds)),
        FieldValue::S(text) => gathering.text(key, text.as_ref()),
        FieldValue::x(bytes) => gathering.bytes(key, &Vec::<u8>::from(bytes.clone())),
        FieldValue::D(_) | FieldValue::V | FieldValue::A(_) | FieldValue::F(_) => {
            gathering.document(key, document(value));
        }
    }
}

/// A value that may hold others, as JSON.
fn document(value: &FieldValue) -> Value {
    match value {
        FieldValue::V => Value::Null,
        FieldValue::t(value) => json!(value),
        FieldValue::b(value) => json!(value),
        FieldValue::B(value) => json!(value),
        FieldValue::s(value) => json!(value),
        FieldValue::u(value) => json!(value),
        FieldValue::I(value) => json!(value),
        FieldValue::i(value) => json!(value),
        FieldValue::l(value) => json!(value),
        FieldValue::f(value) => json!(value),
        FieldValue::d(value) => json!(value),
        FieldValue::T(seconds) => json!(seconds),
        FieldValue::S(text) => Value::String(text.to_string()),
        FieldValue::D(decimal) => Value::String(decimal_text(decimal)),
        FieldValue::x(bytes) => json!(Vec::<u8>::from(bytes.clone())),
        FieldValue::A(values) => Vec::from(values.clone()).iter().map(document).collect(),
        FieldValue::F(table) => {
            let members = table.as_ref().iter();
            let members = members.map(|(name, value)| (name.to_string(), document(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// The library shows scale and digits, and nothing else of it.
fn decimal_text(decimal: &DecimalValue) -> String {
    let shown = decimal.to_string();
    let inner = shown.strip_prefix("Decimal(").and_then(|rest| rest.strip_suffix(')'));
    let parts = inner.and_then(|inner| inner.split_once(", "));
    let numbers = parts.and_then(|(scale, digits)| {
        Some((scale.parse::<usize>().ok()?, digits.parse::<i64>().ok()?))
    });
    let Some((scale, digits)) = numbers.filter(|(scale, _)| *scale > 0) else {
        return numbers.map_or(shown, |(_, digits)| digits.to_string());
    };
    let sign = if digits < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// When a message was made, in microseconds since the Unix epoch.
pub(crate) fn made_at(properties: &BasicProperties) -> Option<u64> {
    properties.timestamp().and_then(|seconds| seconds.checked_mul(MICROS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::carry::HeaderRule;
    use crate::headers::to_json;
    use bytes::Bytes;

    fn headers(entries: Vec<(&str, HeaderValue)>) -> UserHeaders {
        let mut headers = UserHeaders::new();
        for (key, value) in entries {
            headers.insert(key.parse().unwrap(), value);
        }
        headers
    }

    #[test]
    fn types_pass_both_ways_where_both_sides_have_them() {
        let sent = headers(vec![
            ("a", 7_i8.into()),
            ("b", 7_u8.into()),
            ("c", (-7_i16).into()),
            ("d", 7_u16.into()),
            ("e", 7_i32.into()),
            ("f", 7_u32.into()),
            ("g", i64::MIN.into()),
            ("h", true.into()),
            ("i", 1.5_f32.into()),
            ("j", 1.5_f64.into()),
            ("k", "text".parse().unwrap()),
            ("l", HeaderValue::new(HeaderKind::Raw, &[0, 255]).unwrap()),
            ("content-type", "text/plain".parse().unwrap()),
            ("amqp.priority", 3_u8.into()),
        ]);
        let naming = Naming { message_id: "p/s/t/0/1", made_at: 5_500_000, is_envelope: false };
        let (properties, left_out) = leaving(&sent, &naming);
        assert_eq!(left_out, 0);
        assert_eq!(properties.content_type().unwrap(), "text/plain");
        assert_eq!((properties.priority(), properties.delivery_mode()), (Some(3), Some(2)));
        assert_eq!(made_at(&properties), Some(5_000_000), "AMQP counts seconds");
        let mut back = GatheredHeaders::new(HeaderRule::DropLong);
        for (name, value) in properties.headers().unwrap().as_ref() {
            gather(&mut back, name.as_ref(), value);
        }
        let (mut received, ..) = back.finish(Bytes::new());
        for key in ["content-type", "amqp.priority"] {
            received.insert(key.parse().unwrap(), sent.get(key).unwrap().clone());
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn what_one_side_has_not_is_text_and_what_would_route_is_left_out() {
        let sent = headers(vec![
            ("big", u64::MAX.into()),
            ("huge", u128::MAX.into()),
            ("CC", "other.queue".parse().unwrap()),
        ]);
        let naming = Naming { message_id: "x", made_at: 0, is_envelope: true };
        let (properties, left_out) = leaving(&sent, &naming);
        assert_eq!(left_out, 1);
        assert_eq!(properties.content_type().unwrap(), "application/json");
        let table = properties.headers().unwrap();
        let text = |key: &str| table.get(&key.try_into().unwrap()).unwrap().to_string();
        assert_eq!(text("big"), u64::MAX.to_string());
        assert_eq!(text("huge"), u128::MAX.to_string());

        let mut nested = FieldTable::new();
        nested.insert("count".try_into().unwrap(), FieldValue::l(2));
        let array = vec![FieldValue::F(nested), FieldValue::V].try_into().unwrap();
        let mut back = GatheredHeaders::new(HeaderRule::DropLong);
        gather(&mut back, "x-death", &FieldValue::A(array));
        gather(&mut back, "none", &FieldValue::V);
        gather(&mut back, "price", &FieldValue::D(DecimalValue::new(2, 1999)));
        let (received, ..) = back.finish(Bytes::new());
        assert_eq!(
            to_json(&received).to_string(),
            r#"{"none":"null","price":"\"19.99\"","x-death":"[{\"count\":2},null]"}"#
        );
        for (scale, digits, text) in [(0, -7, "-7"), (3, -5, "-0.005"), (1, 10, "1.0")] {
            assert_eq!(decimal_text(&DecimalValue::new(scale, digits)), text);
        }
    }
}
