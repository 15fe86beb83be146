//! The options of a connection string.

use std::path::PathBuf;
use std::time::Duration;

use crate::builder::ClientBuilder;
use crate::connection_string::{ConnectionStringError, Scheme};
use crate::{ClientCertificate, TlsOptions, Transport};

/// Options every transport has.
const SHARED: [&str; 10] = [
    "heartbeat_interval",
    "reconnection_retries",
    "reconnection_interval",
    "reestablish_after",
    "connect_timeout",
    "request_timeout",
    "tls_domain",
    "tls_ca_file",
    "tls_cert_file",
    "tls_key_file",
];
/// Options of what runs over TCP.
const STREAM: [&str; 3] = ["nodelay", "tls", "tls_validate_certificate"];
/// Options of QUIC.
const QUIC: [&str; 11] = [
    "reconnection_max_retries",
    "reconnection_reestablish_after",
    "validate_certificate",
    "response_buffer_size",
    "max_concurrent_bidi_streams",
    "datagram_send_buffer_size",
    "initial_mtu",
    "send_window",
    "receive_window",
    "keep_alive_interval",
    "max_idle_timeout",
];
/// Options of WebSocket.
const WEBSOCKET: [&str; 6] = [
    "read_buffer_size",
    "write_buffer_size",
    "max_write_buffer_size",
    "max_message_size",
    "max_frame_size",
    "accept_unmasked_frames",
];

fn names_of(transport: Transport) -> impl Iterator<Item = &'static str> + Clone {
    let own: [&[&str]; 2] = match transport {
        Transport::Tcp => [&STREAM, &[]],
        Transport::Quic => [&QUIC, &[]],
        Transport::WebSocket => [&STREAM, &WEBSOCKET],
    };
    SHARED.into_iter().chain(own.into_iter().flatten().copied())
}

/// Whether some transport has an option of this name.
pub(super) fn exists(name: &str) -> bool {
    let all = [Transport::Tcp, Transport::Quic, Transport::WebSocket];
    all.into_iter().flat_map(names_of).any(|known| known == name)
}

/// The options read so far that make sense only together.
pub(super) struct OptionsRead {
    transport: Transport,
    has_tls: bool,
    tls: TlsOptions,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

impl OptionsRead {
    pub(super) fn new(scheme: &Scheme) -> Self {
        let validates = match scheme.transport {
            Transport::Tcp => true,
            Transport::Quic => false,
            // Classic clients take any certificate here unless told otherwise.
            Transport::WebSocket => scheme.is_galgo,
        };
        Self {
            transport: scheme.transport,
            has_tls: scheme.has_tls,
            tls: TlsOptions::default().validate_certificate(validates),
            cert_file: None,
            key_file: None,
        }
    }

    /// What the options say about TLS.
    pub(super) fn tls(self) -> Result<Option<TlsOptions>, ConnectionStringError> {
        let mut tls = self.tls;
        tls.client_certificate = match (self.cert_file, self.key_file) {
            (Some(cert_file), Some(key_file)) => Some(ClientCertificate { cert_file, key_file }),
            (None, None) => None,
            (Some(_), None) => return Err(no_value("tls_key_file")),
            (None, Some(_)) => return Err(no_value("tls_cert_file")),
        };
        Ok(self.has_tls.then_some(tls))
    }

    /// Puts `option=value` into `builder`, or keeps it.
    pub(super) fn apply(
        &mut self,
        builder: &mut ClientBuilder,
        pair: &str,
    ) -> Result<(), ConnectionStringError> {
        let (option, value) = match pair.split_once('=') {
            Some((option, value)) if !value.is_empty() => (option, value),
            _ => return Err(no_value(pair.trim_end_matches('='))),
        };
        let name = self.name(option)?;
        let value = OptionText { option: name, text: value };
        match self.transport {
            _ if SHARED.contains(&name) => self.shared(builder, &value),
            _ if STREAM.contains(&name) => self.stream(builder, &value),
            Transport::WebSocket => websocket(builder, &value),
            _ => self.quic(builder, &value),
        }
    }

    /// The option called `option`, if this transport has it.
    fn name(&self, option: &str) -> Result<&'static str, ConnectionStringError> {
        let names = names_of(self.transport);
        if let Some(name) = names.clone().find(|name| *name == option) {
            return Ok(name);
        }
        let others = [Transport::Tcp, Transport::Quic, Transport::WebSocket];
        if let Some(option) = others.into_iter().flat_map(names_of).find(|name| *name == option) {
            return Err(ConnectionStringError::Misplaced { option, transport: self.transport });
        }
        let likeness = |name: &str| strsim::jaro_winkler(name, option);
        let nearest = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let nearest = nearest.filter(|name| likeness(name) > 0.8);
        Err(ConnectionStringError::UnknownOption { option: option.into(), nearest })
    }

