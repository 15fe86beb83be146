//! A connection to NATS, which is dropped when it is lost: the library would make another one by itself, and nobody would know what
//! became of what was sent on the first.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bridge::CONNECT_LIMIT;
use crate::bridge::address::{BridgeAddress, Schemes};
use crate::bridge::login::secret;
use crate::failure::Failure;
use crate::secret::SecretSource;
use crate::web::tls::{self, TlsFiles};

/// How NATS is addressed.
const SCHEMES: Schemes = Schemes { plain: ("nats", 4222), tls: ("tls", 4222) };
/// Between signs of life: what is gone is found out within twice that.
const PING_EACH: Duration = Duration::from_secs(15);

/// How a server is reached and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct NatsAccess {
    /// Where it is.
    pub address: BridgeAddress,
    /// The password of its user.
    pub password: Option<SecretSource>,
    /// A token in place of user and password.
    pub token: Option<SecretSource>,
    /// Whom it has to be vouched for by.
    pub ca_file: Option<PathBuf>,
    /// How the connection is called in the server's lists.
    pub name: String,
    /// The limit of each step but the connection.
    pub limit: Duration,
}

/// What was heard of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionNews {
    /// It is lost.
    pub is_lost: bool,
    /// The server refused something for want of a right. What is not told: subjects may be values of messages.
    pub is_forbidden: bool,
}

/// A connection.
pub(crate) struct NatsLink {
    /// For what is not of JetStream.
    pub client: Client,
    /// For what is.
    pub jetstream: Context,
    heard: watch::Receiver<ConnectionNews>,
    place: String,
    limit: Duration,
}

impl NatsAccess {
    /// Reads the address of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn address(url: &str) -> Result<BridgeAddress, String> {
        let address = BridgeAddress::parse(url, SCHEMES)?;
        match address.path.is_empty() {
            true => Ok(address),
            false => Err("url has a path, of which NATS knows nothing".to_owned()),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`].
    pub(crate) async fn connect(&self) -> Result<NatsLink, Failure> {
        let place = self.address.place();
        let (tell, heard) = watch::channel(ConnectionNews::default());
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(CONNECT_LIMIT)
            .ping_interval(PING_EACH)
            .ignore_discovered_servers()
            .max_reconnects(1)
            .event_callback(move |event| {
                let tell = tell.clone();
                async move { note(&tell, &event) }
            });
        if let Some(password) = secret(self.password.as_ref(), "NATS")? {
            let user = self.address.user.clone().unwrap_or_default();
            options = options.user_and_password(user, password.reveal().to_owned());
        }
        if let Some(token) = secret(self.token.as_ref(), "NATS")? {
            options = options.token(token.reveal().to_owned());
        }
        if self.address.tls {
            let files = TlsFiles { ca: self.ca_file.clone(), identity: None };
            let config = tls::client_config(&files)?;
            options = options.require_tls(true).tls_client_config(config);
        }
        let address = format!("nats://{place}");
        let client = match timeout(CONNECT_LIMIT, options.connect(address)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(self.not_opened(&error)),
            Err(_) => {
                let reason = format!("NATS at {place} did not answer within {CONNECT_LIMIT:?}");
                return Err(Failure::away(reason));
            }
        };
        let jetstream = ContextBuilder::new().timeout(self.limit).build(client.clone());
        Ok(NatsLink { client, jetstream, heard, place, limit: self.limit })
    }

    fn not_opened(&self, error: &ConnectError) -> Failure {
        let place = self.address.place();
        let text = error.to_string();
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                Failure::refused(
                    format!("NATS at {place} does not let us log in"),
                    "correct the user in url and the password, or the token",
                )
            }
            _ if text.contains("certificate") => Failure::refused(
                format!("NATS at {place} is not trusted: {text}"),
                "name the file with the certificate of its authority in ca_file",
            ),
            _ => Failure::away(format!("NATS at {place}: {text}")),
        }
    }
}

fn note(tell: &watch::Sender<ConnectionNews>, event: &Event) {
    match event {
        Event::Disconnected | Event::Closed | Event::ClientError(_) => {
            tell.send_modify(|heard| heard.is_lost = true);
        }
        Event::ServerError(ServerError::Other(text))
            if text.to_lowercase().contains("permissions violation") =>
        {
            tell.send_modify(|heard| heard.is_forbidden = true);
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            tell.send_modify(|heard| heard.is_lost = true);
        }
        _ => {}
    }
}

impl NatsLink {
    /// Whether it is there, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        *self.heard.borrow() == ConnectionNews::default()
    }

    /// A failure that says where.
    pub(crate) fn away(&self, reason: &str) -> Failure {
        Failure::away(format!("NATS at {}: {reason}", self.place))
    }

    /// A refusal that says where.
    pub(crate) fn refused(&self, reason: &str, advice: &str) -> Failure {
        Failure::refused(format!("NATS at {}: {reason}", self.place), advice)
    }

    /// Waits for something within the limit, unless the connection is lost or the server says that it may not be.
    ///
    /// # Errors
    /// [`Failure::Away`]; [`Failure::Refused`].
    pub(crate) async fn ask<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
        let mut heard = self.heard.clone();
        tokio::select! {
            answer = what => Ok(answer),
            failure = self.lost(&mut heard) => Err(failure),
            () = tokio::time::sleep(self.limit) => {
                Err(self.away(&format!("it did not answer within {:?}", self.limit)))
            }
        }
    }

    /// Returns when the connection is lost or something was forbidden.
    async fn lost(&self, heard: &mut watch::Receiver<ConnectionNews>) -> Failure {
        let heard = heard.wait_for(|heard| *heard != ConnectionNews::default()).await;
        match heard.is_ok_and(|heard| heard.is_forbidden && !heard.is_lost) {
            true => self.refused(
                "it lacks a right",
                "let the user publish to the subjects of the file, to $JS.API.>, $JS.ACK.>, and subscribe to _INBOX.>",
            ),
            false => self.away("the connection is lost"),
        }
    }
}
