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
enum WordKind {
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
const WORDS: &[(&str, &str, WordKind)] = &[
    ("active_at", "last_seen_at", WordKind::Instant),
    ("ahead", "ahead_us", WordKind::Plain),
    ("available_memory", "available_memory_bytes", WordKind::Plain),
    ("barrier", "barrier", WordKind::Limit),
    ("cause", "cause", WordKind::Name),
    ("clock_lead", "clock_lead_us", WordKind::Plain),
    ("clock_waits", "clock_waits_us", WordKind::Plain),
    ("compression_algorithm", "compression", WordKind::Plain),
    ("cpu_usage", "cpu_percent", WordKind::Plain),
    ("created_at", "created_at", WordKind::Instant),
    ("current_offset", "last_offset", WordKind::Plain),
    ("expires_at", "expires_at", WordKind::Instant),
    ("expiry_at", "expires_at", WordKind::Instant),
    ("free_disk_space", "free_disk_bytes", WordKind::Plain),
    ("holds_until", "holds_until", WordKind::Until),
    ("iggy_server_semver", "protocol_semver", WordKind::Plain),
    ("iggy_server_version", "protocol_version", WordKind::Plain),
    ("interval", "interval_us", WordKind::Plain),
    ("max_topic_size", "max_size_bytes", WordKind::Plain),
    ("memory_usage", "memory_bytes", WordKind::Plain),
    ("message_expiry", "expiry_us", WordKind::Plain),
    ("name", "name", WordKind::Name),
    ("newest_timestamp", "newest_at", WordKind::Instant),
    ("next_try", "next_try_us", WordKind::Plain),
    ("partition_id", "partition", WordKind::Plain),
    ("run_time", "running_us", WordKind::Plain),
    ("size", "size_bytes", WordKind::Plain),
    ("start_time", "started_at", WordKind::Instant),
    ("stored_at", "stored_at", WordKind::Instant),
    ("total_cpu_usage", "total_cpu_percent", WordKind::Plain),
    ("total_disk_space", "total_disk_bytes", WordKind::Plain),
    ("total_memory", "total_memory_bytes", WordKind::Plain),
    ("user", "user", WordKind::Name),
];
const _: () = assert!(are_sorted(WORDS), "each field has one word, found at its place");

const fn are_sorted(words: &[(&str, &str, WordKind)]) -> bool {
    match words {
        [(one, ..), rest @ ..] => match rest {
            [(next, ..), ..] => is_before(one.as_bytes(), next.as_bytes()) && are_sorted(rest),
            [] => true,
        },
        [] => true,
    }
}

const fn is_before(one: &[u8], other: &[u8]) -> bool {
    match (one, other) {
        (_, []) => false,
        ([], _) => true,
        ([a, one @ ..], [b, other @ ..]) => *a < *b || (*a == *b && is_before(one, other)),
    }
}

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
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| field(name, value)).collect())
        }
        other => other,
    }
}

fn field(name: String, value: Value) -> (String, Value) {
    let Some(&(_, word, kind)) = WORDS.iter().find(|(from, ..)| *from == name) else {
        return (name, reword(value));
    };
    let value = match (kind, value.as_u64()) {
        (WordKind::Until, Some(0)) | (WordKind::Limit, Some(u64::MAX)) => Value::Null,
        (WordKind::Name, _) if value.as_str() == Some("") => Value::Null,
        (WordKind::Until, Some(u64::MAX)) => Value::String("for ever".to_owned()),
        (WordKind::Instant | WordKind::Until, Some(micros)) => Value::String(show_time(micros)),
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
            _ => told.extend([field(name, value)]),
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
