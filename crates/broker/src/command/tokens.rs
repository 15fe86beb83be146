//! Personal access tokens: always the caller's own.

use galgo_wire::command::{CreateToken, DeleteToken, GetTokens, RawToken, Token};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Timestamp;
use galgo_wire::name::Name;

use super::{authorize, offload, payload};
use crate::access::token::{hash_token, new_token};
use crate::broker::Broker;
use crate::broker::change::Acting;
use crate::metadata;
use crate::outcome::{Job, Outcome, Reply};
use crate::session::Session;

/// The caller's tokens by name, also those that expired and were not cleaned away yet.
pub(super) fn list(broker: &Broker, session: &Session, command: &GetTokens) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        let user = session.caller()?.user;
        let catalog = broker.catalog();
        let tokens = catalog.state.tokens_of(user).map(|(name, token)| {
            let name = Name::parse(name.as_str());
            let name = name.map_err(|_| ErrorCode::InvalidPersonalAccessTokenName)?;
            Ok(Token { name, expiry_at: token.expires_at })
        });
        Ok(payload(&tokens.collect::<Result<Vec<_>, ErrorCode>>()?))
    };
    answer().into()
}

/// Makes a token; its text is in the answer and nowhere else.
pub(super) fn create(broker: &Broker, session: &Session, command: CreateToken) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    offload(Job::Change, move |broker, session| {
        // Asked once more, off the connection's thread: the login may have ended while the job waited.
        let caller = session.caller()?;
        let text = new_token(&*broker.random).map_err(|_| ErrorCode::InvalidPersonalAccessToken)?;
        let expires_at = expiry(broker.clock.now(), command.expiry_us);
        // INV-TOKEN-HASH: the text goes into the answer and nowhere else, neither into the log of the metadata nor of the server.
        let token = metadata::HashedToken { hash: hash_token(&text), expires_at };
        let per_user_max = broker.access.tokens_per_user_max;
        Acting::new(broker, session).change(|state| {
            let user = caller.user;
            Ok(((), state.prepare_create_token(user, &command.name, token, per_user_max)?))
        })?;
        Ok(payload(&RawToken { token: text }))
    })
}

/// Deletes a token. Who logged in with it stays logged in.
pub(super) fn delete(broker: &Broker, session: &Session, command: DeleteToken) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    offload(Job::Change, move |broker, session| {
        let caller = session.caller()?;
        Acting::new(broker, session).change(|state| {
            Ok(((), state.prepare_delete_token(caller.user, command.name.as_str())?))
        })?;
        Ok(Reply::Empty)
    })
}

/// When a token of that many microseconds expires; 0 and the largest number mean never.
fn expiry(now: Timestamp, expiry_us: u64) -> Option<Timestamp> {
    match expiry_us {
        // Clients differ in how they say it.
        0 | u64::MAX => None,
        us => Some(Timestamp::new(now.get().saturating_add(us))),
    }
}
