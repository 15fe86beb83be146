//! Logging in and out.

use galgo_wire::command::{LoggedIn, LoginUser, UserStatus};
use galgo_wire::error_code::ErrorCode;

use super::{offload, payload};
use crate::access::password::{verify_nothing, verify_password};
use crate::outcome::{Outcome, Reply};
use crate::session::Session;

/// Verifies a password; slow by design, so it runs off the connection's thread.
///
/// A failed login leaves whoever was logged in before.
pub(crate) fn login_user(command: LoginUser) -> Outcome {
    offload(move |broker, session| {
        let found = {
            let catalog = broker.catalog.read();
            catalog
                .state
                .user_named(command.username.as_str())
                .map(|(id, user)| (id, user.status, user.password_hash.clone()))
        };
        let Some((id, status, hash)) = found else {
            verify_nothing(command.password.as_str());
            return Err(ErrorCode::InvalidCredentials);
        };
        if status == UserStatus::Inactive {
            return Err(ErrorCode::UserInactive);
        }
        if !verify_password(command.password.as_str(), &hash) {
            return Err(ErrorCode::InvalidCredentials);
        }
        session.log_in(id);
        Ok(payload(&LoggedIn { user_id: id }))
    })
}

/// The connection stays, anonymous.
pub(crate) fn log_out(session: &mut Session) -> Outcome {
    if !session.is_authenticated() {
        return Outcome::Done(Reply::Error(ErrorCode::Unauthenticated));
    }
    session.log_out();
    Outcome::Done(Reply::Empty)
}
