//! The Rust SDK of Galgo, a persistent message-streaming server.
//!
//! A [`Client`] is one connection, cheap to clone and safe to share: requests of all its clones are
//! pipelined over it and answered in order. On top of it, a [`Producer`] batches messages and keeps
//! several batches in flight, and a [`Consumer`] is a stream of messages with their offsets.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use galgo::{Client, Identifier, Message, Partitioning, Start, TopicOptions};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("galgo://galgo:galgo@127.0.0.1:8090").await?;
//! client.create_stream("shop").await?;
//! let (shop, orders) = ("shop".parse::<Identifier>()?, "orders".parse::<Identifier>()?);
//! client.create_topic(&shop, "orders", TopicOptions::default().partitions(4)).await?;
//!
//! // Returns when the server has acknowledged: the message survives what the topic promises.
//! client.send(&shop, &orders, Partitioning::Balanced, &[Message::new("one tea")]).await?;
//!
//! let mut consumer = client.consumer(&shop, &orders).start(Start::First).until_end().build().await?;
//! while let Some(message) = consumer.next().await {
//!     let message = message?;
//!     println!("{} {:?}", message.offset(), message.payload());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Transports
//!
//! The scheme of the connection string, or [`ClientBuilder::transport`], says what carries a
//! connection; everything else is the same. All options are told at [`ConnectionString`].
//!
//! - **TCP**, `galgo://host:8090`. With `tls=true` it is encrypted, and the server's certificate is
//!   checked: `galgo://ann:secret@host?tls=true&tls_ca_file=ca.pem`. For servers that ask clients for
//!   a certificate there are `tls_cert_file` and `tls_key_file`.
//! - **WebSocket**, `galgo+ws://host:8092`, and with TLS `galgo+wss://host:8092`, for networks that let
//!   nothing else pass.
//! - **QUIC**, `galgo+quic://host:8080`, always encrypted. Whoever answers is believed, unless
//!   `validate_certificate=true` asks for the check. Each request has a stream of its own and waits
//!   for the answer to the one before it, so a connection carries less than TCP does.
//!
//! The connection strings of classic clients (`iggy://`, `iggy+tcp://`, `iggy+quic://`, `iggy+ws://`)
//! work too.
//!
//! # Consumer groups
//!
//! [`ConsumerBuilder::group`] makes a consumer a member of a group: the server shares the partitions
//! of a topic out among the members, and takes those of a member that goes to the others.
//!
//! ```no_run
//! # use futures_util::StreamExt;
//! # async fn run(client: galgo::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let mut member = client.consumer(&"shop".parse()?, &"orders".parse()?).group("billing").build().await?;
//! while let Some(message) = member.next().await {
//!     // To ask for the next message says that this one is processed.
//!     println!("{:?}", message?.payload());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program that processes each partition for itself, and keeps its place in each elsewhere, gets them one by one
//! from [`Client::group_member`].
//!
//! # Classic servers
//!
//! The SDK works against any server of the classic protocol. What only Galgo has, such as a
//! durability or a deduplication per topic, is asked of the server first, and ends in
//! [`CallError::Unsupported`] when it does not have it.
//!
//! Invariants of this crate, by name:
//!
//! - INV-PIPELINE: replies belong to requests by order alone, so a reply slot is kept until its
//!   reply is read, even when nobody waits for it anymore.
//! - INV-FATE: a request that was written completely and not answered has an unknown fate. It is
//!   repeated only when repeating cannot change the outcome or the caller allowed it.
//! - INV-LANE: the messages of one partition are stored in the order they were accepted, across
//!   batches in flight, retries and reconnects, and none behind one that was refused before that was told.
//! - INV-PINNED: a producer gives a message its id, and a batch its partition, once, so that a topic
//!   with deduplication stores what is sent again only once.
//! - INV-CLIENT-BOUND: what waits in a client, a producer or a consumer is bounded by count and by bytes.

mod builder;
mod call;
mod client;
mod connection;
mod connection_string;
mod consumer;
mod credentials;
mod ensure;
mod error;
mod extensions;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod login;
mod message;
mod messages;
pub mod model;
mod offsets;
mod partitions;
mod poll;
mod producer;
mod reconnect;
mod request;
mod retention;
mod retry;
mod segments;
mod streams;
mod system;
mod tokens;
mod topics;
mod transport;
mod users;

pub use galgo_wire::batch::{
    HeaderError, HeaderField, HeaderKey, HeaderKind, HeaderValue, UserHeaders,
};
pub use galgo_wire::command::system::{SnapshotCompression, SnapshotKind};
pub use galgo_wire::command::users::UserStatus;
pub use galgo_wire::consumer::{ConsumerIdentity, Partitioning, PollingStrategy};
pub use galgo_wire::error_code::ErrorCode;
pub use galgo_wire::id::{
    ClientId, GroupId, Life, Offset, PartitionId, StreamId, Timestamp, TopicId, UserId,
};
pub use galgo_wire::identifier::Identifier;
pub use galgo_wire::limits::{MESSAGE_PAYLOAD_BYTES_MAX, USER_HEADERS_BYTES_MAX};
pub use galgo_wire::name::NameError;
pub use galgo_wire::permission::{
    Action, GlobalPermissions, Permissions, StreamFlags, StreamPermissions, TopicPermissions,
};

pub use crate::builder::{ClientBuilder, DEFAULT_PORT};
pub use crate::client::Client;
pub use crate::connection::TlsSetupError;
pub use crate::connection_string::{ConnectionString, ConnectionStringError};
pub use crate::consumer::{
    ActiveMember, Commit, ConsumeError, Consumer, ConsumerBuilder, GroupMemberBuilder,
    MemberChange, PartitionExtent, PartitionReader, Start,
};
pub use crate::credentials::Credentials;
pub use crate::ensure::{EnsuredTopic, TopicDifference};
pub use crate::error::{
    CallError, ConnectError, Fate, InvalidRequest, Loss, NotSent, ServerError, Unsupported,
};
pub use crate::extensions::ServerName;
pub use crate::message::{Message, ReceivedMessage};
pub use crate::messages::SendError;
pub use crate::offsets::OffsetOf;
pub use crate::poll::{PollRequest, PolledMessages};
pub use crate::producer::{
    FlushError, PartitionBy, ProduceError, Producer, ProducerBuilder, Receipt, SendRetry,
};
pub use crate::reconnect::ReconnectPolicy;
pub use crate::topics::{Compression, Deduplication, Durability, TopicOptions};
pub use crate::transport::{
    ClientCertificate, QuicOptions, TlsOptions, Transport, WebSocketOptions,
};
pub use crate::users::{UserOptions, UserUpdate};
