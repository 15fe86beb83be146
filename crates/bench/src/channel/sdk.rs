//! Everything but plain TCP: the SDK carries the prepared frames, on a runtime of the worker's own thread.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use galgo::{CallError, Client, ReconnectPolicy};
use tokio::runtime::Runtime;

use crate::channel::{AnswerPayload, Channel, ChannelAnswer, PreparedFrame, refused};
use crate::course::Course;
use crate::destination::ServerAddress;
use crate::error::{BenchError, Outcome};

type Waiting = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send>>;

/// A connection of the SDK.
pub(crate) struct Sdk {
    client: Client,
    waiting: FuturesOrdered<Waiting>,
    // Dropped last: the client's tasks live on it.
    runtime: Runtime,
}

impl Sdk {
    /// Connects and logs in.
    pub(crate) fn open(destination: &ServerAddress) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| BenchError::machine(format!("cannot start a runtime: {error}")))?;
        let client = runtime.block_on(destination.connect(ReconnectPolicy::never()))?;
        Ok(Self { client, waiting: FuturesOrdered::new(), runtime })
    }
}

impl Channel for Sdk {
    fn send(&mut self, frame: PreparedFrame<'_>, _course: &Course) -> Outcome {
        let bytes = frame.whole.cloned().unwrap_or_else(|| {
            let mut bytes = BytesMut::with_capacity(frame.head.len() + frame.body.len());
            bytes.extend_from_slice(frame.head);
            bytes.extend_from_slice(frame.body);
            bytes.freeze()
        });
        let client = self.client.clone();
        self.waiting.push_back(Box::pin(async move { client.request(bytes).await }));
        Ok(())
    }

    fn answer(
        &mut self,
        until: Option<Instant>,
        take: AnswerPayload<'_>,
        course: &Course,
    ) -> Outcome<Option<ChannelAnswer>> {
        let since = Instant::now();
        let waiting = &mut self.waiting;
        let answered: Outcome<_> = self.runtime.block_on(async {
            loop {
                let look = next_look(until);
                match tokio::time::timeout_at(look.into(), waiting.next()).await {
                    Ok(Some(answer)) => return Ok(Some(answer)),
                    Ok(None) => return Ok(None),
                    Err(_) if until.is_some_and(|until| Instant::now() >= until) => {
                        return Ok(None);
                    }
                    Err(_) => course.patience(since)?,
                }
            }
        });
        let Some(answer) = answered? else { return Ok(None) };
        let payload = answer.map_err(|error| match &error {
            CallError::Server(refusal) => refused(refusal.number()),
            _ => BenchError::from(error),
        })?;
        if let AnswerPayload::Keep(into) = take {
            into.clear();
            into.extend_from_slice(&payload);
        }
        Ok(Some(ChannelAnswer { bytes: payload.len(), head: payload.first_chunk().copied() }))
    }

    fn has_answer(&self) -> bool {
        false
    }

    fn sleep_until(&mut self, due: Instant) {
        // Asleep in the runtime, so that pings are sent and answered meanwhile.
        let look = next_look(Some(due));
        self.runtime.block_on(async move { tokio::time::sleep_until(look.into()).await });
    }
}

/// The next moment to look around: `until`, or soon.
fn next_look(until: Option<Instant>) -> Instant {
    let soon = Instant::now() + std::time::Duration::from_millis(250);
    until.map_or(soon, |until| until.min(soon))
}
