//! The memory all connections together may use for requests being received, and the share of each user.
//!
//! A request takes its share as its bytes arrive, so whoever only announces a large one takes little.
//! That way requests that are half received may hold what each other needs; so a part of every pool is
//! kept back for one request at a time, the last resort, which may then grow to its end.
//!
//! INV-BUDGET: a receive buffer above the size every connection has anyway is covered by a grant for as
//! long as it exists.
//! INV-LAST-RESORT: whoever has the last resort of all connections waits for nothing any more; whoever
//! has that of a user waits for others only. So there is always a request that can be received whole.
//! INV-FAIR: a user's requests never cover more than the user's share, the last resort aside.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use galgo_wire::id::UserId;
use galgo_wire::index::{to_u32, to_usize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::BUFFER_BYTES_IDLE;

/// Bytes of one unit of the budget; semaphores count in 32 bits at a time.
const UNIT_BYTES: u64 = 4 << 10;
const _: () = assert!(
    UNIT_BYTES as usize >= BUFFER_BYTES_IDLE,
    "what a unit rounds up to is no more than a connection has anyway"
);

/// Most units of a pool, 16 TiB; of more, so much is used. A request for more waits for the last resort.
const UNITS_MAX: u64 = u32::MAX as u64;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BudgetBytes {
    /// For all connections together.
    pub(crate) all: u64,
    /// For the connections of one user.
    pub(crate) user: u64,
    /// Largest request, which is what the last resort holds.
    pub(crate) request: u64,
}

/// A pool of bytes.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    all: Arc<Pool>,
    bytes: BudgetBytes,
    of_strangers: bool,
    users: Arc<Mutex<HashMap<UserId, Weak<Pool>>>>,
}

/// What one connection draws on.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    all: Arc<Pool>,
    user: Option<(UserId, Arc<Pool>)>,
    of_strangers: bool,
}

/// A share of the pools, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    user: Share,
    /// Where the user's share is from. Kept, so that it counts until it is given back, even when the
    /// connection has gone on to another user or is gone.
    user_pool: Option<Arc<Pool>>,
    all: Share,
}

#[derive(Debug)]
struct Pool {
    shared: Arc<Semaphore>,
    shared_units: u32,
    last_resort: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Share {
    units: u32,
    permit: Option<OwnedSemaphorePermit>,
    last_resort: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Pools of these sizes.
    pub(crate) fn new(bytes: BudgetBytes) -> Self {
        let all = Arc::new(Pool::new(bytes.all, bytes.request));
        Self { all, bytes, of_strangers: false, users: Arc::default() }
    }

    /// What all peers that are not logged in have together, whatever they come over. The largest of their requests
    /// has `request` bytes.
    pub(crate) fn of_strangers(bytes: u64, request: u64) -> Self {
        let bytes = BudgetBytes { all: bytes, user: bytes, request };
        Self { of_strangers: true, ..Self::new(bytes) }
    }

    /// What a connection of `user` draws on; one without a user has the limits of all only.
    pub(crate) fn allowance(&self, user: Option<UserId>) -> Allowance {
        let user = user.map(|id| (id, self.pool_of(id)));
        Allowance { all: Arc::clone(&self.all), user, of_strangers: self.of_strangers }
    }

    /// Takes `bytes` for `user` at once, waiting in line until they are free. More than there is takes
    /// all there is.
    pub(crate) async fn take(&self, user: Option<UserId>, bytes: usize) -> Grant {
        let mut grant = Grant::default();
        self.allowance(user).grow(&mut grant, bytes).await;
        grant
    }

    /// Takes `bytes` if they are free now, the last resort aside.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Grant> {
        let mut grant = Grant::default();
        let taken = self.allowance(None).try_grow(&mut grant, bytes);
        (taken && !grant.is_last_resort()).then_some(grant)
    }

    fn pool_of(&self, user: UserId) -> Arc<Pool> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = users.get(&user).and_then(Weak::upgrade) {
            return pool;
        }
        // Users come and go with their connections; a login is when there is time to tidy up.
        users.retain(|_, pool| pool.strong_count() > 0);
        let pool = Arc::new(Pool::new(self.bytes.user, self.bytes.request));
        users.insert(user, Arc::downgrade(&pool));
        pool
    }
}

