//! What can go wrong between a program and the server, told as facts.
//!
//! Every message says what happened, to what, and what to do next. Errors are cheap to clone,
//! because one lost connection is told to every request that was waiting on it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use galgo_wire::permission::Action;

use crate::ErrorCode;
use crate::connection::TlsSetupError;
use crate::connection_string::ConnectionStringError;
use crate::error::advice::{Meaning, advice, port_advice, tls_advice};
use crate::retry::is_passing;

pub(crate) mod advice;

/// A refusal by the server: it understood the request and said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    number: u32,
    operation: &'static str,
    target: String,
    needed: Option<Action>,
    /// What the code means here, when that is not what it says.
    meaning: Option<&'static Meaning>,
}

impl ServerError {
    pub(crate) fn new(number: u32, operation: &'static str, target: String) -> Self {
        Self { number, operation, target, needed: None, meaning: None }
    }

    /// Says which action the caller has to be allowed.
    pub(crate) fn needing(mut self, action: Option<Action>) -> Self {
        self.needed = action;
        self
    }

    /// Says what the code stands for where its own words would mislead.
    pub(crate) fn meaning(mut self, meaning: &'static Meaning) -> Self {
        self.meaning = Some(meaning);
        self
    }

    /// The reason as a named code, or `None` when this version of the SDK does not know the number.
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::from_u32(self.number)
    }

    /// The number of the reason, as it was on the wire.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What was asked for, for example `create topic`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What it was asked for, for example `orders in stream shop`; empty for the server as a whole.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The permission whose lack may be the reason, the narrowest that suffices, for example
    /// `send_messages`; `None` unless the code is [`ErrorCode::Unauthorized`].
    pub fn permission_needed(&self) -> Option<&'static str> {
        let needed = self.needed.filter(|_| self.is(ErrorCode::Unauthorized));
        needed.map(Action::permission)
    }

    /// Whether the refusal is `code`.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.number == code.as_u32()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", Deed(self.operation, &self.target))?;
        if let Some(Meaning { text, advice }) = self.meaning {
            return write!(f, ": {text} (error {}); {advice}", self.number);
        }
        match self.code() {
            Some(code) => write!(f, ": {code} (error {})", self.number)?,
            None => write!(f, ": the server answered with error {}", self.number)?,
        }
        if let Some(permission) = self.permission_needed() {
            return write!(
                f,
                "; it may take the permission {permission}, which an administrator can grant"
            );
        }
        match advice(self.number) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServerError {}

impl CallError {
    /// Says of a refusal which action the caller has to be allowed.
    pub(crate) fn needing(self, action: Option<Action>) -> Self {
        match self {
            Self::Server(error) => Self::Server(error.needing(action)),
            other => other,
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Loss {
    /// The server closed the connection.
    Closed,
    /// The server said that it is shutting down.
    ShuttingDown,
    /// The network failed.
    Network(Arc<io::Error>),
    /// Nothing came from the server for this long although it owed an answer.
    Silent(Duration),
    /// A reply was announced that is larger than the limit of the client.
    ReplyTooLarge {
        /// Its size in bytes.
        len: usize,
        /// The largest allowed size in bytes.
        max: usize,
    },
    /// The bytes that came are not those of a server that speaks this protocol.
    Garbled(&'static str),
    /// The client was dropped.
    ClientDropped,
}

impl Loss {
    /// Whether a reply is to blame: asked for again, it would come again.
    pub(crate) fn is_by_reply(&self) -> bool {
        matches!(self, Self::ReplyTooLarge { .. } | Self::Garbled(_))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::ShuttingDown => f.write_str("the server is shutting down"),
            Self::Network(error) => write!(f, "the network failed: {error}"),
            Self::Silent(time) => {
                write!(f, "the server was silent for {}", humantime::format_duration(*time))
            }
            Self::ReplyTooLarge { len, max } => write!(
                f,
                "a reply of {len} bytes is over this client's limit of {max}; ask for less at once"
            ),
            Self::Garbled(what) => write!(f, "the reply makes no sense: {what}"),
            Self::ClientDropped => f.write_str("the client was dropped"),
        }
    }
}

/// Why a request never left the client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NotSent {
    /// The request timeout passed while it waited for a connection or for room in it.
    TimedOut(Duration),
    /// A request before it failed, and it must not overtake that one.
    Withdrawn,
    /// The connection was lost before it was written, and is not opened again.
    Lost(Loss),
    /// Reconnecting was given up, for this reason.
    GaveUp(Box<ConnectError>),
    /// The client was dropped.
    ClientDropped,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(after) => write!(
                f,
                "it could not be sent within {}: is the server up?",
                humantime::format_duration(*after)
            ),
            Self::Withdrawn => f.write_str("messages before them failed"),
            Self::Lost(loss) => write!(f, "the connection was lost: {loss}"),
            Self::GaveUp(error) => write!(f, "there is no connection: {error}"),
            Self::ClientDropped => f.write_str("the client was dropped"),
        }
    }
}

