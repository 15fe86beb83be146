//! `galgo server`: run the server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use galgo_server::{Environment, NewPassword, Overrides, ServeError, ServerOptions};
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::noun::settings::DurabilityChoice;
use crate::output::{Format, Output};
use crate::secret::SecretFrom;

const AFTER_HELP: &str = "\
Settings come from built-in defaults, the file, GALGO_... environment variables and flags; later ones
win. Without --dev the root user comes from GALGO_ROOT_USERNAME and GALGO_ROOT_PASSWORD on the first
start, or is generated and printed once.

Exit codes: 0 stopped in order; 1 a file or the system failed; 2 the configuration makes no sense;
3 an address cannot be listened on; 4 the data directory is in use, foreign, of a newer version, or does
not fit together; 143 or 130 a second SIGTERM or SIGINT, a second or more after the first, ended it at
once.";

const RESET_HELP: &str = "\
For when nobody can log in as root any more. No server may run on the directory. The root user is made
active again, and as with any reset its logins and its personal access tokens end. The password is asked
for on the terminal unless an option says where it comes from.";

/// Arguments of `galgo server`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct ServerArgs {
    /// Something else than running it.
    #[command(subcommand)]
    action: Option<ServerAction>,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep everything in this directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Listen here for the binary protocol; port 0 takes any free port, "off" listens nowhere
    #[arg(long, value_name = "ADDR", value_parser = listener)]
    tcp: Option<String>,
    /// The same over QUIC
    #[arg(long, value_name = "ADDR", value_parser = listener)]
    quic: Option<String>,
    /// The same over WebSocket
    #[arg(long, value_name = "ADDR", value_parser = listener)]
    websocket: Option<String>,
    /// Listen here for HTTP, likewise
    #[arg(long, value_name = "ADDR", value_parser = listener)]
    http: Option<String>,
    /// What an acknowledgement promises for topics that do not choose
    #[arg(long, value_enum)]
    durability: Option<DurabilityChoice>,
    /// For development: root user galgo with password galgo, loopback only
    #[arg(long)]
    dev: bool,
    /// Print all settings with their defaults and their meaning, as a TOML file, and end
    #[arg(long)]
    print_config: bool,
}

/// What is done to a server that does not run.
#[derive(Debug, Subcommand)]
enum ServerAction {
    /// Give the root user of a data directory a new password, while no server runs on it
    ResetRoot(ResetRootArgs),
}

/// Arguments of `galgo server reset-root`.
#[derive(Args, Debug)]
#[command(after_help = RESET_HELP)]
struct ResetRootArgs {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The settings of the server, for its data directory and its encryption keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Make up a password and print it once
    #[arg(long, conflicts_with_all = ["password_stdin", "password_env"])]
    generate: bool,
    #[command(flatten)]
    secret: SecretFrom,
}

/// Takes an IP address with a port, or "off".
fn listener(text: &str) -> Result<String, String> {
    if text == "off" || text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("expected an IP address and a port, such as 127.0.0.1:8090, or off".to_owned())
}

/// Runs the server until it is told to stop, or does what was asked instead. What ends the server is told by
/// the server itself, which has standard error for its log and waits for no reader of it.
pub(crate) fn run(args: ServerArgs, output: Output) -> Outcome {
    if let Some(ServerAction::ResetRoot(args)) = args.action {
        return reset_root(args, output);
    }
    if args.print_config {
        let reference = galgo_server::config_reference();
        let mut out = std::io::stdout().lock();
        let printed = out.write_all(reference.as_bytes()).and_then(|()| out.flush());
        return printed.map_err(|error| Failure::output(&error));
    }
    let overrides = Overrides {
        data_dir: args.data_dir,
        tcp: args.tcp,
        quic: args.quic,
        websocket: args.websocket,
        http: args.http,
        durability: args.durability.map(|durability| durability.name().to_owned()),
        dev: args.dev,
    };
    let options = ServerOptions {
        config_file: args.config,
        overrides,
        error_alone: output.format == Format::Json,
    };
    let ended = galgo_server::run(options, |error| output.failure_text(&failure(error)));
    ended.map_err(|error| failure(&error).told())
}

fn reset_root(args: ResetRootArgs, output: Output) -> Outcome {
    let ResetRootArgs { data_dir, config, generate, secret } = args;
    let password = match generate {
        true => NewPassword::Generated,
        false => NewPassword::Chosen(secret.new_one("New password of root: ")?),
    };
    let overrides = Overrides { data_dir, ..Overrides::default() };
    let options = ServerOptions { config_file: config, overrides, ..ServerOptions::default() };
    let done = galgo_server::reset_root(&options, &Environment::of_process(), password);
    let done = done.map_err(|error| failure(&error))?;
    let root = &done.root;
    let mut lines = vec![match &done.generated {
        Some(password) => format!(
            "root user {} has a new password: {password} (shown once, keep it)",
            root.username
        ),
        None => format!("root user {} has a new password", root.username),
    }];
    if root.was_inactive {
        lines.push("it was deactivated and is active again".to_owned());
    }
    if root.tokens > 0 {
        lines.push(format!("personal access tokens of it that ended: {}", root.tokens));
    }
    let document = json!({
        "username": root.username,
        "password": done.generated,
        "was_inactive": root.was_inactive,
        "tokens_ended": root.tokens,
    });
    output.done(&lines.join("\n"), &document)
}

/// The server's refusal in the terms of the tool.
pub(crate) fn failure(error: &ServeError) -> Failure {
    match error.exit_code() {
        2 => Failure::usage(error),
        3 => Failure::connection(error),
        4 => Failure::data_dir_refused(error),
        1 => Failure::io(error),
        other => unreachable!("the exit code {other} of a server is in its help"),
    }
}
