//! Passwords and tokens: from the environment or from a file, read again for each connection.
//!
//! Part of INV-MUTE: a secret is not shown, whoever prints what holds it.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// Where a secret is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// In a variable of the environment.
    Env(String),
    /// In a file, without the end of its last line.
    File(PathBuf),
}

/// A secret. Nothing shows it but [`SecretText::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there, or no text.
    #[error("the variable {0} is not set; set it, or name a file")]
    Variable(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(SecretSource),
}

impl SecretSource {
    /// Reads the secret as it is now.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(&self) -> Result<SecretText, SecretError> {
        let text = match self {
            Self::Env(name) => {
                std::env::var(name).map_err(|_| SecretError::Variable(name.clone()))?
            }
            Self::File(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|error| SecretError::File { path: path.clone(), error })?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }
        };
        match text.is_empty() {
            true => Err(SecretError::Empty(self.clone())),
            false => Ok(SecretText(text)),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl SecretText {
    /// The secret, for whoever has to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_of_its_file_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (content, expected) in
            [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("a b\r\n", "a b")]
        {
            std::fs::write(&path, content).unwrap();
            let secret = SecretSource::File(path.clone()).read().unwrap();
            assert_eq!(secret.reveal(), expected);
            assert_eq!(format!("{secret:?}"), "SecretText(..)", "INV-MUTE");
        }
        std::fs::write(&path, "\n").unwrap();
        let empty = SecretSource::File(path.clone()).read().unwrap_err();
        assert!(empty.to_string().ends_with("secret is empty"), "{empty}");
        let missing = SecretSource::File(dir.path().join("none")).read().unwrap_err();
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
        let unset = SecretSource::Env("GALGO_NO_SUCH_VARIABLE".to_owned()).read().unwrap_err();
        assert_eq!(
            unset.to_string(),
            "the variable GALGO_NO_SUCH_VARIABLE is not set; set it, or name a file"
        );
    }
}
