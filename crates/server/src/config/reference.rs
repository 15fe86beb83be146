//! Writes the configuration out: the documented defaults, and the effective values of a running server.

use std::fmt::Write as _;

use super::{Config, SECTIONS};

/// The documented defaults. Loading this text gives exactly [`Config::default`].
pub(crate) fn reference() -> String {
    let config = Config::default();
    let mut text = String::from(
        "# Galgo server: every setting with its default.\n\
         # A file needs only what differs. Each key can also be set by the variable named with it;\n\
         # variables win over the file, and flags over variables.\n",
    );
    for section in SECTIONS {
        text.push('\n');
        if !section.name.is_empty() {
            comment(&mut text, section.docs);
            let _ = writeln!(text, "[{}]", section.name);
        }
        for key in section.keys {
            comment(&mut text, key.docs);
            let _ = writeln!(text, "# {}", key.variable());
            let _ = writeln!(text, "{} = {}\n", key.name, (key.show)(&config));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// The values of `config` in the layout of a configuration file, secrets redacted.
pub(crate) fn effective(config: &Config) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        if !section.name.is_empty() {
            let _ = write!(text, "\n[{}]\n", section.name);
        }
        for key in section.keys {
            let _ = writeln!(text, "{} = {}", key.name, (key.show)(config));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "#{line}");
    }
}
