//! What takes the load: a server that is there, a fresh one of the run's own, or a bare program.

use std::net::IpAddr;

use galgo::Transport;

use crate::channel::Channel;
use crate::channel::sdk::Sdk;
use crate::channel::tcp::Tcp;
use crate::course::Course;
use crate::destination::ServerAddress;
use crate::error::{BenchError, Outcome};
use crate::process::{FreshOptions, FreshServer, Process};
use crate::usage::listens;

/// What takes the load.
#[derive(Debug)]
pub struct Host {
    kind: HostKind,
}

#[derive(Debug)]
enum HostKind {
    Server { destination: Box<ServerAddress>, fresh: Option<FreshServer> },
    Bare { process: Process, ranges_of: Option<u64> },
}

impl Host {
    /// A server that is there.
    pub fn given(destination: ServerAddress) -> Self {
        Self { kind: HostKind::Server { destination: Box::new(destination), fresh: None } }
    }

    /// A server of the run's own, gone with its data when dropped.
    ///
    /// # Errors
    /// As [`Process::server`].
    pub fn fresh(options: &FreshOptions<'_>) -> Outcome<Self> {
        let server = FreshServer::start(options)?;
        let destination = ServerAddress::dev(server.process.address, options.listener)?;
        Ok(Self {
            kind: HostKind::Server { destination: Box::new(destination), fresh: Some(server) },
        })
    }

    /// A bare program that takes requests to send without a login, and answers each like a server; one with ranges
    /// takes polls for ranges of so many bytes instead of those of a server.
    pub fn bare(process: Process, ranges_of: Option<u64>) -> Self {
        Self { kind: HostKind::Bare { process, ranges_of } }
    }

    /// How to reach the server; none where there is none.
    pub(crate) fn destination(&self) -> Option<&ServerAddress> {
        match &self.kind {
            HostKind::Server { destination, .. } => Some(destination),
            HostKind::Bare { .. } => None,
        }
    }

    /// The URL as it is shown.
    pub(crate) fn shown(&self) -> &str {
        self.destination().map_or("a bare program", |destination| &destination.shown)
    }

    /// Bytes of the ranges it serves, if it serves ranges rather than partitions.
    pub(crate) fn ranges_of(&self) -> Option<u64> {
        match &self.kind {
            HostKind::Server { .. } => None,
            HostKind::Bare { ranges_of, .. } => *ranges_of,
        }
    }

    /// Whether it belongs to the run.
    pub fn is_fresh(&self) -> bool {
        self.process().is_some()
    }

    /// The process, where it belongs to the run.
    pub fn process(&self) -> Option<&Process> {
        match &self.kind {
            HostKind::Server { fresh, .. } => fresh.as_ref().map(|server| &server.process),
            HostKind::Bare { process, .. } => Some(process),
        }
    }

    /// What carries connections.
    fn transport(&self) -> Transport {
        self.destination().map_or(Transport::Tcp, |destination| destination.url.transport())
    }

    fn is_encrypted(&self) -> bool {
        self.destination().is_some_and(|destination| destination.url.is_encrypted())
    }

    /// Whether a connection takes a request before the one before it is answered.
    pub(crate) fn pipelines(&self) -> bool {
        self.transport() != Transport::Quic
    }

    /// The word for what carries connections.
    pub(crate) fn carrier(&self) -> &'static str {
        match (self.transport(), self.is_encrypted()) {
            (Transport::Quic, _) => "quic",
            (Transport::WebSocket, false) => "ws",
            (Transport::WebSocket, true) => "wss",
            (_, true) => "tls",
            (_, false) => "tcp",
        }
    }

    /// Opens a connection and logs in.
    pub(crate) fn open(&self, course: &Course) -> Outcome<Box<dyn Channel>> {
        let destination = match &self.kind {
            HostKind::Server { destination, .. } => destination,
            HostKind::Bare { process, .. } => {
                let address = process.address;
                return Ok(Box::new(Tcp::connect(&address.ip().to_string(), address.port())?));
            }
        };
        if self.transport() != Transport::Tcp || self.is_encrypted() {
            return Ok(Box::new(Sdk::open(destination)?));
        }
        let url = &destination.url;
        let login = destination.login.as_ref().or(url.credentials());
        let login = login.ok_or_else(|| {
            BenchError::usage("there is nothing to log in with")
                .hint("give credentials in the URL of the server")
        })?;
        let mut channel = Tcp::connect(url.host(), url.port())?;
        channel.log_in(login, course)?;
        Ok(Box::new(channel))
    }

    /// The process of the server, if it is on this machine and can be told from others: `says` is what the server
    /// says of itself.
    pub(crate) fn process_id(&self, says: impl FnOnce() -> Option<u32>) -> Option<u32> {
        if let Some(process) = self.process() {
            return Some(process.id());
        }
        let url = &self.destination()?.url;
        if !is_loopback(url.host()) {
            return None;
        }
        says().filter(|id| listens(*id, url.port()))
    }
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("localhost", true),
            ("::1", true),
            ("[::1]", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
