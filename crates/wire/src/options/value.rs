//! The kinds of value an option can have: how each is written and shown.

use std::time::Duration;

use crate::command::{Deduplication, Durability};
use crate::measure::{micros, parse_bytes, parse_time, show_bytes, show_time};

/// A kind of value.
pub trait OptionValue: Clone {
    /// What values look like, completing "expected ...".
    const EXPECTED: &'static str;

    /// All values there are, where they are few.
    const VALUES: &'static [&'static str] = &[];

    /// Reads a value.
    fn parse(text: &str) -> Option<Self>;

    /// The value as [`OptionValue::parse`] reads it back.
    fn show(&self) -> String;
}

/// A length of time that may be nothing and may be for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(u64);

impl Age {
    /// For ever.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many microseconds; [`u64::MAX`] for ever.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds as u64 * 1_000_000)
    }

    /// Microseconds; [`u64::MAX`] for ever.
    #[must_use]
    pub const fn us(self) -> u64 {
        self.0
    }
}

/// How long messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(u64);

impl Expiry {
    /// For ever.
    pub const NEVER: Self = Self(u64::MAX);

    /// No segment is begun sooner after another because of its age unless that is asked for.
    const QUARTER_US_MIN: u64 = 60_000_000;

    /// So many microseconds, one at least; [`u64::MAX`] for ever.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(if us == 0 { 1 } else { us })
    }

    /// Microseconds; [`u64::MAX`] for ever.
    #[must_use]
    pub const fn us(self) -> u64 {
        self.0
    }

    /// How old a segment gets in a topic that keeps messages so long: as retention by age removes whole segments,
    /// messages get at most a quarter older than they should.
    pub(crate) fn quarter(self) -> Age {
        match self {
            Self::NEVER => Age::NEVER,
            Self(us) => Age((us / 4).max(Self::QUARTER_US_MIN)),
        }
    }
}

/// How large something may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeLimit(u64);

impl SizeLimit {
    /// As large as the disk.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// So many bytes, one at least; [`u64::MAX`] for no limit.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(if bytes == 0 { 1 } else { bytes })
    }

    /// Bytes; [`u64::MAX`] for no limit.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl From<Duration> for Age {
    /// What has no place in 64 bits is for ever.
    fn from(time: Duration) -> Self {
        Self(micros(time))
    }
}

impl From<Duration> for Expiry {
    /// What has no place in 64 bits is for ever, nothing a microsecond.
    fn from(time: Duration) -> Self {
        Self::from_us(Age::from(time).us())
    }
}

impl From<u64> for SizeLimit {
    fn from(bytes: u64) -> Self {
        Self::from_bytes(bytes)
    }
}

impl OptionValue for Durability {
    const EXPECTED: &'static str = "\"fsync\" or \"os\"";
    const VALUES: &'static [&'static str] = &["fsync", "os"];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.word() == text)
    }

    fn show(&self) -> String {
        self.word().to_owned()
    }
}

impl OptionValue for Deduplication {
    const EXPECTED: &'static str = bool::EXPECTED;
    const VALUES: &'static [&'static str] = bool::VALUES;

    fn parse(text: &str) -> Option<Self> {
        bool::parse(text).map(|on| if on { Self::On } else { Self::Off })
    }

    fn show(&self) -> String {
        self.word().to_owned()
    }
}

impl OptionValue for bool {
    const EXPECTED: &'static str = "\"on\" or \"off\"";
    const VALUES: &'static [&'static str] = &["on", "off"];

    fn parse(text: &str) -> Option<Self> {
        match text {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl OptionValue for Age {
    const EXPECTED: &'static str =
        "\"never\" or a time, such as \"0\", \"30s\", \"12h\" or \"7days\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::NEVER),
            _ => parse_time(text).map(Self),
        }
    }

    fn show(&self) -> String {
        match *self {
            Self::NEVER => "never".to_owned(),
            Self(us) => show_time(us),
        }
    }
}

impl OptionValue for Expiry {
    const EXPECTED: &'static str =
        "\"never\" or a time longer than zero, such as \"30s\", \"12h\" or \"7days\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::NEVER),
            _ => parse_time(text).filter(|us| *us > 0).map(Self),
        }
    }

    fn show(&self) -> String {
        Age(self.0).show()
    }
}

impl OptionValue for SizeLimit {
    const EXPECTED: &'static str = "\"unlimited\" or a size, such as \"10 GiB\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "unlimited" => Some(Self::UNLIMITED),
            _ => parse_bytes(text).ok().filter(|bytes| *bytes > 0).map(Self),
        }
    }

    fn show(&self) -> String {
        match *self {
            Self::UNLIMITED => "unlimited".to_owned(),
            Self(bytes) => show_bytes(bytes),
        }
    }
}
