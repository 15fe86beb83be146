//! What a member of a group holds, and until when nobody else gets it.
//!
//! Part of INV-HOLD: a message is handed out only while its partition is held as it was when the message was asked
//! for; what is fetched of a partition that was lost is dropped.
//!
//! What the server tells is good for a while from when it was asked, so a program that was stopped finds out
//! by the clock that it has to ask again.

use std::collections::BTreeMap;
use std::task::{Context, Waker};
use std::time::Duration;

use galgo_wire::command::GroupHolds;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::groups::SESSION;

/// The longest time between two renewals; the usual one is a third of what the server says is safe.
const RENEWAL_MAX: Duration = Duration::from_secs(10);
/// The shortest.
const RENEWAL_MIN: Duration = Duration::from_millis(100);
const _: () = assert!(
    RENEWAL_MIN.as_millis() < RENEWAL_MAX.as_millis()
        && RENEWAL_MAX.as_secs() * 3 <= SESSION.as_secs(),
    "INV-HOLD: a membership is renewed three times before it ends"
);

/// Under what hold of its partition a batch was asked for: that which is known since this version. A hold that was
/// forgotten and is told of again is another one here, since what was fetched under it before may have been
/// dropped, and has to be fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

/// Whether a message may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody else got the partition.
    Held,
    /// Somebody else may have got it.
    Lost,
    /// The server has to be asked.
    Unsure,
}

/// What this member holds, as far as it knows.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    known: Mutex<KnownHolds>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct KnownHolds {
    /// How often the server has told.
    version: u64,
    generation: u64,
    membership: u64,
    holds: BTreeMap<u32, HeldPartition>,
    /// The least time that was said to be safe.
    safe: Option<Duration>,
    /// Who waits to be told: each task once.
    wakers: Vec<Waker>,
}

#[derive(Debug, Clone, Copy)]
struct HeldPartition {
    number: u64,
    until: Instant,
    /// The version that told of it first.
    since: u64,
}

impl Holdings {
    /// Takes in what the server told when it was asked over the connection `generation`.
    pub(super) fn take(&self, generation: u64, told: &GroupHolds, asked_at: Instant) {
        let mut known = self.known.lock();
        known.version += 1;
        if (known.generation, known.membership) != (generation, told.membership) {
            known.holds.clear();
        }
        (known.generation, known.membership) = (generation, told.membership);
        let (version, before) = (known.version, std::mem::take(&mut known.holds));
        let holds = told.holds.iter().map(|hold| {
            let partition = hold.partition_id.get();
            let same = before.get(&partition).filter(|before| before.number == hold.hold);
            let since = same.map_or(version, |same| same.since);
            // From the question on, not from its answer: that may have been on its way for long, and the server counts too.
            let until = asked_at + Duration::from_micros(hold.safe);
            (partition, HeldPartition { number: hold.hold, until, since })
        });
        known.holds = holds.collect();
        known.safe = told.holds.iter().map(|hold| Duration::from_micros(hold.safe)).min();
        known.wake();
    }

    /// Takes in that the membership is over.
    pub(super) fn forget(&self) {
        let mut known = self.known.lock();
        known.version += 1;
        known.holds.clear();
        known.wake();
    }

    /// How often the server has told what is held.
    pub(super) fn version(&self) -> u64 {
        self.known.lock().version
    }

    /// Under what messages of a partition are asked for that were asked for at `version`; `None` when nothing
    /// of that was known then.
    pub(super) fn tag(&self, partition: u32, version: u64) -> Option<Tag> {
        let known = self.known.lock();
        assert!(version <= known.version, "INV-HOLD: who asks was told before, by these holdings");
        let hold = known.holds.get(&partition).filter(|hold| hold.since <= version)?;
        Some(Tag(hold.since))
    }

    /// Whether messages of a partition that were asked for under `tag` may be handed out on the connection
    /// `generation`; when that is not known, asks, and wakes who looked.
    pub(super) fn standing(
        &self,
        partition: u32,
        tag: Tag,
        generation: u64,
        context: &Context<'_>,
    ) -> Standing {
        let mut known = self.known.lock();
        let standing = known.standing(partition, tag, generation, Instant::now());
        if standing == Standing::Unsure {
            known.wait(context.waker());
            self.asked.notify_one();
        }
        standing
    }

    /// Whether somebody else may have got a partition by now, for all that is known.
    pub(super) fn is_unsafe(&self, partition: u32, tag: Tag, generation: u64) -> bool {
        let known = self.known.lock();
        known.standing(partition, tag, generation, Instant::now()) != Standing::Held
    }

    /// The partitions that are held.
    pub(super) fn partitions(&self) -> Vec<u32> {
        self.known.lock().holds.keys().copied().collect()
    }

