//! Users: get, list, create, update, permissions, password, delete.

use galgo_wire::command::{
    ChangePassword, CreateUser, DeleteUser, GetUser, GetUsers, ResetPassword, UpdatePermissions,
    UpdateUser, User, UserDetails,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::UserId;
use galgo_wire::name::{Name, Password};

use super::{authorize, authorize_existing, change, offload, payload};
use crate::access::guard::Attempt;
use crate::access::password::{hash_password, verify_password};
use crate::access::throttle::Subject;
use crate::broker::Broker;
use crate::broker::change::Acting;
use crate::metadata::users::NewUser;
use crate::metadata::{State, UserMetadata};
use crate::outcome::{Hashing, Job, Outcome, Reply, Work};
use crate::session::{Principal, Session};

/// The user with what it may do; empty when it is missing.
pub(super) fn get(broker: &Broker, session: &Session, command: &GetUser) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.state.user(command.user.borrowed());
        found.map_or(Ok(Reply::Empty), |(id, user)| Ok(payload(&user_details(id, user)?)))
    };
    answer().into()
}

/// All users, ordered by id.
pub(super) fn list(broker: &Broker, session: &Session, command: &GetUsers) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        let catalog = broker.catalog();
        let users = catalog.state.users.iter().map(|(id, user)| user_info(*id, user));
        Ok(payload(&users.collect::<Result<Vec<User>, _>>()?))
    };
    answer().into()
}

/// Creates a user; the answer is the user.
pub(super) fn create(broker: &Broker, session: &Session, command: CreateUser) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    offload(hash_for(session), move |broker, session| {
        let broker = Acting::new(broker, session);
        // Checked before the slow hash and, as the name may be taken meanwhile, again behind it.
        broker.catalog().state.check_new_user(&command.username)?;
        let new = NewUser {
            name: command.username.clone(),
            password_hash: hash(&broker, &command.password)?,
            status: command.status,
            permissions: command.permissions.clone(),
            now: broker.clock.now(),
        };
        let id = broker.change(|state| state.prepare_create_user(new))?;
        let catalog = broker.catalog();
        let created = catalog.state.users.get(&id);
        created.map_or(Ok(Reply::Empty), |user| Ok(payload(&user_details(id, user)?)))
    })
}

/// The job of someone who is logged in that hashes a password.
fn hash_for(session: &Session) -> impl FnOnce(Work) -> Job + use<> {
    let who = Hashing { known: true, address: session.peer().address.ip() };
    move |work| Job::Hash { who, work }
}

/// Deletes a user with its tokens. Its connections stay, but may do nothing any more.
pub(super) fn delete(broker: &Broker, session: &Session, command: DeleteUser) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| Ok(((), state.prepare_delete_user(&command.user)?)))?;
        Ok(Reply::Empty)
    })
}

/// Renames, activates or deactivates a user. A deactivation ends all its logins.
pub(super) fn update(broker: &Broker, session: &Session, command: UpdateUser) -> Outcome {
    change(broker, session, command, move |broker, command| {
        let (name, status) = (command.username.as_ref(), command.status);
        // Nothing to record: a sync for no change would be a way to keep the disk busy.
        if name.is_none() && status.is_none() {
            broker.catalog().state.existing_user(&command.user)?;
            return Ok(Reply::Empty);
        }
        broker.change(|state| Ok(((), state.prepare_update_user(&command.user, name, status)?)))?;
        Ok(Reply::Empty)
    })
}

/// Replaces what a user may do, at once also for who is logged in.
pub(super) fn permissions(
    broker: &Broker,
    session: &Session,
    command: UpdatePermissions,
) -> Outcome {
    change(broker, session, command, move |broker, command| {
        let permissions = command.permissions.as_ref();
        broker.change(|state| Ok(((), state.prepare_permissions(&command.user, permissions)?)))?;
        Ok(Reply::Empty)
    })
}

