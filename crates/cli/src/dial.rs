//! From a URL and the environment to a connection that is logged in.
//!
//! Credentials come from the profile, if one is used, else from the URL, else from `GALGO_USERNAME` and `GALGO_PASSWORD`, else, when the
//! server is on this machine and the command takes a login, those of `galgo server --dev` are tried.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use galgo::{
    Client, ClientBuilder, ConnectError, ConnectionString, ConnectionStringError, Credentials,
    ReconnectPolicy,
};
use galgo_bench::destination::{DEV_PASSWORD, DEV_USERNAME, ServerAddress};
use galgo_bench::host::is_loopback;
use parking_lot::Mutex;

use crate::address::variable;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

const HOW_TO_GIVE_CREDENTIALS: &str = "give credentials in the URL, --server \
    galgo://USER:PASSWORD@HOST:PORT, or set GALGO_USERNAME and GALGO_PASSWORD";

/// The server a command talks to, and how it answers.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where the server is.
    pub(crate) url: String,
    /// What the profile has to log in with.
    pub(crate) login: Option<Login>,
    /// The form of results.
    pub(crate) output: Output,
}

/// The token of a profile.
#[derive(Clone)]
pub(crate) struct Login {
    /// The text of the token.
    pub(crate) token: String,
    /// The name of the profile.
    pub(crate) profile: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Where the credentials came from, for the hint when they are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CredentialsFrom {
    Profile(String),
    Url,
    UrlToken,
    Environment,
    DevDefault,
    Nowhere,
}

/// Whom to log in as when no credentials were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    /// The user of a server started with `--dev`, when the server is on this machine.
    Dev,
    /// Nobody.
    Nobody,
}

impl Target {
    /// Connects and logs in; the connection is opened again when it breaks.
    pub(crate) async fn connect(&self) -> Outcome<Client> {
        self.open(ReconnectPolicy::default().attempts(RECONNECT_ATTEMPTS), Guess::Dev).await
    }

    /// Connects and logs in; the connection is opened again when it breaks, however often. Connecting itself is tried once.
    pub(crate) async fn connect_for_good(&self) -> Outcome<Client> {
        self.open(ReconnectPolicy::default(), Guess::Dev).await
    }

    /// Connects for what takes no login: only with credentials that were given, as a guess would count as a
    /// failed login of somebody.
    pub(crate) async fn connect_as_given(&self) -> Outcome<Client> {
        self.open(ReconnectPolicy::default().attempts(RECONNECT_ATTEMPTS), Guess::Nobody).await
    }

    /// Connects and logs in, for as long as this one connection holds.
    pub(crate) async fn connect_once(&self) -> Outcome<Client> {
        self.open(ReconnectPolicy::never(), Guess::Dev).await
    }

    /// The server and the login as a load takes them, which opens connections of its own.
    pub(crate) fn destination(&self) -> Outcome<ServerAddress> {
        let url = parse(&self.url)?;
        let (login, _) = self.login(&url, Guess::Dev)?;
        Ok(ServerAddress { url, shown: without_credentials(&self.url), login })
    }

    /// What a failed connection of a load says, with what was logged in with in mind.
    pub(crate) fn explained(&self, error: &ConnectError) -> Failure {
        match parse(&self.url).and_then(|url| self.login(&url, Guess::Dev)) {
            Ok((_, source)) => failure(error, &source),
            Err(failure) => failure,
        }
    }

    /// What to log in with, if not with what the URL has, and where that came from.
    fn login(
        &self,
        url: &ConnectionString,
        guess: Guess,
    ) -> Outcome<(Option<Credentials>, CredentialsFrom)> {
        match &self.login {
            Some(Login { token, profile }) => {
                Ok((Some(Credentials::token(token)), CredentialsFrom::Profile(profile.clone())))
            }
            None => match credentials(url)? {
                (_, CredentialsFrom::DevDefault) if guess == Guess::Nobody => {
                    Ok((None, CredentialsFrom::Nowhere))
                }
                found => Ok(found),
            },
        }
    }

    async fn open(&self, reconnect: ReconnectPolicy, guess: Guess) -> Outcome<Client> {
        let url = parse(&self.url)?;
        let (credentials, source) = self.login(&url, guess)?;
        let mut builder: ClientBuilder = url.into_builder().reconnect(reconnect);
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        let client = builder.connect().await.map_err(|error| failure(&error, &source))?;
        close_at_the_end(&client);
        Ok(client)
    }
}

