//! The source: a copy first where one is due, then the slot, for ever.
//!
//! INV-CONFIRM: the server is told that it may forget what is in front of a place only when a cursor of that place is settled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postgres_protocol::escape::escape_identifier;
use tokio::time::{Instant, sleep, timeout_at};

use super::ChangeOrigin;
use super::assembly::Assembly;
use super::begin::{Begun, begin, missing};
use super::bookmark::Bookmark;
use super::care::{Caretaker, WatchedSlot};
use super::catalog;
use super::copying::{CHUNK_BYTES, CHUNK_MESSAGES, CopyRun, CopyStep};
use super::ground::Ground;
use super::lsn::PgLsn;
use super::pgoutput::{PluginMessage, Relation, decode};
use super::publication::word_sql;
use super::stream::{SlotArrival, SlotPace, SlotStream};
use crate::failure::Failure;
use crate::postgres::trouble::PgError;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source};

/// Progress without messages is told once in this time.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A session that is gone may hold the slot for a moment.
const START_TRIES: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(250);

/// Reads the changes of a database.
pub(super) struct ChangeReader {
    origin: Arc<ChangeOrigin>,
    watched: Arc<WatchedSlot>,
    caretaker: Option<Caretaker>,
    ground: Option<Ground>,
    once: bool,
    at: Where,
}

/// What the source is at.
enum Where {
    /// Nothing: it has not begun, or broke.
    Nowhere,
    Copying {
        run: CopyRun,
        meanwhile: Bookmark,
        then: Bookmark,
    },
    /// The slot is about to be read.
    Starting(Bookmark),
    Reading(Box<SlotReading>),
    /// There will be no more.
    End,
}

impl ChangeReader {
    /// Not begun.
    pub(super) fn new(origin: Arc<ChangeOrigin>) -> Self {
        let watched = Arc::new(WatchedSlot::default());
        Self { origin, watched, caretaker: None, ground: None, once: false, at: Where::Nowhere }
    }

    async fn step(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            match &mut self.at {
                Where::Nowhere => return Err(Failure::away("the source has not begun")),
                Where::End => return Ok(None),
                Where::Copying { run, meanwhile, then } => match run.next().await? {
                    CopyStep::Rows(messages) => {
                        return Ok(Some(Chunk { messages, cursor: meanwhile.cursor() }));
                    }
                    CopyStep::Done => {
                        let chunk = Chunk { messages: Vec::new(), cursor: then.cursor() };
                        self.at = Where::Starting(then.clone());
                        return Ok(Some(chunk));
                    }
                },
                Where::Starting(bookmark) => {
                    let bookmark = bookmark.clone();
                    let reading = self.start(bookmark).await?;
                    self.at = Where::Reading(Box::new(reading));
                }
                Where::Reading(reading) => match reading.chunk(&self.origin).await? {
                    Some(chunk) => return Ok(Some(chunk)),
                    None => self.at = Where::End,
                },
            }
        }
    }

    async fn start(&self, bookmark: Bookmark) -> Result<SlotReading, Failure> {
        let Some(ground) = &self.ground else { unreachable!("it began") };
        let Self { origin, .. } = self;
        let messages = if ground.tells_messages() { ", messages 'true'" } else { "" };
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names '{}'{messages})",
            escape_identifier(&origin.slot),
            bookmark.lsn,
            escape_identifier(&origin.publication),
        );
        let mut tries = 0;
        let both = loop {
            let started = origin.replication().await?.start_replication(&command).await;
            match started {
                Err(error) if error.code() == Some("55006") && tries < START_TRIES => {
                    tries += 1;
                    sleep(START_PAUSE).await;
                }
                started => break started.map_err(|error| broken(origin, &self.watched, error))?,
            }
        };
        let stop = if self.once { Some(end_of_log(origin).await?) } else { None };
        let pace =
            SlotPace { sender_timeout: ground.sender_timeout, patience: origin.login.patience };
        Ok(SlotReading {
            stream: SlotStream::new(both, bookmark.lsn, pace),
            told: bookmark.clone(),
            assembly: Assembly::new(bookmark, origin.choice.clone()),
            watched: self.watched.clone(),
            unnamed: None,
            ready: Vec::new(),
            ready_bytes: 0,
            tell_at: None,
            stop,
        })
    }
}

/// A place behind everything that is committed now, which will come: something is put into the log behind it.
async fn end_of_log(origin: &ChangeOrigin) -> Result<PgLsn, Failure> {
    let mut sql = origin.sql().await?;
    let doing = "look where the log ends";
    let failed = |error: PgError| error.failure(doing);
    let end = sql.value(&word_sql("end")).await.map_err(failed)?;
    sql.value(&word_sql("behind the end")).await.map_err(failed)?;
    sql.close().await;
    end.parse().map_err(|error| Failure::away(format!("{doing}: {error}")))
}

/// What it means that the slot cannot be read.
fn broken(origin: &ChangeOrigin, watched: &WatchedSlot, error: PgError) -> Failure {
    match error.code() {
        // The slot is not there, was invalidated, its part of the log is gone, or there was no publication at that time.
        Some("42704" | "55000" | "58P01" | "58P02") => {
            watched.lose();
            missing(&error.to_string())
        }
        _ => error.failure(&format!("read the slot {}", origin.slot)),
    }
}

