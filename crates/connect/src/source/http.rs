//! Messages that others send to us over HTTP.
//!
//! A request is answered with 200 only when Galgo has acknowledged what it carries. Whoever sends again what was
//! not answered, with the same `Idempotency-Key`, has it stored once.
//!
//! What strangers cost is bounded: connections, bytes of bodies that are being read, the size of a body, and how long each may take.

mod listener;
mod request;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use toml::Table;

use crate::config::{ConfigError, Surroundings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};
use settings::ListenSettings;

/// Requests that wait to be asked for.
const WAITING_MAX: usize = 64;
/// Messages of a chunk; a request is never divided.
const CHUNK_MESSAGES: usize = 1_000;

/// The kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "http",
    promise: "at least once: 200 is answered when the messages are stored; with Idempotency-Key, which becomes the id, once within the \
              topic's window of deduplication",
    example: include_str!("http/example.toml"),
    read,
};

fn read(table: Table, around: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    let settings = Arc::new(ListenSettings::read(table, around)?);
    Ok(Box::new(HttpOrigin { settings }))
}

struct HttpOrigin {
    settings: Arc<ListenSettings>,
}

/// What a request carried, and who waits for it to be stored.
#[derive(Debug)]
struct ReceivedRequest {
    messages: Vec<Incoming>,
    stored: oneshot::Sender<()>,
}

struct HttpSource {
    settings: Arc<ListenSettings>,
    received: Option<mpsc::Receiver<ReceivedRequest>>,
    listener: Option<AbortHandle>,
    /// Who waits, by the number of the chunk.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    chunks: u64,
}

#[async_trait]
impl SourceSpec for HttpOrigin {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn keeps_cursor(&self) -> bool {
        // Whoever sends keeps what was not answered.
        false
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(HttpSource {
            settings: Arc::clone(&self.settings),
            received: None,
            listener: None,
            waiting: VecDeque::new(),
            chunks: 0,
        })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let settings = &self.settings;
        settings.token()?;
        settings.acceptor()?;
        let at = format!("requests are taken at {}{}", settings.listen, settings.path);
        Ok(vec![match (settings.is_guarded(), settings.listen.ip().is_loopback()) {
            (true, _) => Finding::good(at),
            (false, true) => Finding::good(format!(
                "{at}, from this machine, without a token, up to 64 KiB each"
            )),
            (false, false) => Finding::warning(
                format!("{at}, from anybody, up to 64 KiB each"),
                "set token, or client_ca_file",
            ),
        }])
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        if beginning.once {
            return Err(Failure::refused(
                "an origin that waits for requests has no end",
                "run it without --once",
            ));
        }
        self.stop();
        let (sender, received) = mpsc::channel(WAITING_MAX);
        let listener = listener::bind(Arc::clone(&self.settings), sender).await?;
        self.listener = Some(tokio::spawn(listener).abort_handle());
        self.received = Some(received);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let Some(received) = &mut self.received else {
            return Err(Failure::away("it does not listen yet"));
        };
        let Some(mut next) = received.recv().await else {
            return Err(Failure::away("the listener has ended"));
        };
        // Nothing is waited for from here on, so nothing is lost when the caller goes.
        self.chunks += 1;
        let mut messages = Vec::new();
        loop {
            messages.append(&mut next.messages);
            assert!(
                self.waiting.back().is_none_or(|(chunk, _)| *chunk <= self.chunks),
                "INV-ACKED-FIRST: who came first is answered first"
            );
            self.waiting.push_back((self.chunks, next.stored));
            if messages.len() >= CHUNK_MESSAGES {
                break;
            }
            match received.try_recv() {
                Ok(another) => next = another,
                Err(_) => break,
            }
        }
        Ok(Some(Chunk { messages, cursor: Cursor(self.chunks.into()) }))
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let Some(upto) = cursor.0.as_u64() else { return Ok(()) };
        while let Some((_, stored)) = self.waiting.pop_front_if(|(chunk, _)| *chunk <= upto) {
            // Whoever has gone does not want to know.
            let _ = stored.send(());
        }
        Ok(())
    }
}

impl HttpSource {
    fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        self.received = None;
        self.waiting.clear();
    }
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        self.stop();
    }
}
