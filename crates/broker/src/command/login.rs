//! Logging in and out.

use galgo_wire::command::{LoggedIn, LoginUser, LoginWithToken, UserStatus};
use galgo_wire::error_code::ErrorCode;

use super::payload;
use crate::access::guard::Attempt;
use crate::access::password::{verify_nothing, verify_password};
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
    let subject = (from, Some(username.as_str()));
    let attempt = Attempt::new(subject, ErrorCode::InvalidCredentials, move |broker, session| {
        let found = {
            let catalog = broker.catalog.read();
            let found = catalog.state.user_named(command.username.as_str());
            found.map(|(id, user)| (id, user.clone()))
        };
        let Some((id, user)) = found else {
            verify_nothing(command.password.as_str());
            return Err(ErrorCode::InvalidCredentials);
        };
        if user.status == UserStatus::Inactive {
            return Err(ErrorCode::UserInactive);
        }
        if !verify_password(command.password.as_str(), &user.password_hash) {
            return Err(ErrorCode::InvalidCredentials);
        }
        broker.log_in(session, (id, &user))?;
        Ok(payload(&LoggedIn { user_id: id }))
    });
    attempt.offload(broker, from)
}

/// Looks a token up; cheap, so it is done at once.
pub(super) fn login_with_token(
    broker: &Broker,
    session: &mut Session,
    command: &LoginWithToken,
) -> Outcome {
    let from = session.peer().address.ip();
    let hash = hash_token(&command.token);
    let attempt =
        Attempt::new((from, None), ErrorCode::ResourceNotFound, move |broker, session| {
            let now = broker.clock.now();
            let (id, user) = {
                let catalog = broker.catalog.read();
                let (id, user, token) =
                    catalog.state.token(&hash).ok_or(ErrorCode::ResourceNotFound)?;
                if token.is_expired(now) {
                    return Err(ErrorCode::PersonalAccessTokenExpired);
                }
                (id, user.clone())
            };
            broker.log_in(session, (id, &user))?;
            Ok(payload(&LoggedIn { user_id: id }))
        });
    attempt.run(broker, session)
}

/// The connection stays, anonymous; one that is no more in the table of clients is closed.
pub(super) fn log_out(session: &mut Session) -> Outcome {
    if !session.is_authenticated() {
        return Outcome::done(Reply::Error(ErrorCode::Unauthenticated));
    }
    if session.entry().is_none() {
        return Outcome::done(Reply::Close(ErrorCode::ClientNotFound));
    }
    session.log_out();
    Outcome::done(Reply::Empty)
}
