//! Positions of the consumers of one partition by owner, with when and by whom they were stored.
//!
//! INV-SETTLED: a checkpoint holds no change that is still on its way, so that one which is refused
//! does not take effect after a crash; and once all changes of a position have an outcome, what is
//! served is the last one that is known to be durable.
//! INV-GROUPS-FIT: places for consumers that read for themselves are counted; groups always have one, so
//! that consumers that never come back stop no group.

use std::collections::BTreeMap;
use std::ops::Bound;

use galgo_storage::checkpoint::OffsetNote;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::{ConsumerId, Offset, Timestamp};

use crate::metadata::UserMark;
use crate::shard::OffsetOwner;

/// Most consumers that read for themselves whose positions one partition keeps. Groups have places of
/// their own, one each.
pub const OFFSET_OWNERS_MAX: usize = 100_000;

/// Times that polls have moved are written down no more often than this, in microseconds, or than a quarter of the time
/// after which a position expires.
pub(crate) const ACTIVITY_US: u64 = 3_600_000_000;

/// How far somebody has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last processed offset.
    pub offset: Offset,
    /// When it was stored; zero where that was not written down, until the server has started.
    pub stored_at: Timestamp,
    /// When its owner was last seen, storing or polling.
    pub active_at: Timestamp,
    /// Who stored it, where that is known.
    pub user: Option<UserMark>,
}

/// A position, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// Whose.
    pub owner: OffsetOwner,
    /// How far it has come.
    pub position: Position,
}

/// Positions by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetBook {
    stored: BTreeMap<OffsetOwner, Position>,
    /// Those with changes on their way to the journal.
    unsettled: BTreeMap<OffsetOwner, Unsettled>,
    /// Consumers that read for themselves among those that are stored.
    consumers: usize,
    /// Where the log starts once what is staged is durable.
    start: Offset,
    /// Whether polls have moved times since the last look.
    moved: bool,
    /// When times that polls moved were last to be written down.
    noted_us: u64,
    /// After how long positions expire, once somebody looked.
    expire_after_us: Option<u64>,
    /// Nothing expires before this.
    quiet_until: Timestamp,
    /// When somebody was last seen before this start, as far as known.
    seen_before: Timestamp,
}

/// A position that may still turn out to be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unsettled {
    /// What is known to be durable.
    durable: Option<Position>,
    /// How many changes are on their way.
    moves: u32,
}

/// How long positions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long after it was stored a position holds messages, in microseconds; 0 not at all,
    /// `u64::MAX` for ever.
    pub hold_for_us: u64,
    /// Whether those of consumers that read for themselves do, too.
    pub consumers: bool,
}

impl Position {
    /// A position as it was written down.
    #[must_use]
    pub fn noted(offset: Offset, note: Option<OffsetNote>) -> Self {
        let unknown =
            Self { offset, stored_at: Timestamp::ZERO, active_at: Timestamp::ZERO, user: None };
        note.map_or(unknown, |note| Self {
            offset,
            stored_at: note.stored_at,
            active_at: note.active_at,
            user: (note.user != OffsetNote::NOBODY).then(|| UserMark::new(note.user)),
        })
    }

    /// What is written down of it besides the offset.
    #[must_use]
    pub fn note(&self) -> OffsetNote {
        OffsetNote {
            stored_at: self.stored_at,
            active_at: self.active_at,
            user: self.user.map_or(OffsetNote::NOBODY, UserMark::get),
        }
    }
}

impl StoredPosition {
    fn of(owner: &OffsetOwner, position: &Position) -> Self {
        Self { owner: *owner, position: *position }
    }
}

impl Hold {
    /// The classic rule: every position holds messages for ever.
    pub const ALL: Self = Self { hold_for_us: u64::MAX, consumers: true };

    /// The first owner in their order whose position may hold messages; `None` when nobody's does.
    fn first(&self) -> Option<OffsetOwner> {
        let kind = if self.consumers { ConsumerKind::Consumer } else { ConsumerKind::Group };
        (self.hold_for_us > 0).then_some(OffsetOwner { kind, id: ConsumerId::new(0) })
    }

    /// Until when a position holds messages: zero if it does not, `u64::MAX` for ever.
    #[must_use]
    pub fn until(&self, owner: OffsetOwner, position: &Position) -> Timestamp {
        let holds = self.consumers || owner.kind == ConsumerKind::Group;
        match self.hold_for_us {
            0 => Timestamp::ZERO,
            _ if !holds => Timestamp::ZERO,
            hold_for_us => Timestamp::new(position.stored_at.get().saturating_add(hold_for_us)),
        }
    }
}

