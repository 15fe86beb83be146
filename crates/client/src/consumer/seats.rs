//! The partitions that a member of a group has given to its program, each to one reader.
//!
//! Part of INV-HOLD: a reader is good while its partition is held as it was when the reader was given out. A partition
//! that came back is given out anew, and only when its reader of before is dropped, so that two never read one.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use galgo_wire::id::Life;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::consumer::ConsumeError;
use crate::consumer::holdings::{Standing, Tag};
use crate::consumer::membership::GroupMembership;

/// A partition that is this member's to read, as the server tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenPartition {
    /// Under what it is held, if the server tells.
    pub(super) tag: Option<Tag>,
    /// The life it is in, if the server tells.
    pub(super) life: Life,
}

/// What the program is to be told.
#[derive(Debug)]
pub(super) enum SeatChange {
    /// A partition is to be read.
    Gained(Arc<Seat>),
    /// A partition is to be read no longer.
    Lost(u32),
    /// The membership is in trouble.
    Trouble(ConsumeError),
}

/// A partition that is given to the program.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) partition: u32,
    state: Mutex<SeatState>,
    /// Wakes its reader.
    news: Notify,
}

#[derive(Debug)]
struct SeatState {
    given: GivenPartition,
    is_lost: bool,
    /// Whether its reader is gone.
    is_dropped: bool,
    /// Where its reader waits for messages.
    waits_at: Option<(u64, Life)>,
}

impl Seat {
    fn new(partition: u32, given: GivenPartition) -> Self {
        let state = SeatState { given, is_lost: false, is_dropped: false, waits_at: None };
        Self { partition, state: Mutex::new(state), news: Notify::new() }
    }

    /// The life its partition was in when it was given out.
    pub(super) fn life(&self) -> Life {
        self.state.lock().given.life
    }

    fn is_lost(&self) -> bool {
        self.state.lock().is_lost
    }

    /// Has its reader look again, if it waits.
    pub(super) fn wake(&self) {
        if self.state.lock().waits_at.take().is_some() {
            self.news.notify_waiters();
        }
    }

    fn lost(&self) -> ConsumeError {
        ConsumeError::Lost { partition: self.partition }
    }
}

/// All partitions a member has given to its program.
#[derive(Debug)]
pub(super) struct Seats {
    pub(super) membership: GroupMembership,
    /// Whether somebody waits for messages on behalf of the readers.
    pub(super) waits: bool,
    table: Mutex<SeatTable>,
    /// Wakes whoever waits for changes.
    changed: Notify,
    /// Asks for a look at what is held.
    look: Notify,
    /// Tells that readers wait, or wait no longer.
    waiters: Notify,
}

#[derive(Debug, Default)]
struct SeatTable {
    seats: BTreeMap<u32, Arc<Seat>>,
    /// At most two of each partition: a loss, and a gain behind it.
    changes: VecDeque<SeatChange>,
    /// The trouble that was told last, while it lasts.
    told: Option<String>,
    is_closed: bool,
}

impl Seats {
    pub(super) fn new(membership: GroupMembership, waits: bool) -> Self {
        let (changed, look, waiters) = (Notify::new(), Notify::new(), Notify::new());
        Self { membership, waits, table: Mutex::default(), changed, look, waiters }
    }

    /// Takes in which partitions are this member's now.
    pub(super) fn settle(&self, given: &BTreeMap<u32, GivenPartition>) {
        let mut table = self.table.lock();
        table.told = None;
        if !table.is_closed {
            table.settle(given);
        }
        drop(table);
        self.changed.notify_one();
    }

    /// Takes the partitions back of which `is_lost` says so.
    pub(super) fn lose(&self, is_lost: impl Fn(&Seat) -> bool) {
        let mut table = self.table.lock();
        let lost: Vec<_> = table.seats.values().filter(|seat| is_lost(seat)).cloned().collect();
        lost.iter().for_each(|seat| table.lose(seat));
        drop(table);
        self.changed.notify_one();
    }

