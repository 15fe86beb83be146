//! A connection to a broker of MQTT 3.1.1, which is dropped when it is lost: the library would make another one by itself, and nobody
//! would know what became of what was sent on the first.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Broker, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet,
    StateError, TlsConfiguration, Transport,
};
use tokio::time::timeout;

use crate::bridge::CONNECT_LIMIT;
use crate::bridge::address::{BridgeAddress, Schemes};
use crate::bridge::login::secret;
use crate::failure::Failure;
use crate::secret::SecretSource;
use crate::web::tls::{self, TlsFiles};

/// How a broker is addressed.
const SCHEMES: Schemes = Schemes { plain: ("mqtt", 1883), tls: ("mqtts", 8883) };
/// Seconds between signs of life.
const KEEP_ALIVE_S: u16 = 30;
/// The largest packet there is in MQTT.
const PACKET_BYTES_MAX: usize = 268_435_455;
/// Messages that wait for their acknowledgement together.
pub(crate) const ON_THE_WAY_MAX: u16 = 100;

/// How a broker is reached and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct MqttAccess {
    /// Where it is.
    pub address: BridgeAddress,
    /// The password of its user.
    pub password: Option<SecretSource>,
    /// Whom it has to be vouched for by.
    pub ca_file: Option<PathBuf>,
    /// The limit of each step but the connection.
    pub limit: Duration,
}

/// Whose connection it is.
#[derive(Clone, Debug)]
pub(crate) struct MqttIdentity {
    /// Its name. A broker cuts the connection that had the name before.
    pub client_id: String,
    /// Whether the broker keeps what it does not acknowledge, and its subscriptions, while it is away.
    pub is_kept: bool,
}

/// A connection on which nothing was sent yet. It lives while its events are polled.
pub(crate) struct OpenedMqtt {
    /// For what is sent.
    pub client: AsyncClient,
    /// What comes.
    pub events: EventLoop,
    /// Whether the broker knew the name and has kept what is its.
    pub is_known: bool,
}

impl MqttIdentity {
    /// A name that nobody has, for a connection that leaves nothing behind.
    pub(crate) fn passing(pipeline_name: &str) -> Self {
        let client_id = format!("{pipeline_name}-{:016x}", rand::random::<u64>());
        Self { client_id, is_kept: false }
    }
}

impl MqttAccess {
    /// Reads the address of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn address(url: &str) -> Result<BridgeAddress, String> {
        let address = BridgeAddress::parse(url, SCHEMES)?;
        match address.path.is_empty() {
            true => Ok(address),
            false => Err("url has a path, of which MQTT knows nothing".to_owned()),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`].
    pub(crate) async fn connect(&self, identity: &MqttIdentity) -> Result<OpenedMqtt, Failure> {
        let options = self.options(identity)?;
        // What is sent is bounded by who sends it.
        let (client, mut events) = AsyncClient::builder(options).unbounded().build();
        loop {
            match timeout(CONNECT_LIMIT, events.poll()).await {
                Ok(Ok(Event::Incoming(Packet::ConnAck(answer)))) => {
                    return Ok(OpenedMqtt { client, events, is_known: answer.session_present });
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.meaning(&error)),
                Err(_) => {
                    return Err(self.away(&format!("it did not answer within {CONNECT_LIMIT:?}")));
                }
            }
        }
    }

    fn options(&self, identity: &MqttIdentity) -> Result<MqttOptions, Failure> {
        let host = match self.address.host.contains(':') {
            true => format!("[{}]", self.address.host),
            false => self.address.host.clone(),
        };
        let broker = Broker::tcp(host, self.address.port);
        let mut options = MqttOptions::new(&identity.client_id, broker);
        options.set_keep_alive(KEEP_ALIVE_S);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        options.set_clean_session(!identity.is_kept);
        options.set_manual_acks(true);
        options.set_inflight(ON_THE_WAY_MAX);
        if let Some(password) = secret(self.password.as_ref(), "MQTT")? {
            let user = self.address.user.clone().unwrap_or_default();
            options.set_credentials(user, password.reveal().to_owned().into_bytes());
        } else if let Some(user) = &self.address.user {
            options.set_username(user);
        }
        if self.address.tls {
            let files = TlsFiles { ca: self.ca_file.clone(), identity: None };
            let config = TlsConfiguration::Rustls(Arc::new(tls::client_config(&files)?));
            options.set_transport(Transport::tls_with_config(config));
        }
        Ok(options)
    }

    /// A failure that says where.
    pub(crate) fn away(&self, reason: &str) -> Failure {
        Failure::away(format!("MQTT at {}: {reason}", self.address.place()))
    }

    /// A refusal that says where.
    pub(crate) fn refused(&self, reason: &str, advice: &str) -> Failure {
        Failure::refused(format!("MQTT at {}: {reason}", self.address.place()), advice)
    }

    /// Waits for something within the limit.
    ///
    /// # Errors
    /// [`Failure::Away`].
    pub(crate) async fn within<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
        let limit = self.limit;
        let waited = timeout(limit, what).await;
        waited.map_err(|_| self.away(&format!("it did not answer within {limit:?}")))
    }

    /// What the end of a connection means. Packets are not shown: a message may be in them.
    pub(crate) fn meaning(&self, error: &ConnectionError) -> Failure {
        match error {
            ConnectionError::ConnectionRefused(code) => match code {
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => self
                    .refused(
                        "it does not let us log in",
                        "correct the user in url and the password",
                    ),
                ConnectReturnCode::BadClientId => self.refused(
                    "it does not take the name of the client",
                    "set client_id to one that it takes",
                ),
                ConnectReturnCode::RefusedProtocolVersion => self.refused(
                    "it does not speak MQTT 3.1.1",
                    "have the broker listen for that version",
                ),
                ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
                    self.away("it does not take connections now")
                }
            },
            ConnectionError::Tls(error) if error.to_string().contains("certificate") => {
                self.untrusted(&error.to_string())
            }
            ConnectionError::Io(error)
                if error.get_ref().is_some_and(|it| it.is::<rustls::Error>()) =>
            {
                self.untrusted(&error.to_string())
            }
            ConnectionError::Tls(error) => self.away(&error.to_string()),
            ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => {
                self.away(&error.to_string())
            }
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
                self.away("it does not answer")
            }
            _ => self.away("the connection is lost"),
        }
    }

    fn untrusted(&self, reason: &str) -> Failure {
        self.refused(
            &format!("it is not trusted: {reason}"),
            "name the file with the certificate of its authority in ca_file, and the host as its certificate does",
        )
    }
}
