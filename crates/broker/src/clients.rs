//! The table of connections: who is connected, from where, logged in as whom.
//!
//! Bounded by the shell, which bounds the connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_wire::command::Transport;
use galgo_wire::id::{ClientId, UserId};
use parking_lot::Mutex;
use twox_hash::XxHash32;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// What carries its frames.
    pub transport: Transport,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// Where it comes from.
    pub peer: Peer,
    /// Who it is logged in as.
    pub user: Option<UserId>,
    /// Of its registration, never used again.
    number: u64,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    entries: Mutex<BTreeMap<ClientId, ClientEntry>>,
    next_number: AtomicU64,
}

/// A place in the table; leaving it is dropping this.
#[derive(Debug)]
pub(crate) struct Registration {
    id: ClientId,
    /// Tells its entry from that of a later connection with the same id.
    number: u64,
    clients: Arc<Clients>,
}

impl Clients {
    /// Adds a connection, anonymous at first.
    pub(crate) fn register(self: &Arc<Self>, peer: Peer) -> Registration {
        let mut entries = self.entries.lock();
        // The id clients of the classic server see: a hash of the address. Zero means nobody, and
        // two addresses may collide, so the next free number is taken then.
        let mut id = XxHash32::oneshot(0, peer.address.to_string().as_bytes());
        while id == 0 || entries.contains_key(&ClientId::new(id)) {
            id = id.wrapping_add(1);
        }
        let id = ClientId::new(id);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        entries.insert(id, ClientEntry { peer, user: None, number });
        Registration { id, number, clients: Arc::clone(self) }
    }

    /// One connection.
    #[must_use]
    pub fn get(&self, id: ClientId) -> Option<ClientEntry> {
        self.entries.lock().get(&id).copied()
    }

    /// All connections by id.
    #[must_use]
    pub fn list(&self) -> Vec<(ClientId, ClientEntry)> {
        self.entries.lock().iter().map(|(id, entry)| (*id, *entry)).collect()
    }

    /// Takes the connections of a user out of the table and tells which they were. They stay open.
    pub(crate) fn remove_user(&self, user: UserId) -> Vec<ClientId> {
        let mut entries = self.entries.lock();
        let of_user = entries.iter().filter(|(_, entry)| entry.user == Some(user));
        let removed: Vec<_> = of_user.map(|(id, _)| *id).collect();
        for id in &removed {
            entries.remove(id);
        }
        removed
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.entries.lock().len()).unwrap_or(u32::MAX)
    }
}

impl Registration {
    pub(crate) fn id(&self) -> ClientId {
        self.id
    }

    pub(crate) fn set_user(&self, user: Option<UserId>) {
        let mut entries = self.clients.entries.lock();
        if let Some(entry) = entries.get_mut(&self.id).filter(|entry| entry.number == self.number) {
            entry.user = user;
        }
    }

    /// Its entry, unless it was taken out of the table.
    pub(crate) fn entry(&self) -> Option<ClientEntry> {
        self.clients.get(self.id).filter(|entry| entry.number == self.number)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = self.clients.entries.lock();
        if entries.get(&self.id).is_some_and(|entry| entry.number == self.number) {
            entries.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer { address: SocketAddr::from(([127, 0, 0, 1], port)), transport: Transport::Tcp }
    }

    #[test]
    fn id_is_the_hash_of_the_address_and_unique() {
        let clients = Arc::new(Clients::default());
        let first = clients.register(peer(59288));
        assert_eq!(first.id(), ClientId::new(0xA810_ED62));
        let second = clients.register(peer(59288));
        assert_ne!(first.id(), second.id());
        drop(first);
        assert_eq!(clients.count(), 1);
    }

    #[test]
    fn what_left_the_table_does_not_take_a_later_connection_with_it() {
        let clients = Arc::new(Clients::default());
        let (user, other) = (UserId::new(1), UserId::new(2));
        let first = clients.register(peer(59288));
        first.set_user(Some(user));
        assert_eq!(clients.remove_user(other), []);
        assert_eq!(clients.remove_user(user), [first.id()]);
        assert!(first.entry().is_none());
        let second = clients.register(peer(59288));
        assert_eq!(second.id(), first.id());
        first.set_user(Some(user));
        assert_eq!(second.entry().and_then(|entry| entry.user), None);
        drop(first);
        assert!(second.entry().is_some());
    }
}
