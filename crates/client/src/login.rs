//! Login and logout on an open connection.

use bytes::Bytes;
use galgo_wire::command::tokens::LoginWithToken;
use galgo_wire::command::users::{LoggedIn, LoginUser, LogoutUser};
use galgo_wire::primitive::Payload;

use crate::call::{frame, name};
use crate::connection::Replay;
use crate::{CallError, Client, Credentials, InvalidRequest};

impl Client {
    /// Logs in, and does so again on every reconnect; returns the id of the user.
    ///
    /// A failed login leaves the user as it was.
    ///
    /// # Errors
    /// [`CallError`]; code `InvalidCredentials` when user or password are wrong.
    pub async fn login(&self, credentials: Credentials) -> Result<u32, CallError> {
        let answer = self.connection.exchange(login_frame(&credentials)?, Replay::Safe).await;
        let operation = "log in as";
        let payload =
            answer.map_err(|failure| failure.into_call(operation, || who(&credentials)))?;
        let login = LoggedIn::from_bytes(&payload)
            .map_err(|code| CallError::Reply { operation, reason: code.to_string() })?;
        self.connection.remember(Some(credentials));
        Ok(login.user_id.get())
    }

    /// Logs out: the connection stays open and anonymous, after a reconnect too.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn logout(&self) -> Result<(), CallError> {
        self.call(&LogoutUser, "log out", String::new).await?;
        self.connection.remember(None);
        Ok(())
    }
}

/// The request that logs in with `credentials`.
pub(crate) fn login_frame(credentials: &Credentials) -> Result<Bytes, InvalidRequest> {
    match credentials {
        Credentials::Password { username, password } => frame(&LoginUser {
            username: name("user name", username)?,
            password: name("password", password)?,
            version: env!("CARGO_PKG_VERSION").into(),
            context: String::new(),
        }),
        Credentials::Token(token) => frame(&LoginWithToken { token: name("token", token)? }),
    }
}

/// Whose login it is, without secrets.
pub(crate) fn who(credentials: &Credentials) -> String {
    match credentials {
        Credentials::Password { username, .. } => format!("user {username}"),
        Credentials::Token(_) => "the owner of the token".into(),
    }
}
