//! The file of a pipeline: parsed, and every mistake in it named.
//!
//! A key that is not known is an error that tells the nearest known one: a file that says something else than it seems to
//! say would be found out much later, by its rows.

pub mod file;
pub mod value;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What is wrong with a file, or what it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct ConfigError {
    /// The section, `[to.postgres]` for example, or the file.
    pub at: String,
    /// What is wrong there, and what would be right.
    pub what: String,
}

/// What a section may need of its surroundings.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Where the file is: relative paths begin there.
    pub folder: PathBuf,
}

impl Surroundings {
    /// A path of the file, from where the process runs.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

/// Reads a section as the settings of its kind, which deny keys they do not know.
///
/// # Errors
/// [`ConfigError`], with the section and, for a key that is not known, the nearest that is.
pub fn settings<T: DeserializeOwned>(section: &str, table: Table) -> Result<T, ConfigError> {
    Value::Table(table).try_into().map_err(|error: toml::de::Error| ConfigError {
        at: format!("[{section}]"),
        what: with_nearest(error.message()),
    })
}

/// The message of serde, with the nearest of the keys it lists.
fn with_nearest(message: &str) -> String {
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return message.to_owned();
    };
    let names = quoted(rest);
    let Some((unknown, known)) = names.split_first() else { return message.to_owned() };
    let likeness = |name: &String| strsim::jaro_winkler(name, unknown);
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|name| likeness(name) > 0.7) {
        Some(name) => format!("unknown key \"{unknown}\"; did you mean \"{name}\"?"),
        None => format!("unknown key \"{unknown}\"; the keys are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its names matter")]
    struct Door {
        colour: String,
        width: Option<u32>,
    }

    fn fault(text: &str) -> String {
        settings::<Door>("to.door", text.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_key_that_is_not_known_is_named_with_the_nearest() {
        assert_eq!(
            fault("colour = 'red'\nwidht = 3"),
            "[to.door]: unknown key \"widht\"; did you mean \"width\"?"
        );
        assert_eq!(
            fault("colour = 'red'\nzzz = 3"),
            "[to.door]: unknown key \"zzz\"; the keys are colour, width"
        );
        assert_eq!(fault("width = 3"), "[to.door]: missing field `colour`");
    }
}
