//! Checks the configuration as a whole: ranges, and keys against each other.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use galgo_wire::index::{to_u32, to_usize};
use galgo_wire::limits::{CONTROL_PAYLOAD_BYTES_MAX, SEND_PAYLOAD_BYTES_MAX_DEFAULT};
use galgo_wire::measure::micros;

use super::error::ConfigError;
use super::load::Origins;
use super::table::keys;
use crate::http::RANDOM_SECRET_BYTES;

use super::{ByteSize, Config, TimeSpan};

/// Largest request any configuration may allow: positions in a segment are 32 bits wide, and a segment
/// may exceed its size by one request.
const FRAME_BYTES_MAX: u64 = 1 << 30;

/// Largest size of a segment.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;
const _: () = assert!(SEGMENT_BYTES_MAX + FRAME_BYTES_MAX < 1 << 32, "positions fit 32 bits");

/// Smallest size of a segment: below it, directories fill with files that hold a message each.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// Smallest journal file: one that holds several of the largest batches a journal takes by default.
const JOURNAL_FILE_BYTES_MIN: u64 = 1 << 20;

/// Largest journal file.
const JOURNAL_FILE_BYTES_MAX: u64 = 1 << 30;

/// Open files that neither connections nor segments use: journal, metadata, standard streams, listeners.
const FILES_RESERVED: u64 = 128;

/// Fewest segment files kept open: below it, a handful of partitions already fight for them.
const OPEN_FILES_MIN: u64 = 16;

/// Segment files kept open where the process may not even open what is reserved. Small, as both this and
/// [`CONNECTIONS_LEAST`] come out of the reserve: with nothing left of it, no directory could be opened to be
/// synced, and partitions would stop.
const FILES_LEAST: u64 = 8;

/// Connections held where the process may not even open what is reserved.
const CONNECTIONS_LEAST: u64 = 4;

/// Refused connections being told so at once; their descriptors come out of the reserve.
const REFUSALS_MAX: u64 = 64;

/// Most segment files kept open when nobody chose: each costs kernel memory.
const OPEN_FILES_AUTO_MAX: u64 = 65_536;

/// The limit of connections when nobody chose one.
const CONNECTIONS_DEFAULT: u32 = 10_000;

/// Most descriptors that `auto` leaves to connections where files are short of them.
const CONNECTIONS_SHARE_MAX: u64 = 6_000;

/// Files are short in a process that may open fewer.
const FILES_SHORT_BELOW: u64 = 3 * CONNECTIONS_DEFAULT as u64;
const _: () = assert!(
    CONNECTIONS_SHARE_MAX < CONNECTIONS_DEFAULT as u64
        && (CONNECTIONS_DEFAULT as u64) < FILES_SHORT_BELOW,
    "where files are short, connections that nobody makes give way"
);
const _: () =
    assert!(OPEN_FILES_MIN < OPEN_FILES_AUTO_MAX, "`auto` may choose what an operator may");
const _: () = assert!(
    FILES_LEAST + CONNECTIONS_LEAST + REFUSALS_MAX < FILES_RESERVED,
    "what is least comes out of the reserve and leaves something of it"
);
const _: () = assert!(
    SEGMENT_BYTES_MIN < SEGMENT_BYTES_MAX && JOURNAL_FILE_BYTES_MIN < JOURNAL_FILE_BYTES_MAX,
    "there is something to choose"
);
const _: () = assert!(
    FRAME_BYTES_MAX > SEND_PAYLOAD_BYTES_MAX_DEFAULT as u64 && FRAME_BYTES_MAX <= u32::MAX as u64,
    "the largest request of all fits the length in a frame, and the usual one is smaller"
);

/// Smallest secret that signs tokens.
const TOKEN_SECRET_BYTES_MIN: usize = 32;
const _: () = assert!(
    TOKEN_SECRET_BYTES_MIN <= RANDOM_SECRET_BYTES,
    "the secret that the server makes would be taken from an operator, too"
);

/// Shortest and longest time between two looks for what retention gives up.
const RETENTION_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=TIME_MAX;

