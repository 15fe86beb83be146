//! The options of a topic by name: one row each, and what topics have set.
//!
//! A new option is a row here and whoever looks at it. What is stored is what was set, by name; a name
//! that this version does not know was set under a later one, and is kept as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use galgo_wire::command::{ResolvedOption, TopicOption};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::primitive::{Payload, Reader, put_str8};

use super::record::Part;
use crate::partition::Hold;

const HOLD_FOR: &str = "retention.hold_for";
const HOLD_CONSUMERS: &str = "retention.hold_consumers";
const SEGMENT_MAX_AGE: &str = "segment.max_age";

/// No segment is begun sooner after another because of its age, in microseconds, unless that is asked for.
const SEGMENT_AGE_US_MIN: u64 = 60_000_000;

/// Most bytes of a value.
const VALUE_BYTES_MAX: usize = 1_024;

/// What values of an option look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// A time such as `7days`, `0` or `never`.
    Time,
    /// `on` or `off`.
    Switch,
}

/// An option that topics can set.
#[derive(Debug)]
pub struct OptionRow {
    /// Its name.
    pub name: &'static str,
    /// What its values look like.
    pub kind: OptionKind,
    /// What it is when nothing is set.
    pub default: fn(&OptionDefaults) -> String,
    /// What it means.
    pub meaning: &'static str,
}

/// All options.
pub const OPTIONS: &[OptionRow] = &[
    OptionRow {
        name: HOLD_FOR,
        kind: OptionKind::Time,
        default: |defaults| show_time(defaults.hold_for_us),
        meaning: "how long a group holds messages it has not read after its last commit",
    },
    OptionRow {
        name: HOLD_CONSUMERS,
        kind: OptionKind::Switch,
        default: |_| "off".to_owned(),
        meaning: "whether consumers that read for themselves hold messages, too",
    },
    OptionRow {
        name: SEGMENT_MAX_AGE,
        kind: OptionKind::Time,
        default: |defaults| show_time(defaults.segment_age_us()),
        meaning: "how old a segment gets before the next is begun, so that retention by age can remove it",
    },
];

/// What the server has for topics that set nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionDefaults {
    /// How long groups hold messages, in microseconds; `u64::MAX` for ever.
    pub hold_for_us: u64,
    /// After how long messages of the topic may go, in microseconds; `u64::MAX` never.
    pub message_expiry_us: u64,
}

impl OptionDefaults {
    /// A quarter of the expiry.
    fn segment_age_us(&self) -> u64 {
        match self.message_expiry_us {
            u64::MAX => u64::MAX,
            expiry_us => (expiry_us / 4).max(SEGMENT_AGE_US_MIN),
        }
    }
}

/// What a topic has set, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicOptions(BTreeMap<Box<str>, Box<str>>);

impl OptionKind {
    /// The usual form of a value; `None` when it is none.
    fn usual(self, value: &str) -> Option<String> {
        match self {
            Self::Time => parse_time(value).map(show_time),
            Self::Switch => matches!(value, "on" | "off").then(|| value.to_owned()),
        }
    }
}

impl TopicOptions {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These options with what a command sets; an empty value takes what was set back.
    ///
    /// # Errors
    /// 4 for a name that no row has, or a value that is none of its kind.
    pub(crate) fn with(&self, set: &[TopicOption]) -> Result<Self, ErrorCode> {
        let mut options = self.clone();
        for TopicOption { name, value } in set {
            let row = OPTIONS.iter().find(|row| row.name == name);
            let row = row.ok_or(ErrorCode::InvalidFormat)?;
            if value.is_empty() {
                options.0.remove(name.as_str());
                continue;
            }
            let fits = value.len() <= VALUE_BYTES_MAX;
            let usual = row.kind.usual(value).filter(|_| fits).ok_or(ErrorCode::InvalidFormat)?;
            options.0.insert(name.as_str().into(), usual.into());
        }
        Ok(options)
    }

    /// All options of the table as they stand.
    pub(crate) fn resolved(&self, defaults: &OptionDefaults) -> Vec<ResolvedOption> {
        let resolved = OPTIONS.iter().map(|row| {
            let set = self.0.get(row.name).map(|value| value.to_string());
            ResolvedOption {
                name: row.name.to_owned(),
                default: set.is_none(),
                value: set.unwrap_or_else(|| (row.default)(defaults)),
            }
        });
        resolved.collect()
    }

    /// How old a segment gets that is written, in microseconds; `u64::MAX` for as old as it likes.
    pub(crate) fn segment_age_us(&self, defaults: &OptionDefaults) -> u64 {
        let set = self.0.get(SEGMENT_MAX_AGE).and_then(|value| parse_time(value));
        set.unwrap_or_else(|| defaults.segment_age_us())
    }

    /// Whose stored offsets hold messages, and how long.
    pub(crate) fn hold(&self, defaults: &OptionDefaults) -> Hold {
        let hold_for_us = self.0.get(HOLD_FOR).and_then(|value| parse_time(value));
        let consumers = self.0.get(HOLD_CONSUMERS).is_some_and(|value| &**value == "on");
        Hold { hold_for_us: hold_for_us.unwrap_or(defaults.hold_for_us), consumers }
    }
}