impl OffsetBook {
    /// The stored offset of `owner`.
    #[must_use]
    pub fn get(&self, owner: OffsetOwner) -> Option<Offset> {
        self.stored.get(&owner).map(|position| position.offset)
    }

    /// The position of `owner`.
    #[must_use]
    pub fn position(&self, owner: OffsetOwner) -> Option<&Position> {
        self.stored.get(&owner)
    }

    /// Where `owner` has come to, now that it polls.
    pub(crate) fn seen(&mut self, owner: OffsetOwner, now: Timestamp) -> Option<Offset> {
        let due_us = self.noted_us.saturating_add(self.activity_us());
        let position = self.stored.get_mut(&owner)?;
        if now > position.active_at {
            position.active_at = now;
            // Not with every poll: each note has the next checkpoint look at the partition.
            if now.get() >= due_us {
                self.noted_us = now.get();
                self.moved = true;
            }
        }
        Some(position.offset)
    }

    fn activity_us(&self) -> u64 {
        ACTIVITY_US.min(self.expire_after_us.map_or(u64::MAX, |after_us| after_us / 4))
    }

    /// Applies a stored or recovered position.
    pub fn set(&mut self, owner: OffsetOwner, position: Position) {
        self.put(owner, Some(position));
    }

    /// Forgets a position; tells whether there was one.
    pub fn remove(&mut self, owner: OffsetOwner) -> bool {
        // Outcomes that are still to come find nobody, and do not bring the position back.
        self.unsettled.remove(&owner);
        self.put(owner, None).is_some()
    }

    /// Brings positions beyond the end of a recovered log back to its last offset; with an empty
    /// log there is nothing a position could mean.
    ///
    /// So it is with those that a refusal would bring back: a log that comes online after all may have changes of
    /// positions on their way.
    pub fn clamp(&mut self, end: Offset) {
        let Some(last) = end.get().checked_sub(1) else {
            self.stored.clear();
            self.consumers = 0;
            // Their outcomes are still to come, and are to find them.
            self.unsettled.values_mut().for_each(|unsettled| unsettled.durable = None);
            return;
        };
        for position in self.all_mut() {
            position.offset = position.offset.min(Offset::new(last));
        }
    }

    /// The position that is farthest on.
    #[must_use]
    pub fn largest(&self) -> Option<Offset> {
        self.stored.values().map(|position| position.offset).max()
    }

    /// Begins to count the time of positions whose time was not written down.
    pub fn begin(&mut self, now: Timestamp) {
        let seen = self.stored.values().map(|position| position.active_at).max();
        self.seen_before = seen.unwrap_or(Timestamp::ZERO);
        for position in self.stored.values_mut() {
            // By a time of zero it would be too old to hold messages, and expire at the first look.
            if position.stored_at == Timestamp::ZERO {
                (position.stored_at, position.active_at) = (now, now);
            }
        }
    }

    /// When somebody was last seen before this start; zero where no time was noted. What [`OffsetBook::begin`]
    /// fills in is the time of the start, and says nothing about whether the clock is right.
    pub(crate) fn seen_before(&self) -> Timestamp {
        self.seen_before
    }

    /// Takes note that the time positions are stored at has leapt by so many microseconds, to `now`: they were stored
    /// and seen that much later than it was said then. Tells whether there are any.
    pub(crate) fn leap(&mut self, by_us: u64, now: Timestamp) -> bool {
        let mut any = false;
        for position in self.all_mut() {
            any = true;
            for time in [&mut position.stored_at, &mut position.active_at] {
                // Never behind `now`: what was stored since the leap has the new time already.
                *time = Timestamp::new(time.get().saturating_add(by_us)).min(now);
            }
        }
        self.moved |= any;
        any
    }

    /// Lets go of users that do not exist any more.
    pub(crate) fn disown(&mut self, exists: &dyn Fn(UserMark) -> bool) {
        for position in self.all_mut() {
            position.user = position.user.filter(|user| exists(*user));
        }
    }

    /// Every position, also those that a refusal would bring back.
    fn all_mut(&mut self) -> impl Iterator<Item = &mut Position> {
        let durable =
            self.unsettled.values_mut().filter_map(|unsettled| unsettled.durable.as_mut());
        self.stored.values_mut().chain(durable)
    }

