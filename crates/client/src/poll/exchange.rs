//! Asking: one poll is one request, or as many as its answer takes.
//!
//! What is gathered of several answers is bounded like one reply.

use std::time::Duration;

use bytes::Bytes;
use galgo_wire::command::extensions::PollWaiting;
use galgo_wire::command::lives::PollInLife;
use galgo_wire::command::messages::PollMessages;
use galgo_wire::id::{Offset, PartitionId};
use galgo_wire::index::to_u32;
use galgo_wire::measure::micros;
use galgo_wire::permission::Action;

use crate::builder::SILENCE_MAX_DEFAULT;
use crate::connection::Replay;
use crate::extensions::{LIVES, WAITING_POLLS};
use crate::groups::SESSION;
use crate::topics::path;
use crate::{
    CallError, Client, InvalidRequest, PollRequest, PolledMessages, PollingStrategy, Transport,
};

/// The longest wait a consumer asks for.
const WAIT_MAX: Duration = Duration::from_secs(10);
const _: () = assert!(
    WAIT_MAX.as_secs() * 2 < SESSION.as_secs(),
    "a member that waits for messages is heard of before its membership ends"
);
const _: () = assert!(
    WAIT_MAX.as_secs() * 2 <= SILENCE_MAX_DEFAULT.as_secs(),
    "a server that waits for messages is not taken for a silent one, and waits to the end"
);

impl Client {
    /// Reads messages from one partition; returns none when there are none, at once unless it is to
    /// [wait](PollRequest::wait).
    ///
    /// The server bounds an answer by its bytes. When it says that more is there than it could hold, the
    /// rest is asked for, until there are as many messages as were wanted, or as many bytes as a reply may
    /// have ([`reply_bytes_max`](crate::ClientBuilder::reply_bytes_max)); only then
    /// [`is_cut`](PolledMessages::is_cut) is true. A server without the extension does not say it.
    ///
    /// # Errors
    /// [`CallError`]; code `PartitionNotFound` when there is no such partition; [`CallError::Damaged`] when
    /// the next messages are damaged.
    pub async fn poll(&self, request: PollRequest) -> Result<PolledMessages, CallError> {
        let mut polled = self.poll_once(request.clone()).await?;
        if let Some(damaged) = polled.damaged()
            && !request.tells_damage
        {
            return Err(CallError::Damaged { target: target(&request), damaged });
        }
        if request.strategy == PollingStrategy::Last {
            self.complete_front(&request, &mut polled).await;
        }
        while polled.is_cut() && polled.damaged().is_none() {
            let Some(rest) = self.rest_of(&request, &polled) else { break };
            // What came is here to stay, and was perhaps committed: whoever asks on hears of the trouble.
            let Ok(more) = self.poll_once(rest).await else { break };
            if more.is_empty() {
                break;
            }
            polled.append(more);
        }
        Ok(polled)
    }

    /// One request, whatever its answer holds; damage is told by the answer if the server can.
    pub(crate) async fn poll_once(
        &self,
        mut request: PollRequest,
    ) -> Result<PolledMessages, CallError> {
        let lives = self.has(&LIVES).await?;
        if !request.wait.is_zero() && !self.has(&WAITING_POLLS).await? {
            request.wait = Duration::ZERO;
        }
        // Nothing is heard from the server while it waits, and a silent connection counts as lost.
        request.wait = request.wait.min(self.connection.silence_max() / 2);
        let (frame, wait) = (frame(&request, lives)?, request.wait);
        let reply = self.connection.exchange_waiting(frame, replay(&request), wait).await;
        let payload = reply.map_err(|failure| {
            let target = || target(&request);
            failure.into_call("poll", target).needing(Some(Action::PollMessages))
        })?;
        let decoded = match lives {
            true => PolledMessages::decode_in_life(&payload),
            false => PolledMessages::decode(&payload),
        };
        decoded.map_err(|reason| CallError::Reply { operation: "poll", reason: reason.into() })
    }

