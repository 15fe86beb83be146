//! Checks the right a command asks for against the caller, at the moment of the call.
//!
//! INV-EXISTS-FIRST: a stream or topic, and a user one may be oneself, that does not exist is reported as missing before any right is
//! looked at, as the protocol has it.

use galgo_wire::command::UserStatus;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::UserId;
use galgo_wire::identifier::IdentifierRef;
use galgo_wire::permission::{Action, Right, Scope};

use crate::catalog::{Catalog, FoundTopic};
use crate::metadata::{UserMetadata, UserSerial};
use crate::session::{Principal, Session};
use crate::trail::Refusal;

impl Catalog {
    /// Whether `caller` has `right`.
    ///
    /// # Errors
    /// 40 without a login, 1009, 2010 or 20 for a missing place or user, 41 without the permission.
    pub(crate) fn authorize(
        &self,
        caller: Option<Principal>,
        right: &Right<'_>,
    ) -> Result<(), ErrorCode> {
        if matches!(right, Right::Public) {
            return Ok(());
        }
        let caller = caller.ok_or(ErrorCode::Unauthenticated)?;
        match *right {
            Right::Public => Ok(()),
            Right::LoggedIn => self.user_of(caller).map(|_| ()),
            Right::SelfOr { action, user } => {
                // INV-EXISTS-FIRST also for users, but only to whoever is logged in: names are not for strangers.
                let asking = self.user_of(caller)?;
                let (_, asked) = self.state.user(user).ok_or(ErrorCode::ResourceNotFound)?;
                // By serial and not by id: the id may have been given to somebody else since the caller logged in.
                if asked.serial == asking.serial {
                    Ok(())
                } else {
                    self.allow(caller, action, Scope::Server)
                }
            }
            Right::Server(action) => self.allow(caller, action, Scope::Server),
            Right::Stream { action, stream } => {
                let (id, _) = self.find_stream(stream)?;
                self.allow(caller, action, Scope::Stream(id))
            }
            Right::Topic { action, stream, topic } => {
                self.authorized_topic(Some(caller), action, stream, topic).map(|_| ())
            }
        }
    }

    /// The topic a caller names, if it may do `action` there.
    ///
    /// # Errors
    /// 40 without a login, 1009 or 2010 for a missing place, 41 without the permission.
    pub(crate) fn authorized_topic(
        &self,
        caller: Option<Principal>,
        action: Action,
        stream: IdentifierRef<'_>,
        topic: IdentifierRef<'_>,
    ) -> Result<FoundTopic<'_>, ErrorCode> {
        let caller = caller.ok_or(ErrorCode::Unauthenticated)?;
        // INV-EXISTS-FIRST: in this order clients tell a missing topic from one they may not use.
        let found = self.find_topic(stream, topic)?;
        self.allow(caller, action, found.place.scope())?;
        Ok(found)
    }

    /// As [`Catalog::authorized_topic`], with the place and the action of `right`; any other right than
    /// one to a topic is refused.
    ///
    /// # Errors
    /// 40, 1009, 2010 or 41.
    pub(crate) fn topic_of_right(
        &self,
        caller: Option<Principal>,
        right: &Right<'_>,
    ) -> Result<FoundTopic<'_>, ErrorCode> {
        match *right {
            Right::Topic { action, stream, topic } => {
                self.authorized_topic(caller, action, stream, topic)
            }
            // A command that asks for a topic by another right has been declared wrong; it gets nothing.
            _ => Err(ErrorCode::Unauthorized),
        }
    }

    /// # Errors
    /// 41 when the user is gone or its permissions do not reach so far.
    pub(crate) fn allow(
        &self,
        caller: Principal,
        action: Action,
        place: Scope,
    ) -> Result<(), ErrorCode> {
        let user = self.user_of(caller)?;
        if user.may(action, place) {
            return Ok(());
        }
        // Here and not with the caller: whichever command it was, a refusal leaves its trace.
        self.note_refusal(caller, user, action, place);
        Err(ErrorCode::Unauthorized)
    }

    /// Leaves a trace of a request that was refused for want of a right.
    pub(crate) fn note_refusal(
        &self,
        caller: Principal,
        user: &UserMetadata,
        action: Action,
        place: Scope,
    ) {
        // There is none before the broker is put together, when nobody asks.
        let Some(trail) = &self.trail else { return };
        let (stream, topic) = match place {
            Scope::Server => (None, None),
            Scope::Stream(stream) => (Some(stream), None),
            Scope::Topic(stream, topic) => (Some(stream), Some(topic)),
        };
        let stored = stream.and_then(|stream| self.state.streams.get(&stream));
        let topic = topic.and_then(|topic| stored?.topics.get(&topic));
        let reason = format!("no right to {}", action.permission());
        trail.note(Refusal {
            user: Some(user.name.as_str().into()),
            stream: stored.map(|stream| stream.name.as_str().into()),
            topic: topic.map(|topic| topic.settings.name.as_str().into()),
            ..Refusal::new("request refused", caller.address, &reason)
        });
    }

    /// Whether whoever is logged in may do `action` at `place`, for answers that show more to some.
    pub(crate) fn may(&self, session: &Session, action: Action, place: Scope) -> bool {
        // No trace of this one: nothing was refused, only less is shown.
        let user = session.caller().and_then(|caller| self.user_of(caller));
        user.is_ok_and(|user| user.may(action, place))
    }

    /// Whether a login as this account is good.
    pub(crate) fn is_standing(&self, id: UserId, serial: UserSerial) -> bool {
        let user = self.state.users.get(&id).filter(|user| user.serial == serial);
        user.is_some_and(|user| user.status == UserStatus::Active)
    }

    /// The caller, unless it was deleted or its logins ended; whoever has its id now is somebody else.
    ///
    /// # Errors
    /// 41 when it is gone, or no more logged in.
    pub(crate) fn user_of(&self, caller: Principal) -> Result<&UserMetadata, ErrorCode> {
        let found = self.state.users.get(&caller.user);
        found.filter(|user| user.serial == caller.serial).ok_or(ErrorCode::Unauthorized)
    }
}
