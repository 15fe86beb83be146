//! Values of a file that people write with a unit: `"1MiB"`, `"100ms"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A size in bytes: a number, or text with a unit, `"8MiB"` or `"64kB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A time: text with a unit, `"500ms"`, `"30s"`, `"10m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// The units of sizes, the longest first, so that no one is taken for the end of another.
const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl ByteSize {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
        let (number, bytes) = unit.unwrap_or((text, &1));
        number.trim().parse::<u64>().ok()?.checked_mul(*bytes).map(Self)
    }

    /// As a number of bytes in memory.
    #[must_use]
    pub fn bytes(self) -> usize {
        galgo_wire::index::to_usize(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByteSizeVisitor;

        impl Visitor<'_> for ByteSizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in bytes, for example \"1MiB\"")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).ok_or_else(|| {
                    E::custom(format!(
                        "\"{text}\" is no size; write a number and B, kB, MB, GB, KiB, MiB or GiB"
                    ))
                })
            }
        }

        deserializer.deserialize_any(ByteSizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = humantime::parse_duration(&text);
        parsed.map(Self).map_err(|_| {
            D::Error::custom(format!("\"{text}\" is no time; write a number and ms, s, m, h or d"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("12", 12), ("1KiB", 1024), ("8 MiB", 8 << 20), ("64kB", 64_000), ("5B", 5)]
        {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "99999999999TiB", "1 horse"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_value_says_what_would_be() {
        let said = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            let value = table["it"].clone();
            value.clone().try_into::<ByteSize>().unwrap_err().message().to_owned()
                + " / "
                + value.try_into::<Span>().unwrap_err().message()
        };
        assert!(said("it = '3 horses'").contains("\"3 horses\" is no size; write a number and B"));
        assert!(said("it = '3 horses'").contains("is no time; write a number and ms"));
    }
}
