//! The Galgo server process: configuration, telemetry, sockets and an orderly stop.
//!
//! [`run`] is the whole server as the `galgo` binary uses it; [`Server`] is the same server embedded in
//! another program, which starts it, learns its addresses and stops it. What commands do is the business
//! of `galgo-broker`; this crate moves frames between sockets and the broker and owns the process.
//!
//! Part of INV-READY: the ready line and `runtime/current_config.toml` appear only when every listener is bound.
//! Part of INV-STOP: an orderly stop answers what was submitted, then syncs, then exits.

mod bootstrap;
mod config;
mod conversation;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod lanes;
mod offline;
mod process_limits;
mod runtime_file;
mod secret_file;
mod service_manager;
mod shutdown;
mod snapshot;
mod spin;
mod telemetry;
mod transport;
mod wakeups;

use std::path::PathBuf;

use service_manager::ServiceManager;

pub use bootstrap::Server;
pub use config::{ConfigError, Environment, KeyOrigin, RootUserError};
pub use error::ServeError;
pub use offline::{
    NewPassword, RepairOptions, RepairReport, RepairedFile, RootReset, RootResetDone, repair,
    reset_root,
};
pub use transport::tls::TlsError;

/// How to start a server: the file to read and what the command line says.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// The TOML file to read; without one, `GALGO_CONFIG` names it, else the defaults hold.
    pub config_file: Option<PathBuf>,
    /// What command-line flags set; they win over file and environment.
    pub overrides: Overrides,
    /// Whether a program reads standard error for the one error of a start that fails: the log of such a
    /// start is then left out.
    pub error_alone: bool,
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
/// Prints one line on standard output when the server takes connections. The signals are heard from the
/// first moment; one that comes during the start stops the server in order once it has started. Signals within
/// a second of the first count as the same request; a later one ends the process at once, with 128 and the
/// signal's number as its exit code. SIGHUP reads the certificate files again. Threads that panic say so in
/// the log.
///
/// Why it ended is told on standard error before this returns: as `show` puts it, or as a line of the log where
/// `log.format` is `json`. Standard output and error are waited for only briefly: a reader that is stuck or
/// gone keeps the process neither from working nor from ending.
///
/// # Errors
/// [`ServeError`] says why the server could not start or could not stop in order.
pub fn run(
    options: ServerOptions,
    show: impl FnOnce(&ServeError) -> String,
) -> Result<(), ServeError> {
    telemetry::log::log_panics();
    let environment = Environment::of_process();
    let form = telemetry::log::FatalForm {
        only_text: options.error_alone,
        // A configuration that makes no sense is told in the form it asks for as well.
        wants_json: config::wants_json_log(&options, &environment),
    };
    if form.only_text {
        telemetry::streams::hold_log();
    }
    let ended = serve(options, environment);
    if let Err(error) = &ended {
        telemetry::log::fatal(error, &show(error), form);
    }
    telemetry::streams::flush(telemetry::log::EXIT_PATIENCE);
    ended
}

fn serve(options: ServerOptions, environment: Environment) -> Result<(), ServeError> {
    let signals = shutdown::Signals::catch().map_err(ServeError::Threads)?;
    let server = Server::start(options, environment)?;
    telemetry::streams::release_log();
    telemetry::streams::announce(&server.ready_line());
    let manager = ServiceManager::of_process();
    manager.ready(&server.ready_line());
    signals.wait(|| {
        server.reload_certificates();
        tracing::info!(
            "SIGHUP: certificates read again; all other settings are read at the start only"
        );
    });
    manager.stopping();
    server.stop()
}

/// The documented default configuration, as TOML; loading this text gives exactly the defaults.
pub fn config_reference() -> String {
    config::reference()
}
