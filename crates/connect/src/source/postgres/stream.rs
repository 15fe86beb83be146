//! The stream of a replication slot: read ahead within bounds, and answered, whether anybody asks for more or not.
//!
//! One task reads and one writes. The reader stops when so much is read that nobody has taken; the writer goes on to tell the
//! server that we live and how far we have come, so that it does not end the connection and send everything again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::lsn::PgLsn;
use crate::clock::now_micros;
use crate::postgres::fields::GarbledMessage;
use crate::postgres::frame::PgFrame;
use crate::postgres::session::{CopyBoth, refusal};
use crate::postgres::trouble::PgError;

/// Read ahead of whoever takes it; one message may be larger.
const AHEAD_BYTES_MAX: u32 = 8 << 20;
const AHEAD_MESSAGES_MAX: usize = 4096;
/// Between two words to the server, at most.
const STATUS_EVERY_MAX: Duration = Duration::from_secs(10);
/// The server is asked to answer when it is silent for one status; after this it is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Years between 1970 and 2000, in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

const _: () = assert!(
    EPOCH_MICROS == (30 * 365 + 7) * 86_400 * 1_000_000,
    "from 1970 to 2000 are 30 years, seven of them with a day more"
);
const _: () = assert!(
    STATUS_EVERY_MAX.as_secs() < SILENCE_MAX.as_secs(),
    "we speak more often than we wait for a word"
);

/// What comes out of a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SlotArrival {
    /// A message of the output plug-in.
    Message(Bytes),
    /// All in front of this place was sent.
    Reached(PgLsn),
}

/// How a slot is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotPace {
    /// The server ends connections that are silent for so long; none: it does not.
    pub(super) sender_timeout: Option<Duration>,
    /// The longest a word to the server may take.
    pub(super) patience: Duration,
}

/// A stream that is read; ends when it is dropped.
#[derive(Debug)]
pub(super) struct SlotStream {
    arrivals: mpsc::Receiver<Result<HeldArrival, PgError>>,
    confirmed: watch::Sender<PgLsn>,
    read: JoinHandle<()>,
    write: JoinHandle<()>,
}

#[derive(Debug)]
struct HeldArrival {
    arrival: SlotArrival,
    _room: OwnedSemaphorePermit,
}

impl SlotStream {
    /// Reads on; everything up to `confirmed` was settled before.
    pub(super) fn new(both: CopyBoth, confirmed: PgLsn, pace: SlotPace) -> Self {
        let CopyBoth { mut reader, mut cutter, writer } = both;
        let (sender, arrivals) = mpsc::channel(AHEAD_MESSAGES_MAX);
        let (confirmed, to_confirm) = watch::channel(confirmed);
        let life = Arc::new(StreamLife::default());
        let status_every =
            pace.sender_timeout.map_or(STATUS_EVERY_MAX, |limit| (limit / 3).min(STATUS_EVERY_MAX));
        let silence = pace.sender_timeout.map_or(SILENCE_MAX, |limit| SILENCE_MAX.max(limit * 2));
        let talk =
            ServerTalk { life: life.clone(), to_confirm, status_every, patience: pace.patience };
        let write = tokio::spawn(talk.run(writer));
        let read = tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(AHEAD_BYTES_MAX as usize));
            loop {
                let next = timeout(silence, cutter.next(&mut reader)).await;
                let next = next.unwrap_or_else(|_| Err(PgError::silence(silence)));
                life.heard.store(true, Ordering::Relaxed);
                let held = match next.and_then(|frame| arrival(frame, &life)) {
                    Ok(arrival) => Ok(hold(arrival, &room).await),
                    Err(error) => Err(error),
                };
                let ended = held.is_err();
                if sender.send(held).await.is_err() || ended {
                    return;
                }
            }
        });
        Self { arrivals, confirmed, read, write }
    }

    /// The next thing that came; nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<SlotArrival, PgError> {
        match self.arrivals.recv().await {
            Some(held) => Ok(held?.arrival),
            None => Err(PgError::Away("the stream of changes has ended".to_owned())),
        }
    }

    /// What came already, if anything.
    pub(super) fn at_hand(&mut self) -> Option<Result<SlotArrival, PgError>> {
        let held = self.arrivals.try_recv().ok()?;
        Some(held.map(|held| held.arrival))
    }

    /// Everything up to here is settled: the server is told at once, and may forget it.
    pub(super) fn confirm(&self, up_to: PgLsn) {
        self.confirmed.send_if_modified(|confirmed| {
            let further = *confirmed < up_to;
            *confirmed = up_to.max(*confirmed);
            further
        });
    }

    /// Says once more how far everything is settled, and ends.
    pub(super) async fn finish(mut self) {
        let (nobody, _) = watch::channel(PgLsn(0));
        drop(std::mem::replace(&mut self.confirmed, nobody));
        // It ends by itself, within its patience.
        let _ = (&mut self.write).await;
    }
}

