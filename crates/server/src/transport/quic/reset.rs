//! The secret with which a started server tells the peers of its earlier self that their connections are
//! gone (RFC 9000, section 10.3, stateless reset).
//!
//! After a crash a peer would go on sending, and wait for its idle timeout, ten seconds with classic
//! clients, before it connects again. With the secret kept, its first packet is answered by a reset.
//!
//! A reset token is made from the kept secret and the connection id alone, and ids carry no mark
//! of the start that made them, so a packet to an id of an earlier start is answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rand::Rng as _;

use crate::{ServeError, secret_file};

/// Name of the file in the data directory; who has the secret can end connections.
const FILE: &str = "quic-reset-key";

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// Bytes of a connection id.
const CONNECTION_ID_BYTES: usize = 8;
const _: () = assert!(
    CONNECTION_ID_BYTES <= 20 && SECRET_BYTES >= 32,
    "an id of QUIC has 20 bytes at most, and a secret is too long to be guessed"
);

/// The settings of the endpoint, with the secret kept in `data_dir`; made there when there is none.
///
/// # Errors
/// [`ServeError::Io`] when the file can be neither read nor written.
pub(super) fn endpoint_config(data_dir: &Path) -> Result<EndpointConfig, ServeError> {
    let key =
        hmac::Key::new(HMAC_SHA256, &secret_file::keep::<SECRET_BYTES>(&data_dir.join(FILE))?);
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