/// Refuses values that are of the right kind but can't work.
pub(crate) fn ranges(config: &Config, origins: &Origins) -> Result<(), ConfigError> {
    let check = Checker { config, origins };
    let (limits, storage, quic) = (&config.limits, &config.storage, &config.quic);
    let size = |ByteSize(bytes): ByteSize| bytes;

    check.number("limits.connections", limits.connections.into(), 1..=1_000_000)?;
    let per_address = limits.connections_per_address.into();
    check.number("limits.connections_per_address", per_address, 1..=1_000_000)?;
    check.number("limits.pipeline", limits.pipeline.into(), 1..=1_000_000)?;
    check.bytes("limits.request_bytes", size(limits.request_bytes), 1 << 10..=FRAME_BYTES_MAX)?;
    check.bytes(
        "limits.in_flight_bytes",
        size(limits.in_flight_bytes),
        // Less than one largest request, and that request would wait for memory for ever.
        size(limits.request_bytes).max(CONTROL_PAYLOAD_BYTES_MAX.into())..=1 << 50,
    )?;
    let per_user = size(limits.request_bytes)..=1 << 50;
    let user_bytes = size(limits.in_flight_bytes_per_user);
    check.bytes("limits.in_flight_bytes_per_user", user_bytes, per_user)?;
    // Room for two answers of the usual largest size.
    check.bytes("limits.answer_bytes", size(limits.answer_bytes), 8 << 20..=1 << 50)?;
    // Room for some requests, handshakes and QUIC connections at once.
    check.bytes("limits.anonymous_bytes", size(limits.anonymous_bytes), 1 << 20..=1 << 50)?;
    if let Some(files) = limits.open_files.0 {
        check.number("limits.open_files", files.into(), OPEN_FILES_MIN..=1_000_000)?;
    }
    check.times()?;
    check.token_secret()?;
    let entries = config.deduplication.max_entries;
    check.number("deduplication.max_entries", entries.into(), 1..=1_000_000)?;
    let http = &config.http;
    // Not above what the budget of all requests can grant to one.
    let body = 1 << 10..=size(limits.in_flight_bytes).min(FRAME_BYTES_MAX);
    check.bytes("http.max_request_size", size(http.max_request_size), body)?;
    check.bytes("http.max_poll_size", size(http.max_poll_size), 1 << 10..=1 << 30)?;
    check.number(
        "quic.max_concurrent_bidi_streams",
        quic.max_concurrent_bidi_streams.into(),
        1..=10_000,
    )?;
    check.number("quic.initial_mtu", quic.initial_mtu.into(), 1200..=65_000)?;
    check.bytes("quic.receive_window", size(quic.receive_window), 16 << 10..=1 << 30)?;
    check.bytes("quic.send_window", size(quic.send_window), 16 << 10..=1 << 30)?;
    let segment = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
    check.bytes("storage.segment_bytes", size(storage.segment_bytes), segment)?;
    check.bytes("storage.index_interval", size(storage.index_interval), 1 << 10..=1 << 30)?;
    let journal = JOURNAL_FILE_BYTES_MIN..=JOURNAL_FILE_BYTES_MAX;
    check.bytes("storage.journal_file_bytes", size(storage.journal_file_bytes), journal)?;
    check.number("storage.journal_files", storage.journal_files.into(), 2..=64)?;
    check.span("retention.interval", config.retention.interval, RETENTION_INTERVAL)?;
    // A bundle holds several batches and must fit one file.
    let batch = 0..=size(storage.journal_file_bytes) / 4;
    check.bytes("storage.journal_batch_bytes", size(storage.journal_batch_bytes), batch)
}

/// Refuses addresses that other machines can reach.
pub(crate) fn loopback_only(config: &Config, origins: &Origins) -> Result<(), ConfigError> {
    let listeners: [(&str, bool, SocketAddr); 4] = [
        ("http.address", config.http.enabled, config.http.address),
        ("tcp.address", config.tcp.enabled, config.tcp.address),
        ("quic.address", config.quic.enabled, config.quic.address),
        ("websocket.address", config.websocket.enabled, config.websocket.address),
    ];
    for (key, enabled, address) in listeners {
        if enabled && !address.ip().is_loopback() {
            return Err(ConfigError::DevNotLoopback {
                key: key.to_owned(),
                address,
                origin: origins.origin(key),
            });
        }
    }
    Ok(())
}

/// How many segment files to keep open in a process that may open `process_limit` files.
///
/// A chosen number is taken as it is, as far as the process may open that many; `auto` leaves
/// connections their limit, at most half of what is not reserved, and takes the rest. Where files are short
/// and nobody chose a limit of connections, these get at most [`CONNECTIONS_SHARE_MAX`]: files are worth more
/// than connections nobody makes, as each write to a partition whose file is closed pays for an opening, and
/// for a sync of the one that makes room.
pub(crate) fn open_files_for(config: &Config, process_limit: u64) -> u64 {
    let available = process_limit.saturating_sub(FILES_RESERVED).max(FILES_LEAST);
    match config.limits.open_files.0 {
        Some(files) => u64::from(files).min(available),
        None => {
            let limit = config.limits.connections;
            let is_short = limit == CONNECTIONS_DEFAULT && available < FILES_SHORT_BELOW;
            let wanted = if is_short { CONNECTIONS_SHARE_MAX } else { limit.into() };
            let connections = (available / 2).min(wanted);
            (available - connections).clamp(FILES_LEAST, OPEN_FILES_AUTO_MAX)
        }
    }
}

/// How many connections a process that may open `process_limit` files can hold at once.
pub(crate) fn connections_for(config: &Config, process_limit: u64) -> u32 {
    let left = process_limit
        .saturating_sub(FILES_RESERVED)
        .saturating_sub(open_files_for(config, process_limit))
        .max(CONNECTIONS_LEAST);
    to_u32(left.min(config.limits.connections.into()))
}

/// How many refused connections a process that may open `process_limit` files tells so at once: no more than half
/// of the reserve, for the other half is in use or may be at any time.
pub(crate) fn refusals_for(process_limit: u64) -> usize {
    let beside_reserve = process_limit.saturating_sub(FILES_RESERVED / 2) / 2;
    to_usize(REFUSALS_MAX.min(beside_reserve))
}

