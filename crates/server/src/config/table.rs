//! What one row of the configuration table turns into.

use super::Config;

/// One configuration key: where it lives, what it means, how to set and show it.
pub(crate) struct ConfigKey {
    /// Table of the file the key is in; empty at the top of the file.
    pub(crate) section: &'static str,
    /// Name within its section.
    pub(crate) name: &'static str,
    /// Documentation, one item per line, each with a leading space.
    pub(crate) docs: &'static [&'static str],
    /// What values look like, for messages: `expected {expected}`.
    pub(crate) expected: &'static str,
    /// Whether the value is never shown.
    pub(crate) secret: bool,
    /// Sets the key from text; false when the text is no such value.
    pub(crate) set: fn(&mut Config, &str) -> bool,
    /// The current value as a TOML literal, secrets redacted.
    pub(crate) show: fn(&Config) -> String,
}

impl ConfigKey {
    /// The key as people write it: `tcp.address`, `data_dir`.
    pub(crate) fn path(&self) -> String {
        if self.section.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.section, self.name)
        }
    }

    /// The environment variable that sets the key: `GALGO_TCP_ADDRESS`.
    pub(crate) fn variable(&self) -> String {
        variable_of(&self.path())
    }
}

/// The environment variable of the key `path`.
pub(crate) fn variable_of(path: &str) -> String {
    format!("GALGO_{}", path.replace('.', "_").to_uppercase())
}

/// One section and its documentation.
pub(crate) struct Section {
    /// Name in the file; empty for the keys at its top.
    pub(crate) name: &'static str,
    /// Documentation, one item per line, each with a leading space.
    pub(crate) docs: &'static [&'static str],
    /// Its keys, in the order they are documented.
    pub(crate) keys: &'static [ConfigKey],
}

/// Defines the configuration: a struct per section, `Config` with all of them, and the table `SECTIONS`. The last
/// section is that of the options of topics, which have a table of their own.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $field:ident: $Section:ident = $section:literal {
            $( $(#[doc = $doc:literal])+ $key:ident: $kind:ty = $default:literal, )+
        }
    )+
        ;
        $(#[doc = $options_doc:literal])+
        $options:ident = $options_section:literal $options_keys:ident
    ) => {
        /// Every setting of the server, checked.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Config {
            $( $(#[doc = $section_doc])+ pub(crate) $field: $Section, )+
            $(#[doc = $options_doc])+
            pub(crate) $options: OptionChoices,
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub(crate) struct $Section {
                $( $(#[doc = $doc])+ pub(crate) $key: $kind, )+
            }
        )+

        /// All sections, in the order they are documented.
        pub(crate) static SECTIONS: &[$crate::config::table::Section] = &[
            $( $crate::config::table::Section {
                name: $section,
                docs: &[$($section_doc),+],
                keys: &[ $( $crate::config::table::ConfigKey {
                    section: $section,
                    name: stringify!($key),
                    docs: &[$($doc),+],
                    secret: <$kind as $crate::config::value::Value>::SECRET,
                    expected: <$kind as $crate::config::value::Value>::EXPECTED,
                    set: |config, text| {
                        match <$kind as $crate::config::value::Value>::parse(text) {
                            Some(value) => { config.$field.$key = value; true }
                            None => false,
                        }
                    },
                    show: |config| $crate::config::value::Value::show(&config.$field.$key),
                }, )+ ],
            }, )+
            $crate::config::table::Section {
                name: $options_section,
                docs: &[$($options_doc),+],
                keys: $options_keys,
            },
        ];

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $( $field: $Section {
                        $( $key: <$kind as $crate::config::value::Value>::parse($default)
                            .expect(concat!("the default of ", stringify!($key), " is valid")), )+
                    }, )+
                    $options: OptionChoices::of_servers(),
                }
            }
        }
    };
}

pub(crate) use settings;

/// Every key of every section.
pub(crate) fn keys() -> impl Iterator<Item = &'static ConfigKey> {
    super::SECTIONS.iter().flat_map(|section| section.keys)
}
