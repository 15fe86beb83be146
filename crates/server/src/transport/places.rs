//! How many connections there may be, in all and from one address.
//!
//! INV-PLACE: a connection has a place before anything is spent on it, and gives it back when it is gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The part of an IPv6 address that tells one network from another; whoever has one address of a network
/// can have them all.
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    connections_max: u32,
    per_address_max: u32,
    taken: Arc<PlacesTaken>,
    /// Whether the last connection found no place, so that the log tells it once.
    full: AtomicBool,
    /// Refused connections that may be told so at once, over all listeners; beyond it they are closed without a
    /// word. Each has a descriptor as long as it takes.
    refusals: Arc<Semaphore>,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
    from: IpAddr,
    taken: Arc<PlacesTaken>,
}

/// Connections by address, for addresses that have any.
#[derive(Debug, Default)]
struct PlacesTaken(Mutex<HashMap<IpAddr, u32>>);

impl Places {
    /// Places for `connections_max` connections, `per_address_max` of them from one address, and for telling
    /// `refusals_max` others at once that they are refused.
    pub(crate) fn new(connections_max: u32, per_address_max: u32, refusals_max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(connections_max as usize)),
            connections_max,
            per_address_max,
            taken: Arc::default(),
            full: AtomicBool::new(false),
            refusals: Arc::new(Semaphore::new(refusals_max)),
        }
    }

    /// A place for a connection from `address`, if there is one.
    pub(crate) fn take(&self, address: IpAddr) -> Option<ConnectionPlace> {
        let from = network(address);
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            if !self.full.swap(true, Ordering::Relaxed) {
                tracing::warn!("connection limit reached: further connections are refused");
            }
            return None;
        };
        self.full.store(false, Ordering::Relaxed);
        // The permit of all is taken first: given up below, it goes back by itself.
        let mut taken = self.taken.lock();
        let count = taken.entry(from).or_insert(0);
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(ConnectionPlace { _permit: permit, from, taken: Arc::clone(&self.taken) })
    }

    /// A place for telling a connection that it is refused, if there is one.
    pub(super) fn refusal(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refusals).try_acquire_owned().ok()
    }

    /// Connections there are.
    pub(crate) fn taken(&self) -> usize {
        let (all, free) = (self.connections_max as usize, self.free.available_permits());
        assert!(free <= all, "INV-PLACE: a place was given back twice");
        all - free
    }

    /// Whether no place is left for anybody.
    pub(crate) fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Whether so few places are left that a connection should first prove its address.
    pub(crate) fn is_tight(&self) -> bool {
        self.free.available_permits() < self.connections_max as usize / 2
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        let Entry::Occupied(mut entry) = taken.entry(self.from) else {
            unreachable!("INV-PLACE: a place was given back twice");
        };
        *entry.get_mut() -= 1;
        // Addresses come and go: the map must not grow with all that ever were.
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

impl PlacesTaken {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom a connection is counted for.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & IPV6_NETWORK).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// INV-PLACE.
    #[test]
    fn one_address_gets_its_share_and_no_more() {
        let places = Places::new(3, 2, 1);
        let first = places.take(address("10.0.0.1")).unwrap();
        let _second = places.take(address("::ffff:10.0.0.1")).unwrap();
        assert!(places.take(address("10.0.0.1")).is_none());
        let other = places.take(address("10.0.0.2")).unwrap();
        drop(first);
        assert!(places.take(address("10.0.0.1")).is_some());
        drop(other);
        assert_eq!(places.taken.lock().len(), 1, "only addresses with connections are kept");
    }

    #[test]
    fn the_total_holds_for_all_addresses_together() {
        let places = Places::new(1, 5, 1);
        let only = places.take(address("10.0.0.1")).unwrap();
        assert!(places.take(address("10.0.0.2")).is_none());
        drop(only);
        assert!(places.take(address("10.0.0.2")).is_some());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let places = Places::new(9, 1, 1);
        let _one = places.take(address("2001:db8:0:1::1")).unwrap();
        assert!(places.take(address("2001:db8:0:1::2")).is_none());
        assert!(places.take(address("2001:db8:0:2::1")).is_some());
    }
}
