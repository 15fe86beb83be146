//! A server for one test, on free ports and in a directory of its own.

use std::net::SocketAddr;

use galgo_server::{Environment, Overrides, Server, ServerOptions};
use serde_json::json;
use tempfile::TempDir;

use super::Http;
use crate::frames::Wire;

pub const USERNAME: &str = "iggy";
pub const PASSWORD: &str = "iggy-secret";

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

    /// Stops the server in order, if it runs, and starts it on the same directory.
    pub fn restart(&mut self) {
        self.stop();
        let fixed = [
            ("GALGO_ROOT_USERNAME", USERNAME),
            ("GALGO_ROOT_PASSWORD", PASSWORD),
            ("GALGO_TCP_ADDRESS", "127.0.0.1:0"),
            ("GALGO_HTTP_ADDRESS", "127.0.0.1:0"),
            ("GALGO_QUIC_ENABLED", "false"),
            ("GALGO_WEBSOCKET_ENABLED", "false"),
            ("GALGO_LOG_LEVEL", "warn"),
            // Small, so that many tests can run at once on a small disk.
            ("GALGO_STORAGE_JOURNAL_FILE_BYTES", "1 MiB"),
        ];
        let settings = self.settings.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let environment: Environment = fixed.into_iter().chain(settings).collect();
        let data_dir = Some(self.dir.path().join("data"));
        let overrides = Overrides { data_dir, ..Default::default() };
        let options = ServerOptions { overrides, ..Default::default() };
        self.server = Some(Server::start(options, environment).unwrap());
    }

    /// Stops it when there is nothing to wait for; with [`NO_STOP_TIMEOUT`](crate::server::NO_STOP_TIMEOUT) it would wait long.
    pub fn stop_in_time(&mut self) {
        crate::in_time("the server stops", || self.stop());
    }

    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().unwrap();
        }
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// Where it listens for frames.
    pub fn tcp(&self) -> SocketAddr {
        self.server.as_ref().unwrap().tcp_address().unwrap()
    }

    /// Requests of nobody.
    pub fn http(&self) -> Http {
        Http::new(self.server.as_ref().unwrap().http_address().unwrap())
    }

    /// Requests of the root user.
    pub fn root(&self) -> Http {
        self.http().login(USERNAME, PASSWORD)
    }

    /// Requests of the root user, with stream "s" and topic "t" of so many partitions.
    pub fn with_topic(&self, partitions: u32) -> Http {
        let root = self.root();
        assert_eq!(root.post("/streams", &json!({"name": "s"})).status, 200);
        assert_eq!(root.post("/streams/s/topics", &topic("t", partitions)).status, 200);
        root
    }

    /// The status of one frame over TCP, and the bytes of its answer, behind a frame before it.
    pub fn frames(&self, frames: &[(u32, &[u8])]) -> Vec<(u32, Vec<u8>)> {
        let mut wire = Wire::connect(self.tcp());
        frames.iter().map(|(code, payload)| wire.call(*code, payload)).collect()
    }
}

/// A topic to be created.
pub fn topic(name: &str, partitions: u32) -> serde_json::Value {
    json!({
        "name": name, "partitions_count": partitions, "compression_algorithm": "none",
        "message_expiry": 0, "max_topic_size": 0,
    })
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
