//! The Galgo server process: configuration, telemetry, sockets and an orderly stop.
//!
//! [`run`] is the whole server as the `galgo` binary uses it; [`Server`] is the same server embedded in
//! another program, which starts it, learns its addresses and stops it. What commands do is the business
//! of `galgo-broker`; this crate moves frames between sockets and the broker and owns the process.
//!
//! INV-READY: the ready line and `runtime/current_config.toml` appear only when every listener is bound.
//! INV-STOP: an orderly stop answers what was submitted, then syncs, then exits.

mod bootstrap;
mod config;
mod error;
mod http;
mod lanes;
mod process_limits;
mod runtime_file;
mod shutdown;
mod snapshot;
mod spin;
mod telemetry;
mod transport;
mod wakeups;

use std::io::Write as _;
use std::path::PathBuf;

pub use bootstrap::Server;
pub use config::{ConfigError, Environment, Origin, RootUserError};
pub use error::ServerError;
pub use transport::tls::TlsError;

/// How to start a server: the file to read and what the command line says.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// The TOML file to read; without one, `GALGO_CONFIG` names it, else the defaults hold.
    pub config_file: Option<PathBuf>,
    /// What command-line flags set; they win over file and environment.
    pub overrides: Overrides,
}

/// Configuration given by command-line flags.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--data-dir`: where everything is kept.
    pub data_dir: Option<PathBuf>,
    /// `--tcp`: the address of the TCP listener, `ip:port`, or `off`.
    pub tcp: Option<String>,
    /// `--quic`: the same for the QUIC listener.
    pub quic: Option<String>,
    /// `--websocket`: the same for the WebSocket listener.
    pub websocket: Option<String>,
    /// `--http`: the same for the HTTP listener.
    pub http: Option<String>,
    /// `--durability`: `fsync` or `os`, the default of topics that do not choose.
    pub durability: Option<String>,
    /// `--dev`: root user `galgo` with password `galgo`, on loopback addresses only.
    pub dev: bool,
}

/// Runs a server until SIGTERM or SIGINT has stopped it; blocks the calling thread.
///
/// Prints one line on standard output when the server takes connections. A second signal ends the
/// process at once, with 128 and the signal's number as its exit code. SIGHUP reads the certificate files
/// again.
///
/// # Errors
/// [`ServerError`] says why the server could not start or could not stop in order.
pub fn run(options: ServerOptions) -> Result<(), ServerError> {
    let server = Server::start(options, Environment::of_process())?;
    let signals = shutdown::Signals::catch().map_err(ServerError::Threads)?;
    let mut out = std::io::stdout();
    // Whoever closed standard output does not want to know.
    let _ = writeln!(out, "{}", server.ready_line()).and_then(|()| out.flush());
    signals.wait(|| server.reload_certificates());
    server.stop()
}

/// The documented default configuration, as TOML; loading this text gives exactly the defaults.
pub fn config_reference() -> String {
    config::reference()
}