    /// Forgets the positions of owners for which `keep` is false; tells whether there were any.
    pub fn retain(&mut self, keep: impl Fn(OffsetOwner) -> bool) -> bool {
        let before = self.stored.len();
        self.stored.retain(|owner, _| keep(*owner));
        self.consumers = self.stored.keys().filter(|owner| is_consumer(**owner)).count();
        self.stored.len() < before
    }

    /// Whether there is no place for the position of an owner that has none.
    pub(crate) fn is_full_for(&self, owner: OffsetOwner) -> bool {
        is_consumer(owner)
            && self.consumers >= OFFSET_OWNERS_MAX
            && !self.stored.contains_key(&owner)
    }

    /// Forgets what consumers that read for themselves stored, if they were not seen for so long;
    /// returns it. Times from when the clock was ahead become `now`: nobody holds messages, or a place,
    /// until the clock has come there.
    pub(crate) fn expire(&mut self, now: Timestamp, expire_after_us: u64) -> Vec<StoredPosition> {
        self.expire_after_us = Some(expire_after_us);
        // A clock that was ahead would keep polls from being written down until it has come there again.
        self.noted_us = self.noted_us.min(now.get());
        // However far ahead the clock was at the last look, the next is no further off than this.
        let off_us = self.quiet_until.get().saturating_sub(now.get());
        if off_us > 0 && off_us <= ACTIVITY_US {
            return Vec::new();
        }
        // Whoever stores later expires later than this.
        let mut next_us = now.get().saturating_add(expire_after_us.clamp(1, ACTIVITY_US));
        let mut expired = Vec::new();
        for (owner, position) in &mut self.stored {
            position.stored_at = position.stored_at.min(now);
            position.active_at = position.active_at.min(now);
            let due_us = position.active_at.get().saturating_add(expire_after_us);
            if !is_consumer(*owner) || due_us == u64::MAX {
                continue;
            }
            if due_us > now.get() {
                next_us = next_us.min(due_us);
            } else if self.unsettled.contains_key(owner) {
                // Not while a change is on its way, which may still turn out to bring back another
                // position. It is looked at again at once.
                next_us = now.get();
            } else {
                expired.push(StoredPosition::of(owner, position));
            }
        }
        for gone in &expired {
            self.put(gone.owner, None);
        }
        // After a look at which nothing may expire, one at which it may is not to wait.
        if expire_after_us != u64::MAX {
            self.quiet_until = Timestamp::new(next_us);
        }
        expired
    }

    /// Whether polls have moved times since the last call.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Makes a change that is staged.
    pub(crate) fn stage(&mut self, owner: OffsetOwner, to: Option<Position>) {
        let before = self.put(owner, to);
        // The first of several on their way knows what is durable; those behind it are only
        // counted.
        let first = Unsettled { durable: before, moves: 0 };
        self.unsettled.entry(owner).or_insert(first).moves += 1;
    }

    /// Takes note of the outcome of a staged change: the position it made durable, or that it did not.
    /// With the last one on its way, what is served comes in line.
    pub(crate) fn settle(&mut self, owner: OffsetOwner, made: Option<Option<Position>>) {
        // A consumer that is gone for good leaves no trace.
        let Some(unsettled) = self.unsettled.get_mut(&owner) else { return };
        if let Some(made) = made {
            unsettled.durable = made;
        }
        assert!(unsettled.moves > 0, "INV-SETTLED: each change of a position has one outcome");
        unsettled.moves -= 1;
        if unsettled.moves > 0 {
            return;
        }
        let durable = unsettled.durable;
        self.unsettled.remove(&owner);
        // What was made last is served already, with all that was learned of it while it was on its way: that its
        // owner was seen, its user deleted, or the clock believed.
        if made.is_none() {
            self.put(owner, durable);
        }
    }

    /// The positions that hold messages at `now`, in the order of their owners.
    pub(crate) fn holding(
        &self,
        hold: Hold,
        now: Timestamp,
    ) -> impl Iterator<Item = StoredPosition> {
        let holding = hold.first().map(|from| self.stored.range(from..)).into_iter().flatten();
        let holding = holding.filter(move |(owner, at)| hold.until(**owner, at) > now);
        holding.map(|(owner, position)| StoredPosition::of(owner, position))
    }

    /// The smallest position of those that hold messages at `now`, counting what an unsettled one may fall
    /// back to; `None` when nobody holds any.
    #[must_use]
    pub fn smallest(&self, hold: Hold, now: Timestamp) -> Option<Offset> {
        // INV-BARRIER: what a refusal brings back holds its messages all along; those removed meanwhile would be gone.
        let durable = self.unsettled_durable();
        let durable = durable.filter(|known| hold.until(known.owner, &known.position) > now);
        self.holding(hold, now).chain(durable).map(|held| held.position.offset).min()
    }