/// Changes a password. The current one is needed, and guessing at it is held to what logins are. All logins
/// of the user end, but that of the connection on which it changed its own.
pub(super) fn password(broker: &Broker, session: &Session, command: ChangePassword) -> Outcome {
    let name = || {
        authorize(broker, session, &command)?;
        let catalog = broker.catalog();
        catalog.state.existing_user(&command.user).map(|(_, user)| user.name.clone())
    };
    let name = match name() {
        Ok(name) => name,
        Err(code) => return Outcome::done(Reply::Error(code)),
    };
    let from = session.peer().address.ip();
    let wrong = ErrorCode::InvalidCredentials;
    // By whose password it is, not by who asks: guessing at it is counted wherever it comes from.
    let subject = Subject::new(from, Some(name.as_str()));
    let attempt = Attempt::new(subject, wrong, move |broker, session| {
        // The user may have waited for its turn, and lost the right meanwhile.
        authorize(broker, session, &command)?;
        change_password(broker, session, &command)
    });
    attempt.offload(broker)
}

fn change_password(
    broker: &Broker,
    session: &mut Session,
    command: &ChangePassword,
) -> Result<Reply, ErrorCode> {
    let (id, user) = {
        let catalog = broker.catalog();
        let (id, user) = catalog.state.existing_user(&command.user)?;
        (id, user.clone())
    };
    if !verify_password(command.current.as_str(), &user.password_hash) {
        return Err(ErrorCode::InvalidCredentials);
    }
    let hash = hash(broker, &command.new)?;
    // Looked at again under the lock of the change: the two hashes took their time.
    let serial = Acting::new(broker, session).change(|state| {
        let now = state.users.get(&id).filter(|now| now.serial == user.serial);
        let now = now.ok_or(ErrorCode::ResourceNotFound)?;
        // What was verified is the current password no more.
        if now.password_hash != user.password_hash {
            return Err(ErrorCode::InvalidCredentials);
        }
        Ok(state.prepare_password(id, hash, false))
    })?;
    // INV-LOGIN-ENDED spares the connection on which it changed its own; from now on it carries the new serial.
    if session.user() == Some(id) {
        session.stay(serial);
    }
    Ok(Reply::Empty)
}

/// Sets the password of somebody who may do nothing the caller may not do; the current one is not needed.
/// All logins and all personal access tokens of the user end.
pub(super) fn reset_password(
    broker: &Broker,
    session: &Session,
    command: ResetPassword,
) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    offload(hash_for(session), move |broker, session| {
        let caller = session.caller()?;
        // Checked before the slow hash and, as rights may change meanwhile, again behind it.
        resettable(&broker.catalog().state, caller, &command)?;
        let hash = hash(broker, &command.new)?;
        Acting::new(broker, session).change(|state| {
            let id = resettable(state, caller, &command)?;
            // With its tokens: whoever had taken the account over would keep a way in by one of
            // them.
            Ok(state.prepare_password(id, hash, true))
        })?;
        Ok(Reply::Empty)
    })
}

/// The user whose password the caller may set.
///
/// # Errors
/// 20 for an unknown user; 41 for the caller's own, which takes the current one, and when the user may do
/// anything that the caller may not: setting the password would be a way to do it.
fn resettable(
    state: &State,
    caller: Principal,
    command: &ResetPassword,
) -> Result<UserId, ErrorCode> {
    let (id, user) = state.existing_user(&command.user)?;
    let own = state.users.get(&caller.user).filter(|own| own.serial == caller.serial);
    // Who may set a password may become that user, so it has to reach as far already.
    let held = own.and_then(|own| own.permissions.as_ref()).ok_or(ErrorCode::Unauthorized)?;
    let reaches = user.permissions.as_ref().is_none_or(|theirs| held.covers(theirs));
    if id == caller.user || !held.global.manage_users || !reaches {
        return Err(ErrorCode::Unauthorized);
    }
    Ok(id)
}

fn hash(broker: &Broker, password: &Password) -> Result<String, ErrorCode> {
    hash_password(password.as_str(), broker.random.next_u128())
        .map_err(|_| ErrorCode::InvalidPassword)
}

fn user_info(id: UserId, user: &UserMetadata) -> Result<User, ErrorCode> {
    Ok(User {
        id,
        created_at: user.created_at,
        status: user.status,
        username: Name::parse(user.name.as_str()).map_err(|_| ErrorCode::InvalidUsername)?,
    })
}

fn user_details(id: UserId, user: &UserMetadata) -> Result<UserDetails, ErrorCode> {
    Ok(UserDetails { user: user_info(id, user)?, permissions: user.permissions.clone() })
}