    fn shared(
        &mut self,
        builder: &mut ClientBuilder,
        value: &OptionText<'_>,
    ) -> Result<(), ConnectionStringError> {
        let path = || Some(PathBuf::from(value.text));
        match value.option {
            "heartbeat_interval" => {
                builder.heartbeat_interval = value.duration()?.max(Duration::from_millis(1));
            }
            "reconnection_retries" => builder.reconnect.attempts_max = value.attempts()?,
            "reconnection_interval" => {
                let first = value.duration()?;
                builder.reconnect = builder.reconnect.delays(first, builder.reconnect.delay_max);
            }
            "reestablish_after" => builder.reconnect.reestablish_after = value.duration()?,
            "connect_timeout" => builder.connect_timeout = value.duration()?,
            "request_timeout" => builder.request_timeout = value.duration()?,
            "tls_domain" => self.tls.domain = Some(value.text.into()),
            "tls_ca_file" => self.tls.ca_file = path(),
            "tls_cert_file" => self.cert_file = path(),
            "tls_key_file" => self.key_file = path(),
            other => unreachable!("{other} is in the list of shared options and is read"),
        }
        Ok(())
    }

    fn stream(
        &mut self,
        builder: &mut ClientBuilder,
        value: &OptionText<'_>,
    ) -> Result<(), ConnectionStringError> {
        match value.option {
            "nodelay" => builder.nodelay = value.boolean()?,
            "tls" => self.has_tls = value.boolean()?,
            "tls_validate_certificate" => self.tls.validate_certificate = value.boolean()?,
            other => unreachable!("{other} is in the list of options of a stream and is read"),
        }
        Ok(())
    }

    fn quic(
        &mut self,
        builder: &mut ClientBuilder,
        value: &OptionText<'_>,
    ) -> Result<(), ConnectionStringError> {
        let quic = &mut builder.quic;
        match value.option {
            "reconnection_max_retries" => builder.reconnect.attempts_max = value.attempts()?,
            "reconnection_reestablish_after" => {
                builder.reconnect.reestablish_after = value.duration()?;
            }
            "validate_certificate" => self.tls.validate_certificate = value.boolean()?,
            "response_buffer_size" => builder.reply_bytes_max = value.number()?,
            "max_concurrent_bidi_streams" => quic.max_concurrent_bidi_streams = value.number()?,
            "datagram_send_buffer_size" => quic.datagram_send_buffer_size = value.number()?,
            "initial_mtu" => quic.initial_mtu = value.number()?,
            "send_window" => quic.send_window = Some(value.number()?),
            "receive_window" => quic.receive_window = Some(value.number()?),
            "keep_alive_interval" => quic.keep_alive_interval = value.millis()?,
            "max_idle_timeout" => quic.max_idle_timeout = value.millis()?,
            other => unreachable!("{other} is in the list of options of QUIC and is read"),
        }
        Ok(())
    }
}

fn websocket(
    builder: &mut ClientBuilder,
    value: &OptionText<'_>,
) -> Result<(), ConnectionStringError> {
    let websocket = &mut builder.websocket;
    match value.option {
        "read_buffer_size" => websocket.read_buffer_size = Some(value.number()?),
        "write_buffer_size" => websocket.write_buffer_size = Some(value.number()?),
        "max_write_buffer_size" => websocket.max_write_buffer_size = Some(value.number()?),
        "max_message_size" => websocket.max_message_size = Some(value.number()?),
        "max_frame_size" => websocket.max_frame_size = Some(value.number()?),
        "accept_unmasked_frames" => websocket.accept_unmasked_frames = value.boolean()?,
        other => unreachable!("{other} is in the list of options of WebSocket and is read"),
    }
    Ok(())
}

/// What an option is set to.
struct OptionText<'a> {
    option: &'static str,
    text: &'a str,
}

impl OptionText<'_> {
    fn duration(&self) -> Result<Duration, ConnectionStringError> {
        humantime::parse_duration(self.text)
            .map_err(|_| self.bad("give a time such as 500ms, 5s or 1m"))
    }

    /// A time, or a bare number of milliseconds, as classic clients write it.
    fn millis(&self) -> Result<Duration, ConnectionStringError> {
        match self.text.parse() {
            Ok(millis) => Ok(Duration::from_millis(millis)),
            Err(_) => self.duration(),
        }
    }

    fn attempts(&self) -> Result<Option<u32>, ConnectionStringError> {
        match self.text {
            "unlimited" => Ok(None),
            number => number
                .parse()
                .map(Some)
                .map_err(|_| self.bad("give a number or the word unlimited")),
        }
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, ConnectionStringError> {
        self.text.parse().map_err(|_| self.bad("give a number"))
    }

    fn boolean(&self) -> Result<bool, ConnectionStringError> {
        self.text.parse().map_err(|_| self.bad("give true or false"))
    }

    fn bad(&self, expected: &'static str) -> ConnectionStringError {
        ConnectionStringError::Value { option: self.option, value: self.text.into(), expected }
    }
}

fn no_value(option: &str) -> ConnectionStringError {
    ConnectionStringError::NoValue { option: option.into() }
}
