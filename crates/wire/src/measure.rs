//! Times and sizes as texts: how options, configuration files and command lines write them.
//!
//! What [`show_time`] and [`show_bytes`] write reads back as the same number.

use std::time::Duration;

/// Units of size, the binary ones first and each ladder from large to small, so that the first that
/// divides a number is the one to show it in.
const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

/// Most digits behind the point of a size.
const FRACTION_DIGITS_MAX: u32 = 12;

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// What follows the number is no unit.
    #[error("unknown unit `{0}`; a size is written like 512, 64KiB or 10GB")]
    Unit(String),
    /// The rest is no number, or too large a one.
    #[error("`{0}` is not a size; write it like 512, 64KiB or 10GB")]
    Number(String),
}

// A factor of another size than its name says would change every limit that is written with it.
const _: () = {
    let mut ladder: &[(&str, u64)] = &UNITS;
    while let [(_, larger), rest @ ..] = ladder {
        // The decimal ladder begins above the last of the binary ones, and the rest of it goes down, too.
        if let [(_, smaller), ..] = rest {
            assert!(
                *larger >= *smaller || *larger == 1 << 10,
                "each ladder of units goes from large to small"
            );
        }
        ladder = rest;
    }
};
// Both factors of a fraction's product are below 2^64, so that it fits 128 bits.
const _: () = assert!(
    10_u128.pow(FRACTION_DIGITS_MAX) < 1 << 64,
    "the digits behind the point of a size are a number of 64 bits"
);

/// A time in microseconds, as frames and files have it; the largest number stands for all that is longer.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    // Half a million years: nobody can tell it from any longer time.
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
}

/// Microseconds as a text: `0`, or such as `1h 30m`.
#[must_use]
pub fn show_time(us: u64) -> String {
    match us {
        0 => "0".to_owned(),
        _ => humantime::format_duration(Duration::from_micros(us)).to_string(),
    }
}

/// The microseconds of `0`, `90s`, `1h 30m` or `7days`; `None` for anything else, and for what has no place in 64
/// bits.
#[must_use]
pub fn parse_time(text: &str) -> Option<u64> {
    match text.trim() {
        "0" => Some(0),
        text => u64::try_from(humantime::parse_duration(text).ok()?.as_micros()).ok(),
    }
}

/// Bytes as a text, in the largest unit that leaves a whole number: `64 KiB`, `10 GB`.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes} B"), |(name, factor)| format!("{} {name}", bytes / factor))
}

/// The bytes of `512`, `64KiB`, `1.5 GiB` or `10_000 kb`.
///
/// # Errors
/// [`SizeError`] tells what is wrong with the text.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let digits_end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_' || c == ','))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit = unit.trim();
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (_, factor) = factor.ok_or_else(|| SizeError::Unit(unit.to_owned()))?;
    let number: String = number.chars().filter(|c| *c != '_' && *c != ',').collect();
    scaled(&number, *factor).ok_or_else(|| SizeError::Number(text.to_owned()))
}

/// `number * factor`, exactly, when that is a whole number of bytes that fits.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut bytes = u128::from(whole).checked_mul(u128::from(factor))?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok().filter(|n| *n <= FRACTION_DIGITS_MAX)?;
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
        bytes += part / 10u128.pow(digits);
    }
    u64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("10GB", 10_000_000_000),
            ("1.5GiB", 3 << 29),
            ("1_000kb", 1_000_000),
            ("1,000", 1_000),
            ("2tib", 2 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_how_to_write_one() {
        for text in ["", "GB", "10G", "-1", "1.2.3MB", "99999999999999TiB", "1e9"] {
            let why = parse_bytes(text).unwrap_err().to_string();
            assert!(why.contains("64KiB"), "{text}: {why}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, us) in [("0", Some(0)), ("1h 30m", Some(5_400_000_000)), (" 2ms", Some(2_000))] {
            assert_eq!(parse_time(text), us, "{text}");
        }
        for text in ["", "soon", "-1s", "10", "1000000years"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_longer_than_64_bits_is_the_longest() {
        assert_eq!(micros(Duration::from_micros(1_500_001)), 1_500_001);
        assert_eq!(micros(Duration::from_micros(u64::MAX)), u64::MAX);
        assert_eq!(micros(Duration::from_secs(u64::MAX / 1_000_000 + 1)), u64::MAX);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number: u64, bits in 0..64) {
            let number = number >> bits;
            prop_assert_eq!(parse_time(&show_time(number)), Some(number));
            prop_assert_eq!(parse_bytes(&show_bytes(number)), Ok(number));
        }
    }
}
