//! Secrets of the server's own: random bytes in a file of the data directory, made when they are missing.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use galgo_storage::disk::RealDisk;
use galgo_storage::replace_file::{read_file, replace_file};
use rand::Rng as _;

use crate::ServeError;

/// Only the owner reads the file.
const MODE: u32 = 0o600;

/// The secret of `N` bytes in the file at `path`; made there when there is none.
///
/// # Errors
/// [`ServeError::Io`] when the file can be neither read nor written.
pub(crate) fn keep<const N: usize>(path: &Path) -> Result<[u8; N], ServeError> {
    let failed = |error| ServeError::io(path, error);
    let kept = match read_file(&RealDisk, path, N as u64) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Some(Vec::new()),
        read => read.map_err(failed)?,
    };
    let damaged = kept.as_ref().is_some_and(|bytes| bytes.len() != N);
    if let Some(secret) = kept.and_then(|bytes| bytes.try_into().ok()) {
        // A crash right after the file was made may have left it readable to others.
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o777 != MODE {
            fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
        }
        return Ok(secret);
    }
    if damaged {
        tracing::warn!(path = %path.display(), "secret damaged, made again: what it vouched for ends");
    }
    let mut secret = [0; N];
    rand::rng().fill_bytes(&mut secret);
    replace_file(&RealDisk, path, &secret).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
    Ok(secret)
}