#[async_trait]
impl Source for ChangeReader {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        // What was before ends first: the slot has one reader at a time.
        self.at = Where::Nowhere;
        self.caretaker = None;
        self.once = beginning.once;
        let (begun, ground) = begin(&self.origin, beginning.cursor.as_ref(), &self.watched).await?;
        self.ground = Some(ground);
        self.at = match begun {
            Begun::Reading(bookmark) => Where::Starting(bookmark),
            Begun::Copying { run, meanwhile, then } => Where::Copying { run, meanwhile, then },
        };
        self.caretaker = Some(Caretaker::start(self.origin.clone(), self.watched.clone()));
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let step = self.step().await;
        if step.is_err() {
            self.at = Where::Nowhere;
        }
        step
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        if let Where::Reading(reading) = &self.at
            && let Ok(bookmark) = Bookmark::parse(cursor)
        {
            reading.stream.confirm(bookmark.lsn);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        self.caretaker = None;
        if let Where::Reading(reading) = std::mem::replace(&mut self.at, Where::End) {
            reading.stream.finish().await;
        }
        Ok(())
    }

    fn retained_bytes(&self) -> Option<u64> {
        self.watched.retained()
    }
}

/// A slot that is read.
struct SlotReading {
    stream: SlotStream,
    assembly: Assembly,
    watched: Arc<WatchedSlot>,
    /// A table of which the key is not known yet.
    unnamed: Option<Relation>,
    ready: Vec<Incoming>,
    ready_bytes: usize,
    /// What was told last.
    told: Bookmark,
    /// When progress without messages is told.
    tell_at: Option<Instant>,
    /// Where to end.
    stop: Option<PgLsn>,
}

impl SlotReading {
    /// The next chunk; what has come is kept when this is dropped while it waits.
    async fn chunk(&mut self, origin: &ChangeOrigin) -> Result<Option<Chunk>, Failure> {
        loop {
            if let Some(relation) = &self.unnamed {
                let key = primary_key(origin, relation.id).await?;
                self.assembly.relation(relation.clone(), Some(&key));
                self.unnamed = None;
            }
            if self.ready.len() >= CHUNK_MESSAGES || self.ready_bytes >= CHUNK_BYTES {
                return Ok(Some(self.cut()));
            }
            if let Some(arrival) = self.stream.at_hand() {
                self.take(arrival.map_err(|error| broken(origin, &self.watched, error))?)?;
                continue;
            }
            if !self.ready.is_empty() {
                return Ok(Some(self.cut()));
            }
            let is_new = *self.assembly.bookmark() != self.told;
            if self.is_at_end() {
                return Ok(is_new.then(|| self.cut()));
            }
            if !is_new {
                self.tell_at = None;
                let arrival = self.stream.next().await;
                self.take(arrival.map_err(|error| broken(origin, &self.watched, error))?)?;
                continue;
            }
            let tell_at = *self.tell_at.get_or_insert_with(|| Instant::now() + TELL_EVERY);
            match timeout_at(tell_at, self.stream.next()).await {
                Ok(arrival) => {
                    self.take(arrival.map_err(|error| broken(origin, &self.watched, error))?)?
                }
                Err(_) => return Ok(Some(self.cut())),
            }
        }
    }

    fn is_at_end(&self) -> bool {
        let reached = self.assembly.bookmark().lsn;
        self.stop.is_some_and(|stop| stop <= reached) && !self.assembly.is_inside()
    }

    fn take(&mut self, arrival: SlotArrival) -> Result<(), Failure> {
        let message = match arrival {
            SlotArrival::Reached(lsn) => {
                self.assembly.reached(lsn);
                return Ok(());
            }
            SlotArrival::Message(message) => message,
        };
        let decoded = decode(message)
            .map_err(|error| PgError::from(error).failure("read what comes out of the slot"))?;
        // A word of ours is no sign that others write.
        if !matches!(decoded, PluginMessage::Message { .. }) {
            self.watched.count();
        }
        if let PluginMessage::Relation(relation) = &decoded
            && relation.identity == b'f'
        {
            self.unnamed = Some(relation.clone());
            return Ok(());
        }
        let before = self.ready.len();
        self.assembly.take(decoded, &mut self.ready)?;
        let Some(new) = self.ready.get(before..) else {
            unreachable!("INV-NO-GAP: messages that are ready stay until they are handed on")
        };
        self.ready_bytes += new.iter().map(|message| message.payload.len()).sum::<usize>();
        Ok(())
    }

    fn cut(&mut self) -> Chunk {
        self.tell_at = None;
        self.ready_bytes = 0;
        assert!(
            self.told.lsn <= self.assembly.bookmark().lsn,
            "INV-CONFIRM: a cursor never moves back"
        );
        self.told = self.assembly.bookmark().clone();
        Chunk { messages: std::mem::take(&mut self.ready), cursor: self.told.cursor() }
    }
}

async fn primary_key(origin: &ChangeOrigin, relation: u32) -> Result<Vec<String>, Failure> {
    let mut sql = origin.sql().await?;
    let key = catalog::primary_key(&mut sql, relation).await;
    sql.close().await;
    key.map_err(|error| error.failure("look at the key of a table"))
}
