//! A server for one test that is asked over HTTP.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use serde_json::json;

use super::Http;
use crate::frames::Wire;
use crate::server;
pub use crate::server::{PASSWORD, USERNAME};

/// A [`server::TestServer`] with its HTTP listener.
pub struct TestServer(server::TestServer);

impl Deref for TestServer {
    type Target = server::TestServer;

    fn deref(&self) -> &server::TestServer {
        &self.0
    }
}

impl DerefMut for TestServer {
    fn deref_mut(&mut self) -> &mut server::TestServer {
        &mut self.0
    }
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts with these variables on top of what every test needs.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let all = [&[("GALGO_HTTP_ENABLED", "true")], variables].concat();
        Self(server::TestServer::with(&all))
    }

    /// Where it listens for frames.
    pub fn tcp(&self) -> SocketAddr {
        self.address()
    }

    /// Requests of nobody.
    pub fn http(&self) -> Http {
        Http::new(self.running().http_address().unwrap())
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
