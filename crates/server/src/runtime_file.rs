//! `<data-dir>/runtime/current_config.toml`: how tools learn that the server is ready, and where.
//!
//! INV-READY: the file is absent from the start of a server until every listener is bound, and is never
//! seen half written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use galgo_storage::disk::{Disk as _, RealDisk};
use galgo_storage::replace_file::replace_file;

use crate::ServeError;

const DIRECTORY: &str = "runtime";
const FILE: &str = "current_config.toml";

/// Removes what an earlier server left.
pub(crate) fn remove(data_dir: &Path) -> Result<(), ServeError> {
    let directory = data_dir.join(DIRECTORY);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ServeError::io(directory, error))
        }
        _ => Ok(()),
    }
}

/// Writes the effective configuration, and returns where.
pub(crate) fn write(data_dir: &Path, text: &str) -> Result<PathBuf, ServeError> {
    let directory = data_dir.join(DIRECTORY);
    RealDisk.create_dir_all(&directory).map_err(|error| ServeError::io(&directory, error))?;
    let path = directory.join(FILE);
    replace_file(&RealDisk, &path, text.as_bytes())
        .map_err(|error| ServeError::io(&path, error))?;
    Ok(path)
}
