//! The options of a connection string.

use std::time::Duration;

use crate::builder::ClientBuilder;
use crate::connection_string::ConnectionStringError;

/// The names of all options.
pub(super) const NAMES: [&str; 10] = [
    "heartbeat_interval",
    "reconnection_retries",
    "reconnection_interval",
    "reestablish_after",
    "nodelay",
    "connect_timeout",
    "request_timeout",
    "tls",
    "tls_domain",
    "tls_ca_file",
];

/// Puts `option=value` into `builder`.
pub(super) fn apply(builder: &mut ClientBuilder, pair: &str) -> Result<(), ConnectionStringError> {
    let (option, value) = match pair.split_once('=') {
        Some((option, value)) if !value.is_empty() => (option, value),
        _ => {
            let option = pair.trim_end_matches('=').into();
            return Err(ConnectionStringError::NoValue { option });
        }
    };
    let Some(name) = NAMES.into_iter().find(|name| *name == option) else {
        let nearest = nearest(option);
        return Err(ConnectionStringError::UnknownOption { option: option.into(), nearest });
    };
    match name {
        "heartbeat_interval" => {
            builder.heartbeat_interval = duration(name, value)?.max(Duration::from_millis(1));
        }
        "reconnection_retries" => builder.reconnect.attempts_max = attempts(name, value)?,
        "reconnection_interval" => {
            let first = duration(name, value)?;
            builder.reconnect = builder.reconnect.delays(first, builder.reconnect.delay_max);
        }
        "reestablish_after" => builder.reconnect.reestablish_after = duration(name, value)?,
        "nodelay" => builder.nodelay = boolean(name, value)?,
        "connect_timeout" => builder.connect_timeout = duration(name, value)?,
        "request_timeout" => builder.request_timeout = duration(name, value)?,
        "tls" if boolean(name, value)? => {
            return Err(bad(name, value, "TLS is not supported yet, leave it out"));
        }
        // Only of use with TLS; harmless without.
        _ => {}
    }
    Ok(())
}

fn nearest(option: &str) -> Option<&'static str> {
    let likeness = |name: &str| strsim::jaro_winkler(name, option);
    let nearest = NAMES.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) > 0.8).then_some(nearest)
}

fn duration(option: &'static str, value: &str) -> Result<Duration, ConnectionStringError> {
    humantime::parse_duration(value)
        .map_err(|_| bad(option, value, "give a time such as 500ms, 5s or 1m"))
}

fn attempts(option: &'static str, value: &str) -> Result<Option<u32>, ConnectionStringError> {
    match value {
        "unlimited" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| bad(option, value, "give a number or the word unlimited")),
    }
}

fn boolean(option: &'static str, value: &str) -> Result<bool, ConnectionStringError> {
    value.parse().map_err(|_| bad(option, value, "give true or false"))
}

fn bad(option: &'static str, value: &str, expected: &'static str) -> ConnectionStringError {
    ConnectionStringError::Value { option, value: value.into(), expected }
}
