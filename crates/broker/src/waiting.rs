//! A poll that waits: what it asked for, and the alarm that tells when to look again.
//!
//! Nothing looks in the meantime. The alarm hangs on the partitions the poll may read, on its group, and
//! on its connection's row in the table of clients; the shell waits for it and keeps the time.
//!
//! INV-WAIT-LOOK: an alarm is hung up before the last look that found nothing, so that whatever comes
//! after that look rings it.
//! INV-WAIT-OFF: a wait that is over, for whatever reason, leaves nothing on any bell.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::alarm::{Alarm, News};
use crate::broker::Broker;
use crate::catalog::groups::OpenGroup;
use crate::clients::HungAlarm;
use crate::command::waiting::{self, WaitingAsk};
use crate::outcome::Outcome;
use crate::partition::Partition;
use crate::session::Session;

/// A poll that found too little. Dropping it gives it up; no answer was made.
pub struct Waiting {
    pub(crate) command: WaitingAsk,
    pub(crate) hung: Hung,
}

/// An alarm, and all it hangs on.
#[derive(Default)]
pub(crate) struct Hung {
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) partitions: Vec<Arc<Partition>>,
    pub(crate) group: Option<Arc<OpenGroup>>,
    pub(crate) client: Option<HungAlarm>,
}

impl Waiting {
    /// How long the client is ready to wait, from its first look on.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_micros(self.command.wait)
    }

    /// Whether it is time for [`Waiting::resume`].
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.hung.alarm.news().is_some()
    }

    /// Ready when it is time for [`Waiting::resume`].
    pub fn poll_news(&self, cx: &Context<'_>) -> Poll<()> {
        self.hung.alarm.poll(cx)
    }

    /// Waits until it is time for [`Waiting::resume`]. Dropping the future loses nothing.
    pub async fn news(&self) {
        poll_fn(|cx| self.poll_news(cx)).await;
    }

    /// Looks again: an answer, or another wait for the rest of the time.
    #[must_use]
    pub fn resume(self, broker: &Broker, session: &mut Session) -> Outcome {
        match self.hung.alarm.news() {
            // The wait is over, whatever ended it: the last look tells what there is, or what is
            // wrong.
            Some(News::Over) => self.finish(broker, session),
            _ => {
                let Self { command, hung } = self;
                // Before the look, which hangs up another alarm where there is still too little
                // (INV-WAIT-OFF).
                drop(hung);
                waiting::look(broker, session, command)
            }
        }
    }

    /// Answers with what there is, if anything; never waits.
    #[must_use]
    pub fn finish(self, broker: &Broker, session: &mut Session) -> Outcome {
        let Self { command, hung } = self;
        drop(hung);
        waiting::finish(broker, session, command)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // The alarm on the connection takes itself off.
        for partition in &self.partitions {
            partition.take_off(&self.alarm);
        }
        if let Some(group) = &self.group {
            group.take_off(&self.alarm);
        }
    }
}