/// Shortest time a client gets for anything: below it, none that is not on this machine is served.
const PATIENCE_MIN: Duration = Duration::from_millis(100);

/// Shortest time between two rounds of upkeep: below it, they would be all the server does.
const UPKEEP_MIN: Duration = Duration::from_millis(10);

/// Longest time a poll may wait: for so long nobody notices that its client is gone.
const POLL_WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Longest time a thread may spin: beyond it, sleeping costs less than it saves.
const SPIN_MAX: Duration = Duration::from_millis(10);

/// Longest time that makes sense for either.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const _: () = assert!(
    SPIN_MAX.as_millis() <= UPKEEP_MIN.as_millis()
        && UPKEEP_MIN.as_millis() < PATIENCE_MIN.as_millis()
        && PATIENCE_MIN.as_millis() < POLL_WAIT_MAX.as_millis()
        && POLL_WAIT_MAX.as_millis() < TIME_MAX.as_millis(),
    "each range of times has a beginning before its end"
);

impl Checker<'_> {
    /// The times of clients and of upkeep.
    fn times(&self) -> Result<(), ConfigError> {
        let (limits, group) = (&self.config.limits, &self.config.consumer_group);
        for (key, value) in [
            ("limits.handshake_timeout", limits.handshake_timeout),
            ("limits.frame_timeout", limits.frame_timeout),
            ("limits.write_timeout", limits.write_timeout),
            // No member could say within less that it is there.
            ("consumer_group.rebalancing_timeout", group.rebalancing_timeout),
        ] {
            self.span(key, value, PATIENCE_MIN..=TIME_MAX)?;
        }
        self.span("limits.poll_wait", limits.poll_wait, UPKEEP_MIN..=POLL_WAIT_MAX)?;
        if let Some(time) = limits.spin.0 {
            self.span("limits.spin", TimeSpan(time), Duration::ZERO..=SPIN_MAX)?;
        }
        if let Some(time) = limits.login_timeout.0 {
            self.span("limits.login_timeout", TimeSpan(time), PATIENCE_MIN..=TIME_MAX)?;
        }
        for (key, value) in [
            ("heartbeat.interval", self.config.heartbeat.interval),
            ("consumer_group.rebalancing_check_interval", group.rebalancing_check_interval),
            ("token.clean_interval", self.config.token.clean_interval),
        ] {
            self.span(key, value, UPKEEP_MIN..=TIME_MAX)?;
        }
        Ok(())
    }
}

/// Turns a value out of its range into an error that names key, value, range and origin.
struct Checker<'a> {
    config: &'a Config,
    origins: &'a Origins,
}

impl Checker<'_> {
    /// A secret that is short can be guessed, and who has it may do everything.
    fn token_secret(&self) -> Result<(), ConfigError> {
        let jwt = &self.config.http_jwt;
        let bytes = jwt.encoding_secret.0.len();
        if bytes == 0 || bytes >= TOKEN_SECRET_BYTES_MIN || !jwt.algorithm.is_symmetric() {
            return Ok(());
        }
        let key = "http.jwt.encoding_secret";
        Err(ConfigError::BadValue {
            key: key.to_owned(),
            value: format!("a text of {bytes} bytes"),
            expected: format!("at least {TOKEN_SECRET_BYTES_MIN} random bytes, or nothing"),
            origin: self.origins.origin(key),
        })
    }

    fn number(&self, key: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), ConfigError> {
        let (min, max) = (*range.start(), *range.end());
        self.within(key, value, range, || format!("a number from {min} to {max}"))
    }

    fn bytes(&self, key: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), ConfigError> {
        let (min, max) = (show(*range.start()), show(*range.end()));
        self.within(key, value, range, || format!("a size from {min} to {max}"))
    }

    fn span(
        &self,
        key: &str,
        TimeSpan(value): TimeSpan,
        range: RangeInclusive<Duration>,
    ) -> Result<(), ConfigError> {
        let (min, max) = range.into_inner();
        self.within(key, micros(value), micros(min)..=micros(max), || {
            let show =
                |time| super::value::Value::show(&TimeSpan(time)).trim_matches('"').to_owned();
            format!("a time from {} to {}", show(min), show(max))
        })
    }

    fn within(
        &self,
        key: &str,
        value: u64,
        range: RangeInclusive<u64>,
        expected: impl FnOnce() -> String,
    ) -> Result<(), ConfigError> {
        if range.contains(&value) {
            return Ok(());
        }
        let written = self.origins.of(key).map(|(_, text)| text.clone());
        let shown = || keys().find(|row| row.path() == key).map(|row| (row.show)(self.config));
        Err(ConfigError::BadValue {
            key: key.to_owned(),
            value: written.or_else(shown).unwrap_or_default(),
            expected: expected(),
            origin: self.origins.origin(key),
        })
    }
}

fn show(bytes: u64) -> String {
    super::value::Value::show(&ByteSize(bytes)).trim_matches('"').to_owned()
}
