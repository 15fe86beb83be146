//! Users, logins and personal access tokens.

use galgo_wire::command;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::permissions::UserPermissions;

/// A name and its password.
#[derive(Deserialize, ToSchema)]
pub(in super::super) struct Login {
    /// The name.
    #[schema(example = "galgo")]
    pub(in super::super) username: String,
    /// The password.
    #[schema(example = "secret")]
    pub(in super::super) password: String,
    /// Version of the client, for the log.
    #[serde(default)]
    pub(in super::super) version: Option<String>,
    /// What the client says about itself, for the log.
    #[serde(default)]
    pub(in super::super) context: Option<String>,
}

/// The text of a token: of a login for a refresh, a personal access token for a login.
#[derive(Deserialize, ToSchema)]
pub(in super::super) struct TokenText {
    /// The text.
    pub(in super::super) token: String,
}

/// Who is logged in now, and with what.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Identity {
    /// The user.
    pub(in super::super) user_id: u32,
    /// What to send in the header `Authorization: Bearer …`.
    pub(in super::super) access_token: AccessToken,
}

/// A token of a login.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct AccessToken {
    /// The text.
    pub(in super::super) token: String,
    /// When it ends, in seconds since the Unix epoch.
    pub(in super::super) expiry: u64,
}

/// Whether a user may log in.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum UserStatus {
    /// May.
    Active,
    /// May not.
    Inactive,
}

/// A new user.
#[derive(Deserialize, ToSchema)]
pub(in super::super) struct CreateUser {
    /// 3 to 50 bytes, unique in the server.
    #[schema(min_length = 3, max_length = 50, example = "billing")]
    pub(in super::super) username: String,
    /// 3 to 100 bytes.
    #[schema(min_length = 3, max_length = 100, example = "a long secret")]
    pub(in super::super) password: String,
    /// Whether the user may log in.
    pub(in super::super) status: UserStatus,
    /// What the user may do.
    pub(in super::super) permissions: Option<UserPermissions>,
}

/// What to change of a user.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct UpdateUser {
    /// The new name.
    #[schema(min_length = 3, max_length = 50)]
    pub(in super::super) username: Option<String>,
    /// Whether the user may log in.
    pub(in super::super) status: Option<UserStatus>,
}

/// What a user may do from now on.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct UpdatePermissions {
    /// The permissions; null takes all away.
    pub(in super::super) permissions: Option<UserPermissions>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
pub(in super::super) struct ChangePassword {
    /// The password until now.
    pub(in super::super) current_password: String,
    /// The password from now on, 3 to 100 bytes.
    #[schema(min_length = 3, max_length = 100)]
    pub(in super::super) new_password: String,
}

/// A password that an administrator sets.
#[derive(Deserialize, ToSchema)]
pub(in super::super) struct ResetPassword {
    /// The password from now on, 3 to 100 bytes.
    #[schema(min_length = 3, max_length = 100)]
    pub(in super::super) new_password: String,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct User {
    /// Its id.
    id: u32,
    /// When it was created, in microseconds since the Unix epoch.
    created_at: u64,
    /// Whether it may log in.
    status: UserStatus,
    /// Its name.
    username: String,
}

/// A user with what it may do.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct UserDetails {
    #[serde(flatten)]
    user: User,
    /// What it may do.
    #[schema(required = true)]
    permissions: Option<UserPermissions>,
}

/// A new personal access token.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct CreateToken {
    /// 3 to 30 bytes, unique among the caller's tokens.
    #[schema(min_length = 3, max_length = 30, example = "laptop")]
    pub(in super::super) name: String,
    /// Microseconds from now until it expires; 0 and 2^64-1 mean never.
    #[schema(example = 0, maximum = 18446744073709551615u64)]
    pub(in super::super) expiry: u64,
}

/// A personal access token, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct PersonalToken {
    /// The name.
    name: String,
    /// When it expires, in microseconds since the Unix epoch, if ever.
    #[schema(required = true)]
    expiry_at: Option<u64>,
}

/// The text of a new personal access token, shown this once.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct RawToken {
    /// The text.
    pub(in super::super) token: String,
}

impl From<UserStatus> for command::UserStatus {
    fn from(status: UserStatus) -> Self {
        match status {
            UserStatus::Active => Self::Active,
            UserStatus::Inactive => Self::Inactive,
        }
    }
}

impl From<command::User> for User {
    fn from(user: command::User) -> Self {
        let status = match user.status {
            command::UserStatus::Active => UserStatus::Active,
            command::UserStatus::Inactive => UserStatus::Inactive,
        };
        Self {
            id: user.id.get(),
            created_at: user.created_at.get(),
            status,
            username: user.username.as_str().to_owned(),
        }
    }
}

impl From<command::UserDetails> for UserDetails {
    fn from(details: command::UserDetails) -> Self {
        Self {
            user: details.user.into(),
            permissions: details.permissions.map(UserPermissions::from),
        }
    }
}

impl From<command::Token> for PersonalToken {
    fn from(token: command::Token) -> Self {
        Self { name: token.name.as_str().to_owned(), expiry_at: token.expiry_at.map(u64::from) }
    }
}