    /// Takes those back that somebody else may have got by now, for all that is known.
    pub(super) fn lose_unsafe(&self) {
        let Some(session) = &self.membership.session else { return };
        let generation = self.membership.client.connection.generation();
        self.lose(|seat| {
            let tag = seat.state.lock().given.tag;
            tag.is_none_or(|tag| session.holdings.is_unsafe(seat.partition, tag, generation))
        });
    }

    /// Tells of trouble, once while it lasts.
    pub(super) fn trouble(&self, error: ConsumeError) {
        let mut table = self.table.lock();
        let text = error.to_string();
        if table.is_closed || table.told.as_ref() == Some(&text) {
            return;
        }
        table.told = Some(text);
        table.changes.retain(|change| !matches!(change, SeatChange::Trouble(_)));
        table.changes.push_back(SeatChange::Trouble(error));
        drop(table);
        self.changed.notify_one();
    }

    /// Takes everything back for good.
    pub(super) fn close(&self) {
        self.lose(|_| true);
        let mut table = self.table.lock();
        table.is_closed = true;
        table.changes.clear();
    }

    /// Waits for the next change; one caller at a time.
    pub(super) async fn next_change(&self) -> SeatChange {
        loop {
            let change = self.table.lock().changes.pop_front();
            match change {
                Some(change) => return change,
                None => self.changed.notified().await,
            }
        }
    }

    /// The readers that wait for messages, each with its place.
    pub(super) fn waiting(&self) -> Vec<(Arc<Seat>, u64, Life)> {
        let table = self.table.lock();
        let waiting = table.seats.values().filter_map(|seat| {
            let (next, life) = seat.state.lock().waits_at?;
            Some((Arc::clone(seat), next, life))
        });
        waiting.collect()
    }

    /// Resolves when a look at what is held is asked for.
    pub(super) async fn look_asked(&self) {
        self.look.notified().await;
    }

    /// Resolves when readers began to wait, or stopped.
    pub(super) async fn waiters_changed(&self) {
        self.waiters.notified().await;
    }
}

impl SeatTable {
    fn settle(&mut self, given: &BTreeMap<u32, GivenPartition>) {
        let seats: Vec<_> = self.seats.values().cloned().collect();
        for seat in seats {
            let mut state = seat.state.lock();
            match given.get(&seat.partition) {
                _ if state.is_lost => {}
                Some(now) if now.tag == state.given.tag => {}
                // It was purged, and is held anew for that: its reader finds out by the life, whoever had it in between.
                Some(now) if now.life.differs_from(state.given.life) => {
                    state.given = *now;
                    drop(state);
                    seat.news.notify_waiters();
                }
                _ => {
                    drop(state);
                    self.lose(&seat);
                }
            }
        }
        self.seats.retain(|_, seat| !seat.state.lock().is_dropped);
        for (partition, given) in given {
            if self.seats.contains_key(partition) {
                continue;
            }
            let seat = Arc::new(Seat::new(*partition, *given));
            self.seats.insert(*partition, Arc::clone(&seat));
            self.changes.push_back(SeatChange::Gained(seat));
        }
    }

    fn lose(&mut self, seat: &Arc<Seat>) {
        let mut state = seat.state.lock();
        if std::mem::replace(&mut state.is_lost, true) {
            return;
        }
        let changes = self.changes.len();
        let is_this = |change: &SeatChange| matches!(change, SeatChange::Gained(gained) if Arc::ptr_eq(gained, seat));
        self.changes.retain(|change| !is_this(change));
        assert!(self.changes.len() + 1 >= changes, "a seat is gained once");
        // What the program was not told of has no reader.
        state.is_dropped |= self.changes.len() < changes;
        if !state.is_dropped {
            self.changes.push_back(SeatChange::Lost(seat.partition));
        }
        drop(state);
        seat.news.notify_waiters();
    }
}

/// A reader's hold on its partition; dropping it gives the partition back.
#[derive(Debug)]
pub(super) struct Chair {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
}

impl Chair {
    pub(super) fn new(seats: Arc<Seats>, seat: Arc<Seat>) -> Self {
        assert!(!seat.state.lock().is_dropped, "a partition that was gained has one reader");
        Self { seats, seat }
    }

