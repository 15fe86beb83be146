//! What a section `[from.http]` says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;
use toml::Table;

use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::Failure;
use crate::secret::{SecretSource, SecretText};
use crate::web::tls::{certificates, unusable};

const SECTION: &str = "from.http";
/// Bytes of a body from somebody who did not say who he is.
const STRANGER_BODY_MAX: usize = 64 << 10;
/// Bytes of a body at most: a message of the log has no more.
const BODY_MAX: usize = 64 << 20;

const _: () = assert!(STRANGER_BODY_MAX < BODY_MAX, "a stranger sends less than others");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSourceSection {
    listen: SocketAddr,
    #[serde(default = "root")]
    path: String,
    token: Option<SecretSource>,
    #[serde(default = "one_mebibyte")]
    body_max: ByteSize,
    #[serde(default = "in_flight")]
    in_flight: ByteSize,
    #[serde(default = "connections")]
    connections: usize,
    #[serde(default = "half_a_minute")]
    timeout: Span,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
}

fn root() -> String {
    "/".to_owned()
}

fn one_mebibyte() -> ByteSize {
    ByteSize(1 << 20)
}

fn in_flight() -> ByteSize {
    ByteSize(16 << 20)
}

fn connections() -> usize {
    256
}

fn half_a_minute() -> Span {
    Span(Duration::from_secs(30))
}

/// The section, checked.
#[derive(Debug)]
pub(super) struct ListenSettings {
    pub(super) listen: SocketAddr,
    pub(super) path: String,
    token: Option<SecretSource>,
    body_max: usize,
    pub(super) in_flight: usize,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    identity: Option<(PathBuf, PathBuf)>,
    client_ca: Option<PathBuf>,
}

fn wrong(what: impl Into<String>) -> ConfigError {
    ConfigError { at: format!("[{SECTION}]"), what: what.into() }
}

impl ListenSettings {
    pub(super) fn read(table: Table, around: &Surroundings) -> Result<Self, ConfigError> {
        let section: HttpSourceSection = settings(SECTION, table)?;
        let at = |path: Option<PathBuf>| path.map(|path| around.path(&path));
        let identity = match (at(section.cert_file), at(section.key_file)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("cert_file and key_file belong together: name both")),
        };
        let client_ca = at(section.client_ca_file);
        if client_ca.is_some() && identity.is_none() {
            return Err(wrong("client_ca_file needs cert_file and key_file"));
        }
        if !section.path.starts_with('/') || section.path.contains(['?', '#']) {
            return Err(wrong("path begins with / and has neither ? nor #"));
        }
        let (body_max, in_flight) = (section.body_max.bytes(), section.in_flight.bytes());
        if body_max == 0 || body_max > BODY_MAX {
            return Err(wrong("body_max is between 1 byte and 64MiB"));
        }
        if in_flight < body_max || in_flight > 1 << 30 {
            return Err(wrong("in_flight is between body_max and 1GiB"));
        }
        if !(1..=10_000).contains(&section.connections) {
            return Err(wrong("connections is between 1 and 10000"));
        }
        let token = section.token.map(|token| match token {
            SecretSource::File(path) => SecretSource::File(around.path(&path)),
            token => token,
        });
        Ok(Self {
            listen: section.listen,
            path: section.path,
            token,
            body_max,
            in_flight,
            connections: section.connections,
            timeout: section.timeout.0,
            identity,
            client_ca,
        })
    }

    /// Whether whoever sends has to say who he is.
    pub(super) fn is_guarded(&self) -> bool {
        self.token.is_some() || self.client_ca.is_some()
    }

    /// Bytes a body may have.
    pub(super) fn body_max(&self) -> usize {
        match self.is_guarded() {
            true => self.body_max,
            false => self.body_max.min(STRANGER_BODY_MAX),
        }
    }

    /// The token as it is now.
    pub(super) fn token(&self) -> Result<Option<SecretText>, Failure> {
        let read = self.token.as_ref().map(SecretSource::read).transpose();
        read.map_err(|error| {
            Failure::refused(format!("the token: {error}"), "see token in [from.http]")
        })
    }

    /// What speaks TLS, if it is to be spoken.
    pub(super) fn acceptor(&self) -> Result<Option<TlsAcceptor>, Failure> {
        let Some((certificate, key)) = &self.identity else { return Ok(None) };
        let not_that = |error: &dyn std::fmt::Display| {
            unusable(&certificate.display().to_string(), &error.to_string())
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| not_that(&error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| not_that(&error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| not_that(&error))?)
            }
        };
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| not_that(&error))?;
        let config = builder.with_single_cert(chain, key).map_err(|error| not_that(&error))?;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}