/// Has [`wait_until_closed`] wait for this connection too.
pub(crate) fn close_at_the_end(client: &Client) {
    CLOSINGS.lock().push(Box::pin(client.closed()));
}

/// Waits, within a bound, until the connections this process opened are closed. Over QUIC a server hears of
/// the end of a process from nobody but the process.
pub(crate) async fn wait_until_closed() {
    let closings = std::mem::take(&mut *CLOSINGS.lock());
    let _ = tokio::time::timeout(CLOSING_MAX, join_all(closings)).await;
}

/// What resolves when the connections that were opened are closed.
static CLOSINGS: Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>> = Mutex::new(Vec::new());

/// Longest wait for connections to be closed; one that is still in use by a thread is not waited for longer.
const CLOSING_MAX: Duration = Duration::from_millis(500);

/// Reads a server URL.
pub(crate) fn parse(url: &str) -> Outcome<ConnectionString> {
    url.parse().map_err(|error: ConnectionStringError| match &error {
        ConnectionStringError::UnknownOption { option, nearest: None } => {
            Failure::usage(format!("the server URL is not valid: there is no option {option}"))
                .hint("docs/cli.md lists the options, for example ?tls=true&tls_ca_file=FILE")
        }
        _ => Failure::usage(format!("the server URL is not valid: {error}"))
            .hint("it is written galgo://[USER:PASSWORD@]HOST[:PORT][?OPTION=VALUE]"),
    })
}

/// `url` without what stands before the `@`.
pub(crate) fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (_, place) = ConnectionString::split_login(rest);
            format!("{scheme}://{place}")
        }
        None => url.to_owned(),
    }
}

/// A command is not worth a longer wait than a few seconds.
const RECONNECT_ATTEMPTS: u32 = 5;

/// The credentials to use; `None` leaves those of the URL.
fn credentials(url: &ConnectionString) -> Outcome<(Option<Credentials>, CredentialsFrom)> {
    match url.credentials() {
        Some(Credentials::Token(_)) => return Ok((None, CredentialsFrom::UrlToken)),
        Some(Credentials::Password { .. }) => return Ok((None, CredentialsFrom::Url)),
        None => {}
    }
    match (variable("GALGO_USERNAME"), variable("GALGO_PASSWORD")) {
        (Some(username), Some(password)) => {
            Ok((Some(Credentials::password(username, password)), CredentialsFrom::Environment))
        }
        (None, None) if is_loopback(url.host()) => Ok((
            Some(Credentials::password(DEV_USERNAME, DEV_PASSWORD)),
            CredentialsFrom::DevDefault,
        )),
        (None, None) => Ok((None, CredentialsFrom::Nowhere)),
        _ => Err(Failure::usage("only one of GALGO_USERNAME and GALGO_PASSWORD is set")
            .hint("set both, or neither and give credentials in the URL")),
    }
}

fn failure(error: &ConnectError, source: &CredentialsFrom) -> Failure {
    let failure = Failure::from(error);
    if !matches!(error, ConnectError::Login(_)) {
        return failure;
    }
    match source {
        CredentialsFrom::Profile(name) => failure.hint(format!(
            "the token of profile {name} is no longer good; galgo login --profile {name} makes another"
        )),
        CredentialsFrom::DevDefault => failure.hint(format!(
            "no credentials were given, so those of `galgo server --dev` were tried; \
             {HOW_TO_GIVE_CREDENTIALS}"
        )),
        CredentialsFrom::Url => failure.hint("the credentials are those of the server URL"),
        CredentialsFrom::UrlToken => failure.hint(
            "what stands before the @ of the server URL has no colon, so it was taken for a \
             personal access token; did you mean USER:PASSWORD@?",
        ),
        CredentialsFrom::Environment => {
            failure.hint("the credentials are those of GALGO_USERNAME and GALGO_PASSWORD")
        }
        CredentialsFrom::Nowhere => failure.hint(HOW_TO_GIVE_CREDENTIALS),
    }
}

/// The hint when the server wants a login and nothing to log in with was given.
pub(crate) fn credentials_hint() -> &'static str {
    HOW_TO_GIVE_CREDENTIALS
}
