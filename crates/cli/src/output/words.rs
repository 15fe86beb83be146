//! The tool's words for what the protocol calls otherwise: one name for one thing, times that are read
//! without a calculator, and the unit in the name of every number that has one.
//!
//! The answers of a server keep the field names of the classic HTTP interface, since its clients read them. In those,
//! times are microseconds beside texts, sizes have no unit, and a partition is `id` here and `partition_id` there.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::value::time::show_time;

/// How the value of a field is told.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// As it is.
    Plain,
    /// Microseconds since 1970, as an instant in UTC.
    Instant,
    /// As an instant; 0 is none, and all ones are for ever.
    Until,
    /// As it is; all ones are none.
    Limit,
    /// As it is; an empty text is none.
    Name,
}

/// Names of the protocol, those of the tool, and what becomes of the value.
const WORDS: &[(&str, &str, Kind)] = &[
    ("active_at", "last_seen_at", Kind::Instant),
    ("ahead", "ahead_us", Kind::Plain),
    ("available_memory", "available_memory_bytes", Kind::Plain),
    ("barrier", "barrier", Kind::Limit),
    ("clock_lead", "clock_lead_us", Kind::Plain),
    ("clock_waits", "clock_waits_us", Kind::Plain),
    ("compression_algorithm", "compression", Kind::Plain),
    ("cpu_usage", "cpu_percent", Kind::Plain),
    ("created_at", "created_at", Kind::Instant),
    ("current_offset", "last_offset", Kind::Plain),
    ("expires_at", "expires_at", Kind::Instant),
    ("expiry_at", "expires_at", Kind::Instant),
    ("free_disk_space", "free_disk_bytes", Kind::Plain),
    ("holds_until", "holds_until", Kind::Until),
    ("iggy_server_semver", "protocol_semver", Kind::Plain),
    ("iggy_server_version", "protocol_version", Kind::Plain),
    ("interval", "interval_us", Kind::Plain),
    ("max_topic_size", "max_size_bytes", Kind::Plain),
    ("memory_usage", "memory_bytes", Kind::Plain),
    ("message_expiry", "expiry_us", Kind::Plain),
    ("name", "name", Kind::Name),
    ("newest_timestamp", "newest_at", Kind::Instant),
    ("partition_id", "partition", Kind::Plain),
    ("run_time", "running_us", Kind::Plain),
    ("size", "size_bytes", Kind::Plain),
    ("start_time", "started_at", Kind::Instant),
    ("stored_at", "stored_at", Kind::Instant),
    ("total_cpu_usage", "total_cpu_percent", Kind::Plain),
    ("total_disk_space", "total_disk_bytes", Kind::Plain),
    ("total_memory", "total_memory_bytes", Kind::Plain),
    ("user", "user", Kind::Name),
];

/// The document of `value`, an answer of a server, in the tool's words.
///
/// # Errors
///
/// When `value` cannot be told in JSON.
pub(crate) fn tell<T: Serialize>(value: &T) -> Outcome<Value> {
    let told = serde_json::to_value(value);
    told.map(reword).map_err(|error| Failure::io(format!("cannot write JSON: {error}")))
}

fn reword(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(reword).collect()),
        Value::Object(fields) if is_partition(&fields) => Value::Object(partition(fields)),
        Value::Object(fields) => Value::Object(fields.into_iter().map(field).collect()),
        other => other,
    }
}

fn field((name, value): (String, Value)) -> (String, Value) {
    let Some(&(_, word, kind)) = WORDS.iter().find(|(from, ..)| *from == name) else {
        return (name, reword(value));
    };
    let value = match (kind, value.as_u64()) {
        (Kind::Until, Some(0)) | (Kind::Limit, Some(u64::MAX)) => Value::Null,
        (Kind::Name, _) if value.as_str() == Some("") => Value::Null,
        (Kind::Until, Some(u64::MAX)) => Value::String("for ever".to_owned()),
        (Kind::Instant | Kind::Until, Some(micros)) => Value::String(show_time(micros)),
        _ => reword(value),
    };
    (word.to_owned(), value)
}

/// Only partitions have segments of their own and a last offset.
fn is_partition(fields: &Map<String, Value>) -> bool {
    ["id", "segments_count", "current_offset"].iter().all(|name| fields.contains_key(*name))
}

/// A partition: named as everywhere else, and with the offsets it really has.
fn partition(fields: Map<String, Value>) -> Map<String, Value> {
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let (count, last) = (number("messages_count"), number("current_offset"));
    let first = match (count, last) {
        (Some(count @ 1..), Some(last)) => Some((last + 1).saturating_sub(count)),
        _ => None,
    };
    let mut told = Map::new();
    for (name, value) in fields {
        match name.as_str() {
            "id" => drop(told.insert("partition".to_owned(), value)),
            "current_offset" => {
                told.insert("first_offset".to_owned(), first.into());
                let last = if first.is_some() { value } else { Value::Null };
                told.insert("last_offset".to_owned(), last);
            }
            _ => told.extend([field((name, value))]),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_instants_and_sizes_have_units() {
        let topic = json!({ "id": 3, "created_at": 1_000_000, "size": 7, "message_expiry": 5, "name": "t" });
        let expected = json!({
            "id": 3, "created_at": show_time(1_000_000), "size_bytes": 7, "expiry_us": 5, "name": "t",
        });
        assert_eq!(reword(json!([topic])), json!([expected]));
        assert_eq!(reword(json!({ "expiry_at": null })), json!({ "expires_at": null }));
        for (until, told) in
            [(0, Value::Null), (u64::MAX, json!("for ever")), (5, json!(show_time(5)))]
        {
            assert_eq!(reword(json!({ "holds_until": until })), json!({ "holds_until": told }));
        }
        for (barrier, told) in [(u64::MAX, Value::Null), (5, json!(5))] {
            assert_eq!(reword(json!({ "barrier": barrier })), json!({ "barrier": told }));
        }
        assert_eq!(
            reword(json!({ "user": "", "name": "n" })),
            json!({ "user": null, "name": "n" })
        );
    }

    #[test]
    fn a_partition_has_no_offsets_before_its_first_message() {
        let partition = |count, last| {
            reword(
                json!({ "id": 1, "segments_count": 1, "current_offset": last, "messages_count": count }),
            )
        };
        for (count, last, first_told, last_told) in [
            (0, 0, Value::Null, Value::Null),
            (1, 0, json!(0), json!(0)),
            (4, 9, json!(6), json!(9)),
            (0, 9, Value::Null, Value::Null),
        ] {
            let told = partition(count, last);
            assert_eq!((&told["first_offset"], &told["last_offset"]), (&first_told, &last_told));
            assert_eq!(told["partition"], 1);
            assert_eq!(told.get("id"), None);
        }
    }
}
