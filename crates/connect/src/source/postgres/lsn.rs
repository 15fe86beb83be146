//! Places in the write-ahead log of PostgreSQL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A place in the write-ahead log, in bytes. Ordered within a timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PgLsn(pub(super) u64);

/// That a text is no place in the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a place in the write-ahead log")]
pub(super) struct NoLsn;

impl fmt::Display for PgLsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for PgLsn {
    type Err = NoLsn;

    fn from_str(text: &str) -> Result<Self, NoLsn> {
        let (high, low) = text.split_once('/').ok_or(NoLsn)?;
        let half = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| NoLsn);
        Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

impl Serialize for PgLsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PgLsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_postgresql_writes_it() {
        for (text, number) in [
            ("0/0", 0),
            ("0/16B3748", 0x16B_3748),
            ("FF/1", 0xFF_0000_0001),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(PgLsn(number)));
            assert_eq!(PgLsn(number).to_string(), text);
        }
        for text in ["", "0", "/", "0/", "G/0", "100000000/0", "0/100000000"] {
            assert_eq!(text.parse::<PgLsn>(), Err(NoLsn), "{text}");
        }
    }
}