    pub(super) fn partition(&self) -> u32 {
        self.seat.partition
    }

    /// The life the partition was in when it was given out.
    pub(super) fn life(&self) -> Life {
        self.seat.life()
    }

    /// Whether somebody waits for messages in its place.
    pub(super) fn waits(&self) -> bool {
        self.seats.waits
    }

    /// Asks for a look at what is held.
    pub(super) fn ask(&self) {
        self.seats.look.notify_one();
    }

    /// Whether the program may still read.
    pub(super) fn check(&self) -> Result<(), ConsumeError> {
        match self.seat.is_lost() {
            true => Err(self.seat.lost()),
            false => Ok(()),
        }
    }

    /// Returns when it is known that the partition is this member's to read.
    pub(super) async fn confirm(&self) -> Result<(), ConsumeError> {
        loop {
            let news = self.seat.news.notified();
            tokio::pin!(news);
            // From here on nothing is missed.
            news.as_mut().enable();
            self.check()?;
            tokio::select! {
                standing = self.standing() => match standing {
                    Standing::Held => return Ok(()),
                    // What became of it is found out by the next look.
                    Standing::Lost | Standing::Unsure => {
                        self.ask();
                        news.await;
                    }
                },
                () = &mut news => {}
            }
        }
    }

    /// Returns when it is known that nobody else has the partition yet, though it may be on its way.
    pub(super) async fn confirm_held(&self) -> Result<(), ConsumeError> {
        loop {
            let news = self.seat.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.is_unsafe() {
                // It is not waited for what is lost already, and may stay unknown for long.
                self.check()?;
            }
            tokio::select! {
                standing = self.standing() => match standing {
                    Standing::Held => return Ok(()),
                    Standing::Lost | Standing::Unsure => self.check()?,
                },
                () = &mut news => continue,
            }
            self.ask();
            news.await;
        }
    }

    /// Whether somebody else may have got the partition by now, for all that is known.
    fn is_unsafe(&self) -> bool {
        let membership = &self.seats.membership;
        let Some(session) = &membership.session else { return false };
        let (tag, generation) =
            (self.seat.state.lock().given.tag, membership.client.connection.generation());
        tag.is_none_or(|tag| session.holdings.is_unsafe(self.seat.partition, tag, generation))
    }

    /// How the partition stands, once that is known.
    async fn standing(&self) -> Standing {
        let Some(session) = &self.seats.membership.session else { return Standing::Held };
        let connection = &self.seats.membership.client.connection;
        poll_fn(|context| {
            let Some(tag) = self.seat.state.lock().given.tag else {
                return Poll::Ready(Standing::Lost);
            };
            let generation = connection.generation();
            match session.holdings.standing(self.seat.partition, tag, generation, context) {
                Standing::Unsure => Poll::Pending,
                standing => Poll::Ready(standing),
            }
        })
        .await
    }

    /// Waits until there may be messages from an offset on, or the reader has to look for another reason.
    pub(super) async fn wait(&self, next: u64, life: Life) {
        let news = self.seat.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let Some(waiting) = self.begin_wait(next, life) else { return };
        self.seats.waiters.notify_one();
        news.await;
        drop(waiting);
    }

    /// `None` when there is nothing to wait for any longer.
    fn begin_wait(&self, next: u64, life: Life) -> Option<WaitingReader<'_>> {
        let mut state = self.seat.state.lock();
        if state.is_lost {
            return None;
        }
        assert!(state.waits_at.is_none(), "a reader waits at one place at a time");
        state.waits_at = Some((next, life));
        Some(WaitingReader(self))
    }
}

impl Drop for Chair {
    fn drop(&mut self) {
        let mut state = self.seat.state.lock();
        state.is_dropped = true;
        if state.is_lost {
            // It may have come back already.
            self.ask();
        }
    }
}

/// A reader that waits; dropped, it waits no longer.
struct WaitingReader<'a>(&'a Chair);

impl Drop for WaitingReader<'_> {
    fn drop(&mut self) {
        self.0.seat.state.lock().waits_at = None;
        self.0.seats.waiters.notify_one();
    }
}

#[cfg(test)]
mod tests;
