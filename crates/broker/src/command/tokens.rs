//! Personal access tokens: always the caller's own.

use galgo_wire::command::{CreateToken, DeleteToken, GetTokens, RawToken, Token};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Timestamp;
use galgo_wire::name::Name;

use super::{offload, payload};
use crate::access::token::{hash_token, new_token};
use crate::broker::Broker;
use crate::broker::change::Acting;
use crate::metadata;
use crate::outcome::{Job, Outcome, Reply};
use crate::session::Session;

/// The caller's tokens by name, also those that expired and were not cleaned away yet.
pub(super) fn list(broker: &Broker, session: &Session, command: &GetTokens) -> Outcome {
    let answer = || {
        broker.authorize(session, command)?;
        let user = session.caller()?.user;
        let catalog = broker.catalog.read();
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
    if let Err(code) = broker.authorize(session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    offload(Job::Change, move |broker, session| {
        let caller = session.caller()?;
        let text = new_token(&*broker.random).map_err(|_| ErrorCode::InvalidPersonalAccessToken)?;
        let expires_at = expiry(broker.clock.now(), command.expiry_us);
        let token = metadata::Token { hash: hash_token(&text), expires_at };
        let per_user_max = broker.access.tokens_per_user_max;
        Acting::new(broker, session).change(|state| {
            let named = (&command.name, token);
            Ok(((), state.prepare_create_token(caller.user, named, per_user_max)?))
        })?;
        Ok(payload(&RawToken { token: text }))
    })
}

/// Deletes a token. Who logged in with it stays logged in.
pub(super) fn delete(broker: &Broker, session: &Session, command: DeleteToken) -> Outcome {
    if let Err(code) = broker.authorize(session, &command) {
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
        0 | u64::MAX => None,
        us => Some(Timestamp::new(now.get().saturating_add(us))),
    }
}
