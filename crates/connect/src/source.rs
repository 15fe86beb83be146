//! Where messages come from, when the topic is at the other end.
//!
//! An origin is told of a place only when Galgo has acknowledged everything in front of it.

pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod http;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod postgres;
pub(crate) mod rabbitmq;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use async_trait::async_trait;
use bytes::Bytes;
use galgo::UserHeaders;
use serde::{Deserialize, Serialize};

use crate::batch::Form;
use crate::failure::{Failure, Finding};
use crate::sink::Promise;

/// How far a source has come, in its own words: what its kind needs to go on from there. Small, as it is stored each second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub serde_json::Value);

/// A message on its way into a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What is stored, before any transform.
    pub payload: Bytes,
    /// What it is known to be.
    pub form: Form,
    /// Messages of one key keep their order: they go to one partition. Without one, and without a key in the file, all of
    /// the pipeline go to one partition.
    pub key: Option<Bytes>,
    /// The same whenever the same message is read; from the origin's own id or place. Without one, what is read again after
    /// a kill is stored again.
    pub id: Option<u128>,
    /// Headers, which become headers in the log.
    pub headers: UserHeaders,
    /// When it was made, by the other system's clock, in microseconds since the Unix epoch.
    pub made_at: Option<u64>,
}

/// Messages, and where their origin is behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// In order.
    pub messages: Vec<Incoming>,
    /// Where to go on when all of them are stored.
    pub cursor: Cursor,
}

/// How a source begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Behind this place, if the pipeline ran before.
    pub cursor: Option<Cursor>,
    /// Whether to end where the origin ends now, instead of waiting for more.
    pub once: bool,
}

/// An origin as the file of a pipeline describes it; it opens nothing.
#[async_trait]
pub trait SourceSpec: Send + Sync {
    /// What it promises, into a topic with deduplication.
    fn promise(&self) -> Promise;

    /// Whether only one process may read at a time, from the cursor that the pipeline keeps in Galgo. Otherwise the origin shares
    /// its messages out itself and keeps what is not settled, as a queue does; there is no cursor then.
    fn keeps_cursor(&self) -> bool;

    /// A reader, not yet opened.
    fn source(&self) -> Box<dyn Source>;

    /// Looks whether it could be read; changes nothing.
    ///
    /// # Errors
    /// [`Failure`] when it could not be asked; what it finds wrong is in the findings.
    async fn check(&self) -> Result<Vec<Finding>, Failure>;

    /// Removes what the pipeline made in the origin, a replication slot for example; tells what.
    ///
    /// # Errors
    /// [`Failure`].
    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

/// A reader of an origin.
#[async_trait]
pub trait Source: Send {
    /// Connects and begins; called again after a failure, with the last cursor that was settled.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`].
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure>;

    /// The next messages; waits while there are none. `None` when there will be no more: the end found at the beginning is reached, when
    /// that was asked for. Nothing is lost when it is dropped while it waits.
    ///
    /// The caller bounds what is in flight: it does not ask while its memory is used up. A source that has to answer its origin in the
    /// meantime does so by itself.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`]; the caller begins again.
    async fn next(&mut self) -> Result<Option<Chunk>, Failure>;

    /// Everything up to a cursor is acknowledged by Galgo, in the order of the chunks, and, where the pipeline keeps the cursor, the
    /// cursor is stored: the origin may forget it. A source that was told earlier would find at its next begin that the origin is
    /// ahead of it.
    ///
    /// # Errors
    /// As [`Source::next`].
    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure>;

    /// Nothing more is read: a program is told to end, for example. Called when the pipeline stops, behind the last
    /// [`Source::settled`]; nothing is lost without it, as after a kill.
    ///
    /// # Errors
    /// [`Failure`]: it is as after a kill.
    async fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// What the origin keeps because it is not settled yet, in bytes, if the origin tells: a number for people to watch, as it may
    /// fill the origin's disk.
    fn retained_bytes(&self) -> Option<u64> {
        None
    }
}
