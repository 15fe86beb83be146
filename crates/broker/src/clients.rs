//! The table of connections: who is connected, from where, logged in as whom, in which groups.
//!
//! Bounded by the shell, which bounds the connections.
//!
//! INV-MEMBER-LISTED: a connection is in a group exactly while its entry says so; both change under the
//! table's lock, and whoever leaves the table leaves its groups with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use galgo_storage::lock::{Ranked, rank};
use galgo_wire::command::{GroupHolds, Membership, Transport};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ClientId, UserId};
use galgo_wire::index::to_u32;
use twox_hash::XxHash32;

use crate::alarm::{Alarm, Bell, News};
use crate::broker::GroupOptions;
use crate::catalog::groups::OpenGroup;
use crate::environment::Clock;
use crate::group::{LeaseTerms, MemberKey, Moment};
use crate::metadata::UserSerial;
use crate::session::Principal;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// What carries its frames.
    pub transport: Transport,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// Where it comes from.
    pub peer: Peer,
    /// Who it is logged in as.
    pub user: Option<UserId>,
    /// The groups it is in, by their place.
    pub groups: Vec<Membership>,
}

/// All connections.
pub struct Clients {
    clock: Arc<dyn Clock>,
    /// How long a hand-over of a partition may take, and a client be silent.
    times: GroupOptions,
    /// How many numbers memberships were given.
    memberships: AtomicU64,
    table: Ranked<{ rank::CLIENTS }, ClientTable>,
}

#[derive(Default)]
struct ClientTable {
    rows: BTreeMap<ClientId, Row>,
    next_number: u64,
}

/// One connection, as the table keeps it.
struct Row {
    /// Of its registration, never used again; members of groups are known by it.
    number: u64,
    peer: Peer,
    caller: Option<Principal>,
    /// Whether that login was ended elsewhere; its session looks at this.
    ended: Arc<AtomicBool>,
    /// When it last sent a ping, or connected.
    pinged_us: u64,
    groups: BTreeMap<Membership, Arc<OpenGroup>>,
    /// Polls of its that wait.
    bell: Bell,
}

/// A place in the table; leaving it is dropping this.
#[derive(Debug)]
pub(crate) struct Registration {
    row: RowKey,
    clients: Arc<Clients>,
    ended: Arc<AtomicBool>,
}

/// Which row of the table, also when its id has been given to a later connection.
#[derive(Clone, Copy, Debug)]
struct RowKey {
    id: ClientId,
    /// Of the registration, never used again.
    number: u64,
}

/// An alarm that rings when the connection may do less than before; dropping this takes it off.
#[derive(Debug)]
pub(crate) struct HungAlarm {
    row: RowKey,
    clients: Arc<Clients>,
    alarm: Arc<Alarm>,
}

impl Clients {
    pub(crate) fn new(clock: Arc<dyn Clock>, times: GroupOptions) -> Self {
        Self { clock, times, memberships: AtomicU64::new(0), table: Ranked::default() }
    }

    /// Now, and when a hand-over that begins now is over.
    pub(crate) fn moment(&self) -> Moment {
        let now_us = self.clock.monotonic_us();
        Moment { now_us, due_us: now_us.saturating_add(self.times.rebalancing_timeout_us) }
    }

    /// Adds a connection, anonymous at first.
    pub(crate) fn register(self: &Arc<Self>, peer: Peer) -> Registration {
        let mut table = self.table.lock();
        // The id clients of the classic server see: a hash of the address. Zero means nobody, and
        // two addresses may collide, so the next free number is taken then.
        let mut id = XxHash32::oneshot(0, peer.address.to_string().as_bytes());
        while id == 0 || table.rows.contains_key(&ClientId::new(id)) {
            id = id.wrapping_add(1);
        }
        let id = ClientId::new(id);
        // Groups know members by it: an id is given again with the address, and a late answer about the old connection must
        // not reach the new one.
        let number = table.next_number;
        table.next_number += 1;
        // As if it had sent a ping: one that is new has had no time to.
        let pinged_us = self.clock.monotonic_us();
        let ended = Arc::new(AtomicBool::new(false));
        let row = Row {
            number,
            peer,
            caller: None,
            ended: Arc::clone(&ended),
            pinged_us,
            groups: BTreeMap::new(),
            bell: Bell::default(),
        };
        let had = table.rows.insert(id, row);
        assert!(had.is_none(), "INV-MEMBER-LISTED: an id in the table is one connection's");
        Registration { row: RowKey { id, number }, clients: Arc::clone(self), ended }
    }

