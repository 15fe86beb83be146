//! What a reader of an error can do next, by the server's code or by what came in place of an answer.

use std::io;

use crate::Transport;
use crate::error::Loss;

/// What to say of an answer that could be anything's.
pub(crate) const CHECK_PORT: &str = "check that the port is that of the transport, 8090 for TCP, 8080 for \
     QUIC and 8092 for WebSocket unless told otherwise, and whether it wants TLS";
/// What to say of a port that answers with TLS.
pub(crate) const SPEAKS_TLS: &str = "it speaks TLS; turn TLS on here too";
/// What to say of a port that answers with HTTP.
pub(crate) const SPEAKS_HTTP: &str = "it speaks HTTP; the ports of this protocol are others, 8090 for TCP \
     and 8092 for WebSocket unless told otherwise";

/// What to say when the server wants to know who the client is before the login.
const CLIENT_CERTIFICATE: &str = "the server wants a certificate of the client's own; name the files with it \
     and its key in tls_cert_file and tls_key_file";

/// What a code means where it stands for something its own words do not say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) text: &'static str,
    pub(crate) advice: &'static str,
}

/// A send that is answered as a message over its limit would be, when no message is.
pub(crate) const REQUEST_TOO_LARGE: Meaning = Meaning {
    text: "the request is larger than the server takes",
    advice: "send fewer or smaller messages at once, or raise limits.request_bytes of the server",
};

/// A login that is answered as one user too many would be.
pub(crate) const CONNECTIONS_LIMIT: Meaning = Meaning {
    text: "the server takes no more connections, in all or from this address",
    advice: "close connections that are not needed, or raise limits.connections or \
             limits.connections_per_address of the server",
};

/// The next step for `number`, when there is one to name.
pub(super) fn advice(number: u32) -> Option<&'static str> {
    Some(match number {
        3 => "the server does not know this request; it may be an older version",
        20 => "list the users, or your tokens, to see what exists",
        30 | 100 => "the server dropped this connection; connect again",
        40 => "log in first, or give user and password in the connection string",
        41 => "ask an administrator for the right to do this",
        42 => "check user name and password",
        46 => "choose another name, or change the user there is",
        47 => "an administrator can activate it",
        48 | 49 => "it is there so that somebody can always manage the server",
        51 => "choose another name, or delete that token",
        52 => "delete a token that is not used any more",
        53 | 54 => "create a new token",
        72 => "the server needs the key it was encrypted with; its log names the key",
        1009 => "list the streams to see what exists, or create it",
        1012 => "choose another name or use the existing stream",
        1019 => {
            "give at least the size of a segment, 1 GiB unless the server was told otherwise, or leave it to the default"
        }
        2010 => "list the topics of the stream to see what exists, or create it",
        2013 => "choose another name or use the existing topic",
        2015 => "give 1 to 1000 partitions",
        2019 => "look at the topic to see how many it has",
        3007 => "partitions are numbered from 0; look at the topic to see how many it has",
        3021 => "check its name and the partition, or store one first",
        4006 => "the log of the server says why; its disk may be full",
        4009 => "give at least one message",
        4017 => "the user headers of one message may have 100000 bytes",
        4022 => "one message may have 64000000 bytes",
        4027 => {
            "the server's log says which messages are damaged; restore them from a copy, or begin behind them"
        }
        4100 => "the offset is beyond the end of the partition",
        5000 => "list the consumer groups of the topic to see what exists, or create it",
        5004 => "choose another name, or use the group there is",
        _ => return None,
    })
}

/// What to check beside the address and the network when nothing is answered at all.
pub(crate) fn silence_advice(transport: Transport, with_tls: bool) -> &'static str {
    match (transport, with_tls) {
        (Transport::Quic, _) => {
            "that the port is that of QUIC, and that packets of UDP get through"
        }
        (_, true) => "that the port is that of the transport, and that it speaks TLS",
        (_, false) => "that the port is that of the transport, and whether it wants TLS",
    }
}

/// What may be the matter when a connection ends before anything was said over it.
pub(super) fn port_advice(loss: &Loss) -> &'static str {
    match loss {
        // In TLS 1.3 the server's verdict on the client's certificate comes after the handshake.
        Loss::Network(error) if error.to_string().contains("CertificateRequired") => {
            CLIENT_CERTIFICATE
        }
        Loss::Network(error) if error.to_string().contains("fatal alert") => {
            "the server may not trust the client's certificate; name one in tls_cert_file that its authority signed"
        }
        Loss::Closed | Loss::Network(_) => {
            "if the server is up, check that the port is that of the transport, and whether it wants TLS or a \
             certificate of the client's own"
        }
        _ => "connect again",
    }
}

/// What to do about a handshake that failed. The library's errors arrive as texts over QUIC.
pub(super) fn tls_advice(source: &io::Error) -> &'static str {
    let text = source.to_string();
    let advice = [
        (
            "UnknownIssuer",
            "name the file of the authority that made the certificate in tls_ca_file",
        ),
        ("NotValidForName", "name what the certificate is for in tls_domain"),
        ("not valid for name", "name what the certificate is for in tls_domain"),
        (
            "CaUsedAsEndEntity",
            "the server needs a certificate that an authority made, not the authority's",
        ),
        ("Expired", "the server needs a new certificate"),
        (
            "InvalidContentType",
            "that port seems to speak without TLS; turn TLS off here, or on there",
        ),
        ("CertificateRequired", CLIENT_CERTIFICATE),
    ];
    let found = advice.into_iter().find(|(part, _)| text.contains(part));
    found.map_or("check that TLS is on at both ends, and the certificate", |(_, advice)| advice)
}
