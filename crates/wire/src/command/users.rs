//! Users: login, accounts, permissions.

use crate::error_code::ErrorCode;
use crate::id::{Timestamp, UserId};
use crate::identifier::Identifier;
use crate::layout::{byte_enum, command, layout};
use crate::name::{Name, Password, Secret, Username};
use crate::permission::{Action, GrantedPermissions, Permissions, RequestedPermissions, Right};
use crate::primitive::{Payload, Reader};
use serde::Serialize;

command! {
    /// Logs in by name and password.
    pub struct LoginUser -> LoggedIn {
        /// The name.
        username: Username,
        /// The password.
        password: Password,
        /// Version of the client, for the log.
        version: String,
        /// What the client says about itself, for the log.
        context: String,
    }
    right: |_this| Right::Public;
}

command! {
    /// Logs out; the connection stays.
    pub struct LogoutUser -> ();
    right: Right::LoggedIn;
}

command! {
    /// Shows one user.
    pub struct GetUser -> Option<UserDetails> {
        /// The user.
        user: Identifier,
    }
    right: |this| Right::self_or(Action::ReadUsers, &this.user);
}

command! {
    /// Lists the users.
    pub struct GetUsers -> Vec<User>;
    right: Right::Server(Action::ReadUsers);
}

command! {
    /// Creates a user.
    pub struct CreateUser -> UserDetails {
        /// The name, unique in the server.
        username: Username,
        /// The password.
        password: Password,
        /// Whether the user may log in.
        status: UserStatus,
        /// What the user may do.
        permissions: Option<Permissions> as RequestedPermissions,
    }
    right: |_this| Right::Server(Action::ManageUsers);
}

command! {
    /// Deletes a user with its tokens.
    pub struct DeleteUser -> () {
        /// The user.
        user: Identifier,
    }
    right: |_this| Right::Server(Action::ManageUsers);
}

command! {
    /// Renames a user or changes whether it may log in.
    pub struct UpdateUser -> () {
        /// The user.
        user: Identifier,
        /// The new name.
        username: Option<Username> as Flagged,
        /// The new status.
        status: Option<UserStatus> as Flagged,
    }
    right: |_this| Right::Server(Action::ManageUsers);
}

command! {
    /// Replaces what a user may do.
    pub struct UpdatePermissions -> () {
        /// The user.
        user: Identifier,
        /// The permissions; none takes all away.
        permissions: Option<Permissions> as RequestedPermissions,
    }
    right: |_this| Right::Server(Action::ManageUsers);
}

command! {
    /// Changes a password; the current one is needed whoever asks.
    pub struct ChangePassword -> () {
        /// The user.
        user: Identifier,
        /// The password until now.
        current: Secret,
        /// The password from now on.
        new: Password,
    }
    right: |this| Right::self_or(Action::ManageUsers, &this.user);
}

command! {
    /// Sets the password of a user who may do nothing the caller may not do, without the current one. The
    /// logins and the personal access tokens of the user end. A classic server does not know it.
    pub struct ResetPassword -> () {
        /// The user.
        user: Identifier,
        /// The password from now on.
        new: Password,
    }
    right: |_this| Right::Server(Action::ManageUsers);
}

layout! {
    /// Who is logged in now.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub struct LoggedIn {
        /// The user.
        user_id: UserId,
    }
}

byte_enum! {
    /// Whether a user may log in.
    pub enum UserStatus {
        /// May.
        Active = 1 "active",
        /// May not.
        Inactive = 2 "inactive",
    }
}

layout! {
    /// A user.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct User {
        /// Its id.
        id: UserId,
        /// When it was created, in microseconds since the Unix epoch.
        created_at: Timestamp,
        /// Whether it may log in.
        status: UserStatus,
        /// Its name.
        username: Name,
    }
    json;
}

layout! {
    /// A user with what it may do.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct UserDetails {
        /// The user.
        #[serde(flatten)]
        user: User,
        /// What it may do.
        permissions: Option<Permissions> as GrantedPermissions,
    }
    json;
}

/// A flag, and the value if the flag is set.
struct Flagged;

impl Flagged {
    fn encode<T: Payload>(value: &Option<T>, out: &mut Vec<u8>) {
        value.is_some().encode(out);
        value.encode(out);
    }

    fn decode<T: Payload>(reader: &mut Reader<'_>) -> Result<Option<T>, ErrorCode> {
        reader.bool()?.then(|| T::decode(reader)).transpose()
    }
}
