//! HTTP logins that ended before their time.
//!
//! INV-JWT-SHARE: no account can fill the table of ended logins for the others: each has its share, and
//! one above it exchanges no more logins until some of those it ended would have ended by themselves.
//! INV-JWT-LOGOUT: a logout always works. Above the share it ends every login the account has, which
//! takes one entry in the place of many.
//! INV-JWT-VOID: the ids of tokens grow, so a mark covers what was issued before it and nothing after.

use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Timestamp, UserId};

use super::record::Record;
use super::{State, UserSerial};

/// Most ended HTTP logins of one account that are remembered one by one.
pub const REVOKED_JWTS_PER_USER_MAX: usize = 1_000;

/// Ended HTTP logins of all accounts from which on each has only as many as all could have.
pub const REVOKED_JWTS_MAX: usize = 100_000;

const _: () = assert!(
    REVOKED_JWTS_PER_USER_MAX < REVOKED_JWTS_MAX,
    "INV-JWT-SHARE: no account fills the table alone"
);

/// An HTTP login that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// The id of its user.
    pub user: UserId,
    /// Which of the users that ever had the id.
    pub serial: UserSerial,
    /// The id of its token, a UUID of version 7: greater than those of all tokens before.
    pub jti: u128,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl State {
    /// Whether an HTTP login of this account was ended before its time.
    #[must_use]
    pub fn is_jwt_revoked(&self, serial: UserSerial, jti: u128) -> bool {
        self.void_jwts.get(&serial).is_some_and(|last| jti <= *last)
            || self.revoked_jwts.contains_key(&(serial, jti))
    }

    /// # Errors
    /// 76 when the account ended as many as it may, 78 when this one has ended before.
    pub(crate) fn prepare_revoke_jwt(&self, jwt: &Jwt) -> Result<Record, ErrorCode> {
        self.check_jwt(jwt)?;
        if self.has_ended_its_share(jwt.serial) {
            return Err(ErrorCode::CannotGenerateJwt);
        }
        let Jwt { serial, jti, expires_at, .. } = *jwt;
        Ok(Record::RevokeJwt { serial, jti, expires_at })
    }

    /// The record that ends a login for good; `newest` is an id above those of all tokens so far.
    ///
    /// # Errors
    /// 78 when this one has ended before.
    pub(crate) fn prepare_log_out(&self, jwt: &Jwt, newest: u128) -> Result<Record, ErrorCode> {
        self.check_jwt(jwt)?;
        let Jwt { serial, jti, expires_at, .. } = *jwt;
        Ok(match self.has_ended_its_share(serial) {
            // After the clock was set back over a restart, tokens may have ids above the newest.
            true => Record::VoidJwts { serial, last: newest.max(jti) },
            false => Record::RevokeJwt { serial, jti, expires_at },
        })
    }

    fn check_jwt(&self, jwt: &Jwt) -> Result<(), ErrorCode> {
        let known = self.users.get(&jwt.user).is_some_and(|user| user.serial == jwt.serial);
        // Of two that exchange one login for a new one, only the first may.
        if !known || self.is_jwt_revoked(jwt.serial, jwt.jti) {
            return Err(ErrorCode::InvalidAccessToken);
        }
        Ok(())
    }

    fn has_ended_its_share(&self, serial: UserSerial) -> bool {
        // A share of the whole table, so that one account cannot take from the others what they need to log out
        // (INV-JWT-SHARE).
        let held = self.revoked_jwts.range((serial, 0)..=(serial, u128::MAX)).count();
        let share = (REVOKED_JWTS_MAX / self.users.len().max(1)).max(1);
        held >= REVOKED_JWTS_PER_USER_MAX
            || (self.revoked_jwts.len() >= REVOKED_JWTS_MAX && held >= share)
    }

    pub(super) fn void_jwts(&mut self, serial: UserSerial, last: u128) {
        // INV-JWT-VOID: the mark never goes back, or tokens that ended would be good again.
        let mark = self.void_jwts.entry(serial).or_default();
        *mark = last.max(*mark);
        let last = *mark;
        // What the mark covers needs no entry of its own: so a logout finds room however many there
        // are (INV-JWT-LOGOUT).
        self.revoked_jwts.retain(|(owner, jti), _| *owner != serial || *jti > last);
    }

    /// Serials are never given again (INV-META-SERIAL), so the tokens of a deleted user are void anyway.
    pub(super) fn forget_jwts_of(&mut self, serial: UserSerial) {
        self.void_jwts.remove(&serial);
        self.revoked_jwts.retain(|(owner, _), _| *owner != serial);
    }
}
