//! Points in time: RFC 3339, plain dates, `10m ago`, `-10m`, or a number since 1970.
//!
//! A number has no unit, so its size tells it: seconds up to the year 5138, then milliseconds, then
//! microseconds. All three meet without a hole, and no instant since 1973 is taken for another one.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::value::duration::parse_duration;

/// From here on a number since 1970 is milliseconds, not seconds: as seconds it is the year 5138.
const SECONDS_END: u64 = 100_000_000_000;
/// From here on a number since 1970 is microseconds, not milliseconds.
const MILLISECONDS_END: u64 = 100_000_000_000_000;
const _: () = assert!(
    SECONDS_END * 1_000 == MILLISECONDS_END && MILLISECONDS_END < u64::MAX / 1_000,
    "seconds, milliseconds and microseconds since 1970 leave no gap between them"
);

/// Where a tail starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailFrom {
    /// At the oldest message.
    Start,
    /// After the newest message.
    End,
    /// At the first message of this time (microseconds since 1970) or later.
    Time(u64),
}

/// Parses `start`, `end` or a time.
pub(crate) fn parse_from(text: &str) -> Result<TailFrom, String> {
    match text.trim() {
        "start" => Ok(TailFrom::Start),
        "end" => Ok(TailFrom::End),
        other => parse_time(other)
            .map(TailFrom::Time)
            .map_err(|why| format!("{why}; or `start`, or `end`")),
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
        return parse_number(text);
    }
    if text == "now" {
        return Ok(now);
    }
    let ago = text.strip_suffix("ago").or_else(|| text.strip_prefix('-'));
    if let Some(duration) = ago {
        let back = parse_duration(duration)?.as_micros();
        return Ok(u64::try_from(back).map_or(0, |back| now.saturating_sub(back)));
    }
    let time = parse_date(text).ok_or_else(|| {
        format!(
            "`{text}` is not a time; write 2026-03-01T12:00:00Z, 2026-03-01, `2026-03-01 12:00` \
             (UTC), `10m ago`, `-10m` or seconds since 1970"
        )
    })?;
    u64::try_from(time.as_microsecond()).map_err(|_| format!("`{text}` is before 1970"))
}

/// A number since 1970 as microseconds, its unit told by its size.
fn parse_number(text: &str) -> Result<u64, String> {
    let out_of_range = || format!("`{text}` is out of range for a time since 1970");
    let number: u64 = text.parse().map_err(|_| out_of_range())?;
    let unit_us = match number {
        0..SECONDS_END => 1_000_000,
        SECONDS_END..MILLISECONDS_END => 1_000,
        _ => 1,
    };
    number.checked_mul(unit_us).ok_or_else(out_of_range)
}

/// RFC 3339, or a date with or without a time of day, which is one of UTC as all times that are shown.
fn parse_date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
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
            ("1772000000", NOW),
            ("1772000000000", NOW),
            ("99999999999", 99_999_999_999_000_000),
            ("100000000000", 100_000_000_000_000),
            ("1970-01-02", 86_400_000_000),
            ("1970-01-02 15:00", 140_400_000_000),
            ("1970-01-02T15:00:30", 140_430_000_000),
        ] {
            assert_eq!(parse_time_at(text, NOW), Ok(micros), "{text}");
        }
    }

    #[test]
    fn bad_times() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "-",
            "ago",
            "1960-01-01T00:00:00Z",
            "2026-02-30",
        ] {
            assert!(parse_time_at(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn from_words() {
        assert_eq!(parse_from("start"), Ok(TailFrom::Start));
        assert_eq!(parse_from("end"), Ok(TailFrom::End));
        assert_eq!(parse_from("17"), Ok(TailFrom::Time(17_000_000)));
        assert!(parse_from("middle").unwrap_err().contains("`start`"));
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(show_time(1_500_000), "1970-01-01T00:00:01.500000Z");
        assert_eq!(show_time_short(1_500_000), "1970-01-01T00:00:01Z");
        assert_eq!(show_time(u64::MAX), "18446744073709551615 us");
    }
}
