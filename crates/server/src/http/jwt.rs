//! Tokens of the HTTP API: signed, short-lived, and revocable.
//!
//! Without a configured secret a random one is kept in the data directory, so that a restart logs nobody out.
//!
//! INV-TOKEN-USER: a token carries the serial number of the account it was made for. Ids of users are
//! used again, serial numbers never.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use galgo_broker::metadata::UserSerial;
use galgo_broker::metadata::jwts::Jwt;
use galgo_wire::{Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::HttpJwt;
use crate::{ServeError, secret_file};

/// Bytes of a secret that is made here.
pub(crate) const RANDOM_SECRET_BYTES: usize = 64;
const _: () = assert!(
    RANDOM_SECRET_BYTES * 8 >= 512,
    "a secret is no shorter than the longest hash it is used with"
);

/// Its file in the data directory; who has the secret can log in as anybody.
const SECRET_FILE: &str = "http-token-key";

/// Why configured keys do not work.
#[derive(Debug, thiserror::Error)]
#[error("http.jwt.{key} cannot be used with {algorithm:?}: {source}")]
pub(super) struct SigningKeyError {
    key: &'static str,
    algorithm: Algorithm,
    source: jsonwebtoken::errors::Error,
}

/// What signs and checks tokens.
pub(super) struct SigningKeys {
    header: Header,
    signs: EncodingKey,
    checks: DecodingKey,
    validation: Validation,
    expiry: Duration,
    pub(super) leeway: Duration,
    issuer: String,
    audience: String,
    /// Whether the secret is one that is kept in the data directory, and not read from there yet.
    kept: bool,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Names this token, for its revocation.
    jti: Uuid,
    iss: String,
    aud: String,
    /// The user's id, in digits.
    sub: String,
    iat: u64,
    /// Unix seconds at which the token ends.
    exp: u64,
    nbf: u64,
    /// The user's serial number, in digits.
    #[serde(rename = "galgo_serial")]
    serial: String,
}

/// The account a token acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    /// Its id.
    pub(super) user: UserId,
    /// Its serial number.
    pub(super) serial: UserSerial,
}

/// A token, fresh from the press.
#[derive(Debug)]
pub(super) struct Issued {
    /// The text of the token.
    pub(super) text: String,
    /// Unix seconds at which it ends.
    pub(super) expires_at: u64,
}

impl Claims {
    /// What the token is known by when it is revoked.
    pub(super) fn id(&self) -> u128 {
        self.jti.as_u128()
    }

    /// When the token was made: its id begins with that.
    pub(super) fn issued_at(&self) -> Timestamp {
        let milliseconds = self.jti.as_u64_pair().0 >> 16;
        Timestamp::new(milliseconds.saturating_mul(1_000))
    }

    /// The login of `account` as the broker ends it. A revocation has to be remembered as long as the
    /// token would be taken otherwise.
    pub(super) fn login(&self, account: Account, leeway: Duration) -> Jwt {
        let seconds = self.exp.saturating_add(leeway.as_secs()).saturating_add(1);
        let expires_at = Timestamp::new(seconds.saturating_mul(1_000_000));
        Jwt { user: account.user, serial: account.serial, jti: self.id(), expires_at }
    }

    /// The account; `None` when the claims are not of this server's making.
    pub(super) fn account(&self) -> Option<Account> {
        let user = UserId::new(self.sub.parse().ok()?);
        Some(Account { user, serial: UserSerial::new(self.serial.parse().ok()?) })
    }
}

impl SigningKeys {
    /// Takes the configured keys; without any they are those of [`SigningKeys::take_secret`].
    ///
    /// # Errors
    /// [`SigningKeyError`] when a key is not one for the algorithm.
    pub(super) fn from_config(config: &HttpJwt) -> Result<Self, SigningKeyError> {
        let algorithm = config.algorithm.0;
        let (signs, checks) = key_pair(config, algorithm)?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = config.leeway.0.as_secs();
        validation.validate_nbf = true;
        validation.set_audience(&[&config.audience]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        Ok(Self {
            header: Header::new(algorithm),
            signs,
            checks,
            validation,
            expiry: config.expiry.0,
            leeway: config.leeway.0,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            kept: config.algorithm.is_symmetric() && config.encoding_secret.0.is_empty(),
        })
    }

    /// Takes the secret that is kept in the data directory, unless one is configured.
    ///
    /// # Errors
    /// [`ServeError::Io`] when it can be neither read nor made.
    pub(super) fn take_secret(&mut self, data_dir: &Path) -> Result<(), ServeError> {
        if self.kept {
            let secret = secret_file::keep::<RANDOM_SECRET_BYTES>(&data_dir.join(SECRET_FILE))?;
            self.signs = EncodingKey::from_secret(&secret);
            self.checks = DecodingKey::from_secret(&secret);
        }
        Ok(())
    }

    /// Makes a token for an account; `None` when the key does not sign after all.
    pub(super) fn issue(&self, account: Account) -> Option<Issued> {
        let now = unix_seconds();
        let exp = now.saturating_add(self.expiry.as_secs().max(1));
        let claims = Claims {
            jti: new_id(),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: account.user.to_string(),
            iat: now,
            exp,
            nbf: now,
            serial: account.serial.get().to_string(),
        };
        let text = jsonwebtoken::encode(&self.header, &claims, &self.signs);
        let text = text
            .inspect_err(|error| tracing::error!(%error, "a token could not be signed"))
            .ok()?;
        Some(Issued { text, expires_at: exp })
    }

    /// What a token says, if it is one of ours and its time has come and not gone.
    pub(super) fn check(&self, token: &str) -> Option<Claims> {
        let data = jsonwebtoken::decode(token, &self.checks, &self.validation);
        data.ok().map(|data| data.claims)
    }
}

fn key_pair(
    config: &HttpJwt,
    algorithm: Algorithm,
) -> Result<(EncodingKey, DecodingKey), SigningKeyError> {
    let (signs, checks) = (&config.encoding_secret.0, &config.decoding_secret.0);
    if !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
        let refused = |key| move |source| SigningKeyError { key, algorithm, source };
        let signs =
            EncodingKey::from_rsa_pem(signs.as_bytes()).map_err(refused("encoding_secret"))?;
        let checks =
            DecodingKey::from_rsa_pem(checks.as_bytes()).map_err(refused("decoding_secret"))?;
        return Ok((signs, checks));
    }
    if signs.is_empty() {
        // Good for nothing but itself, until the kept one takes its place.
        let mut secret = [0; RANDOM_SECRET_BYTES];
        rand::rng().fill_bytes(&mut secret);
        return Ok((EncodingKey::from_secret(&secret), DecodingKey::from_secret(&secret)));
    }
    let checks = if checks.is_empty() { signs } else { checks };
    Ok((EncodingKey::from_secret(signs.as_bytes()), DecodingKey::from_secret(checks.as_bytes())))
}

/// An id for a token, above those of all tokens that this process made before.
pub(super) fn new_id() -> Uuid {
    Uuid::now_v7()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