    /// One connection.
    #[must_use]
    pub fn get(&self, id: ClientId) -> Option<ClientEntry> {
        self.table.lock().rows.get(&id).map(Row::entry)
    }

    /// All connections by id.
    #[must_use]
    pub fn list(&self) -> Vec<(ClientId, ClientEntry)> {
        self.table.lock().rows.iter().map(|(id, row)| (*id, row.entry())).collect()
    }

    /// Takes the connections of a user out of the table and tells which they were. They stay open.
    pub(crate) fn remove_user(&self, user: UserId) -> Vec<ClientId> {
        self.remove_where(|row| row.user() == Some(user))
    }

    /// Ends the logins of a user but those with the serial it has `now`: the connections stay, anonymous
    /// and in no group. That of `but` goes on, with the new serial.
    pub(crate) fn end_logins(&self, user: UserId, now: UserSerial, but: Option<MemberKey>) {
        let mut table = self.table.lock();
        let at = self.moment();
        for row in table.rows.values_mut() {
            match &mut row.caller {
                Some(caller) if caller.user == user && caller.serial != now => {
                    // Under the same lock: between two looks the session would be one of those whose login ended.
                    if but == Some(MemberKey::new(row.number)) {
                        caller.serial = now;
                        continue;
                    }
                }
                _ => continue,
            }
            row.caller = None;
            // The session looks at this without the table's lock: from here on it is nobody (INV-LOGIN-ENDED).
            row.ended.store(true, Ordering::Release);
            row.leave_all(at);
            row.groups.clear();
            // Last: whoever wakes looks again, and has to find itself logged out and in no group.
            row.end_wait(at.now_us);
        }
    }

    /// Takes the connections out of the table that have sent no ping for too long, and tells which they
    /// were. They stay open.
    pub(crate) fn remove_silent(&self) -> Vec<ClientId> {
        let (now_us, silence_us) = (self.clock.monotonic_us(), self.times.silence_us());
        // One that waits for messages has no turn to send a ping.
        let is_silent = |row: &Row| now_us.saturating_sub(row.pinged_us) > silence_us;
        self.remove_where(|row| row.bell.is_empty() && is_silent(row))
    }

    /// Ends the memberships of those that gave no sign of life for as long as they said; tells which they
    /// were. Who waits for messages is alive.
    pub(crate) fn remove_hung(&self) -> Vec<(ClientId, Membership)> {
        // Nobody has asked for a session.
        if self.memberships.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut table = self.table.lock();
        let at = self.moment();
        let mut ended = Vec::new();
        // Who waits has no turn to send a ping; its poll is the sign of life.
        for (id, row) in table.rows.iter_mut().filter(|(_, row)| row.bell.is_empty()) {
            let (key, pinged_us) = (MemberKey::new(row.number), row.pinged_us);
            row.groups.retain(|place, group| {
                // INV-MEMBER-LISTED: under the lock of the table, the membership ends in the group
                // and in the entry.
                let mut group = group.lock(at);
                let is_hung = group.is_hung(key, pinged_us, at);
                if is_hung {
                    group.leave(key, at);
                    ended.push((*id, *place));
                }
                !is_hung
            });
        }
        ended
    }

    /// Tells the waiting polls of a user that its rights are others now.
    pub(crate) fn rights_changed(&self, user: UserId) {
        let mut table = self.table.lock();
        let now_us = self.clock.monotonic_us();
        for row in table.rows.values_mut().filter(|row| row.user() == Some(user)) {
            row.end_wait(now_us);
        }
    }

