//! Configuration: built-in defaults, then a TOML file, then `GALGO_…` environment variables, then flags.
//!
//! INV-ONE-KEY: a key is defined once, as a row of the table below; its type, default, documentation,
//! environment name and place in the file all come from that row. A new section (`[http]`, `[quic]`) is
//! a new block of rows and nothing else.
//!
//! A section `""` holds the keys at the top of the file.

mod check;
mod error;
mod load;
mod reference;
mod root_user;
mod table;
mod value;

pub(crate) use check::{connections_for, open_files_for};
pub use error::{ConfigError, Origin, RootUserError};
pub use load::Environment;
pub(crate) use load::{Loaded, load};
pub(crate) use reference::{effective, reference};
pub(crate) use root_user::{RootUser, RootUserSource, root_user};
pub(crate) use value::{ByteSize, Durability, LogFormat, OpenFiles, SizeLimit, Span, TimeLimit};

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Bounds on what clients can make the server hold or wait for.
    limits: Limits = "limits" {
        /// Connections open at once. One more is answered with error 55 and closed.
        connections: u32 = "10000",
        /// Largest request that sends messages. Other requests are held to the protocol's 10 MiB.
        request_bytes: ByteSize = "128 MiB",
        /// Memory for requests being received, over all connections. When it is used up, connections
        /// wait with their next large request; none fails.
        in_flight_bytes: ByteSize = "512 MiB",
        /// Sent messages of one connection that may wait for their acknowledgement at once.
        pipeline: u32 = "1024",
        /// How long a request may stay half sent before the connection is closed. A large request earns
        /// one more second with every 64 KiB received.
        frame_timeout: Span = "30s",
        /// How long a client may take nothing of a waiting reply before the connection is closed.
        write_timeout: Span = "30s",
        /// How long a connection may stay without a login, or "never" to let it. Classic clients connect
        /// first and log in when the program asks for it.
        login_timeout: TimeLimit = "never",
        /// How long a stopping server waits for requests in progress before it drops them.
        stop_timeout: Span = "10s",
        /// Segment files kept open at once, or "auto" for a share of the process's file limit.
        open_files: OpenFiles = "auto",
    }
    /// How messages are kept on disk.
    storage: Storage = "storage" {
        /// Durability of topics that do not choose their own. "fsync": an acknowledged message survives
        /// power loss. "os": it survives the death of the process. Flag: --durability.
        durability: Durability = "fsync",
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
    /// What topics get that do not choose for themselves.
    topic: Topic = "topic" {
        /// Age at which messages may be removed, or "never".
        message_expiry: TimeLimit = "never",
        /// Size at which the oldest segments of a topic may be removed, or "unlimited".
        max_size: SizeLimit = "unlimited",
    }
    /// What the server says about itself, on standard error.
    log: Log = "log" {
        /// Least severe level to log: "error", "warn", "info", "debug" or "trace", or a filter such as
        /// "info,galgo_storage=debug". RUST_LOG, when set, wins.
        level: String = "info",
        /// "pretty" for people, "json" for machines, "auto": pretty on a terminal, plain lines elsewhere.
        format: LogFormat = "auto",
    }
}

#[cfg(test)]
mod tests;
