//! The secret with which a started server tells the peers of its earlier self that their connections are
//! gone (RFC 9000, section 10.3, stateless reset).
//!
//! After a crash a peer would go on sending, and wait for its idle timeout, ten seconds with classic
//! clients, before it connects again. With the secret kept, its first packet is answered by a reset.
//!
//! INV-RESET: a reset token is made from the kept secret and the connection id alone, and ids carry no mark
//! of the start that made them, so a packet to an id of an earlier start is answered.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use galgo_storage::disk::RealDisk;
use galgo_storage::replace_file::{read_file, replace_file};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rand::Rng as _;

use crate::ServerError;

/// Name of the file in the data directory.
const FILE: &str = "quic-reset-key";

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// Only the owner reads the file: who has the secret can end connections.
const MODE: u32 = 0o600;

/// Bytes of a connection id.
const CONNECTION_ID_BYTES: usize = 8;

/// The settings of the endpoint, with the secret kept in `data_dir`; made there when there is none.
///
/// # Errors
/// [`ServerError::Io`] when the file can be neither read nor written.
pub(super) fn endpoint_config(data_dir: &Path) -> Result<EndpointConfig, ServerError> {
    let key = hmac::Key::new(HMAC_SHA256, &secret(data_dir)?);
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(RandomIds));
    Ok(config)
}

/// Connection ids without a mark. The endpoint's own kind carries one that is new with each start, and
/// packets without it are dropped.
#[derive(Debug)]
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_BYTES];
        rand::rng().fill_bytes(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn secret(data_dir: &Path) -> Result<[u8; SECRET_BYTES], ServerError> {
    let path = data_dir.join(FILE);
    let failed = |error| ServerError::io(&path, error);
    let kept = match read_file(&RealDisk, &path, SECRET_BYTES as u64) {
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => None,
        read => read.map_err(failed)?,
    };
    if let Some(secret) = kept.and_then(|bytes| bytes.try_into().ok()) {
        // A crash right after the file was made may have left it readable to others.
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
        if mode & 0o777 != MODE {
            fs::set_permissions(&path, Permissions::from_mode(MODE)).map_err(failed)?;
        }
        return Ok(secret);
    }
    let mut secret = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut secret);
    replace_file(&RealDisk, &path, &secret).map_err(failed)?;
    fs::set_permissions(&path, Permissions::from_mode(MODE)).map_err(failed)?;
    Ok(secret)
}