    /// Ends all memberships of a group.
    pub(crate) fn dissolve(&self, group: &OpenGroup) {
        let mut table = self.table.lock();
        let at = self.moment();
        // Under the table (INV-MEMBER-LISTED): nobody joins between this and the end of the entries.
        if group.lock(at).dissolve(at).is_empty() {
            return;
        }
        for row in table.rows.values_mut() {
            row.groups.remove(&group.place);
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        to_u32(self.table.lock().rows.len())
    }

    fn with_row<T>(&self, key: RowKey, work: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let mut table = self.table.lock();
        // By number, too: the id may be that of a later connection by now, and what comes late is
        // not about that one.
        table.rows.get_mut(&key.id).filter(|row| row.number == key.number).map(work)
    }

    fn remove_where(&self, gone: impl Fn(&Row) -> bool) -> Vec<ClientId> {
        let mut table = self.table.lock();
        let mut removed: Vec<_> = table.rows.extract_if(.., |_, row| gone(row)).collect();
        // Still under the table's lock (INV-MEMBER-LISTED): a connection that comes with the same address finds no
        // membership of this one.
        for (_, row) in &mut removed {
            row.leave_all(self.moment());
            // Closed and not only rung: nothing may be hung on a row that is out of the table.
            row.bell.close().ring(News::Over);
        }
        removed.into_iter().map(|(id, _)| id).collect()
    }
}

impl Row {
    fn entry(&self) -> ClientEntry {
        let groups = self.groups.keys().copied().collect();
        ClientEntry { peer: self.peer, user: self.user(), groups }
    }

    fn user(&self) -> Option<UserId> {
        self.caller.map(|caller| caller.user)
    }

    /// Ends the wait of its polls, in which it had no turn to send a ping.
    fn end_wait(&mut self, now_us: u64) {
        if !self.bell.is_empty() {
            self.pinged_us = now_us;
            self.bell.all().ring(News::Over);
        }
    }

    fn leave_all(&self, at: Moment) {
        for group in self.groups.values() {
            group.lock(at).leave(MemberKey::new(self.number), at);
        }
    }
}

impl Registration {
    pub(crate) fn id(&self) -> ClientId {
        self.row.id
    }

    /// What groups know it by.
    pub(crate) fn key(&self) -> MemberKey {
        MemberKey::new(self.row.number)
    }

    pub(crate) fn set_caller(&self, caller: Option<Principal>) {
        let now_us = self.clients.clock.monotonic_us();
        // First, and also for one that left the table: what is logged in from now on has not ended.
        self.ended.store(false, Ordering::Release);
        self.with_row(|row| {
            row.caller = caller;
            // Once more: what ended between the two was the login of before.
            row.ended.store(false, Ordering::Release);
            // A poll that waits was allowed to whoever was logged in before.
            row.end_wait(now_us);
        });
    }

    /// Whether the last login was ended elsewhere.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Hangs up the alarm of a poll that waits; `None` when it was taken out of the table.
    pub(crate) fn hang(&self, alarm: &Arc<Alarm>) -> Option<HungAlarm> {
        self.with_row(|row| row.bell.hang(alarm, 0))?;
        let (clients, alarm) = (Arc::clone(&self.clients), Arc::clone(alarm));
        Some(HungAlarm { row: self.row, clients, alarm })
    }

    /// Notes a ping.
    pub(crate) fn ping(&self) {
        let now_us = self.clients.clock.monotonic_us();
        self.with_row(|row| row.pinged_us = now_us);
    }

    /// Its entry, unless it was taken out of the table.
    pub(crate) fn entry(&self) -> Option<ClientEntry> {
        self.with_row(|row| row.entry())
    }

    /// Becomes a member of a group, if it is not one.
    ///
    /// # Errors
    /// 30 when it was taken out of the table.
    pub(crate) fn join(&self, group: &Arc<OpenGroup>) -> Result<(), ErrorCode> {
        let at = self.clients.moment();
        let joined = self.with_row(|row| {
            // Both under the table's lock: see INV-MEMBER-LISTED.
            group.lock(at).join(self.key(), at);
            row.groups.insert(group.place, Arc::clone(group));
        });
        joined.ok_or(ErrorCode::StaleClient)
    }

