//! `galgo server`: run the server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use galgo_server::{Overrides, ServerError, ServerOptions};

use crate::command::topic::Durability;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Output};

const AFTER_HELP: &str = "\
Settings come from built-in defaults, the file, GALGO_... environment variables and flags; later ones
win. Without --dev the root user comes from GALGO_ROOT_USERNAME and GALGO_ROOT_PASSWORD on the first
start, or is generated and printed once.

Exit codes: 0 stopped in order; 1 a file or the system failed; 2 the configuration makes no sense;
3 an address cannot be listened on; 4 the data directory is in use, foreign or of a newer version;
143 or 130 a second SIGTERM or SIGINT, a second or more after the first, ended it at once.";

/// Arguments of `galgo server`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServerArgs {
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
    durability: Option<Durability>,
    /// For development: root user galgo with password galgo, loopback only
    #[arg(long)]
    dev: bool,
    /// Print all settings with their defaults and their meaning, as a TOML file, and end
    #[arg(long)]
    print_config: bool,
}

/// Takes an IP address with a port, or "off".
fn listener(text: &str) -> Result<String, String> {
    if text == "off" || text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("expected an IP address and a port, such as 127.0.0.1:8090, or off".to_owned())
}

/// Runs the server until it is told to stop. What ends it is told by the server itself, which has standard error
/// for its log and waits for no reader of it.
pub(crate) fn run(args: ServerArgs, output: Output) -> Outcome {
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

fn failure(error: &ServerError) -> Failure {
    match error.exit_code() {
        2 => Failure::usage(error),
        3 => Failure::connection(error),
        4 => Failure::data_dir_refused(error),
        _ => Failure::io(error),
    }
}
