//! Changes of the metadata on behalf of a session.
//!
//! What a session asked for is changed only while its login is good, also when the change had to
//! wait for others.

use std::ops::Deref;

use galgo_wire::error_code::ErrorCode;

use super::Broker;
#[cfg(doc)]
use super::ledger::Ledger;
use crate::metadata::State;
use crate::metadata::record::Record;
use crate::session::Session;

/// The broker on behalf of a session.
pub(crate) struct Acting<'a> {
    broker: &'a Broker,
    session: &'a Session,
}

impl<'a> Acting<'a> {
    pub(crate) fn new(broker: &'a Broker, session: &'a Session) -> Self {
        Self { broker, session }
    }

    /// As [`Ledger::change`], for what the session asked for.
    ///
    /// # Errors
    /// Those of [`Ledger::change`]; 40 or 41 when the login of the session ended meanwhile.
    pub(crate) fn change<T>(
        &self,
        prepare: impl FnOnce(&State) -> Result<(T, Record), ErrorCode>,
    ) -> Result<T, ErrorCode> {
        self.broker.ledger.change_for(Some(self.session), prepare)
    }
}

impl Deref for Acting<'_> {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        self.broker
    }
}
