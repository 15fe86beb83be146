//! Users: one method per command.

use galgo_wire::command::users::{
    ChangePassword, CreateUser, DeleteUser, GetUser, GetUsers, ResetPassword, UpdatePermissions,
    UpdateUser, User, UserDetails, UserStatus,
};
use galgo_wire::permission::Permissions;

use crate::call::name;
use crate::extensions::ACCESS;
use crate::{CallError, Client, Identifier};

/// What a new user is and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserOptions {
    /// Whether the user may log in. Default: yes.
    pub status: UserStatus,
    /// What the user may do. Default: nothing beyond what everybody may.
    pub permissions: Option<Permissions>,
}

impl Default for UserOptions {
    fn default() -> Self {
        Self { status: UserStatus::Active, permissions: None }
    }
}

impl UserOptions {
    /// Sets whether the user may log in.
    pub fn status(mut self, status: UserStatus) -> Self {
        self.status = status;
        self
    }

    /// Sets what the user may do.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = Some(permissions);
        self
    }
}

/// What to change about a user; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserUpdate {
    /// The new name.
    pub username: Option<String>,
    /// Whether the user may log in from now on.
    pub status: Option<UserStatus>,
}

impl UserUpdate {
    /// Sets the new name.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets whether the user may log in.
    pub fn status(mut self, status: UserStatus) -> Self {
        self.status = Some(status);
        self
    }
}

impl Client {
    /// Lists all users, by id.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn users(&self) -> Result<Vec<User>, CallError> {
        self.call(&GetUsers, "list users", String::new).await
    }

    /// Returns a user with its permissions, or `None` when there is no such user.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn user(&self, user: &Identifier) -> Result<Option<UserDetails>, CallError> {
        let command = GetUser { user: user.clone() };
        self.call(&command, "get user", || user.to_string()).await
    }

    /// Creates a user called `username`.
    ///
    /// # Errors
    /// [`CallError`]; code `UserAlreadyExists` when there is one of this name.
    pub async fn create_user(
        &self,
        username: &str,
        password: &str,
        options: UserOptions,
    ) -> Result<UserDetails, CallError> {
        let command = CreateUser {
            username: name("user name", username)?,
            password: name("password", password)?,
            status: options.status,
            permissions: options.permissions,
        };
        self.call(&command, "create user", || username.to_owned()).await
    }

    /// Deletes a user with its tokens; its connections are logged out.
    ///
    /// # Errors
    /// [`CallError`]; code `ResourceNotFound` when there is none, `CannotDeleteUser` when it is the
    /// root user.
    pub async fn delete_user(&self, user: &Identifier) -> Result<(), CallError> {
        let command = DeleteUser { user: user.clone() };
        self.call(&command, "delete user", || user.to_string()).await
    }

    /// Renames a user, or changes whether it may log in.
    ///
    /// # Errors
    /// [`CallError`]; code `UserAlreadyExists` when another has the name.
    pub async fn update_user(
        &self,
        user: &Identifier,
        update: UserUpdate,
    ) -> Result<(), CallError> {
        let username = update.username.map(|text| name("user name", &text)).transpose()?;
        let command = UpdateUser { user: user.clone(), username, status: update.status };
        self.call(&command, "update user", || user.to_string()).await
    }

    /// Replaces what a user may do; `None` takes everything away.
    ///
    /// # Errors
    /// [`CallError`]; code `CannotChangePermissions` when it is the root user.
    pub async fn update_permissions(
        &self,
        user: &Identifier,
        permissions: Option<Permissions>,
    ) -> Result<(), CallError> {
        let command = UpdatePermissions { user: user.clone(), permissions };
        self.call(&command, "update permissions of user", || user.to_string()).await
    }

    /// Changes a password; the current one is needed whoever asks.
    ///
    /// All logins of the user end, over HTTP as well, but that of this connection when it changes its own
    /// password. Personal access tokens stay.
    ///
    /// A connection that logs in again by itself does so with the credentials it was given: after a
    /// change of one's own password, log in with the new one.
    ///
    /// # Errors
    /// [`CallError`]; code `InvalidCredentials` when `current` is wrong.
    pub async fn change_password(
        &self,
        user: &Identifier,
        current: &str,
        new: &str,
    ) -> Result<(), CallError> {
        let command = ChangePassword {
            user: user.clone(),
            current: name("current password", current)?,
            new: name("new password", new)?,
        };
        self.call(&command, "change password of user", || user.to_string()).await
    }

    /// Sets the password of a user without the current one, for an administrator. All logins and personal
    /// access tokens of the user end.
    ///
    /// # Errors
    /// [`CallError`]; code `Unauthorized` when the user may do anything that the caller may not, and for
    /// the caller's own password: that is changed with the current one.
    pub async fn reset_password(&self, user: &Identifier, new: &str) -> Result<(), CallError> {
        let command = ResetPassword { user: user.clone(), new: name("new password", new)? };
        let target = || user.to_string();
        self.call_extension(ACCESS, &command, "reset password of user", target).await
    }
}
