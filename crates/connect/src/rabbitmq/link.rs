//! A connection to RabbitMQ with one channel.
//!
//! An error of a channel closes it, and a new one counts from 1 again; so a link that saw one is dropped and another one made.
//! What the server says by itself comes as [`ChannelEvent`]s, in its order.

use std::path::PathBuf;
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{Channel, ExchangeDeclareArguments, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::security::SecurityCredentials;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stranger::greets;
use crate::bridge::CONNECT_LIMIT;
use crate::bridge::address::{BridgeAddress, Schemes};
use crate::failure::Failure;
use crate::secret::SecretSource;
use crate::web::tls::{self, TlsFiles};

/// How RabbitMQ is addressed.
const SCHEMES: Schemes = Schemes { plain: ("amqp", 5672), tls: ("amqps", 5671) };
/// Seconds between signs of life: half a minute finds a server that is gone, and costs nothing.
const HEARTBEAT_S: u16 = 30;
/// Bytes of what the server said that are told.
const SAID_BYTES_MAX: usize = 200;

/// How a server is reached and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct RabbitmqAccess {
    /// Where it is; its path is the virtual host.
    pub address: BridgeAddress,
    /// The password of its user.
    pub password: Option<SecretSource>,
    /// Whom it has to be vouched for by.
    pub ca_file: Option<PathBuf>,
    /// How the connection is called in the server's lists.
    pub name: String,
    /// The limit of each step but the connection.
    pub limit: Duration,
}

/// What the server says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChannelEvent {
    /// It took a message, or all up to it, or could not.
    Confirmed {
        /// Which, counted from 1 on the channel.
        tag: u64,
        /// All up to it, too.
        multiple: bool,
        /// Whether it took them.
        taken: bool,
    },
    /// It sent a message back, as no queue was there for it. It is confirmed behind that.
    Returned {
        /// The id of the message.
        message_id: Option<String>,
    },
    /// It closed the channel, or the connection.
    Closed {
        /// Why, as a number of AMQP.
        code: u16,
        /// Why, in its words.
        text: String,
    },
    /// It ended the delivery from a queue, as the queue is gone or moves.
    Cancelled,
}

/// A connection, its channel, and what the server says on them.
pub(crate) struct RabbitLink {
    connection: Option<Connection>,
    /// The one channel.
    pub channel: Channel,
    /// What the server says by itself; ends when the channel does.
    pub events: UnboundedReceiver<ChannelEvent>,
    address: String,
    limit: Duration,
}

impl RabbitmqAccess {
    /// Reads the address of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn address(url: &str) -> Result<BridgeAddress, String> {
        BridgeAddress::parse(url, SCHEMES)
    }

    /// Connects and opens the channel.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`].
    pub(crate) async fn connect(&self) -> Result<RabbitLink, Failure> {
        match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(result) => result,
            Err(_) => Err(Failure::away(format!(
                "RabbitMQ at {} did not answer within {CONNECT_LIMIT:?}",
                self.address.place()
            ))),
        }
    }

    async fn open(&self) -> Result<RabbitLink, Failure> {
        let user = self.address.user.as_deref().unwrap_or("guest");
        let secret = match &self.password {
            Some(source) => {
                let read = source.read();
                Some(read.map_err(|error| Failure::refused(error.to_string(), "see password"))?)
            }
            None => None,
        };
        let password = secret.as_ref().map_or("guest", |secret| secret.reveal());
        let (host, port) = (bracketed(&self.address.host), self.address.port);
        let mut arguments = OpenConnectionArguments::new(&host, port, user, password);
        arguments.credentials(SecurityCredentials::new_plain(user, password));
        arguments.heartbeat(HEARTBEAT_S).connection_name(&self.name);
        if !self.address.path.is_empty() {
            arguments.virtual_host(&self.address.path);
        }
        let connector = self.connector()?;
        if let Some(connector) = &connector {
            arguments.tls_adaptor(TlsAdaptor::new(connector.clone(), self.address.host.clone()));
        }
        let opened = Connection::open(&arguments).await;
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => return Err(self.not_opened(&error, connector.as_ref(), user).await),
        };
        let (events, received) = unbounded_channel();
        let lost = |error: Error| self.away(&error.to_string());
        connection.register_callback(OnConnection(events.clone())).await.map_err(lost)?;
        let channel = connection.open_channel(None).await.map_err(lost)?;
        channel.register_callback(OnChannel(events)).await.map_err(lost)?;
        Ok(RabbitLink {
            connection: Some(connection),
            channel,
            events: received,
            address: self.address.place(),
            limit: self.limit,
        })
    }

    fn connector(&self) -> Result<Option<TlsConnector>, Failure> {
        if !self.address.tls {
            return Ok(None);
        }
        let config = tls::client_config(&TlsFiles { ca: self.ca_file.clone(), identity: None })?;
        Ok(Some(TlsConnector::from(std::sync::Arc::new(config))))
    }

    fn away(&self, reason: &str) -> Failure {
        Failure::away(format!("RabbitMQ at {}: {}", self.address.place(), cut(reason)))
    }

    /// Why there is no connection. A server of AMQP that refuses a login ends the connection without a word, as one that is going
    /// down does; one that still greets strangers is not going down.
    async fn not_opened(
        &self,
        error: &Error,
        connector: Option<&TlsConnector>,
        user: &str,
    ) -> Failure {
        let text = error.to_string();
        let place = self.address.place();
        if text.contains("certificate") {
            return Failure::refused(
                format!("RabbitMQ at {place} is not trusted: {}", cut(&text)),
                "name the file with the certificate of its authority in ca_file",
            );
        }
        let said = ["NOT_ALLOWED", "ACCESS_REFUSED", "NOT_FOUND"];
        if matches!(error, Error::ConnectionOpenError(_)) && said.iter().any(|it| text.contains(it))
        {
            let host = match self.address.path.as_str() {
                "" => "/",
                path => path,
            };
            return Failure::refused(
                format!("RabbitMQ at {place} does not let {user} into virtual host \"{host}\""),
                "make the virtual host, or give the user rights in it: rabbitmqctl set_permissions",
            );
        }
        let was_cut = ["peer shutdown", "reset by peer"].iter().any(|it| text.contains(it));
        if was_cut && greets(&self.address, connector).await {
            return Failure::refused(
                format!("RabbitMQ at {place} does not let {user} log in"),
                "correct the user in url, or the password",
            );
        }
        self.away(&text)
    }
}

