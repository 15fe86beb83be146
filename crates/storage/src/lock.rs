//! Locks with ranks: the order in which they are taken is a type's, and a debug build checks it.
//!
//! INV-LOCK-ORDER: a thread takes a lock only while all it holds are of lower ranks. So no two threads wait for each
//! other, whatever runs beside what. Every lock of the broker and of the storage under it, but for the simulated disk's, has a
//! rank in [`RANKS`];
//! a debug build, as all tests are, keeps the ranks that a thread holds and stops at the first that does not fit.
//! Release builds keep nothing: there a lock is what it wraps.

use std::fmt;
use std::ops::{Deref, DerefMut};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// The number: a lock may be taken under all of lower ones.
    pub number: u8,
    /// Its name here.
    pub name: &'static str,
    /// What it guards.
    pub guards: &'static str,
}

macro_rules! ranks {
    ($($number:literal $name:ident $guards:literal;)*) => {
        /// The numbers of the ranks, by name.
        pub mod rank {
            $(#[doc = $guards]
            pub const $name: u8 = $number;)*
        }

        /// All ranks, those that are taken first before the others.
        pub const RANKS: &[Rank] = &[$(Rank { number: $number, name: stringify!($name), guards: $guards }),*];
    };
}

ranks! {
    10 REMOVING "one removal of deleted partitions' files at a time";
    12 METADATA_LOG "one change of the metadata at a time";
    14 CHECKPOINTER "a shard's last checkpoint, over the next one";
    16 CATALOG "the metadata and the open partitions it names";
    18 CLIENTS "who is connected, and which groups it is in";
    20 GROUP "the members and positions of a consumer group";
    22 LOADING "one reading of a partition's message ids at a time";
    24 SYNCING "one sync of a partition's segments at a time, and what follows from it";
    26 WRITER "the end of a partition's log";
    28 RESCUE "how a partition comes to take writes again";
    30 COMMITS "what a partition has staged and not published, and who waits for it";
    32 OFFSETS "the consumers' positions in a partition";
    38 TOUCHED "members of a shard that the next checkpoint looks at";
    40 INDEX_TAIL "the part of an index that is not in its file yet";
    42 LOG_STATE "which segments a log has";
    44 LOG_HANDLES "the files of a log that are kept open";
    46 INDEX_CACHE "indexes in memory";
    48 FILE_SLOT "one open file";
    50 FILE_RING "which files are open, oldest first";
    52 FILE_FAILURE "why a file could not be synced";
    60 JOURNAL "the journal's files, over a commit";
    62 JOURNAL_LIST "which journal files there are";
    64 FEATURES "the names of the formats in use";
    70 INTAKE "what is staged in a shard";
    71 SYNCS "members of a shard that wait for a sync";
    73 DROPPED "segments whose files are to be removed";
    74 RESCUES "members of a shard that are to be tried again";
    75 CHECKPOINT_ASKED "whether a checkpoint was asked for";
    76 REMOVALS "whether files are to be removed";
    80 LOG_NAME "what a partition is called";
    82 VAULT_MARKER "which keys are on record";
    84 VAULT_TOLD "which missing keys were told";
    86 THROTTLE "failed logins";
    88 TRAIL "refusals that are still to be told";
    90 CLOCK "the time retention goes by";
    92 HELD_BACK "what retention could not give up, and was told";
    94 PROCESS "the last reading of the processor's time";
    96 SETTINGS "what a carrier has set: addresses, sources of an archive";
}

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    fn name(number: u8) -> &'static str {
        super::RANKS.iter().find(|rank| rank.number == number).map_or("?", |rank| rank.name)
    }

    /// Told before a lock is waited for, so that what would hang is told as well.
    pub(super) fn take(rank: u8) {
        HELD.with_borrow_mut(|held| {
            let above = held.iter().copied().find(|held| *held >= rank);
            assert!(
                above.is_none(),
                "INV-LOCK-ORDER: {} is taken while {} is held",
                name(rank),
                above.map_or("", name)
            );
            held.push(rank);
        });
    }

    pub(super) fn let_go(rank: u8) {
        HELD.with_borrow_mut(|held| {
            let place = held.iter().rposition(|held| *held == rank);
            assert!(place.is_some(), "INV-LOCK-ORDER: {} is let go of by who took it", name(rank));
            place.map(|place| held.remove(place));
        });
    }
}

#[cfg(not(debug_assertions))]
mod held {
    pub(super) const fn take(_: u8) {}
    pub(super) const fn let_go(_: u8) {}
}

/// A mutex of a rank.
#[derive(Default)]
pub struct Ranked<const RANK: u8, T>(Mutex<T>);

/// A lock of a rank that many may read under at once; a thread that reads counts as holding it.
#[derive(Default)]
pub struct RankedRw<const RANK: u8, T>(RwLock<T>);

/// A lock that is held.
pub struct RankedGuard<const RANK: u8, G>(G);

/// What [`Ranked::lock`] gives.
pub type Held<'a, const RANK: u8, T> = RankedGuard<RANK, MutexGuard<'a, T>>;

