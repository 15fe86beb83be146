//! A server for one test, on a free port and in a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use galgo_server::{Environment, Overrides, ServeError, Server, ServerOptions};
use tempfile::TempDir;

use crate::frames::Wire;

pub const USERNAME: &str = "iggy";
pub const PASSWORD: &str = "iggy-secret";

/// An orderly stop waits for whatever it waits for.
pub const NO_STOP_TIMEOUT: (&str, &str) = ("GALGO_LIMITS_STOP_TIMEOUT", "1h");

/// A running server and its directory, both gone when dropped.
pub struct TestServer {
    server: Option<Server>,
    dir: TempDir,
    settings: Vec<(String, String)>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts with these variables on top of what every test needs.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let settings = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut server = Self { server: None, dir: tempfile::tempdir().unwrap(), settings };
        server.restart();
        server
    }

    /// Stops the server in order.
    pub fn stop(&mut self) {
        self.server.take().unwrap().stop().unwrap();
    }

    /// Stops it when there is nothing to wait for; with [`NO_STOP_TIMEOUT`] it would wait long.
    pub fn stop_in_time(&mut self) {
        crate::in_time("the server stops", || self.stop());
    }

    /// Stops the server in order, if it runs, and starts it on the same directory.
    pub fn restart(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
        let settings: Vec<_> =
            self.settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        self.server = Some(start(&self.data_dir(), &settings).unwrap());
    }

    pub fn address(&self) -> SocketAddr {
        self.running().tcp_address().unwrap()
    }

    pub fn running(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// An anonymous connection.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// A connection of the root user.
    pub fn login(&self) -> Wire {
        let mut wire = self.connect();
        assert_eq!(wire.login(USERNAME, PASSWORD), 0);
        wire
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.unwrap();
            }
        }
    }
}

/// Starts a server on `data_dir` and a free port.
pub fn start(data_dir: &Path, variables: &[(&str, &str)]) -> Result<Server, ServeError> {
    let fixed = [
        ("GALGO_ROOT_USERNAME", USERNAME),
        ("GALGO_ROOT_PASSWORD", PASSWORD),
        ("GALGO_TCP_ADDRESS", "127.0.0.1:0"),
        ("GALGO_QUIC_ENABLED", "false"),
        ("GALGO_QUIC_ADDRESS", "127.0.0.1:0"),
        ("GALGO_WEBSOCKET_ENABLED", "false"),
        ("GALGO_WEBSOCKET_ADDRESS", "127.0.0.1:0"),
        ("GALGO_HTTP_ENABLED", "false"),
        ("GALGO_HTTP_ADDRESS", "127.0.0.1:0"),
        ("GALGO_LOG_LEVEL", "warn"),
        // Small, so that many tests can run at once on a small disk.
        ("GALGO_STORAGE_JOURNAL_FILE_BYTES", "1 MiB"),
    ];
    let environment: Environment = fixed.iter().chain(variables).copied().collect();
    let overrides = Overrides { data_dir: Some(data_dir.to_owned()), ..Default::default() };
    Server::start(ServerOptions { overrides, ..Default::default() }, environment)
}
