//! Logins and what outlives them: sessions of known users, revoked HTTP logins, what expires.

use std::sync::atomic::Ordering;

use galgo_wire::command::UserStatus;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Timestamp, UserId};

use super::Broker;
use crate::metadata::jwts::Jwt;
use crate::metadata::record::Record;
use crate::metadata::{UserMetadata, UserSerial};
use crate::session::{Principal, Session};

impl Broker {
    /// Logs a session in as a user whose identity was proven elsewhere, by a signed token.
    ///
    /// # Errors
    /// 78 when the user was deleted, also if another one has its id now, or was deactivated, or its logins
    /// ended since.
    pub fn authenticate_as(
        &self,
        session: &mut Session,
        user: UserId,
        serial: UserSerial,
    ) -> Result<(), ErrorCode> {
        let catalog = self.catalog();
        // The signature says who it was; whether it still is, only the metadata say.
        if !catalog.is_standing(user, serial) {
            return Err(ErrorCode::InvalidAccessToken);
        }
        // Under the lock, so that a deletion of the user finds the session logged in, or refuses it.
        let address = session.peer().address.ip();
        session.log_in(Principal { user, serial, address });
        Ok(())
    }

    /// Ends an HTTP login that is exchanged for another. Durable on return; blocks on the disk.
    ///
    /// # Errors
    /// 78 when it has ended before, 76 when the account exchanged too many lately, 10005 when it could
    /// not be made durable: the login goes on then.
    pub fn revoke_jwt(&self, jwt: &Jwt) -> Result<(), ErrorCode> {
        self.ledger.change(|state| Ok(((), state.prepare_revoke_jwt(jwt)?)))
    }

    /// Ends an HTTP login for good, and with it all the account has when it ended too many one by one;
    /// `newest` is an id above those of all tokens so far. Durable on return; blocks on the disk.
    ///
    /// # Errors
    /// 78 when it has ended before, 10005 when it could not be made durable: the login goes on then.
    pub fn log_out_jwt(&self, jwt: &Jwt, newest: u128) -> Result<(), ErrorCode> {
        self.ledger.change(|state| Ok(((), state.prepare_log_out(jwt, newest)?)))
    }

    /// Whether an HTTP login of this account was ended before its time.
    #[must_use]
    pub fn is_jwt_revoked(&self, serial: UserSerial, jti: u128) -> bool {
        self.catalog().state.is_jwt_revoked(serial, jti)
    }

    /// Whether an HTTP login is good: its account is there and active, and neither this login nor all of
    /// that account's were ended.
    #[must_use]
    pub fn is_jwt_good(&self, user: UserId, serial: UserSerial, jti: u128) -> bool {
        let catalog = self.catalog();
        // Both under one look: a logout between two would be missed.
        catalog.is_standing(user, serial) && !catalog.state.is_jwt_revoked(serial, jti)
    }

    /// Whether the account of a login that was made at `issued_at` is gone: nobody has its id, or somebody
    /// does who came later.
    #[must_use]
    pub fn is_account_gone(&self, user: UserId, issued_at: Timestamp) -> bool {
        let catalog = self.catalog();
        catalog.state.users.get(&user).is_none_or(|user| user.created_at > issued_at)
    }

    /// Forgets tokens and revocations that expired, when it is time to look for them.
    pub(super) fn forget_expired(&self) {
        let now_us = self.clock.monotonic_us();
        let since = now_us.saturating_sub(self.cleaned_us.load(Ordering::Relaxed));
        if since < self.access.clean_interval_us {
            return;
        }
        // Also when nothing has expired: the look itself walks through all tokens.
        self.cleaned_us.store(now_us, Ordering::Relaxed);
        let until = self.clock.now();
        // No record without a need: each is a sync.
        if !self.catalog().state.has_expired(until) {
            return;
        }
        let recorded = self.ledger.change(|_| Ok(((), Record::ForgetExpired { until })));
        if let Err(code) = recorded {
            tracing::warn!(%code, "expired tokens not removed; it will be tried again");
        }
    }

    /// Logs a session in as the user whose password or token was verified while the user looked like
    /// `seen`.
    ///
    /// # Errors
    /// 42 when the user or its password changed meanwhile, 47 when it was deactivated.
    pub(crate) fn log_in(
        &self,
        session: &mut Session,
        id: UserId,
        seen: &UserMetadata,
    ) -> Result<(), ErrorCode> {
        let catalog = self.catalog();
        // The hash took its time. In it the user may have been deleted and its id given again, or its logins ended, and what
        // was verified says nothing of who is there now.
        let user = catalog.state.users.get(&id).filter(|user| user.serial == seen.serial);
        // Records of older versions replaced a password without ending the logins, so that the serial stayed.
        let same = user.filter(|user| user.password_hash == seen.password_hash);
        let user = same.ok_or(ErrorCode::InvalidCredentials)?;
        if user.status == UserStatus::Inactive {
            return Err(ErrorCode::UserInactive);
        }
        // Under the lock, so that a deletion of the user finds the session logged in.
        let address = session.peer().address.ip();
        session.log_in(Principal { user: id, serial: user.serial, address });
        Ok(())
    }
}
