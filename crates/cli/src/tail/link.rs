//! The connection of a reader. One that follows opens it again for as long as nobody stops it.
//!
//! A follower ends with its connection, or with its topic, only when the server refuses the
//! login, or when there is nobody left to show messages to.

use std::time::Duration;

use galgo::Client;

use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::output::message::MessageWriter;

/// Pauses before the attempts to connect: they double.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const _: () = assert!(PAUSE_MIN.as_millis() < PAUSE_MAX.as_millis(), "pauses grow");

/// A connection, and what to make another with.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    target: &'a Target,
    client: Client,
    follows: bool,
    /// Whether it was told that what is followed is not there.
    waits: bool,
}

impl<'a> Link<'a> {
    /// Connects; `follows` says whether the reader goes on when the connection breaks.
    pub(crate) async fn open(target: &'a Target, follows: bool) -> Outcome<Self> {
        // A follower wants to hear at once that the connection is gone, to tell.
        let client = match follows {
            true => target.connect_once().await?,
            false => target.connect().await?,
        };
        Ok(Self { target, client, follows, waits: false })
    }

    /// The connection there is now.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the reader goes on when it has shown what there is.
    pub(crate) fn follows(&self) -> bool {
        self.follows
    }

    /// Says something on the side.
    pub(crate) fn tell(&self, what: &str) {
        self.target.output.notice(what);
    }

    /// Connects again after `failure`, however long it takes.
    ///
    /// A topic that is deleted may be made again, so a follower waits for it.
    ///
    /// # Errors
    /// `failure` itself when it is another one, or when the reader does not follow.
    pub(crate) async fn again(&mut self, failure: Failure, writer: &mut MessageWriter) -> Outcome {
        if self.follows && failure.is_missing() {
            return self.wait(&failure, writer).await;
        }
        if !self.follows || !failure.is_connection() {
            return Err(failure);
        }
        // What has been read is shown before the silence.
        writer.flush()?;
        self.waits = false;
        let output = self.target.output;
        output.notice(&format!("{}; trying again until Ctrl-C", failure.what()));
        let mut pause = PAUSE_MIN;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            if writer.reader_is_gone() {
                return Err(Failure::closed_pipe());
            }
            match self.target.connect_once().await {
                Ok(client) => {
                    self.client = client;
                    output.notice("connected again; going on");
                    return Ok(());
                }
                Err(failure) if failure.is_connection() => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Waits a little for what is not there.
    async fn wait(&mut self, failure: &Failure, writer: &mut MessageWriter) -> Outcome {
        assert!(self.follows, "only who follows waits for what is not there");
        writer.flush()?;
        if !std::mem::replace(&mut self.waits, true) {
            self.tell(&format!("{}; waiting for it until Ctrl-C", failure.what()));
        }
        if writer.reader_is_gone() {
            return Err(Failure::closed_pipe());
        }
        tokio::time::sleep(PAUSE_MIN).await;
        Ok(())
    }

    /// Notes that what is followed is there.
    pub(crate) fn is_there(&mut self) {
        self.waits = false;
    }
}