    /// As [`Registration::join`], with a time of silence in microseconds after which the membership ends, 0
    /// for none; tells what it holds.
    ///
    /// # Errors
    /// 30 when it was taken out of the table.
    pub(crate) fn join_with(
        &self,
        group: &Arc<OpenGroup>,
        session_us: u64,
    ) -> Result<GroupHolds, ErrorCode> {
        let at = self.clients.moment();
        let number = self.clients.memberships.fetch_add(1, Ordering::Relaxed) + 1;
        let pings_us = self.clients.times.silence_us();
        let terms = LeaseTerms { number, session_us, pings_us };
        let joined = self.with_row(|row| {
            // It is there: what it is told to hold is not to go for want of a ping before that is over.
            row.pinged_us = at.now_us;
            row.groups.insert(group.place, Arc::clone(group));
            let mut group = group.lock(at);
            group.join(self.key(), at);
            let Some(holds) = group.renew(self.key(), terms, at) else {
                unreachable!(
                    "INV-MEMBER-LISTED: whoever has joined is a member under the same lock"
                )
            };
            holds
        });
        joined.ok_or(ErrorCode::StaleClient)
    }

    /// Ends its membership of a group.
    ///
    /// # Errors
    /// 30 when it was taken out of the table, 5006 when it is no member.
    pub(crate) fn leave(&self, group: &OpenGroup) -> Result<(), ErrorCode> {
        let at = self.clients.moment();
        let left = self.with_row(|row| {
            row.groups.remove(&group.place);
            group.lock(at).leave(self.key(), at)
        });
        match left {
            Some(true) => Ok(()),
            Some(false) => Err(ErrorCode::ConsumerGroupMemberNotFound),
            None => Err(ErrorCode::StaleClient),
        }
    }

    fn with_row<T>(&self, work: impl FnOnce(&mut Row) -> T) -> Option<T> {
        self.clients.with_row(self.row, work)
    }
}

impl Drop for HungAlarm {
    fn drop(&mut self) {
        let now_us = self.clients.clock.monotonic_us();
        self.clients.with_row(self.row, |row| {
            row.bell.take_off(&self.alarm);
            // Its time to send a ping begins now.
            row.pinged_us = now_us;
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // By number: the row of this id may be that of a connection that came after this one was taken out.
        let mut table = self.clients.table.lock();
        if table.rows.get(&self.row.id).is_none_or(|row| row.number != self.row.number) {
            return;
        }
        let Some(row) = table.rows.remove(&self.row.id) else {
            unreachable!("INV-MEMBER-LISTED: it was in the table under the same lock")
        };
        row.leave_all(self.clients.moment());
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::ManualEnvironment;

    fn clients() -> Arc<Clients> {
        let times = GroupOptions { rebalancing_timeout_us: 0, ..GroupOptions::default() };
        Arc::new(Clients::new(Arc::new(ManualEnvironment::new(0, 1)), times))
    }

    fn peer(port: u16) -> Peer {
        Peer { address: SocketAddr::from(([127, 0, 0, 1], port)), transport: Transport::Tcp }
    }

    #[test]
    fn id_is_the_hash_of_the_address_and_unique() {
        let clients = clients();
        let first = clients.register(peer(59288));
        assert_eq!(first.id(), ClientId::new(0xA810_ED62));
        let second = clients.register(peer(59288));
        assert_ne!(first.id(), second.id());
        drop(first);
        assert_eq!(clients.count(), 1);
    }

    #[test]
    fn what_left_the_table_does_not_take_a_later_connection_with_it() {
        let clients = clients();
        let (user, other) = (UserId::new(1), UserId::new(2));
        let first = clients.register(peer(59288));
        let login = |user| {
            let address = first.clients.get(first.id()).unwrap().peer.address.ip();
            Some(Principal { user, serial: UserSerial::new(7), address })
        };
        first.set_caller(login(user));
        assert_eq!(clients.remove_user(other), []);
        assert_eq!(clients.remove_user(user), [first.id()]);
        assert!(first.entry().is_none());
        let second = clients.register(peer(59288));
        assert_eq!(second.id(), first.id());
        first.set_caller(login(user));
        assert_eq!(second.entry().and_then(|entry| entry.user), None);
        drop(first);
        assert!(second.entry().is_some());
    }
}