impl Drop for SlotStream {
    fn drop(&mut self) {
        self.read.abort();
        self.write.abort();
    }
}

/// What the two tasks know of each other.
#[derive(Debug, Default)]
struct StreamLife {
    /// The server asked for a word.
    asked: Notify,
    /// Something came since the last word.
    heard: AtomicBool,
}

async fn hold(arrival: SlotArrival, room: &Arc<Semaphore>) -> HeldArrival {
    let bytes = match &arrival {
        SlotArrival::Message(bytes) => u32::try_from(bytes.len()).unwrap_or(AHEAD_BYTES_MAX),
        SlotArrival::Reached(_) => 1,
    };
    let permit = room.clone().acquire_many_owned(bytes.clamp(1, AHEAD_BYTES_MAX)).await;
    let Ok(permit) = permit else { unreachable!("nobody closes the semaphore") };
    HeldArrival { arrival, _room: permit }
}

fn arrival(frame: PgFrame, life: &StreamLife) -> Result<SlotArrival, PgError> {
    if frame.tag == b'c' || frame.tag == b'C' {
        return Err(PgError::Away("the server ended the stream of changes".to_owned()));
    }
    if matches!(frame.tag, b'N' | b'S') {
        return Ok(SlotArrival::Reached(PgLsn(0)));
    }
    if frame.tag != b'd' {
        return Err(refusal(frame));
    }
    let mut fields = frame.fields();
    match fields.u8()? {
        b'w' => {
            let (_start, _end, _sent_at) = (fields.u64()?, fields.u64()?, fields.i64()?);
            Ok(SlotArrival::Message(fields.rest()))
        }
        b'k' => {
            let (end, _sent_at) = (PgLsn(fields.u64()?), fields.i64()?);
            if fields.u8()? == 1 {
                life.asked.notify_one();
            }
            Ok(SlotArrival::Reached(end))
        }
        _ => Err(GarbledMessage("it is neither a change nor a sign of life").into()),
    }
}

struct ServerTalk {
    life: Arc<StreamLife>,
    to_confirm: watch::Receiver<PgLsn>,
    status_every: Duration,
    patience: Duration,
}

impl ServerTalk {
    async fn run<W: AsyncWrite + Unpin>(mut self, mut writer: W) {
        // The first word at once: a server that was restarted in the meantime knows then where we are.
        let mut due = Instant::now();
        let mut last = false;
        while !last {
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.life.asked.notified() => {}
                changed = self.to_confirm.changed() => last = changed.is_err(),
            }
            due = Instant::now() + self.status_every;
            let up_to = *self.to_confirm.borrow_and_update();
            let heard = self.life.heard.swap(false, Ordering::Relaxed);
            let word = standby_status(up_to, postgres_micros(now_micros()), !heard);
            let said = async {
                writer.write_all(&word).await?;
                writer.flush().await
            };
            // The reader finds out, too, and tells.
            if !matches!(timeout(self.patience, said).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// A word to the server: everything up to here is durable elsewhere.
fn standby_status(up_to: PgLsn, now: i64, answer: bool) -> BytesMut {
    let mut out = BytesMut::with_capacity(39);
    out.put_u8(b'd');
    out.put_u32(38);
    out.put_u8(b'r');
    // Written, flushed and applied are the same here.
    for _ in 0..3 {
        out.put_u64(up_to.0);
    }
    out.put_i64(now);
    out.put_u8(answer.into());
    out
}

/// A time of ours, in microseconds since the Unix epoch, as PostgreSQL counts: since the year 2000.
fn postgres_micros(since_1970: u64) -> i64 {
    0_i64.saturating_add_unsigned(since_1970).saturating_sub(EPOCH_MICROS)
}

/// A time of PostgreSQL, in microseconds since the Unix epoch; none if it is in front of that.
pub(super) fn unix_micros(since_2000: i64) -> Option<u64> {
    u64::try_from(since_2000.saturating_add(EPOCH_MICROS)).ok()
}

#[cfg(test)]
mod tests;
