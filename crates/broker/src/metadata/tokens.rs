//! Personal access tokens in the metadata, and what is forgotten when its time has come.
//!
//! INV-TOKEN-HASH: of a token's text only a SHA-256 gets here. The text has 400 random bits, so unlike a
//! password it needs no slow hash.

use std::collections::BTreeMap;

use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Timestamp, UserId};
use galgo_wire::name::TokenName;
use galgo_wire::primitive::{Payload, Reader};

use super::record::{Part, Record};
use super::{ApplyError, Consequence, State, UserMetadata, missing};

/// SHA-256 of the text of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

const _: () = assert!(size_of::<TokenHash>() * 8 == 256, "INV-TOKEN-HASH: the bits of a SHA-256");

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash")
    }
}

/// What is kept of a personal access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedToken {
    /// What its text hashes to.
    pub hash: TokenHash,
    /// When it stops being good for a login, if ever.
    pub expires_at: Option<Timestamp>,
}

impl HashedToken {
    /// Whether it is no more good for a login.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl State {
    /// The tokens of a user by name.
    pub fn tokens_of(&self, user: UserId) -> impl Iterator<Item = (&TokenName, &HashedToken)> {
        self.tokens.get(&user).into_iter().flatten()
    }

    /// The token with this hash, and whose it is.
    #[must_use]
    pub fn token(&self, hash: &TokenHash) -> Option<(UserId, &UserMetadata, &HashedToken)> {
        // By hash, so that the time it takes tells nothing of how much of a text was right.
        let (id, name) = self.token_owners.get(hash)?;
        let token = self.tokens.get(id)?.get(name)?;
        self.users.get(id).map(|user| (*id, user, token))
    }

    /// # Errors
    /// 52 when the user has `per_user_max` tokens, 51 when one of them has the name.
    pub(crate) fn prepare_create_token(
        &self,
        user: UserId,
        name: &TokenName,
        token: HashedToken,
        per_user_max: u32,
    ) -> Result<Record, ErrorCode> {
        let held = self.tokens.get(&user);
        if held.map_or(0, BTreeMap::len) >= per_user_max as usize {
            return Err(ErrorCode::PersonalAccessTokensLimitReached);
        }
        if held.is_some_and(|held| held.contains_key(name)) {
            return Err(ErrorCode::PersonalAccessTokenAlreadyExists);
        }
        Ok(Record::CreateToken { user, name: name.clone(), token })
    }

    /// # Errors
    /// 20 when the user has no token of that name.
    pub(crate) fn prepare_delete_token(
        &self,
        user: UserId,
        name: &str,
    ) -> Result<Record, ErrorCode> {
        let held = self.tokens.get(&user).and_then(|held| held.get_key_value(name));
        let (name, _) = held.ok_or(ErrorCode::ResourceNotFound)?;
        Ok(Record::DeleteToken { user, name: name.clone() })
    }

    /// Whether anything ended by `now` and is still here.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        let mut tokens = self.tokens.values().flat_map(BTreeMap::values);
        tokens.any(|token| token.is_expired(now)) || self.revoked_jwts.values().any(|at| *at <= now)
    }

    pub(super) fn create_token(
        &mut self,
        user: UserId,
        name: &TokenName,
        token: HashedToken,
    ) -> Result<Vec<Consequence>, ApplyError> {
        // A hash that two tokens shared would log in as whichever was stored last.
        let taken = self.tokens.get(&user).is_some_and(|held| held.contains_key(name));
        let known = self.token_owners.contains_key(&token.hash);
        if !self.users.contains_key(&user) || taken || known {
            return missing("a token of user", user.get());
        }
        self.insert_token(user, name.clone(), token);
        Ok(Vec::new())
    }

    pub(super) fn insert_token(&mut self, user: UserId, name: TokenName, token: HashedToken) {
        self.token_owners.insert(token.hash, (user, name.clone()));
        self.tokens.entry(user).or_default().insert(name, token);
    }

    pub(super) fn delete_token(
        &mut self,
        user: UserId,
        name: &TokenName,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let removed = self.tokens.get_mut(&user).and_then(|held| held.remove(name));
        let Some(token) = removed else { return missing("a token of user", user.get()) };
        self.token_owners.remove(&token.hash);
        // A user without tokens has no entry: equal states have equal snapshots.
        self.tokens.retain(|_, held| !held.is_empty());
        Ok(Vec::new())
    }

    pub(super) fn remove_tokens_of(&mut self, user: UserId) {
        for token in self.tokens.remove(&user).into_iter().flat_map(BTreeMap::into_values) {
            self.token_owners.remove(&token.hash);
        }
    }

    pub(super) fn forget_expired(&mut self, until: Timestamp) {
        // By the time that is written down: a clock that is looked at here would give another state
        // when the log is read again.
        let owners = &mut self.token_owners;
        for held in self.tokens.values_mut() {
            held.retain(|_, token| {
                let expired = token.is_expired(until);
                if expired {
                    owners.remove(&token.hash);
                }
                !expired
            });
        }
        self.tokens.retain(|_, held| !held.is_empty());
        // What has ended by itself is good for nothing without an entry, too.
        self.revoked_jwts.retain(|_, at| *at > until);
    }
}

impl Part for HashedToken {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0);
        // 0 is never: no token ends at the epoch.
        self.expires_at.unwrap_or(Timestamp::ZERO).encode(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let hash = TokenHash(from.array()?);
        let at = Timestamp::decode(from)?;
        Ok(Self { hash, expires_at: (at != Timestamp::ZERO).then_some(at) })
    }
}
