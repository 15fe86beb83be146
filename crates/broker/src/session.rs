//! A session: one connection as the broker sees it. Who calls, and with which rights.

use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ClientId, UserId};

use crate::clients::Registration;

/// One connection. Dropping it removes the connection from the table of clients.
#[derive(Debug)]
pub struct Session {
    registration: Registration,
    user: Option<UserId>,
}

impl Session {
    pub(crate) fn new(registration: Registration) -> Self {
        Self { registration, user: None }
    }

    /// The number clients know this connection by.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.registration.id()
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// Whether anyone is logged in.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some()
    }

    /// Who calls.
    ///
    /// # Errors
    /// 40 when nobody is logged in.
    pub(crate) fn caller(&self) -> Result<UserId, ErrorCode> {
        self.user.ok_or(ErrorCode::Unauthenticated)
    }

    pub(crate) fn log_in(&mut self, user: UserId) {
        self.user = Some(user);
        self.registration.set_user(self.user);
    }

    pub(crate) fn log_out(&mut self) {
        self.user = None;
        self.registration.set_user(None);
    }
}
