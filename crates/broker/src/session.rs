//! A session: one connection as the broker sees it. Who calls, and with which rights.
//!
//! INV-LOGIN-ENDED: a login that was ended elsewhere, by a new password or a deactivation, is none from that
//! moment on: the session is as anonymous as before it.

use std::net::IpAddr;

use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ClientId, UserId};

use crate::chain::Chains;
use crate::clients::{ClientEntry, Peer, Registration};
use crate::metadata::UserSerial;

/// One connection. Dropping it removes the connection from the table of clients.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    /// None for a session that is never listed.
    registration: Option<Registration>,
    caller: Option<Principal>,
    chains: Chains,
}

/// A user that is logged in. It may be gone by now, and its id given to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) user: UserId,
    pub(crate) serial: UserSerial,
    /// Where it calls from.
    pub(crate) address: IpAddr,
}

impl Session {
    pub(crate) fn new(peer: Peer, registration: Option<Registration>) -> Self {
        Self { peer, registration, caller: None, chains: Chains::default() }
    }

    /// The number clients know this connection by; 0 for a session that is not in the table.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.registration.as_ref().map_or(ClientId::new(0), Registration::id)
    }

    /// Where its requests come from.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Who is logged in. The user may be deleted by now.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.standing().map(|caller| caller.user)
    }

    /// Which of all users that had or will have its id it is that is logged in.
    #[must_use]
    pub fn user_serial(&self) -> Option<UserSerial> {
        self.standing().map(|caller| caller.serial)
    }

    /// Whether anyone is logged in.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.standing().is_some()
    }

    /// Who calls.
    ///
    /// # Errors
    /// 40 when nobody is logged in.
    pub(crate) fn caller(&self) -> Result<Principal, ErrorCode> {
        self.standing().ok_or(ErrorCode::Unauthenticated)
    }

    /// Who is logged in, as long as nobody has ended that.
    fn standing(&self) -> Option<Principal> {
        // By a flag and not by the table: it is asked with every request, and takes no lock.
        self.caller.filter(|_| !self.registration.as_ref().is_some_and(Registration::is_ended))
    }

    /// What it holds in the table of clients, if it was ever listed there.
    pub(crate) fn registration(&self) -> Option<&Registration> {
        self.registration.as_ref()
    }

    /// Its entry in the table of clients, unless it has none any more.
    pub(crate) fn entry(&self) -> Option<ClientEntry> {
        self.registration.as_ref().and_then(Registration::entry)
    }

    /// How far the chains of its sends have come.
    pub(crate) fn chains(&mut self) -> &mut Chains {
        &mut self.chains
    }

    pub(crate) fn log_in(&mut self, caller: Principal) {
        self.set_caller(Some(caller));
    }

    pub(crate) fn log_out(&mut self) {
        self.set_caller(None);
    }

    /// Stays logged in as the same user, whose other logins ended: it has another serial now.
    pub(crate) fn stay(&mut self, serial: UserSerial) {
        // Its own copy; the table has had it since the change, which left this login alone.
        if let Some(caller) = self.caller.as_mut() {
            caller.serial = serial;
        }
    }

    fn set_caller(&mut self, caller: Option<Principal>) {
        self.caller = caller;
        // Also in the table: whoever ends the logins of a user finds them there.
        if let Some(registration) = &self.registration {
            registration.set_caller(caller);
        }
    }
}
