//! The server of a run: one that is there, or a fresh one of its own.

use std::path::Path;

use galgo::{Credentials, Transport};

use crate::address;
use crate::bench::load::channel::Channel;
use crate::bench::load::channel::sdk::Sdk;
use crate::bench::load::channel::tcp::Tcp;
use crate::bench::load::course::Course;
use crate::bench::process::{FreshServer, Listener};
use crate::connect::{self, DEV_PASSWORD, DEV_USERNAME, Target, is_loopback};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// A server to put under load.
#[derive(Debug)]
pub(crate) struct Host {
    /// How to reach it.
    pub(crate) target: Target,
    /// What carries connections.
    pub(crate) transport: Transport,
    /// Whether they are encrypted.
    pub(crate) is_encrypted: bool,
    host: String,
    port: u16,
    login: Option<Credentials>,
    fresh: Option<FreshServer>,
}

/// What to start when no server was named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreshOptions<'a> {
    /// Where its data goes.
    pub(crate) dir: &'a Path,
    /// What its acknowledgements promise.
    pub(crate) durability: &'a str,
    /// What carries connections.
    pub(crate) transport: Option<address::Transport>,
    /// Whether they are encrypted.
    pub(crate) tls: bool,
}

impl Host {
    /// A server that is there.
    pub(crate) fn given(target: Target) -> Outcome<Self> {
        let url = connect::parse(&target.url)?;
        Ok(Self {
            transport: url.transport(),
            is_encrypted: url.is_encrypted(),
            host: url.host().to_owned(),
            port: url.port(),
            login: target.credentials()?,
            target,
            fresh: None,
        })
    }

    /// A server of the run's own, gone with its data when dropped.
    pub(crate) fn fresh(options: FreshOptions<'_>, output: Output) -> Outcome<Self> {
        let (section, scheme) = match options.transport {
            None | Some(address::Transport::Tcp) => ("tcp", "galgo"),
            Some(address::Transport::Quic) => ("quic", "galgo+quic"),
            Some(address::Transport::Websocket) => ("websocket", "galgo+ws"),
        };
        // QUIC is encrypted anyway.
        let tls = options.tls && section != "quic";
        let listener = Listener { section, tls };
        let server = FreshServer::listening(options.dir, options.durability, listener)?;
        // Its certificate is one it made for itself.
        let query = if tls { "?tls=true&tls_validate_certificate=false" } else { "" };
        let address = server.process.address;
        let url = format!("{scheme}://{DEV_USERNAME}:{DEV_PASSWORD}@{address}{query}");
        let mut host = Self::given(Target { url, login: None, output })?;
        host.fresh = Some(server);
        Ok(host)
    }

    /// Whether the server belongs to the run.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh.is_some()
    }

    /// Whether a connection takes a request before the one before it is answered.
    pub(crate) fn pipelines(&self) -> bool {
        self.transport != Transport::Quic
    }

    /// The word for what carries connections.
    pub(crate) fn carrier(&self) -> &'static str {
        match (self.transport, self.is_encrypted) {
            (Transport::Quic, _) => "quic",
            (Transport::WebSocket, false) => "ws",
            (Transport::WebSocket, true) => "wss",
            (_, true) => "tls",
            (_, false) => "tcp",
        }
    }

    /// Opens a connection and logs in.
    pub(crate) fn open(&self, course: &Course) -> Outcome<Box<dyn Channel>> {
        if self.transport != Transport::Tcp || self.is_encrypted {
            return Ok(Box::new(Sdk::open(&self.target)?));
        }
        let login = self.login.as_ref().ok_or_else(|| {
            Failure::usage("there is nothing to log in with").hint(connect::credentials_hint())
        })?;
        Ok(Box::new(Tcp::open((&self.host, self.port), login, course)?))
    }

    /// The process of the server, if it is on this machine and can be told from others.
    pub(crate) fn process_id(&self, says: impl FnOnce() -> Option<u32>) -> Option<u32> {
        match &self.fresh {
            Some(server) => Some(server.process.id()),
            None if is_loopback(&self.host) => {
                says().filter(|id| super::usage::listens(*id, self.port))
            }
            None => None,
        }
    }
}
