//! The options of topics: one table, and all that follows from it.
//!
//! A row of [`topic_option_rows`](crate::topic_option_rows) makes the field of what a topic chose
//! ([`OptionChoices`]) and of what holds for it ([`EffectiveOptions`]), the text both ways, the key in the section
//! `topic` of the server's configuration, the flag of the tool and the setter of the SDK. So a new option is a row
//! here, whoever looks at its field, and a test.
//!
//! INV-OPTION-KEPT: a name that no row has, or a value that its row cannot read, was set under a later version. It is
//! kept as it is, has no effect, and is stored again.

mod value;

use std::collections::BTreeMap;

use crate::command::{ResolvedOption, TopicOption};
pub use value::{Age, Expiry, OptionValue, SizeLimit};

/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 1_024;

const _: () = assert!(
    VALUE_BYTES_MAX <= u16::MAX as usize,
    "a value's length is two bytes, in requests and in the metadata"
);

/// The rows: what it means, `field: type = name, flag`, and what it is where nobody chose: a `constant`, or `derived`
/// from the options above it. Hands them to the macro `$then`.
#[macro_export]
macro_rules! topic_option_rows {
    ($then:ident) => {
        $then! {
            /// What an acknowledged message survives: "fsync" the loss of power, "os" the death of the server's
            /// process.
            durability: $crate::command::Durability = "durability", "durability",
                constant $crate::command::Durability::Fsync;

            /// Whether a message with an id that its partition stored lately is dropped, so that a send that is tried
            /// again stores nothing twice.
            deduplication: $crate::command::Deduplication = "deduplication", "deduplication",
                constant $crate::command::Deduplication::Off;

            /// Age at which messages may be removed, or "never".
            message_expiry: $crate::options::Expiry = "message_expiry", "expiry",
                constant $crate::options::Expiry::NEVER;

            /// Size at which the oldest segments may be removed, or "unlimited".
            max_size: $crate::options::SizeLimit = "max_size", "max-size",
                constant $crate::options::SizeLimit::UNLIMITED;

            /// How long a consumer group holds messages it has not read after its last commit, so that retention
            /// does not remove them; "never" ends only with the group.
            retention_hold_for: $crate::options::Age = "retention.hold_for", "hold-for",
                constant $crate::options::Age::from_secs(7 * 24 * 60 * 60);

            /// Whether consumers that read for themselves hold messages, too.
            retention_hold_consumers: bool = "retention.hold_consumers", "hold-consumers",
                constant false;

            /// How old a segment gets before the next is begun, so that retention by age can remove it. If nobody
            /// chooses ("auto" in the configuration): a quarter of message_expiry, a minute at least.
            segment_max_age: $crate::options::Age = "segment.max_age", "segment-max-age",
                derived message_expiry.quarter();
        }
    };
}

/// What can be told and asked of an option without knowing it.
pub struct OptionRow {
    /// Its name, as `galgo topic set` and the protocol have it.
    pub name: &'static str,
    /// Its key in the section `topic` of the server's configuration; the name of the SDK's setter.
    pub key: &'static str,
    /// The long flag of the tool, without dashes.
    pub flag: &'static str,
    /// What it means: lines, each with a leading space.
    pub docs: &'static [&'static str],
    /// What values look like, completing "expected ...".
    pub expected: &'static str,
    /// All values there are, where they are few.
    pub values: &'static [&'static str],
    /// Whether it is derived from other options where nobody chose.
    pub derived: bool,
    choose: fn(&mut OptionChoices, Option<&str>) -> bool,
    chosen: fn(&OptionChoices) -> Option<String>,
    effective: fn(&EffectiveOptions) -> String,
}

/// Why an option is not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No row has the name.
    #[error("no option is called {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is none of the option's.
    #[error("{name} cannot be {value:?}: expected {expected}")]
    BadValue {
        /// The option.
        name: &'static str,
        /// The value.
        value: String,
        /// What values look like.
        expected: &'static str,
    },
}