/// The address of a socket has brackets around numbers of six.
fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(SAID_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

impl RabbitLink {
    /// Whether nobody has closed it yet, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.is_open() && self.channel.is_connection_open()
    }

    /// The limit of a step.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Waits for an answer of the server; what it closes the channel with is the better reason.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn ask<T>(
        &mut self,
        what: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        match timeout(self.limit, what).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.why(&error.to_string()).await),
            Err(_) => Err(Failure::away(format!(
                "RabbitMQ at {} did not answer within {:?}",
                self.address, self.limit
            ))),
        }
    }

    /// Why the channel is closed, as far as the server said.
    pub(crate) async fn why(&mut self, otherwise: &str) -> Failure {
        // What the server said of it came before the end, and the end comes soon.
        let said = async {
            while let Some(event) = self.events.recv().await {
                match event {
                    ChannelEvent::Closed { code, text } => return Some((code, text)),
                    ChannelEvent::Cancelled => {
                        return Some((0, "it ended the delivery".to_owned()));
                    }
                    ChannelEvent::Confirmed { .. } | ChannelEvent::Returned { .. } => {}
                }
            }
            None
        };
        match timeout(Duration::from_secs(1), said).await {
            Ok(Some((code, text))) => self.closed(code, &text),
            _ => Failure::away(format!("RabbitMQ at {}: {}", self.address, cut(otherwise))),
        }
    }

    /// What it means that the server closed the channel with this.
    pub(crate) fn closed(&self, code: u16, text: &str) -> Failure {
        let reason = format!("RabbitMQ at {}: {}", self.address, cut(text));
        match code {
            // No right; nothing of that name; not allowed.
            403 => Failure::refused(reason, "give the user the right: rabbitmqctl set_permissions"),
            404 => Failure::refused(reason, "make it, or correct the name in the file"),
            530 => Failure::refused(reason, "correct the file, or the rights of the user"),
            // It does not like something of a message, and does not say of which.
            311 | 406 => Failure::Batch { reason },
            _ => Failure::away(reason),
        }
    }

    /// Asks whether an exchange is there.
    ///
    /// # Errors
    /// [`Failure::Refused`] if it is not; the link is closed then.
    pub(crate) async fn find_exchange(&mut self, exchange: &str) -> Result<(), Failure> {
        let mut arguments = ExchangeDeclareArguments::new(exchange, "direct");
        arguments.passive(true);
        let channel = self.channel.clone();
        self.ask(channel.exchange_declare(arguments)).await
    }

    /// Asks whether a queue is there; tells how many messages wait in it.
    ///
    /// # Errors
    /// [`Failure::Refused`] if it is not; the link is closed then.
    pub(crate) async fn find_queue(&mut self, queue: &str) -> Result<u32, Failure> {
        let mut arguments = QueueDeclareArguments::new(queue);
        arguments.passive(true);
        let channel = self.channel.clone();
        let found = self.ask(channel.queue_declare(arguments)).await?;
        Ok(found.map_or(0, |(_, messages, _)| messages))
    }
}

impl Drop for RabbitLink {
    fn drop(&mut self) {
        // It says goodbye in a task, for which there has to be somebody to run it.
        if tokio::runtime::Handle::try_current().is_err() {
            std::mem::forget((self.connection.take(), self.channel.clone()));
        }
    }
}

struct OnConnection(UnboundedSender<ChannelEvent>);

#[async_trait]
impl ConnectionCallback for OnConnection {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        let (code, text) = (close.reply_code(), close.reply_text().clone());
        let _ = self.0.send(ChannelEvent::Closed { code, text });
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, reason: String) {
        // Not an error: it takes no messages until it has memory or disk again.
        tracing::warn!(reason, "RabbitMQ takes no messages for now");
    }

    async fn unblocked(&mut self, _: &Connection) {
        tracing::info!("RabbitMQ takes messages again");
    }

    async fn secret_updated(&mut self, _: &Connection) {}
}

struct OnChannel(UnboundedSender<ChannelEvent>);

impl OnChannel {
    fn tell(&self, event: ChannelEvent) {
        // Nobody may be left to be told.
        let _ = self.0.send(event);
    }
}

#[async_trait]
impl ChannelCallback for OnChannel {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.tell(ChannelEvent::Closed {
            code: close.reply_code(),
            text: close.reply_text().clone(),
        });
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.tell(ChannelEvent::Cancelled);
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let (tag, multiple) = (ack.delivery_tag(), ack.mutiple());
        self.tell(ChannelEvent::Confirmed { tag, multiple, taken: true });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let (tag, multiple) = (nack.delivery_tag(), nack.multiple());
        self.tell(ChannelEvent::Confirmed { tag, multiple, taken: false });
    }

    async fn publish_return(
        &mut self,
        _: &Channel,
        _: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.tell(ChannelEvent::Returned { message_id: properties.message_id().cloned() });
    }
}
