//! How to reach a server, and what to log in with.

use std::net::SocketAddr;

use galgo::{Client, ConnectionString, Credentials, ReconnectPolicy};

use crate::error::{BenchError, Outcome};
use crate::process::OnePort;

/// User of a server started with `--dev`.
pub const DEV_USERNAME: &str = "galgo";
/// Its password.
pub const DEV_PASSWORD: &str = "galgo";

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    /// Its address and all options of the connection.
    pub url: ConnectionString,
    /// The same to be shown: without credentials.
    pub shown: String,
    /// What connections log in with, if not with what the URL has.
    pub login: Option<Credentials>,
}

impl ServerAddress {
    /// A server on this machine that was started with `--dev`.
    ///
    /// # Errors
    /// The address makes no URL.
    pub fn dev(address: SocketAddr, listener: OnePort) -> Outcome<Self> {
        let scheme = match listener.section {
            "quic" => "galgo+quic",
            "websocket" => "galgo+ws",
            _ => "galgo",
        };
        // Its certificate is one it made for itself.
        let query = if listener.tls { "?tls=true&tls_validate_certificate=false" } else { "" };
        let shown = format!("{scheme}://{address}{query}");
        let url = shown
            .parse()
            .map_err(|error| BenchError::machine(format!("the address of the server: {error}")))?;
        let login = Some(Credentials::password(DEV_USERNAME, DEV_PASSWORD));
        Ok(Self { url, shown, login })
    }

    /// Connects and logs in.
    pub(crate) async fn connect(&self, reconnect: ReconnectPolicy) -> Outcome<Client> {
        let mut builder = self.url.clone().into_builder().reconnect(reconnect);
        if let Some(login) = &self.login {
            builder = builder.credentials(login.clone());
        }
        Ok(builder.connect().await?)
    }
}