    /// Returns when it is time to ask the server again.
    pub(super) async fn due(&self) {
        self.due_within(RENEWAL_MAX).await;
    }

    /// As [`Holdings::due`], after `longest` at the latest.
    pub(super) async fn due_within(&self, longest: Duration) {
        let third = self.known.lock().safe.map_or(RENEWAL_MAX, |safe| safe / 3);
        tokio::select! {
            () = tokio::time::sleep(third.clamp(RENEWAL_MIN, RENEWAL_MAX).min(longest)) => {}
            () = self.asked.notified() => {}
        }
    }
}

impl KnownHolds {
    fn wait(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|waiting| waiting.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn standing(&self, partition: u32, tag: Tag, generation: u64, now: Instant) -> Standing {
        match self.holds.get(&partition) {
            None => Standing::Lost,
            Some(hold) if hold.since != tag.0 => Standing::Lost,
            // A connection that is lost has lost the membership, unless nothing came between.
            Some(_) if generation != self.generation => Standing::Unsure,
            Some(hold) if now >= hold.until => Standing::Unsure,
            Some(_) => Standing::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use galgo_wire::command::GroupHold;
    use galgo_wire::id::PartitionId;

    use super::*;

    fn told(membership: u64, holds: &[(u32, u64, u64)]) -> GroupHolds {
        let holds = holds.iter().map(|(partition, hold, safe)| {
            let partition_id = PartitionId::new(*partition);
            GroupHold { partition_id, hold: *hold, safe: *safe }
        });
        GroupHolds { membership, session: 0, holds: holds.collect() }
    }

    /// How a batch of partition 1 stands at `now` on connection 0.
    fn standing(holdings: &Holdings, tag: Tag, now: Instant) -> Standing {
        holdings.known.lock().standing(1, tag, 0, now)
    }

    #[test]
    fn what_is_fetched_is_good_while_the_partition_is_held_and_no_longer_than_that_is_known() {
        let (holdings, at) = (Holdings::default(), Instant::now());
        assert_eq!(holdings.tag(1, 0), None);
        holdings.take(0, &told(7, &[(1, 3, 1_000)]), at);
        let tag = holdings.tag(1, holdings.version()).unwrap();
        assert_eq!(standing(&holdings, tag, at), Standing::Held);
        let later = at + Duration::from_millis(1);
        assert_eq!(standing(&holdings, tag, later), Standing::Unsure, "it may have been stopped");
        holdings.take(0, &told(7, &[(1, 3, 1_000)]), later);
        assert_eq!(standing(&holdings, tag, later), Standing::Held);
        assert_eq!(holdings.known.lock().standing(1, tag, 1, later), Standing::Unsure);
        for lost in [told(7, &[]), told(7, &[(1, 4, 1_000)]), told(8, &[(1, 3, 1_000)])] {
            let holdings = Holdings::default();
            holdings.take(0, &told(7, &[(1, 3, 1_000)]), at);
            holdings.take(0, &lost, at);
            assert_eq!(standing(&holdings, tag, at), Standing::Lost, "{lost:?}");
        }
        holdings.take(1, &told(7, &[(1, 3, 1_000)]), at);
        assert_eq!(standing(&holdings, tag, at), Standing::Lost, "another connection");
    }

    /// A renewal that was refused for a moment, of a right that came back, let a batch be dropped; the fetch went on
    /// behind it under the same hold, and the group committed past messages nobody had seen.
    #[test]
    fn a_hold_that_was_forgotten_is_another_one_when_it_is_told_of_again() {
        let (holdings, at) = (Holdings::default(), Instant::now());
        let same = told(7, &[(1, 3, 1_000)]);
        holdings.take(0, &same, at);
        let tag = holdings.tag(1, holdings.version()).unwrap();
        holdings.forget();
        assert_eq!(standing(&holdings, tag, at), Standing::Lost);
        holdings.take(0, &same, at);
        assert_ne!(holdings.tag(1, holdings.version()), Some(tag));
        assert_eq!(standing(&holdings, tag, at), Standing::Lost);
    }

    #[test]
    fn what_was_asked_for_before_a_hold_was_known_is_not_of_it() {
        let (holdings, at) = (Holdings::default(), Instant::now());
        holdings.take(0, &told(7, &[(1, 3, 1_000)]), at);
        let before = holdings.version();
        holdings.take(0, &told(7, &[(1, 3, 1_000), (2, 5, 1_000)]), at);
        assert!(holdings.tag(1, before).is_some());
        assert_eq!(holdings.tag(2, before), None);
        assert!(holdings.tag(2, holdings.version()).is_some());
    }
}