    /// All positions behind `after`, in the order of their owners.
    pub(crate) fn behind(
        &self,
        after: Option<OffsetOwner>,
    ) -> impl Iterator<Item = StoredPosition> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.stored.range((from, Bound::Unbounded));
        behind.map(|(owner, position)| StoredPosition::of(owner, position))
    }

    /// Where the log starts, counting a move that is staged.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    pub(crate) fn set_start(&mut self, start: Offset) {
        self.start = start;
    }

    /// All positions as far as they are known to be durable, ordered by owner.
    #[must_use]
    pub fn durable_entries(&self) -> Vec<StoredPosition> {
        // INV-SETTLED: of a position with changes on their way, what is durable of it counts.
        let settled = self.stored.iter().filter(|(owner, _)| !self.unsettled.contains_key(owner));
        let mut entries: Vec<_> =
            settled.map(|(owner, position)| StoredPosition::of(owner, position)).collect();
        if !self.unsettled.is_empty() {
            entries.extend(self.unsettled_durable());
            entries.sort_unstable_by_key(|entry| entry.owner);
        }
        entries
    }

    /// What is known to be durable of the positions with changes on their way.
    fn unsettled_durable(&self) -> impl Iterator<Item = StoredPosition> {
        self.unsettled.iter().filter_map(|(owner, known)| {
            Some(StoredPosition { owner: *owner, position: known.durable? })
        })
    }

    /// How many positions are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Puts or takes away a position; returns the one that was there.
    fn put(&mut self, owner: OffsetOwner, position: Option<Position>) -> Option<Position> {
        let before = match position {
            Some(position) => self.stored.insert(owner, position),
            None => self.stored.remove(&owner),
        };
        if is_consumer(owner) {
            // Added to first: it replaces as well as it adds.
            self.consumers += usize::from(position.is_some());
            let before = usize::from(before.is_some());
            assert!(before <= self.consumers, "INV-GROUPS-FIT: consumers are counted as they come");
            self.consumers -= before;
        }
        before
    }
}

