//! The keys for encryption at rest, from the file and the environment.
//!
//! Part of INV-SECRET: no error and no log line has a key, or a part of one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use galgo_broker::vault::KeyRing;

use crate::ServeError;
use crate::config::Config;

/// What others than the owner may do with the file.
const OTHERS: u32 = 0o077;

/// Reads the keys; none when none are configured.
///
/// # Errors
/// [`ServeError::Keys`] when the keys cannot be used, [`ServeError::KeysFile`] when the file cannot be
/// read, [`ServeError::KeysFileOpen`] when others than its owner may read or write it.
pub(crate) fn keys(config: &Config) -> Result<KeyRing, ServeError> {
    let encryption = &config.encryption;
    let mut text = match &encryption.keys_file.0 {
        Some(path) => read(path)?,
        None => String::new(),
    };
    text.push('\n');
    text.push_str(&encryption.keys.0);
    let active = encryption.enabled.then_some(encryption.active_key);
    KeyRing::parse(&text, active).map_err(ServeError::Keys)
}

fn read(path: &Path) -> Result<String, ServeError> {
    let failed = |source| ServeError::KeysFile { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.mode();
    if mode & OTHERS != 0 {
        return Err(ServeError::KeysFileOpen { path: path.to_owned(), mode: mode & 0o777 });
    }
    fs::read_to_string(path).map_err(failed)
}
