//! The server that the cases are about, and what puts it back in order.

use galgo_wire::ErrorCode;
use galgo_wire::batch::NewMessage;
use galgo_wire::command::*;
use galgo_wire::name::TokenName;
use galgo_wire::permission::{GlobalPermissions, Permissions};

use crate::cases::create_user;
use crate::client::Http;
use crate::held::Held;
use crate::requests::{
    PASSWORD, create_group, create_stream, create_topic, delete_stream, get_offset, id, login,
    send_payload_to, store_offset, to,
};
use crate::server::TestServer;
use crate::wire::Wire;

/// Commands after which all is as it was. What a token is named is deleted by the next case.
const HARMLESS: &[u32] = &[
    1, 10, 11, 12, 20, 21, 22, 31, 32, 38, 39, 41, 42, 43, 44, 100, 120, 200, 201, 300, 301, 600,
    601, 10_000, 10_003, 10_004,
];

/// A server with streams `s` (0: topics `t`, with group `g`, and `u`) and `o` (1: topic `t`), users
/// `caller` and `other`, and root at work.
pub(crate) struct World {
    pub(crate) server: TestServer,
    root: Wire,
    /// Logs the caller in without a password, which would take long.
    token: RawToken,
}

impl World {
    pub(crate) fn new() -> Self {
        let server = TestServer::with(&[
            ("GALGO_ROOT_USERNAME", "root"),
            ("GALGO_ROOT_PASSWORD", PASSWORD),
            ("GALGO_STORAGE_DURABILITY", "os"),
            // Some cases fail to log in, many times.
            ("GALGO_LOGIN_FREE_FAILURES", "1000000"),
            ("GALGO_LOGIN_FAILURES_MAX", "1000000"),
        ]);
        let mut root = Wire::connect(server.tcp());
        call(&mut root, &login("root", PASSWORD));
        for name in ["caller", "other"] {
            call(&mut root, &create_user(name));
        }
        let mut caller = Wire::connect(server.tcp());
        call(&mut caller, &login("caller", PASSWORD));
        let name = TokenName::parse("again").unwrap();
        let token = call(&mut caller, &CreateToken { name, expiry_us: 0 });
        Self { server, root, token }
    }

    /// Logs the caller in over a connection.
    pub(crate) fn log_in(&self, wire: &mut Wire) {
        call(wire, &LoginWithToken { token: self.token.token.clone() });
    }

    /// Requests of the caller, newly logged in.
    pub(crate) fn http(&self) -> Http {
        let nobody = self.server.http();
        let body = serde_json::json!({"token": self.token.token.as_str()});
        let identity = nobody.post("/personal-access-tokens/login", &body);
        assert_eq!(identity.status, 200, "{}", identity.text());
        nobody.with(identity.json()["access_token"]["token"].as_str().unwrap())
    }

    pub(crate) fn root<C: Command>(&mut self, command: &C) -> C::Reply {
        call(&mut self.root, command)
    }

    /// Makes everything as the cases expect it, and gives the caller one flag.
    pub(crate) fn prepare(&mut self, held: Held) {
        if !self.is_intact() {
            self.rebuild();
        }
        // After that, because it takes the entries of what is deleted.
        self.root(&UpdatePermissions { user: id("caller"), permissions: held.permissions() });
    }

    /// Makes good what a command that succeeded may have done.
    pub(crate) fn repair(&mut self, held: Held, code: CommandCode) {
        if !HARMLESS.contains(&code.as_u32()) {
            self.prepare(held);
        }
    }

    fn is_intact(&mut self) -> bool {
        let streams = self.root(&GetStreams {});
        let streams: Vec<_> =
            streams.iter().map(|s| (s.id.get(), s.name.as_str(), s.topics_count)).collect();
        if streams != [(0, "s", 2), (1, "o", 1)] {
            return false;
        }
        let topics = self.root(&GetTopics { stream: id("s") });
        let messages = topics.first().map_or(0, |topic| topic.messages_count);
        let topics: Vec<_> =
            topics.iter().map(|t| (t.id.get(), t.name.as_str(), t.partitions_count)).collect();
        let groups = self.root(&GetConsumerGroups { stream: id("s"), topic: id("t") });
        let groups: Vec<_> =
            groups.iter().map(|g| (g.id.get(), g.name.as_str(), g.members_count)).collect();
        topics == [(0, "t", 1), (1, "u", 1)]
            && messages > 0
            && groups == [(0, "g", 0)]
            && self.root(&get_offset("matrix", "t", 0)).is_some()
            && self.root(&GetUser { user: id("other") }).is_some()
            && self.root(&GetUser { user: id("brand new") }).is_none()
    }

    fn rebuild(&mut self) {
        for stream in self.root(&GetStreams {}) {
            self.root(&delete_stream(&stream.id.to_string()));
        }
        for (stream, topics) in [("s", &["t", "u"][..]), ("o", &["t"])] {
            self.root(&create_stream(stream));
            for topic in topics {
                self.root(&create_topic(stream, topic, 1));
            }
        }
        let message = NewMessage { payload: b"x", ..NewMessage::default() };
        let send = send_payload_to(("s", "t"), to(0), &[message]);
        assert_eq!(self.root.status(CommandCode::SendMessages.as_u32(), &send), 0);
        // What others have stored the caller could not change, whatever its flag.
        let global = GlobalPermissions { poll_messages: true, ..GlobalPermissions::default() };
        let permissions = Some(Permissions { global, ..Permissions::default() });
        self.root(&UpdatePermissions { user: id("caller"), permissions });
        let mut caller = Wire::connect(self.server.tcp());
        self.log_in(&mut caller);
        call(&mut caller, &store_offset("matrix", "t", (0, 0)));
        self.root(&create_group("g"));
        if self.root(&GetUser { user: id("brand new") }).is_some() {
            self.root(&DeleteUser { user: id("brand new") });
        }
        if self.root(&GetUser { user: id("other") }).is_none() {
            self.root(&create_user("other"));
        }
    }
}

/// Runs a command that succeeds.
fn call<C: Command>(wire: &mut Wire, command: &C) -> C::Reply {
    let (status, reply) = wire.call(C::CODE.as_u32(), &command.to_bytes());
    assert_eq!(ErrorCode::from_u32(status), None, "{:?}", C::CODE);
    C::Reply::from_bytes(&reply).unwrap()
}