    /// The poll for what follows `polled`, if it may be gathered with it.
    fn rest_of(&self, request: &PollRequest, polled: &PolledMessages) -> Option<PollRequest> {
        let count = request.count.checked_sub(u32::try_from(polled.len()).ok()?)?;
        let next = polled.next_offset()?;
        let has_room = polled.bytes_len() < self.connection.reply_bytes_max();
        (count > 0 && has_room).then(|| {
            request
                .clone()
                .partition(polled.partition())
                .strategy(PollingStrategy::Offset(Offset::new(next)))
                .count(count)
                .life(polled.life())
                .wait(Duration::ZERO)
        })
    }

    /// The newest messages came, and not all that were asked for: reads those before them.
    async fn complete_front(&self, request: &PollRequest, polled: &mut PolledMessages) {
        let (Some(first), Some(extent)) = (polled.messages().first(), polled.extent()) else {
            return;
        };
        let wanted = extent.end.saturating_sub(request.count.into()).max(extent.start);
        let (mut next, first) = (wanted, first.offset());
        // Newer ones are still to come.
        if polled.is_cut() {
            return;
        }
        let mut front = PolledMessages::default();
        while next < first {
            if front.bytes_len() + polled.bytes_len() >= self.connection.reply_bytes_max() {
                return;
            }
            let older = request
                .clone()
                .strategy(PollingStrategy::Offset(Offset::new(next)))
                .count(to_u32((first - next).min(request.count.into())))
                .auto_commit(false)
                .life(polled.life())
                .wait(Duration::ZERO);
            // Without them the newest are still the newest.
            let Ok(older) = self.poll_once(older).await else { return };
            let Some(behind) = older.messages().last().map(|last| last.offset() + 1) else {
                return;
            };
            next = behind;
            front.append(older);
        }
        polled.prepend(front);
    }

    /// How long a consumer lets the server wait for messages; `None` when it is to poll.
    pub(crate) async fn poll_wait(&self) -> Result<Option<Duration>, CallError> {
        let wait = WAIT_MAX.min(self.connection.silence_max() / 2);
        // What is asked over QUIC is asked one after the other: a wait would hold up commits.
        let can_wait = !wait.is_zero() && self.connection.transport() != Transport::Quic;
        Ok(if can_wait && self.has(&WAITING_POLLS).await? { Some(wait) } else { None })
    }
}

fn target(request: &PollRequest) -> String {
    let topic = path(&request.stream, &request.topic);
    match (request.partition, request.strategy) {
        (Some(partition), PollingStrategy::Offset(offset)) => {
            format!("partition {partition} of topic {topic} from offset {offset}")
        }
        (Some(partition), _) => format!("partition {partition} of topic {topic}"),
        (None, _) => format!("topic {topic} for group {}", request.consumer.id),
    }
}

fn frame(request: &PollRequest, lives: bool) -> Result<Bytes, InvalidRequest> {
    let poll = PollMessages {
        consumer: request.consumer.clone(),
        stream: request.stream.clone(),
        topic: request.topic.clone(),
        partition_id: request.partition.map(PartitionId::new),
        strategy: request.strategy,
        count: request.count,
        auto_commit: request.auto_commit,
    };
    let wait = micros(request.wait);
    let (count_min, life) = (request.count_min, request.life);
    match (lives, wait) {
        (true, _) => crate::call::frame(&PollInLife { poll, wait, count_min, life, reserved: 0 }),
        (false, 0) => crate::call::frame(&poll),
        (false, _) => crate::call::frame(&PollWaiting { poll, wait, count_min }),
    }
}

/// A poll for what is next that was carried out has moved the stored offset: repeated, it would
/// skip the messages whose answer got lost.
fn replay(request: &PollRequest) -> Replay {
    match (request.auto_commit, request.strategy) {
        (true, PollingStrategy::Next) => Replay::Never,
        _ => Replay::Safe,
    }
}
