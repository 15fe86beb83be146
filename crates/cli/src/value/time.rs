//! Points in time: RFC 3339, `10m ago`, `-10m`, or microseconds since 1970.

use jiff::Timestamp;

use crate::value::duration::parse_duration;

/// Where a tail starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// At the oldest message.
    Start,
    /// After the newest message.
    End,
    /// At the first message of this time (microseconds since 1970) or later.
    Time(u64),
}

/// Parses `start`, `end` or a time.
pub(crate) fn parse_from(text: &str) -> Result<From, String> {
    match text.trim() {
        "start" => Ok(From::Start),
        "end" => Ok(From::End),
        other => {
            parse_time(other).map(From::Time).map_err(|why| format!("{why}; or `start`, or `end`"))
        }
    }
}

/// Parses a time into microseconds since 1970, measuring `ago` from now.
pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    parse_time_at(text, now_micros())
}

/// The clock of this machine, in microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0)
}

fn parse_time_at(text: &str, now: u64) -> Result<u64, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("`{text}` microseconds is out of range"));
    }
    if text == "now" {
        return Ok(now);
    }
    let ago = text.strip_suffix("ago").or_else(|| text.strip_prefix('-'));
    if let Some(duration) = ago {
        let back = parse_duration(duration)?.as_micros();
        return Ok(u64::try_from(back).map_or(0, |back| now.saturating_sub(back)));
    }
    let time: Timestamp = text.parse().map_err(|_| {
        format!(
            "`{text}` is not a time; write 2026-03-01T12:00:00Z, `10m ago`, `-10m` \
             or microseconds since 1970"
        )
    })?;
    u64::try_from(time.as_microsecond()).map_err(|_| format!("`{text}` is before 1970"))
}

/// A time of the wire as RFC 3339 text in UTC, to the microsecond.
pub(crate) fn show_time(micros: u64) -> String {
    match i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok()) {
        Some(time) => format!("{time:.6}"),
        None => format!("{micros} us"),
    }
}

/// A time of the wire as RFC 3339 text in UTC, to the second, for tables.
pub(crate) fn show_time_short(micros: u64) -> String {
    match i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok()) {
        Some(time) => format!("{time:.0}"),
        None => format!("{micros} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_000_000_000_000;

    #[test]
    fn good_times() {
        for (text, micros) in [
            ("0", 0),
            ("1772000000000000", NOW),
            ("now", NOW),
            ("10m ago", NOW - 600_000_000),
            ("1h 30m ago", NOW - 5_400_000_000),
            ("-10m", NOW - 600_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01.5+01:00", 1_500_000),
            ("200years ago", 0),
        ] {
            assert_eq!(parse_time_at(text, NOW), Ok(micros), "{text}");
        }
    }

    #[test]
    fn bad_times() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "-", "ago", "1960-01-01T00:00:00Z"] {
            assert!(parse_time_at(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn from_words() {
        assert_eq!(parse_from("start"), Ok(From::Start));
        assert_eq!(parse_from("end"), Ok(From::End));
        assert_eq!(parse_from("17"), Ok(From::Time(17)));
        assert!(parse_from("middle").unwrap_err().contains("`start`"));
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(show_time(1_500_000), "1970-01-01T00:00:01.500000Z");
        assert_eq!(show_time_short(1_500_000), "1970-01-01T00:00:01Z");
        assert_eq!(show_time(u64::MAX), "18446744073709551615 us");
    }
}
