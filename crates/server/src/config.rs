//! Configuration: built-in defaults, then a TOML file, then `GALGO_…` environment variables, then flags.
//!
//! INV-ONE-KEY: a key is defined once, as a row of the table below; its type, default, documentation,
//! environment name and place in the file all come from that row. A new section (`[quic]`, `[tcp.tls]`)
//! is a new block of rows and nothing else.
//!
//! A section `""` holds the keys at the top of the file.

mod check;
mod error;
mod load;
mod reference;
mod root_user;
mod table;
mod value;

pub(crate) use check::{connections_for, open_files_for, refusals_for};
pub use error::{ConfigError, KeyOrigin, RootUserError};
pub use load::Environment;
pub(crate) use load::{Loaded, load, wants_json_log};
pub(crate) use reference::{effective, reference};
pub(crate) use root_user::{RootAccount, RootUserSource, generated_password, root_user};
pub(crate) use value::{
    ByteSize, ClientCertificates, JwtAlgorithm, LogFilter, LogFormat, OpenFiles, OptionalPath,
    Secret, TextList, TimeLimit, TimeSpan,
};

use std::net::SocketAddr;
use std::path::PathBuf;

use galgo_wire::options::{OptionChoices, OptionValue};

table::settings! {
    /// Keys at the top of the file.
    general: General = "" {
        /// Directory that holds everything the server keeps: messages, metadata, offsets, runtime files.
        /// Relative paths start at the working directory. Flag: --data-dir.
        data_dir: PathBuf = "galgo-data",
    }
    /// The TCP listener for the binary protocol.
    tcp: Tcp = "tcp" {
        /// Whether to listen on TCP.
        enabled: bool = "true",
        /// IP address and port to listen on. Port 0 takes any free port; the ready line and
        /// runtime/current_config.toml tell which. Flag: --tcp.
        address: SocketAddr = "127.0.0.1:8090",
        /// Lets other processes listen on the same address (SO_REUSEPORT). Left off, a second server on
        /// a taken port is refused, which is what you want unless something reserves ports for you.
        reuse_port: bool = "false",
    }
    /// TLS on the TCP listener. When it is on, the whole port speaks TLS 1.2 or 1.3.
    tcp_tls: TcpTls = "tcp.tls" {
        /// Whether the port speaks TLS.
        enabled: bool = "false",
        /// Whether to make a certificate for localhost at the start when no file is named. It lives in
        /// memory: every start makes another one. A file that is named has to be there.
        self_signed: bool = "true",
        /// PEM file with the certificate and those it is signed with, the server's own first.
        cert_file: OptionalPath = "",
        /// PEM file with the certificate's key: PKCS#8, PKCS#1 or SEC1.
        key_file: OptionalPath = "",
        /// PEM file with the authorities that sign client certificates; none to ask for none.
        client_ca_file: OptionalPath = "",
        /// With a client_ca_file: "required", or "optional" to let clients without a certificate in.
        client_certificates: ClientCertificates = "required",
    }
    /// The QUIC listener: the binary protocol, one bidirectional stream for each request.
    quic: Quic = "quic" {
        /// Whether to listen on QUIC.
        enabled: bool = "true",
        /// IP address and UDP port to listen on; port 0 takes any free port. Flag: --quic.
        address: SocketAddr = "127.0.0.1:8080",
        /// Lets other processes listen on the same address (SO_REUSEPORT).
        reuse_port: bool = "false",
        /// Streams, that is requests, of one connection that may be open at once.
        max_concurrent_bidi_streams: u32 = "100",
        /// Bytes of one connection that may be on their way to the server, once somebody is logged in.
        receive_window: ByteSize = "1 MiB",
        /// Bytes of one connection that may be on their way to the client.
        send_window: ByteSize = "1 MiB",
        /// Size of the first packets; larger ones are tried out later.
        initial_mtu: u32 = "1200",
        /// Silence after which the server asks whether the client still exists; "never" to not ask.
        keep_alive_interval: TimeLimit = "5s",
        /// Silence after which a connection is closed.
        max_idle_timeout: TimeSpan = "10s",
    }
    /// The certificate of the QUIC listener, which always speaks TLS 1.3.
    quic_certificate: QuicCertificate = "quic.certificate" {
        /// Whether to make a certificate for localhost at the start when no file is named. It lives in
        /// memory: every start makes another one. A file that is named has to be there.
        self_signed: bool = "true",
        /// PEM file with the certificate and those it is signed with, the server's own first. Classic
        /// clients take ECDSA P-256 only, unless they check certificates.
        cert_file: OptionalPath = "",
        /// PEM file with the certificate's key: PKCS#8, PKCS#1 or SEC1.
        key_file: OptionalPath = "",
        /// PEM file with the authorities that sign client certificates; none to ask for none.
        client_ca_file: OptionalPath = "",
        /// With a client_ca_file: "required", or "optional" to let clients without a certificate in.
        client_certificates: ClientCertificates = "required",
    }
    /// The WebSocket listener: the binary protocol in binary messages, at any path.
    websocket: WebSocket = "websocket" {
        /// Whether to listen for WebSocket connections.
        enabled: bool = "true",
        /// IP address and port to listen on; port 0 takes any free port. Flag: --websocket.
        address: SocketAddr = "127.0.0.1:8092",
        /// Lets other processes listen on the same address (SO_REUSEPORT).
        reuse_port: bool = "false",
    }
    /// TLS on the WebSocket listener. When it is on, the whole port speaks TLS 1.2 or 1.3.
    websocket_tls: WebSocketTls = "websocket.tls" {
        /// Whether the port speaks TLS.
        enabled: bool = "false",
        /// Whether to make a certificate for localhost at the start when no file is named. It lives in
        /// memory: every start makes another one. A file that is named has to be there.
        self_signed: bool = "true",
        /// PEM file with the certificate and those it is signed with, the server's own first.
        cert_file: OptionalPath = "",
        /// PEM file with the certificate's key: PKCS#8, PKCS#1 or SEC1.
        key_file: OptionalPath = "",
        /// PEM file with the authorities that sign client certificates; none to ask for none.
        client_ca_file: OptionalPath = "",
        /// With a client_ca_file: "required", or "optional" to let clients without a certificate in.
        client_certificates: ClientCertificates = "required",
    }
    /// The HTTP API: JSON over HTTP/1.1, described by /openapi.json.
    http: Http = "http" {
        /// Whether to listen for HTTP.
        enabled: bool = "true",
        /// IP address and port to listen on; port 0 takes any free port.
        address: SocketAddr = "127.0.0.1:3000",
        /// Lets other processes listen on the same address (SO_REUSEPORT).
        reuse_port: bool = "false",
        /// Largest body of a request; a larger one is answered with 413. Without a login it is 64 KiB.
        max_request_size: ByteSize = "2 MB",
        /// Most bytes of messages in the answer to one poll. What is left over comes with the next poll.
        max_poll_size: ByteSize = "1 GiB",
        /// Whether /metrics answers, to anyone.
        metrics: bool = "true",
        /// Names by which the server is reached, separated by commas, for HTTP and WebSocket. Addresses and
        /// localhost always count. A listener on loopback is not reached by others, and with names here none is.
        allowed_hosts: TextList = "",
    }
    /// Tokens of the HTTP API.
    http_jwt: HttpJwt = "http.jwt" {
        /// How tokens are signed: HS256, HS384, HS512, RS256, RS384 or RS512.
        algorithm: JwtAlgorithm = "HS256",
        /// What signs tokens: a text for HS, of 32 random bytes or more; a private key as PEM for RS.
        /// Left empty, a random one is made and kept in the data directory, so that tokens outlive a restart.
        encoding_secret: Secret = "",
        /// What checks tokens: the same text for HS, or empty to take it; the public key as PEM for RS.
        decoding_secret: Secret = "",
        /// How long a token is good for.
        expiry: TimeSpan = "1h",
        /// How far the clocks of two machines may be apart.
        leeway: TimeSpan = "5s",
        /// Who issues tokens, as they say.
        issuer: String = "iggy.apache.org",
        /// Whom tokens are for, as they say.
        audience: String = "iggy.apache.org",
    }
    /// Which web pages of other origins may call the HTTP API (CORS) and open WebSocket connections. Pages of
    /// this machine (localhost) may open the latter anyway.
    http_cors: HttpCors = "http.cors" {
        /// Whether any may.
        enabled: bool = "true",
        /// Origins they may come from, separated by commas, or "*" for any. None by default, and none with
        /// --dev.
        allowed_origins: TextList = "",
        /// Methods they may use, separated by commas.
        allowed_methods: String = "GET, POST, PUT, PATCH, DELETE",
        /// Headers they may send, separated by commas.
        allowed_headers: String = "content-type, authorization",
    }
    /// TLS on the HTTP listener. When it is on, the whole port speaks TLS 1.2 or 1.3.
    http_tls: HttpTls = "http.tls" {
        /// Whether the port speaks TLS.
        enabled: bool = "false",
        /// Whether to make a certificate for localhost at the start when no file is named. It lives in
        /// memory: every start makes another one. A file that is named has to be there.
        self_signed: bool = "true",
        /// PEM file with the certificate and those it is signed with, the server's own first.
        cert_file: OptionalPath = "",
        /// PEM file with the certificate's key: PKCS#8, PKCS#1 or SEC1.
        key_file: OptionalPath = "",
        /// PEM file with the authorities that sign client certificates; none to ask for none.
        client_ca_file: OptionalPath = "",
        /// With a client_ca_file: "required", or "optional" to let clients without a certificate in.
        client_certificates: ClientCertificates = "required",
    }
    /// Bounds on what clients can make the server hold or wait for.
    limits: Limits = "limits" {
        /// Connections open at once, over all listeners. One more is answered with error 55 (HTTP status
        /// 503 on HTTP and WebSocket, a refusal on QUIC, nothing on TLS) and closed.
        connections: u32 = "10000",
        /// Connections one address may have open at once; one more is refused in the same way.
        connections_per_address: u32 = "5000",
        /// How long a connection may take for its TLS and WebSocket handshakes.
        handshake_timeout: TimeSpan = "10s",
        /// Largest request that sends messages. Other requests are held to the protocol's 10 MiB.
        request_bytes: ByteSize = "128 MiB",
        /// Memory for requests being received, over all connections. When it is used up, connections
        /// wait with their next large request; none fails. What the largest request needs is kept back, for
        /// one request at a time. Where the process may have little memory, this, the next, request_bytes and
        /// answer_bytes are lower unless you choose them; the log and runtime/current_config.toml tell.
        in_flight_bytes: ByteSize = "512 MiB",
        /// The same for all connections of one user, so that no user keeps the others waiting.
        in_flight_bytes_per_user: ByteSize = "256 MiB",
        /// Memory for everything that comes from peers that are not logged in, over all ports, beyond the few KiB
        /// that every connection has: requests, bodies, handshakes. When it is used up, such peers wait for each
        /// other, and QUIC connections are refused. A login of usual size needs none of it over TCP, WebSocket and
        /// HTTP. Lower where there is little memory, unless you choose it.
        anonymous_bytes: ByteSize = "64 MiB",
        /// Memory for answers to polls that were read from the disk, decrypted or written as JSON, over all
        /// connections. When it is used up, such polls wait; none fails. One user gets half of it. A single
        /// answer that is larger is made when nobody else's is.
        answer_bytes: ByteSize = "256 MiB",
        /// Sent messages of one connection that may wait for their acknowledgement at once.
        pipeline: u32 = "1024",
        /// How long a request may stay half sent before the connection is closed. A large request earns
        /// one more second with every 64 KiB received.
        frame_timeout: TimeSpan = "30s",
        /// How long a client may take nothing of a waiting reply before the connection is closed. For a reply
        /// in memory it is also the time for all of it, with one more second for every 64 KiB taken.
        write_timeout: TimeSpan = "30s",
        /// The longest a poll waits for messages when a client asks it to; one that asks for more waits so long.
        poll_wait: TimeSpan = "30s",
        /// How long a thread waits for the next request of the only busy connection before it sleeps, as long
        /// as that comes so soon; "never" to sleep at once.
        spin: TimeLimit = "100us",
        /// How long a connection may stay without a login, or "never" to let it. Classic clients connect
        /// first and log in when the program asks for it, which is at once as a rule.
        login_timeout: TimeLimit = "1m",
        /// How long a stopping server waits for requests in progress before it drops them.
        stop_timeout: TimeSpan = "10s",
        /// Segment files kept open at once, or "auto" for a share of the process's file limit.
        open_files: OpenFiles = "auto",
    }
    /// How messages are kept on disk.
    storage: Storage = "storage" {
        /// Size at which a segment file is sealed and the next one begun.
        segment_bytes: ByteSize = "1 GiB",
        /// Bytes of log between two entries of the sparse index.
        index_interval: ByteSize = "16 KiB",
        /// Size of one journal file. The journal makes small writes to many partitions durable with one
        /// sync; its files are made as they are needed and then overwritten in turn.
        journal_file_bytes: ByteSize = "16 MiB",
        /// Most journal files there may be.
        journal_files: u32 = "16",
        /// Batches above this size skip the journal; their segment is synced instead.
        journal_batch_bytes: ByteSize = "128 KiB",
    }
    /// Pings of clients. They tell that the program behind a connection is alive.
    heartbeat: Heartbeat = "heartbeat" {
        /// Whether clients have to send pings. One that does not leaves its consumer groups and the list
        /// of clients; its connection stays open, but has to be made anew to be in a group again.
        enabled: bool = "false",
        /// How often a client has to send a ping, and how often the server looks for those that did not. One
        /// that is found late by more than a fifth is dropped.
        interval: TimeSpan = "5s",
    }
    /// Consumer groups.
    consumer_group: ConsumerGroup = "consumer_group" {
        /// How long a member that gives up a partition may take to commit what it has read of it, before
        /// another member reads it again.
        rebalancing_timeout: TimeSpan = "30s",
        /// How often members that took longer are looked for.
        rebalancing_check_interval: TimeSpan = "5s",
    }
    /// How guessing at passwords and tokens is slowed, then refused. Failures are counted per source
    /// address and per user name; a successful login takes those of that user from that address back.
    /// Loopback addresses are counted per user name only, and apart from all others.
    login: Login = "login" {
        /// Failed logins without any consequence.
        free_failures: u32 = "10",
        /// How long the attempt after those has to wait. It doubles with every further failure.
        delay: TimeSpan = "100ms",
        /// The longest an attempt has to wait.
        delay_max: TimeSpan = "5s",
        /// Failed logins after which attempts are refused, with the answer to a wrong password.
        failures_max: u32 = "50",
        /// Time without a failed login after which all of this is forgotten.
        window: TimeSpan = "5m",
    }
    /// Personal access tokens.
    token: Token = "token" {
        /// Most tokens a user may have.
        per_user_max: u32 = "100",
        /// How often expired tokens are looked for and removed. They are good for no login from the
        /// moment they expire; until they are removed they are listed.
        clean_interval: TimeSpan = "1m",
    }
    /// Encryption at rest of messages and metadata, with AES-256-GCM. docs/operations.md tells what is
    /// and what is not encrypted, and how keys are changed.
    encryption: Encryption = "encryption" {
        /// Whether new data is encrypted. Data that is encrypted already is read either way, as long as
        /// its key is given.
        enabled: bool = "false",
        /// File of keys, readable by the server only: a line "ID:KEY" for each, with a number from 1
        /// for the id and 32 bytes in base64 for the key (openssl rand -base64 32).
        keys_file: OptionalPath = "",
        /// Keys in the same form, separated by commas; better from the environment than in a file.
        keys: Secret = "",
        /// Id of the key that new data is encrypted with. Keys with other ids are for reading.
        active_key: u32 = "1",
    }
    /// Dropping messages whose id a partition stored lately, so that a send that is tried again stores
    /// nothing twice.
    deduplication: Deduplication = "deduplication" {
        /// Most ids a partition remembers. Each takes about 100 bytes of memory.
        max_entries: u32 = "100000",
        /// How long an id is remembered; longer than producers try to have a message acknowledged.
        expiry: TimeSpan = "5m",
    }
    /// The removal of messages that topics need not keep any longer.
    retention: Retention = "retention" {
        /// Whether segments are removed that a topic's message_expiry or max_topic_size gives up. Off,
        /// only clients remove segments.
        enabled: bool = "true",
        /// How often to look for such segments. The first look comes that long after the start.
        interval: TimeSpan = "1m",
        /// How long the clock has to hold after it was set forward, or is far ahead of the newest data at a
        /// start, before segments are removed because of their age by that.
        clock_wait: TimeSpan = "1h",
        /// How long what a consumer that reads for itself has stored is kept while it neither stores nor
        /// polls; "never" keeps it until it is deleted. Groups keep theirs as long as they exist.
        offsets_expire_after: TimeLimit = "7days",
    }
    /// What the server says about itself, on standard error.
    log: Log = "log" {
        /// Least severe level to log: "error", "warn", "info", "debug" or "trace", or a filter such as
        /// "info,galgo_storage=debug". RUST_LOG, when set, wins.
        level: LogFilter = "info",
        /// "pretty" for people, "json" for machines, "auto": pretty on a terminal, plain lines elsewhere.
        format: LogFormat = "auto",
    }
    ;
    /// What topics get that do not choose for themselves. What a topic is made with it keeps when durability,
    /// deduplication, message_expiry or max_size changes here; the rest follows.
    topic = "topic" TOPIC_KEYS
}

/// A key for each option of topics.
macro_rules! topic_keys {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $kind:ty = $name:literal, $flag:literal, $how:ident $default:expr;
    )+) => {
        /// The keys of the section `topic`.
        static TOPIC_KEYS: &[table::ConfigKey] = &[
            $( table::ConfigKey {
                section: "topic",
                name: stringify!($field),
                docs: &[$($doc),+],
                secret: false,
                expected: <$kind as OptionValue>::EXPECTED,
                set: |config, text| value::choose(&mut config.topic, $name, text),
                show: |config| value::show_choice(&config.topic, $name),
            }, )+
        ];
    };
}

galgo_wire::topic_option_rows!(topic_keys);

#[cfg(test)]
mod tests;