/// Count `u16`, then for each a name `u8|text` and a value `u16|text`.
impl Part for TopicOptions {
    fn put(&self, out: &mut Vec<u8>) {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX).encode(out);
        for (name, value) in &self.0 {
            put_str8(out, name);
            u16::try_from(value.len()).unwrap_or(u16::MAX).encode(out);
            out.extend_from_slice(value.as_bytes());
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let mut options = BTreeMap::new();
        for _ in 0..from.u16()? {
            let name = from.str8()?.into();
            let len = usize::from(from.u16()?);
            let value = std::str::from_utf8(from.bytes(len)?);
            options.insert(name, value.map_err(|_| ErrorCode::InvalidCommand)?.into());
        }
        Ok(Self(options))
    }
}

/// Microseconds; `u64::MAX` for `never`.
fn parse_time(text: &str) -> Option<u64> {
    match text {
        "never" => Some(u64::MAX),
        "0" => Some(0),
        _ => u64::try_from(humantime::parse_duration(text).ok()?.as_micros()).ok(),
    }
}

fn show_time(time_us: u64) -> String {
    match time_us {
        u64::MAX => "never".to_owned(),
        0 => "0".to_owned(),
        _ => humantime::format_duration(Duration::from_micros(time_us)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: OptionDefaults =
        OptionDefaults { hold_for_us: 1_000_000, message_expiry_us: 400_000_000 };

    fn set(name: &str, value: &str) -> [TopicOption; 1] {
        [TopicOption { name: name.to_owned(), value: value.to_owned() }]
    }

    #[test]
    fn options_are_set_by_name_and_taken_back_by_nothing() {
        let none = TopicOptions::default();
        assert_eq!(none.hold(&DEFAULTS), Hold { hold_for_us: 1_000_000, consumers: false });
        let held = none.with(&set(HOLD_FOR, "1h 30m")).unwrap();
        let held = held.with(&set(HOLD_CONSUMERS, "on")).unwrap();
        assert_eq!(held.hold(&DEFAULTS), Hold { hold_for_us: 5_400_000_000, consumers: true });
        let never = held.with(&set(HOLD_FOR, "never")).unwrap();
        assert_eq!(never.hold(&DEFAULTS).hold_for_us, u64::MAX);
        let zero = held.with(&set(HOLD_FOR, "0")).unwrap();
        assert_eq!(zero.hold(&DEFAULTS).hold_for_us, 0);
        let back = held.with(&set(HOLD_FOR, "")).unwrap().with(&set(HOLD_CONSUMERS, "")).unwrap();
        assert_eq!(back, none);
        let shown = held.resolved(&DEFAULTS);
        let shown: Vec<_> =
            shown.iter().map(|it| (it.name.as_str(), it.value.as_str(), it.default)).collect();
        let age = (SEGMENT_MAX_AGE, "1m 40s", true);
        assert_eq!(shown, [(HOLD_FOR, "1h 30m", false), (HOLD_CONSUMERS, "on", false), age]);
        assert_eq!(none.resolved(&DEFAULTS)[0].value, "1s");
    }

    #[test]
    fn segments_get_as_old_as_a_quarter_of_the_expiry() {
        let age = |message_expiry_us, set: &[TopicOption]| {
            let defaults = OptionDefaults { message_expiry_us, ..DEFAULTS };
            TopicOptions::default().with(set).unwrap().segment_age_us(&defaults)
        };
        assert_eq!(age(400_000_000, &[]), 100_000_000);
        assert_eq!(age(1_000_000, &[]), SEGMENT_AGE_US_MIN);
        assert_eq!(age(u64::MAX, &[]), u64::MAX);
        assert_eq!(age(u64::MAX, &set(SEGMENT_MAX_AGE, "1s")), 1_000_000);
        assert_eq!(age(400_000_000, &set(SEGMENT_MAX_AGE, "never")), u64::MAX);
    }

    #[test]
    fn unknown_names_and_values_are_refused_and_stored_ones_are_kept() {
        let none = TopicOptions::default();
        for (name, value) in
            [("compression", "zstd"), (HOLD_FOR, "soon"), (HOLD_CONSUMERS, "yes"), ("", "on")]
        {
            assert_eq!(none.with(&set(name, value)), Err(ErrorCode::InvalidFormat), "{name}");
        }
        let later = TopicOptions(BTreeMap::from([("compression".into(), "zstd".into())]));
        let mut bytes = Vec::new();
        later.put(&mut bytes);
        assert_eq!(TopicOptions::take(&mut Reader::new(&bytes)), Ok(later.clone()));
        let both = later.with(&set(HOLD_CONSUMERS, "on")).unwrap();
        assert_eq!(both.with(&set(HOLD_CONSUMERS, "")), Ok(later));
    }
}