/// Why nobody knows what became of a request that was sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fate {
    /// The connection ended before the answer came.
    Lost(Loss),
    /// No answer came within the request timeout.
    TimedOut(Duration),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(loss) => loss.fmt(f),
            Self::TimedOut(after) => {
                write!(f, "no answer came within {}", humantime::format_duration(*after))
            }
        }
    }
}

/// Why a request cannot be sent at all: the caller's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// A name is empty, too long or otherwise not a name.
    #[error("{what} is not valid: {reason}")]
    Name {
        /// Which argument it is.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A user header cannot be one.
    #[error("a user header is not valid: {reason}")]
    Header {
        /// What is wrong with it.
        reason: String,
    },
    /// A messages key does not have 1 to 255 bytes.
    #[error("a messages key has 1 to 255 bytes, not {len}")]
    Key {
        /// Its size in bytes.
        len: usize,
    },
    /// The topic has no partition a message could go to.
    #[error("topic {topic} has no partitions; create some first")]
    NoPartitions {
        /// The topic and its stream.
        topic: String,
    },
    /// A snapshot is asked for with everything and more.
    #[error("all kinds of a snapshot stand alone; leave the others out")]
    SnapshotKinds,
    /// A consumer in a group has a setting that is the group's to decide.
    #[error("a consumer in a group has no {setting} of its own; leave it out")]
    InGroup {
        /// The setting.
        setting: &'static str,
    },
    /// A reader outside of groups is asked to store an offset.
    #[error("a reader that is in no group has no offset to store")]
    NoGroup,
    /// Something is larger than it may be.
    #[error("the {what} has {len} bytes, over the limit of {max}; send less at once")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size in bytes.
        len: usize,
        /// The largest allowed size in bytes.
        max: usize,
    },
}

/// The server does not know an extension of the protocol: it is a classic server or an old one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this server does not support {what}; {instead}")]
pub struct Unsupported {
    /// What was asked for.
    pub what: &'static str,
    /// What can be done without it.
    pub instead: &'static str,
}

/// Why a request has no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused; nothing was changed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The request was sent, the answer did not come: it may or may not have been carried out.
    #[error(
        "the outcome of the request to {} is unknown: {fate}; look before repeating it",
        Deed(operation, target)
    )]
    Unknown {
        /// What was asked for.
        operation: &'static str,
        /// What it was asked for.
        target: String,
        /// What happened instead of an answer.
        fate: Fate,
    },
    /// The request never left the client; nothing was changed.
    #[error("could not {}: {reason}", Deed(operation, target))]
    NotSent {
        /// What was asked for.
        operation: &'static str,
        /// What it was asked for.
        target: String,
        /// What kept it.
        reason: NotSent,
    },
    /// The answer came, but it is not the answer to this request.
    #[error(
        "the server's answer to {operation} does not make sense: {reason}; is it a Galgo server?"
    )]
    Reply {
        /// What was asked for.
        operation: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The server is too old for this.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The request is not valid; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The messages to be read fail their checksums on the server, which does not serve them.
    #[error(
        "could not poll {target}: its messages {} are damaged on the server's disk (error 4027), and the \
         server's log names the file; restore them from a copy, or read on from offset {}",
        OffsetSpan(damaged), damaged.end
    )]
    Damaged {
        /// What was polled.
        target: String,
        /// The damaged offsets, the end not among them.
        damaged: Range<u64>,
    },
}

