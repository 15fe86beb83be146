//! The connection of a reader. One that follows opens it again for as long as nobody stops it.
//!
//! INV-PATIENT: a follower ends with its connection only when the server refuses the login, or when there
//! is nobody left to show messages to.

use std::time::Duration;

use galgo::Client;

use crate::connect::Target;
use crate::failure::{Failure, Outcome};
use crate::output::message::MessageWriter;

/// Pauses before the attempts to connect: they double.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection, and what to make another with.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    target: &'a Target,
    client: Client,
    follows: bool,
}

impl<'a> Link<'a> {
    /// Connects; `follows` says whether the reader goes on when the connection breaks.
    pub(crate) async fn open(target: &'a Target, follows: bool) -> Outcome<Self> {
        // A follower wants to hear at once that the connection is gone, to tell.
        let client = match follows {
            true => target.connect_once().await?,
            false => target.connect().await?,
        };
        Ok(Self { target, client, follows })
    }

    /// The connection there is now.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the reader goes on when it has shown what there is.
    pub(crate) fn follows(&self) -> bool {
        self.follows
    }

    /// Connects again after `failure`, however long it takes.
    ///
    /// # Errors
    /// `failure` itself when it is not the connection's, or when the reader does not follow.
    pub(crate) async fn again(&mut self, failure: Failure, writer: &mut MessageWriter) -> Outcome {
        if !self.follows || !failure.is_connection() {
            return Err(failure);
        }
        // What has been read is shown before the silence.
        writer.flush()?;
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
}
