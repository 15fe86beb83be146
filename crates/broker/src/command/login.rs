//! Logging in and out.

use galgo_wire::command::{LoggedIn, LoginUser, LoginWithToken, UserStatus};
use galgo_wire::error_code::ErrorCode;

use super::payload;
use crate::access::guard::Attempt;
use crate::access::password::{verify_nothing, verify_password};
use crate::access::throttle::Subject;
use crate::access::token::hash_token;
use crate::broker::Broker;
use crate::outcome::{Outcome, Reply};
use crate::session::Session;

/// Verifies a password; slow by design, so it runs off the connection's thread.
///
/// A failed login leaves whoever was logged in before.
pub(super) fn login_user(broker: &Broker, session: &Session, command: LoginUser) -> Outcome {
    let from = session.peer().address.ip();
    let username = command.username.clone();
    let subject = Subject::new(from, Some(username.as_str()));
    let attempt = Attempt::new(subject, ErrorCode::InvalidCredentials, move |broker, session| {
        let found = {
            let catalog = broker.catalog();
            let found = catalog.state.user_named(command.username.as_str());
            // A copy: the catalog is not held over a hash, or whoever changes it waits for that.
            found.map(|(id, user)| (id, user.clone()))
        };
        let Some((id, user)) = found else {
            // INV-THROTTLE-UNKNOWN also by the clock: an unknown user takes as long as a wrong password.
            verify_nothing(command.password.as_str());
            return Err(ErrorCode::InvalidCredentials);
        };
        // Before the hash, as on the classic server: that an account is inactive is told to whoever asks.
        if user.status == UserStatus::Inactive {
            return Err(ErrorCode::UserInactive);
        }
        if !verify_password(command.password.as_str(), &user.password_hash) {
            return Err(ErrorCode::InvalidCredentials);
        }
        broker.log_in(session, id, &user)?;
        Ok(payload(&LoggedIn { user_id: id }))
    });
    attempt.offload(broker)
}

/// Looks a token up; cheap, so it is done at once.
pub(super) fn login_with_token(
    broker: &Broker,
    session: &mut Session,
    command: &LoginWithToken,
) -> Outcome {
    let from = session.peer().address.ip();
    let hash = hash_token(&command.token);
    // A token does not tell whose it would be, so that only the address can be held to it.
    let subject = Subject::new(from, None);
    // As something unknown and not as wrong credentials, with which classic clients try again for
    // ever.
    let attempt = Attempt::new(subject, ErrorCode::ResourceNotFound, move |broker, session| {
        let now = broker.clock.now();
        let (id, user) = {
            let catalog = broker.catalog();
            let (id, user, token) =
                catalog.state.token(&hash).ok_or(ErrorCode::ResourceNotFound)?;
            // It may be there still: what has expired is looked for now and then only.
            if token.is_expired(now) {
                return Err(ErrorCode::PersonalAccessTokenExpired);
            }
            (id, user.clone())
        };
        broker.log_in(session, id, &user)?;
        Ok(payload(&LoggedIn { user_id: id }))
    });
    attempt.run(broker, session)
}

/// The connection stays, anonymous; one that is no more in the table of clients is closed.
pub(super) fn log_out(session: &mut Session) -> Outcome {
    if !session.is_authenticated() {
        return Outcome::done(Reply::Error(ErrorCode::Unauthenticated));
    }
    // Taken out of the table for its silence, or with its user: a client that goes on with the connection could not be
    // reached by anything that ends logins.
    if session.entry().is_none() {
        return Outcome::done(Reply::Close(ErrorCode::ClientNotFound));
    }
    session.log_out();
    Outcome::done(Reply::Empty)
}
