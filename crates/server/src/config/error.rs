//! What can be wrong with the configuration, and where a value came from.

use std::fmt;
use std::io;
use std::path::PathBuf;

use galgo_wire::NameError;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Nowhere: it is the built-in default.
    Default,
    /// In a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// The file has a key or a section that does not exist.
    #[error("{}, line {line}: unknown key \"{key}\"{}", path.display(), hint(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key as written, with its section.
        key: String,
        /// The known key most like it.
        nearest: Option<String>,
    },
    /// The file has a section that does not exist.
    #[error("{}, line {line}: unknown section [{section}]{}", path.display(), section_hint(nearest.as_deref()))]
    UnknownSection {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The section as written.
        section: String,
        /// The known section most like it.
        nearest: Option<String>,
    },
    /// A value is not of its key's kind or out of its range.
    #[error("{key} = \"{value}\" ({origin}): expected {expected}")]
    BadValue {
        /// The key, with its section.
        key: String,
        /// The value as written.
        value: String,
        /// What would have been right.
        expected: String,
        /// Where it was set.
        origin: KeyOrigin,
    },
    /// Only one of the root user's name and password is set, or one has an impossible length.
    #[error("{0}")]
    RootUser(RootUserError),
    /// `--dev` would open well-known credentials to the network.
    #[error(
        "--dev uses a well-known password and listens on loopback only, but {key} is {address} \
         ({origin}); use 127.0.0.1, or leave --dev out: without it a password is generated and printed once, \
         or set GALGO_ROOT_USERNAME and GALGO_ROOT_PASSWORD to choose both"
    )]
    DevNotLoopback {
        /// The key that holds the address.
        key: String,
        /// The address.
        address: std::net::SocketAddr,
        /// Where it was set.
        origin: KeyOrigin,
    },
}

/// What is wrong with the root user given in the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootUserError {
    /// One of the two variables is missing.
    #[error("{set} is set but {missing} is not: set both, or neither to have a password generated")]
    Half {
        /// The variable that is set.
        set: &'static str,
        /// The variable that is missing.
        missing: &'static str,
    },
    /// A value is too short or too long.
    #[error("{variable}: {source}")]
    Invalid {
        /// The variable.
        variable: &'static str,
        /// What is wrong with its value.
        source: NameError,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(all_keys, |key| format!("; did you mean \"{key}\"?"))
}

fn section_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(all_keys, |section| format!("; did you mean [{section}]?"))
}

impl ConfigError {
    /// The error with the key as it was written, which may be an older name.
    pub(super) fn of_key(mut self, written: &str) -> Self {
        if let Self::BadValue { key, .. } = &mut self {
            written.clone_into(key);
        }
        self
    }
}

fn all_keys() -> String {
    "; `galgo server --print-config` lists all keys".to_owned()
}