impl CallError {
    /// The server's code, when the server refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server(error) => error.code(),
            Self::Damaged { .. } => Some(ErrorCode::InvalidMessageChecksum),
            _ => None,
        }
    }

    /// Whether the request was certainly not carried out.
    pub fn is_certainly_not_done(&self) -> bool {
        !matches!(self, Self::Unknown { .. } | Self::Reply { .. })
    }

    /// Whether the reply was larger than the limit of the client.
    pub fn is_reply_too_large(&self) -> bool {
        matches!(self, Self::Unknown { fate: Fate::Lost(Loss::ReplyTooLarge { .. }), .. })
    }

    /// Whether time ran out before there was an answer.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Unknown { fate: Fate::TimedOut(_), .. }
                | Self::NotSent { reason: NotSent::TimedOut(_), .. }
        )
    }

    /// Whether the connection is at fault, not the request.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::NotSent { .. })
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection string is wrong.
    #[error("the connection string is not valid: {0}")]
    ConnectionString(#[from] ConnectionStringError),
    /// The host name has no address, or nothing listens there.
    #[error("cannot reach {address}: {source}; is the server running there?")]
    Unreachable {
        /// Host and port as they were given.
        address: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// TLS cannot be set up as the settings ask.
    #[error(transparent)]
    TlsSetup(#[from] TlsSetupError),
    /// The two ends do not agree on TLS: no TLS there, or a certificate one of them does not trust.
    #[error("no secure connection to {address}: {source}; {}", tls_advice(.source))]
    Handshake {
        /// Host and port as they were given.
        address: String,
        /// What is wrong.
        source: Arc<io::Error>,
    },
    /// Connecting or logging in took longer than the connect timeout.
    #[error(
        "{address} did not answer within {}; check the address, the network, {hint}",
        humantime::format_duration(*after)
    )]
    TimedOut {
        /// Host and port as they were given.
        address: String,
        /// The timeout.
        after: Duration,
        /// What else there is to check, by the transport.
        hint: &'static str,
    },
    /// The connection ended before the login was answered.
    #[error("{address} ended the connection during the login: {loss}; {}", port_advice(.loss))]
    Lost {
        /// Host and port as they were given.
        address: String,
        /// How it ended.
        loss: Loss,
    },
    /// The server refused the login.
    #[error(transparent)]
    Login(#[from] ServerError),
    /// The user name, password or token cannot be one.
    #[error(transparent)]
    Credentials(#[from] InvalidRequest),
    /// The server answered the login with something else.
    #[error("{address} does not answer like a Galgo server: {hint}")]
    NotGalgo {
        /// Host and port as they were given.
        address: String,
        /// What it looks like, or what to check.
        hint: &'static str,
    },
}

impl ConnectError {
    /// Whether trying again later may succeed without anybody changing the settings.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Lost { .. } => true,
            // A place may become free.
            Self::Login(refusal) => {
                is_passing(refusal.number()) || refusal.is(ErrorCode::UsersLimitReached)
            }
            Self::ConnectionString(_)
            | Self::Credentials(_)
            | Self::TlsSetup(_)
            | Self::Handshake { .. }
            | Self::NotGalgo { .. } => false,
        }
    }
}

/// Offsets in words.
pub(crate) struct OffsetSpan<'a>(pub(crate) &'a Range<u64>);

impl fmt::Display for OffsetSpan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.end.saturating_sub(1);
        match last <= self.0.start {
            true => write!(f, "at offset {}", self.0.start),
            false => write!(f, "at the offsets {} to {last}", self.0.start),
        }
    }
}

/// An operation and its target, as one phrase.
pub(crate) struct Deed<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            "" => f.write_str(self.0),
            target => write!(f, "{} {target}", self.0),
        }
    }
}