impl<const RANK: u8, T> Ranked<RANK, T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// In debug builds, when the thread holds one that comes behind it (INV-LOCK-ORDER).
    pub fn lock(&self) -> Held<'_, RANK, T> {
        held::take(RANK);
        RankedGuard(self.0.lock())
    }

    /// The lock, if nobody holds it.
    ///
    /// # Panics
    /// As [`Ranked::lock`].
    pub fn try_lock(&self) -> Option<Held<'_, RANK, T>> {
        let guard = self.0.try_lock()?;
        // Behind it, unlike in `lock`: one that is not got is not held, and nobody waits.
        held::take(RANK);
        Some(RankedGuard(guard))
    }

    /// What is inside, of whoever owns it alone.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<const RANK: u8, T> RankedRw<RANK, T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Waits until nobody writes.
    ///
    /// # Panics
    /// As [`Ranked::lock`]; reading twice at once is none of both: who waits to write between them never gets there.
    pub fn read(&self) -> RankedGuard<RANK, RwLockReadGuard<'_, T>> {
        held::take(RANK);
        RankedGuard(self.0.read())
    }

    /// Waits until nobody reads or writes.
    ///
    /// # Panics
    /// As [`Ranked::lock`].
    pub fn write(&self) -> RankedGuard<RANK, RwLockWriteGuard<'_, T>> {
        held::take(RANK);
        RankedGuard(self.0.write())
    }

    /// The lock for writing, if nobody reads or writes.
    ///
    /// # Panics
    /// As [`Ranked::lock`].
    pub fn try_write(&self) -> Option<RankedGuard<RANK, RwLockWriteGuard<'_, T>>> {
        let guard = self.0.try_write()?;
        held::take(RANK);
        Some(RankedGuard(guard))
    }

    /// What is inside, of whoever owns it alone.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<const RANK: u8, T> Held<'_, RANK, T> {
    /// Lets go of the lock, waits for `condvar`, and takes it again.
    pub fn wait(&mut self, condvar: &Condvar) {
        condvar.wait(&mut self.0);
    }

    /// As [`Held::wait`], for no longer than `most`.
    pub fn wait_for(&mut self, condvar: &Condvar, most: std::time::Duration) {
        condvar.wait_for(&mut self.0, most);
    }
}

impl<const RANK: u8, G: Deref> Deref for RankedGuard<RANK, G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.0
    }
}

impl<const RANK: u8, G: DerefMut> DerefMut for RankedGuard<RANK, G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.0
    }
}

impl<const RANK: u8, G> Drop for RankedGuard<RANK, G> {
    fn drop(&mut self) {
        held::let_go(RANK);
    }
}

impl<const RANK: u8, T: fmt::Debug> fmt::Debug for Ranked<RANK, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const RANK: u8, T: fmt::Debug> fmt::Debug for RankedRw<RANK, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn is_refused(take: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(take)).is_err()
    }

    #[test]
    fn ranks_are_in_their_order_and_named_once() {
        assert!(RANKS.is_sorted_by(|before, after| before.number < after.number));
        for (index, rank) in RANKS.iter().enumerate() {
            assert!(RANKS.iter().skip(index + 1).all(|other| other.name != rank.name));
        }
    }

    #[test]
    fn the_architecture_tells_the_order() {
        let text = include_str!("../../../ARCHITECTURE.md");
        let names: Vec<&str> = RANKS.iter().map(|rank| rank.name).collect();
        let block =
            text.split("## The order of locks").nth(1).and_then(|rest| rest.split("```").nth(1));
        let told = block.unwrap_or_default().replace('<', " ");
        assert_eq!(told.split_whitespace().collect::<Vec<_>>(), names);
    }

    /// INV-LOCK-ORDER.
    #[test]
    fn a_lock_is_taken_under_lower_ones_only() {
        let writer = Ranked::<{ rank::WRITER }, _>::new(1);
        let commits = Ranked::<{ rank::COMMITS }, _>::new(2);
        let other = Ranked::<{ rank::WRITER }, _>::new(3);
        let held = (writer.lock(), commits.lock());
        assert_eq!((*held.0, *held.1), (1, 2));
        assert!(is_refused(|| drop(other.lock())), "of one rank one at a time");
        assert!(is_refused(|| drop(other.try_lock())));
        drop(held);
        let held = commits.lock();
        assert!(is_refused(|| drop(writer.lock())));
        drop(held);
        // Whatever was refused is not held.
        drop((writer.lock(), commits.lock()));
    }

    #[test]
    fn who_reads_holds_the_lock_as_well() {
        let catalog = RankedRw::<{ rank::CATALOG }, _>::new(0);
        let removing = Ranked::<{ rank::REMOVING }, _>::new(());
        let reading = catalog.read();
        assert!(is_refused(|| drop(catalog.read())));
        assert!(is_refused(|| drop(removing.lock())));
        drop(reading);
        *catalog.write() += 1;
        assert_eq!(*catalog.read(), 1);
    }

    #[test]
    fn locks_are_let_go_of_in_any_order() {
        let writer = Ranked::<{ rank::WRITER }, _>::new(());
        let commits = Ranked::<{ rank::COMMITS }, _>::new(());
        let (first, second) = (writer.lock(), commits.lock());
        drop(first);
        assert!(is_refused(|| drop(writer.lock())), "the later one is still held");
        drop(second);
        drop(writer.lock());
    }
}
