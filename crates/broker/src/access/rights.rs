//! Checks the right a command asks for against the caller, at the moment of the call.
//!
//! INV-EXISTS-FIRST: a stream or topic that does not exist is reported as missing before any right is
//! looked at, as the protocol has it.

use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::UserId;
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::permission::{Action, Place, Right};

use crate::catalog::{Catalog, FoundTopic};
use crate::metadata::User;

impl Catalog {
    /// Whether `caller` has `right`.
    ///
    /// # Errors
    /// 40 without a login, 1009 or 2010 for a missing place, 41 without the permission.
    pub(crate) fn authorize(
        &self,
        caller: Option<UserId>,
        right: &Right<'_>,
    ) -> Result<(), ErrorCode> {
        if matches!(right, Right::Public) {
            return Ok(());
        }
        let caller = caller.ok_or(ErrorCode::Unauthenticated)?;
        match *right {
            Right::Public | Right::LoggedIn => Ok(()),
            Right::SelfOr { action, user } => {
                let own = self.find_user(user).is_some_and(|(id, _)| id == caller);
                if own { Ok(()) } else { self.allow(caller, action, Place::Server) }
            }
            Right::Server(action) => self.allow(caller, action, Place::Server),
            Right::Stream { action, stream } => {
                let (id, _) = self.find_stream(stream)?;
                self.allow(caller, action, Place::Stream(id))
            }
            Right::Topic { action, stream, topic } => {
                self.authorized_topic(Some(caller), action, (stream, topic)).map(|_| ())
            }
        }
    }

    /// The topic a caller names, if it may do `action` there.
    ///
    /// # Errors
    /// 40 without a login, 1009 or 2010 for a missing place, 41 without the permission.
    pub(crate) fn authorized_topic(
        &self,
        caller: Option<UserId>,
        action: Action,
        (stream, topic): (IdentifierRef<'_>, IdentifierRef<'_>),
    ) -> Result<FoundTopic<'_>, ErrorCode> {
        let caller = caller.ok_or(ErrorCode::Unauthenticated)?;
        let found = self.find_topic(stream, topic)?;
        self.allow(caller, action, Place::Topic(found.stream_id, found.topic_id))?;
        Ok(found)
    }

    /// As [`Catalog::authorized_topic`], with the place and the action of `right`; any other right than
    /// one to a topic is refused.
    ///
    /// # Errors
    /// 40, 1009, 2010 or 41.
    pub(crate) fn topic_of_right(
        &self,
        caller: Option<UserId>,
        right: &Right<'_>,
    ) -> Result<FoundTopic<'_>, ErrorCode> {
        match *right {
            Right::Topic { action, stream, topic } => {
                self.authorized_topic(caller, action, (stream, topic))
            }
            _ => Err(ErrorCode::Unauthorized),
        }
    }

    /// The user that `identifier` names.
    pub(crate) fn find_user(&self, identifier: IdentifierRef<'_>) -> Option<(UserId, &User)> {
        match identifier {
            IdentifierRef::Numeric(id) => {
                let id = UserId::new(id);
                self.state.users.get(&id).map(|user| (id, user))
            }
            IdentifierRef::Named(name) => self.state.user_named(name),
        }
    }

    /// # Errors
    /// 41 when the user is gone or its permissions do not reach so far.
    pub(crate) fn allow(
        &self,
        caller: UserId,
        action: Action,
        place: Place,
    ) -> Result<(), ErrorCode> {
        let user = self.state.users.get(&caller).ok_or(ErrorCode::Unauthorized)?;
        let allowed = user.permissions.as_ref().is_some_and(|held| held.allows(action, place));
        if allowed { Ok(()) } else { Err(ErrorCode::Unauthorized) }
    }
}