macro_rules! define_options {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $kind:ty = $name:literal, $flag:literal, $how:ident $default:expr;
    )+) => {
        /// The options that were chosen; the others are as somebody else says.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct OptionChoices {
            $( $(#[doc = $doc])+ pub $field: Option<$kind>, )+
            /// What a later version had chosen (INV-OPTION-KEPT), by name.
            pub unknown: BTreeMap<Box<str>, Box<str>>,
        }

        /// The options that hold for a topic.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct EffectiveOptions {
            $( $(#[doc = $doc])+ pub $field: $kind, )+
        }

        $( const _: () = assert!(
            !$name.is_empty() && $name.len() <= u8::MAX as usize,
            "an option's name is stored behind a length of one byte"
        ); )+

        /// Every option, in the order it is shown.
        pub static TOPIC_OPTIONS: &[OptionRow] = &[
            $( OptionRow {
                name: $name,
                key: stringify!($field),
                flag: $flag,
                docs: &[$($doc),+],
                expected: <$kind as OptionValue>::EXPECTED,
                values: <$kind as OptionValue>::VALUES,
                derived: define_options!(@is_derived $how),
                choose: |choices, text| {
                    let chosen = text.map(<$kind as OptionValue>::parse);
                    let is_value = !matches!(chosen, Some(None));
                    if is_value {
                        choices.$field = chosen.flatten();
                    }
                    is_value
                },
                chosen: |choices| choices.$field.as_ref().map(OptionValue::show),
                effective: |options| OptionValue::show(&options.$field),
            }, )+
        ];

        impl OptionChoices {
            /// What a server has that was told nothing. An option that is derived has no value here.
            #[must_use]
            pub const fn of_servers() -> Self {
                Self {
                    $( $field: define_options!(@$how $default), )+
                    unknown: BTreeMap::new(),
                }
            }

            /// What holds for a topic with these choices on a server with those.
            #[must_use]
            pub fn effective(&self, server: &Self) -> EffectiveOptions {
                $(
                    let chosen = self.$field.as_ref().or(server.$field.as_ref());
                    let $field: $kind = chosen.cloned().unwrap_or_else(|| $default);
                )+
                EffectiveOptions { $($field),+ }
            }
        }
    };
    (@constant $default:expr) => { Some($default) };
    (@derived $default:expr) => { None };
    (@is_derived constant) => { false };
    (@is_derived derived) => { true };
}

topic_option_rows!(define_options);

impl std::fmt::Debug for OptionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OptionRow").field("name", &self.name).finish_non_exhaustive()
    }
}

impl OptionRow {
    /// The row of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        TOPIC_OPTIONS.iter().find(|row| row.name == name)
    }

    /// Takes the choice `text`, or none; tells whether it is one.
    pub fn choose(&self, choices: &mut OptionChoices, text: Option<&str>) -> bool {
        (self.choose)(choices, text)
    }

    /// What was chosen, in its usual form.
    #[must_use]
    pub fn chosen(&self, choices: &OptionChoices) -> Option<String> {
        (self.chosen)(choices)
    }

    /// Whether a text is a value of this option.
    ///
    /// # Errors
    /// [`OptionError::BadValue`].
    pub fn check(&self, text: &str) -> Result<(), OptionError> {
        OptionChoices::default().set(self.name, text)
    }

    /// What it means, as one line.
    #[must_use]
    pub fn meaning(&self) -> String {
        self.docs.concat().trim().to_owned()
    }
}

impl OptionChoices {
    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Chooses a value for the option `name`; an empty one takes the choice back.
    ///
    /// # Errors
    /// [`OptionError`]; nothing changes then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let row = OptionRow::of(name);
        let row = row.ok_or_else(|| OptionError::Unknown { name: name.to_owned() })?;
        let chosen = (!value.is_empty()).then_some(value);
        if value.len() > VALUE_BYTES_MAX || !row.choose(self, chosen) {
            let (name, expected) = (row.name, row.expected);
            return Err(OptionError::BadValue { name, value: value.to_owned(), expected });
        }
        // A later version had set it to something that this one cannot read.
        self.unknown.remove(name);
        Ok(())
    }

    /// These choices with what a command sets.
    ///
    /// # Errors
    /// [`OptionError`] for the first that is none.
    pub fn with(&self, set: &[TopicOption]) -> Result<Self, OptionError> {
        let mut choices = self.clone();
        for TopicOption { name, value } in set {
            choices.set(name, value)?;
        }
        Ok(choices)
    }

    /// What was stored, of which nothing is refused (INV-OPTION-KEPT).
    pub fn keep(&mut self, name: &str, value: &str) {
        if self.set(name, value).is_err() {
            self.unknown.insert(name.into(), value.into());
        }
    }

    /// The four options that are as old as topics, for which requests and records have fields of their own, and all
    /// others.
    #[must_use]
    pub fn split(mut self) -> (Self, Self) {
        let old = Self {
            durability: self.durability.take(),
            deduplication: self.deduplication.take(),
            message_expiry: self.message_expiry.take(),
            max_size: self.max_size.take(),
            ..Self::default()
        };
        (old, self)
    }

    /// All that was chosen, by name.
    #[must_use]
    pub fn pairs(&self) -> BTreeMap<&str, String> {
        let known = TOPIC_OPTIONS.iter().filter_map(|row| Some((row.name, row.chosen(self)?)));
        let unknown = self.unknown.iter().map(|(name, value)| (&**name, value.to_string()));
        known.chain(unknown).collect()
    }

    /// All options of the table as they hold on a server with these choices.
    #[must_use]
    pub fn resolved(&self, server: &Self) -> Vec<ResolvedOption> {
        let effective = self.effective(server);
        let resolved = TOPIC_OPTIONS.iter().map(|row| ResolvedOption {
            name: row.name.to_owned(),
            value: (row.effective)(&effective),
            default: row.chosen(self).is_none(),
        });
        resolved.collect()
    }
}

#[cfg(test)]
mod tests;
