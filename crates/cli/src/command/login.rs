//! `galgo login`, `logout` and `profile`: named servers with a token in place of a password.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use galgo::{Client, ConnectError, ConnectionString, Credentials, ErrorCode, ReconnectPolicy};
use galgo_wire::measure::micros;
use serde_json::{Value, json};

use crate::address::variable;
use crate::command::token::Life;
use crate::dial;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::text::visible;
use crate::output::{Output, table};
use crate::profile::{DEFAULT, Profile, Profiles};
use crate::secret::SecretFrom;
use crate::value::duration::parse_life;
use crate::value::time::{now_micros, show_time_short};

const AFTER_HELP: &str = "\
Makes a token on the server and keeps it, not the password, in galgo/profiles.toml of your configuration
directory, for you alone. Commands then use the profile that --profile or GALGO_PROFILE names, or the one
named `default` when nothing says which server or which credentials.";

/// Arguments of `galgo login`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LoginArgs {
    /// The user; asked for when the URL and GALGO_USERNAME do not tell
    #[arg(long)]
    username: Option<String>,
    /// When the token expires, from now: 30d, 12h or never
    #[arg(long, alias = "expires", value_name = "D", default_value = "30d", value_parser = parse_life)]
    expiry: Life,
    #[command(flatten)]
    secret: SecretFrom,
}

/// Arguments of `galgo logout`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LogoutArgs {
    /// Forget the profile even when its server cannot be asked to delete the token
    #[arg(long)]
    local: bool,
}

/// Arguments of `galgo profile`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List the profiles, without their tokens
    List,
}

/// Runs `galgo login`.
pub(crate) async fn login(global: &Global, args: LoginArgs) -> Outcome {
    let name = global.profile_name().unwrap_or_else(|| DEFAULT.to_owned());
    // Before anybody types a password for nothing.
    let mut profiles = Profiles::open()?;
    let known = profiles.find(&name).map(|profile| profile.server.clone());
    let url = global.url(known)?;
    let (username, client) = open(&url, &args).await?;
    // Times differ between two logins, so the names of their tokens do.
    let token_name = format!("galgo-cli-{:x}", now_micros());
    let token = client.create_token(&token_name, args.expiry).await?;
    let life = args.expiry.map(micros);
    let expires_at = life.map(|life| now_micros().saturating_add(life));
    let server = dial::without_credentials(&url);
    let profile = Profile { server, username, token_name, token, expires_at };
    let (username, server) = (profile.username.clone(), profile.server.clone());
    if let Some(before) = profiles.put(&name, profile)?
        && before.server == server
        && before.username == username
    {
        // The new login stands, whatever became of the old token.
        let _ = client.delete_token(&before.token_name).await;
    }
    let until = expires_at.map_or(String::new(), |at| format!(" until {}", show_time_short(at)));
    let (who, shown) = (visible(&username), visible(&name));
    let sentence = format!("logged in to {server} as {who}{until}; the profile is {shown}");
    let fact = json!({
        "created": "profile",
        "profile": name,
        "server": server,
        "username": username,
        "expires_at": expires_at,
    });
    global.output().done(&sentence, &fact)
}

/// Connects with name and password.
async fn open(url: &str, args: &LoginArgs) -> Outcome<(String, Client)> {
    let url: ConnectionString = dial::parse(url)?;
    let (username, password) = match (url.credentials(), &args.username) {
        (Some(Credentials::Password { username, password }), None) => {
            (username.clone(), password.clone())
        }
        (Some(Credentials::Token(_)), _) => {
            return Err(Failure::usage("the server URL has a token already")
                .hint("log in with a user name; the token is made by this command"));
        }
        (_, given) => {
            let from_environment = given.is_none().then(|| variable("GALGO_USERNAME")).flatten();
            let with_password = from_environment.is_some();
            let username = match given.clone().or(from_environment) {
                Some(username) => username,
                None => ask_username()?,
            };
            let password = with_password.then(|| variable("GALGO_PASSWORD")).flatten();
            let prompt = format!("Password of {}: ", visible(&username));
            let password = password.map_or_else(|| args.secret.existing(&prompt), Ok)?;
            (username, password)
        }
    };
    let credentials = Credentials::password(username.clone(), password);
    let builder = url.into_builder().reconnect(ReconnectPolicy::never());
    let client = builder.credentials(credentials).connect().await;
    let client = client.map_err(|error| Failure::from(&error))?;
    dial::close_at_the_end(&client);
    Ok((username, client))
}

fn ask_username() -> Outcome<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for a user name on")
            .hint("give it with --username"));
    }
    let mut err = io::stderr().lock();
    let asked = write!(err, "User: ").and_then(|()| err.flush());
    let mut line = String::new();
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut line))
        .map_err(|error| Failure::io(format!("cannot ask on the terminal: {error}")))?;
    Ok(line.trim().to_owned())
}

/// Runs `galgo logout`.
pub(crate) async fn logout(global: &Global, args: LogoutArgs) -> Outcome {
    let name = global.profile_name().unwrap_or_else(|| DEFAULT.to_owned());
    let mut profiles = Profiles::open()?;
    let profile = profiles.to_leave(&name)?.clone();
    let deleted = if args.local { Ok(false) } else { delete_token(&profile).await };
    let deleted = deleted.map_err(|failure| {
        failure.hint("the token is still good; --local forgets the profile all the same")
    })?;
    profiles.remove(&name)?;
    let what = if deleted { "the token is deleted" } else { "the token was not deleted" };
    let sentence = format!("logged out of {}; {what}", profile.server);
    let fact = json!({ "deleted": "profile", "profile": name, "token_deleted": deleted });
    global.output().done(&sentence, &fact)
}

/// Deletes the token on its server; one that is no longer good is none.
async fn delete_token(profile: &Profile) -> Outcome<bool> {
    let url = dial::parse(&profile.server)?;
    let builder = url.into_builder().reconnect(ReconnectPolicy::never());
    let client = match builder.credentials(Credentials::token(&profile.token)).connect().await {
        Ok(client) => {
            dial::close_at_the_end(&client);
            client
        }
        Err(ConnectError::Login(refusal))
            if [
                ErrorCode::ResourceNotFound,
                ErrorCode::InvalidPersonalAccessToken,
                ErrorCode::PersonalAccessTokenExpired,
            ]
            .into_iter()
            .any(|code| refusal.is(code)) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(Failure::from(&error)),
    };
    client.delete_token(&profile.token_name).await?;
    Ok(true)
}

/// Runs `galgo profile`.
pub(crate) fn profile(output: Output, command: ProfileCommand) -> Outcome {
    let ProfileCommand::List = command;
    let profiles = Profiles::open()?;
    let list: Vec<Value> = profiles
        .all()
        .iter()
        .map(|(name, profile)| {
            json!({
                "profile": name,
                "server": profile.server,
                "username": profile.username,
                "expires_at": profile.expires_at,
            })
        })
        .collect();
    output.tell(&list, |_| {
        let columns = [
            table::text("PROFILE"),
            table::text("SERVER"),
            table::text("USER"),
            table::text("EXPIRES"),
        ];
        let rows = profiles.all().iter().map(|(name, profile)| {
            let expires = profile.expires_at.map_or("never".to_owned(), show_time_short);
            vec![name.clone(), profile.server.clone(), profile.username.clone(), expires]
        });
        let nothing = format!("no profiles in {}", profiles.path().display());
        table::columns(&columns, rows, &nothing)
    })
}
