//! The logins of pipelines: what the file says, else what every other command would use.

use async_trait::async_trait;
use galgo::Client;
use galgo_connect::Failure;
use galgo_connect::config::file::GalgoServer;
use galgo_connect::outbound::Dial;

use crate::dial::{Login, Target};
use crate::failure::Failure as ToolFailure;
use crate::global::Global;

/// Connects as the file of a pipeline says.
pub(super) struct Dialer {
    global: Global,
}

impl Dialer {
    pub(super) fn new(global: &Global) -> Self {
        Self { global: global.clone() }
    }

    /// Where the server is and what to log in with; a secret is read anew each time.
    fn target(&self, server: &GalgoServer) -> Result<Target, Failure> {
        let mut global = self.global.clone();
        if server.server.is_some() || server.profile.is_some() {
            (global.server, global.profile) = (server.server.clone(), server.profile.clone());
        }
        let mut target = global.target().map_err(|failure| refused(&failure))?;
        if let Some(token) = &server.token {
            let secret = token.read().map_err(|error| {
                Failure::refused(
                    format!("the token of the server: {error}"),
                    "see to the token of the file",
                )
            })?;
            let profile = token.to_string();
            target.login = Some(Login { token: secret.reveal().to_owned(), profile });
        }
        Ok(target)
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self, server: &GalgoServer) -> Result<Client, Failure> {
        let target = self.target(server)?;
        target.connect_for_good().await.map_err(|failure| match failure.is_of_connection() {
            true => Failure::away(failure.sentence()),
            false => refused(&failure),
        })
    }
}

fn refused(failure: &ToolFailure) -> Failure {
    let advice = failure.advice().unwrap_or("see to the login of the file");
    Failure::refused(failure.sentence(), advice)
}
