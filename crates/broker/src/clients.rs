//! The table of connections: who is connected, from where, logged in as whom.
//!
//! Bounded by the shell, which bounds the connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

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
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    entries: Mutex<BTreeMap<ClientId, ClientEntry>>,
}

/// A place in the table; leaving it is dropping this.
#[derive(Debug)]
pub(crate) struct Registration {
    id: ClientId,
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
        entries.insert(id, ClientEntry { peer, user: None });
        Registration { id, clients: Arc::clone(self) }
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
        if let Some(entry) = self.clients.entries.lock().get_mut(&self.id) {
            entry.user = user;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.entries.lock().remove(&self.id);
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
}