fn is_consumer(owner: OffsetOwner) -> bool {
    owner.kind == ConsumerKind::Consumer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: ConsumerKind, id: u32) -> OffsetOwner {
        OffsetOwner { kind, id: ConsumerId::new(id) }
    }

    fn at(offset: u64, time: u64) -> Position {
        let time = Timestamp::new(time);
        Position { offset: Offset::new(offset), stored_at: time, active_at: time, user: None }
    }

    fn smallest(book: &OffsetBook) -> Option<u64> {
        book.smallest(Hold::ALL, Timestamp::new(50)).map(Offset::get)
    }

    /// While a clock that was set forward had to hold, positions were stored at the time before; when it was
    /// believed, those of a moment ago were a week old, expired, and held nothing.
    #[test]
    fn positions_are_as_old_after_a_leap_of_the_time_as_before() {
        let (alone, group) = (owner(ConsumerKind::Consumer, 1), owner(ConsumerKind::Group, 1));
        let mut book = OffsetBook::default();
        book.set(alone, at(3, 100));
        book.set(group, at(4, 100));
        book.stage(group, Some(at(5, 101)));
        book.leap(1_000, Timestamp::new(u64::MAX));
        assert!(book.expire(Timestamp::new(1_110), 50).is_empty());
        book.settle(group, None);
        let hold = Hold { hold_for_us: 50, consumers: false };
        assert_eq!(book.smallest(hold, Timestamp::new(1_110)).map(Offset::get), Some(4));
        assert_eq!(book.expire(Timestamp::new(1_200), 50).len(), 1);
    }

    /// A commit on its way brought back the user it belonged to, who had been deleted: whoever read on under that
    /// name was refused to store anything. And it brought back the time before the clock was believed.
    #[test]
    fn what_is_learned_of_a_position_on_its_way_stays() {
        let (group, user) = (owner(ConsumerKind::Group, 1), UserMark::new(7));
        let mut book = OffsetBook::default();
        book.set(group, Position { user: Some(user), ..at(3, 100) });
        book.stage(group, Some(Position { user: Some(user), ..at(5, 101) }));
        book.disown(&|_| false);
        book.leap(1_000, Timestamp::new(u64::MAX));
        book.settle(group, Some(Some(Position { user: Some(user), ..at(5, 101) })));
        assert_eq!(book.position(group), Some(&at(5, 1_101)));
        book.stage(group, Some(Position { user: Some(user), ..at(9, 102) }));
        book.disown(&|_| false);
        book.settle(group, None);
        assert_eq!(book.position(group), Some(&at(5, 1_101)));
    }

    /// What a start fills in is its own time: it made a clock that was wrong look right.
    #[test]
    fn a_start_was_not_seen_before_it_began() {
        let mut book = OffsetBook::default();
        book.set(owner(ConsumerKind::Group, 1), at(3, 0));
        book.begin(Timestamp::new(500));
        assert_eq!(book.seen_before(), Timestamp::ZERO);
        book.set(owner(ConsumerKind::Group, 2), at(3, 70));
        book.begin(Timestamp::new(900));
        assert_eq!(book.seen_before(), Timestamp::new(500));
    }

    /// A log that had been offline came online with fewer messages than a position on its way had before it; refused, that
    /// came back from behind the end of the log.
    #[test]
    fn what_a_refusal_brings_back_is_in_the_log() {
        let owner = owner(ConsumerKind::Group, 1);
        for (end, expected) in [(4, Some(3)), (0, None)] {
            let mut book = OffsetBook::default();
            book.set(owner, at(9, 1));
            book.stage(owner, Some(at(2, 2)));
            book.clamp(Offset::new(end));
            book.settle(owner, None);
            assert_eq!(book.get(owner).map(Offset::get), expected);
            assert_eq!(book.durable_entries().len(), usize::from(expected.is_some()));
        }
    }

    #[test]
    fn the_smallest_position_counts_what_a_refusal_would_bring_back() {
        let owner = owner(ConsumerKind::Group, 1);
        let mut book = OffsetBook::default();
        book.set(owner, at(3, 1));
        book.stage(owner, Some(at(9, 2)));
        assert_eq!((book.get(owner), smallest(&book)), (Some(Offset::new(9)), Some(3)));
        book.settle(owner, None);
        assert_eq!((book.get(owner), smallest(&book)), (Some(Offset::new(3)), Some(3)));
        book.stage(owner, None);
        assert_eq!(smallest(&book), Some(3), "a deletion may be refused, too");
        book.settle(owner, Some(None));
        assert_eq!(smallest(&book), None);
        book.stage(owner, Some(at(2, 3)));
        book.settle(owner, Some(Some(at(2, 3))));
        assert_eq!(smallest(&book), Some(2));
    }

    #[test]
    fn positions_hold_messages_for_a_time_and_consumers_only_where_asked() {
        let mut book = OffsetBook::default();
        book.set(owner(ConsumerKind::Consumer, 7), at(1, 100));
        book.set(owner(ConsumerKind::Group, 2), at(5, 100));
        let held = |consumers, hold_for_us, now| {
            let hold = Hold { hold_for_us, consumers };
            book.smallest(hold, Timestamp::new(now)).map(Offset::get)
        };
        assert_eq!(held(false, 10, 109), Some(5));
        assert_eq!(held(false, 10, 110), None);
        assert_eq!(held(true, 10, 109), Some(1));
        assert_eq!(held(true, 10, 110), None);
        assert_eq!(held(true, 0, 100), None);
        assert_eq!(held(true, u64::MAX, u64::MAX - 1), Some(1));
    }

    #[test]
    fn consumers_that_are_not_seen_expire_and_groups_do_not() {
        let mut book = OffsetBook::default();
        let (gone, polls, group) = (
            owner(ConsumerKind::Consumer, 1),
            owner(ConsumerKind::Consumer, 2),
            owner(ConsumerKind::Group, 3),
        );
        for owner in [gone, polls, group] {
            book.set(owner, at(4, 100));
        }
        let later = Timestamp::new(100 + 2 * ACTIVITY_US);
        assert_eq!(book.seen(polls, later), Some(Offset::new(4)));
        assert!(book.take_moved() && !book.take_moved());
        assert!(book.expire(later, u64::MAX).is_empty());
        let expired = book.expire(later, ACTIVITY_US);
        assert_eq!(expired, [StoredPosition { owner: gone, position: at(4, 100) }]);
        assert_eq!((book.len(), book.consumers), (2, 1));
        let much_later = Timestamp::new(later.get() + ACTIVITY_US);
        assert_eq!(book.expire(much_later, ACTIVITY_US).len(), 1);
        assert_eq!((book.len(), book.consumers), (1, 0));
    }

    /// The time of a poll was kept to the hour, and with less than that to expire a consumer that polled all the time lost
    /// its place.
    #[test]
    fn whoever_polls_keeps_its_place_however_short_the_time_is() {
        let (mut book, short_us) = (OffsetBook::default(), 100);
        let polls = owner(ConsumerKind::Consumer, 1);
        book.set(polls, at(4, 1_000));
        let mut written_down = 0;
        for now in (1_000..5_000).step_by(10) {
            assert_eq!(book.seen(polls, Timestamp::new(now)), Some(Offset::new(4)));
            assert!(book.expire(Timestamp::new(now + 5), short_us).is_empty());
            written_down += u32::from(book.take_moved());
        }
        assert!((100..=200).contains(&written_down), "{written_down} times: a quarter of the time");
        assert_eq!(book.expire(Timestamp::new(6_000), short_us).len(), 1);
    }

    /// What is written down is what a start knows: a consumer that polls all the time expires right after one if that
    /// stopped.
    #[test]
    fn polls_are_written_down_again_when_the_clock_is_set_back() {
        let (mut book, expire_us) = (OffsetBook::default(), 8_000_000_000);
        let polls = owner(ConsumerKind::Consumer, 1);
        let (ahead, right) = (90_000_000_000_000, 80_000_000_000_000);
        book.set(polls, at(4, ahead));
        book.seen(polls, Timestamp::new(ahead + 1));
        assert!(book.take_moved());
        let mut written_down = 0;
        for minutes in 0..240 {
            let now = Timestamp::new(right + minutes * 60_000_000);
            book.expire(now, expire_us);
            book.seen(polls, now);
            written_down += u32::from(book.take_moved());
        }
        assert!((7..=9).contains(&written_down), "{written_down} times in four hours");
    }

    #[test]
    fn whoever_stores_after_a_look_expires_in_time() {
        let (mut book, short_us) = (OffsetBook::default(), 10);
        assert!(book.expire(Timestamp::new(100), short_us).is_empty());
        book.set(owner(ConsumerKind::Consumer, 1), at(4, 105));
        assert!(book.expire(Timestamp::new(114), short_us).is_empty());
        assert_eq!(book.expire(Timestamp::new(115), short_us).len(), 1);
    }

    /// The clock was ten years ahead while somebody stored an offset, and at a look. When it was right again,
    /// the group held its messages for ten years, and nothing expired.
    #[test]
    fn times_from_when_the_clock_was_ahead_are_as_old_as_the_look_that_finds_them() {
        let years_us = 10 * 365 * 24 * ACTIVITY_US;
        let (group, consumer) = (owner(ConsumerKind::Group, 1), owner(ConsumerKind::Consumer, 2));
        let mut book = OffsetBook::default();
        book.set(group, at(1, years_us));
        book.set(consumer, at(2, years_us));
        for never in [u64::MAX, 5 * ACTIVITY_US] {
            assert!(book.expire(Timestamp::new(years_us), never).is_empty());
        }
        let hold = Hold { hold_for_us: ACTIVITY_US, consumers: false };
        let now = Timestamp::new(1_000);
        assert!(book.expire(now, 5 * ACTIVITY_US).is_empty());
        assert_eq!(book.smallest(hold, now), Some(Offset::new(1)));
        let later = Timestamp::new(1_000 + ACTIVITY_US);
        assert_eq!(book.smallest(hold, later), None);
        let later = Timestamp::new(1_000 + 5 * ACTIVITY_US);
        assert_eq!(book.expire(later, 5 * ACTIVITY_US).len(), 1);
        assert_eq!(book.len(), 1, "the group keeps its place");
    }

    /// INV-GROUPS-FIT.
    #[test]
    fn a_full_book_has_a_place_for_every_group() {
        let mut book = OffsetBook::default();
        for id in 0..OFFSET_OWNERS_MAX {
            let id = u32::try_from(id).unwrap();
            book.set(owner(ConsumerKind::Consumer, id), at(0, 1));
        }
        assert!(book.is_full_for(owner(ConsumerKind::Consumer, u32::MAX)));
        assert!(!book.is_full_for(owner(ConsumerKind::Consumer, 5)));
        assert!(!book.is_full_for(owner(ConsumerKind::Group, 1)));
        book.remove(owner(ConsumerKind::Consumer, 5));
        assert!(!book.is_full_for(owner(ConsumerKind::Consumer, u32::MAX)));
    }
}
