//! The client: a handle on one connection that keeps itself open.

use std::sync::Arc;

use crate::ConnectError;
use crate::Identifier;
use crate::builder::ClientBuilder;
use crate::connection::Connection;
use crate::connection_string::ConnectionString;
use crate::consumer::{ConsumerBuilder, GroupMemberBuilder, PartitionReader};
use crate::producer::ProducerBuilder;

/// A connection to a Galgo server, or to any server of the classic protocol.
///
/// Cheap to clone; all clones share the connection. Requests are pipelined: a request is written
/// without waiting for the answers to those before it, up to bounded numbers of requests and bytes.
/// The server carries them out in the order they were made.
///
/// When the connection is lost the client opens it again, logs in, and repeats what is safe to
/// repeat: reads, and writes whose repetition changes nothing. A request that was sent, was not
/// answered and is not safe to repeat fails with an error that says so ([`CallError::Unknown`](crate::CallError::Unknown),
/// [`SendError::Unknown`](crate::SendError::Unknown)).
///
/// Dropping a future before it is ready does not take back a request that has been sent. Dropping
/// the last clone closes the connection; [`Client::closed`] tells when the server was told.
#[derive(Clone)]
pub struct Client {
    pub(crate) connection: Arc<Connection>,
}

impl Client {
    /// Connects to the server a connection string names and logs in.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), galgo::ConnectError> {
    /// let client = galgo::Client::connect("galgo://galgo:galgo@127.0.0.1:8090").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]: the string is wrong, the server cannot be reached, or it refuses the login.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        url.parse::<ConnectionString>()?.into_builder().connect().await
    }

    /// Starts the settings of a connection.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), galgo::ConnectError> {
    /// use galgo::{Client, Credentials};
    /// use std::time::Duration;
    ///
    /// let client = Client::builder()
    ///     .address("galgo.example.com", 8090)
    ///     .credentials(Credentials::password("ann", "secret"))
    ///     .request_timeout(Duration::from_secs(10))
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Starts the settings of a producer that sends to one topic.
    pub fn producer(&self, stream: &Identifier, topic: &Identifier) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), stream.clone(), topic.clone())
    }

    /// Starts the settings of a consumer that reads one topic.
    pub fn consumer(&self, stream: &Identifier, topic: &Identifier) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), stream.clone(), topic.clone())
    }

    /// Starts the settings of a member of a consumer group that gets each of its partitions by itself.
    pub fn group_member(&self, stream: &Identifier, topic: &Identifier) -> GroupMemberBuilder {
        GroupMemberBuilder::new(self.clone(), stream.clone(), topic.clone())
    }

    /// Makes a reader of one partition that is in no group, and stores nothing.
    pub fn partition_reader(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        partition: u32,
    ) -> PartitionReader {
        PartitionReader::alone(self.clone(), stream.clone(), topic.clone(), partition)
    }

    /// Resolves when the last clone was dropped and the server was told that the connection is closed, once, without
    /// an answer. A connection that is only just being opened again may stay untold.
    ///
    /// A program that ends right after it drops its clients should wait for this when it is connected over
    /// QUIC: nobody else can tell the server, which keeps the session, and its memberships of consumer groups,
    /// until its idle timeout. Over the other transports the operating system tells it. The future does not
    /// keep the connection open; it takes half a second at most once the last clone is gone.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), galgo::ConnectError> {
    /// let client = galgo::Client::connect("galgo+quic://galgo:galgo@127.0.0.1").await?;
    /// // …
    /// let closed = client.closed();
    /// drop(client);
    /// closed.await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.connection.ended()
    }

    /// Host and port of the server, as they were given.
    pub fn address(&self) -> &str {
        self.connection.address()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address()).finish_non_exhaustive()
    }
}
