//! Login and logout on an open connection.

use crate::{CallError, Client, Credentials};

impl Client {
    /// Logs in, and does so again on every reconnect; returns the id of the user.
    ///
    /// A failed login leaves the user as it was.
    ///
    /// # Errors
    /// [`CallError`]; code `InvalidCredentials` when user or password are wrong.
    pub async fn login(&self, credentials: Credentials) -> Result<u32, CallError> {
        self.connection.login(credentials).await
    }

    /// Logs out: the connection stays open and anonymous, after a reconnect too.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn logout(&self) -> Result<(), CallError> {
        self.connection.logout().await
    }
}