impl Allowance {
    /// Whose connection it is for.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.user.as_ref().map(|(id, _)| *id)
    }

    /// Whether it is for a peer that is not logged in.
    pub(crate) fn is_of_stranger(&self) -> bool {
        self.of_strangers
    }

    /// Lets `grant` cover `bytes` if that is possible now.
    pub(crate) fn try_grow(&self, grant: &mut Grant, bytes: usize) -> bool {
        let units = units_of(bytes);
        if let Some(user) = self.user_pool(grant)
            && !user.try_add(&mut grant.user, units)
        {
            return false;
        }
        self.all.try_add(&mut grant.all, units)
    }

    /// Lets `grant` cover `bytes`, waiting in line until that is possible.
    pub(crate) async fn grow(&self, grant: &mut Grant, bytes: usize) {
        let units = units_of(bytes);
        if let Some(user) = self.user_pool(grant) {
            user.add(&mut grant.user, units).await;
        }
        self.all.add(&mut grant.all, units).await;
    }

    /// Lets `grant` cover no more than `bytes`, and gives back what it covered beyond them.
    pub(crate) fn shrink(&self, grant: &mut Grant, bytes: usize) {
        let units = units_of(bytes);
        if let Some(user) = &grant.user_pool {
            user.shrink(&mut grant.user, units);
        }
        // The share of the user did not grow while the last resort of all made up for it, and still must.
        let is_beyond = grant.user_pool.is_some() && grant.user.units < units;
        if !(is_beyond && grant.all.last_resort.is_some()) {
            self.all.shrink(&mut grant.all, units);
        }
    }

    /// Whether so much is taken that idle buffers should be given back at once.
    pub(crate) fn is_tight(&self) -> bool {
        self.all.is_tight() || self.user.as_ref().is_some_and(|(_, pool)| pool.is_tight())
    }

    /// The user's pool, as long as it counts: whoever has the last resort of all goes through.
    ///
    /// A grant that an earlier user of the connection has a share in becomes this user's as a whole.
    fn user_pool(&self, grant: &mut Grant) -> Option<&Pool> {
        let (_, pool) = self.user.as_ref()?;
        if grant.all.last_resort.is_some() {
            return None;
        }
        if !grant.user_pool.as_ref().is_some_and(|own| Arc::ptr_eq(own, pool)) {
            grant.user = Share::default();
            grant.user_pool = Some(Arc::clone(pool));
        }
        Some(pool)
    }
}

impl Grant {
    /// Whether it covers nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.units == 0
    }

    /// Whether others wait for nothing but its end.
    pub(crate) fn is_last_resort(&self) -> bool {
        self.all.last_resort.is_some() || self.user.last_resort.is_some()
    }
}

impl Pool {
    fn new(bytes: u64, kept_back: u64) -> Self {
        let units = bytes.saturating_sub(kept_back) / UNIT_BYTES;
        let shared_units = to_u32(units.min(UNITS_MAX));
        let permits = to_usize(shared_units);
        Self {
            shared: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            shared_units,
            last_resort: Arc::new(Semaphore::new(1)),
        }
    }

    fn try_add(&self, share: &mut Share, units: u32) -> bool {
        share.leave_other_than(self);
        let more = units.saturating_sub(share.units);
        // Whoever has the last resort has a claim on nothing else: what is shared is for those who wait.
        if more > 0 && share.last_resort.is_none() {
            if let Ok(permit) = Arc::clone(&self.shared).try_acquire_many_owned(more) {
                share.merge(permit);
            } else if let Ok(permit) = Arc::clone(&self.last_resort).try_acquire_owned() {
                share.last_resort = Some(permit);
            } else {
                return false;
            }
        }
        share.units = share.units.max(units);
        assert!(share.is_covered(), "INV-BUDGET: more is granted than was taken");
        true
    }

    async fn add(&self, share: &mut Share, units: u32) {
        share.leave_other_than(self);
        let more = units.saturating_sub(share.units);
        if more > 0 && share.last_resort.is_none() {
            let shared = async {
                if more > self.shared_units {
                    return pending().await;
                }
                Arc::clone(&self.shared).acquire_many_owned(more).await
            };
            tokio::select! {
                // What is shared first: the last resort is one request's, and all others wait for its end.
                biased;
                Ok(permit) = shared => share.merge(permit),
                Ok(permit) = Arc::clone(&self.last_resort).acquire_owned() => {
                    share.last_resort = Some(permit);
                }
                else => unreachable!("the semaphores are never closed"),
            }
        }
        share.units = share.units.max(units);
        assert!(share.is_covered(), "INV-BUDGET: more is granted than was taken");
    }

    /// The last resort goes back as well, unless nothing else is there to cover `units`.
    fn shrink(&self, share: &mut Share, units: u32) {
        if share.units <= units {
            return;
        }
        let covered = share.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = units.saturating_sub(to_u32(covered));
        if share.last_resort.is_some() {
            if missing == 0 {
                share.last_resort = None;
            } else if let Ok(permit) = Arc::clone(&self.shared).try_acquire_many_owned(missing) {
                share.merge(permit);
                share.last_resort = None;
            }
        }
        if let Some(permit) = &mut share.permit {
            drop(permit.split(covered.saturating_sub(units as usize)));
        }
        share.units = units;
        assert!(share.is_covered(), "INV-BUDGET: more was given back than is free");
    }

    fn is_tight(&self) -> bool {
        self.last_resort.available_permits() == 0
            || self.shared.available_permits() < self.shared_units as usize / 4
    }
}

impl Share {
    /// Whether what it grants was taken from a pool.
    fn is_covered(&self) -> bool {
        let taken = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.last_resort.is_some() || taken >= to_usize(self.units)
    }

    /// Gives back what is of another pool: that of the user who was logged in before.
    fn leave_other_than(&mut self, pool: &Pool) {
        let is_other = |permit: &Option<OwnedSemaphorePermit>, own: &Arc<Semaphore>| {
            permit.as_ref().is_some_and(|permit| !Arc::ptr_eq(permit.semaphore(), own))
        };
        if is_other(&self.permit, &pool.shared) || is_other(&self.last_resort, &pool.last_resort) {
            *self = Self::default();
        }
    }

    fn merge(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(own) => own.merge(permit),
            None => self.permit = Some(permit),
        }
    }
}

fn units_of(bytes: usize) -> u32 {
    to_u32((bytes as u64).div_ceil(UNIT_BYTES).min(UNITS_MAX))
}

#[cfg(test)]
mod tests;
