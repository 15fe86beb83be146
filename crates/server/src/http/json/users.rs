//! Users, logins and personal access tokens.

use galgo_wire::command::UserStatus;
use galgo_wire::permission::Permissions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    pub(in super::super) permissions: Option<Permissions>,
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
    pub(in super::super) permissions: Option<Permissions>,
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

/// The text of a new personal access token, shown this once.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct RawToken {
    /// The text.
    pub(in super::super) token: String,
}
