//! Opening a connection: which door, TLS or not, and how long.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Duplex, PgLogin, PgSession, login};
use crate::postgres::address::{Encryption, PgEndpoint};
use crate::postgres::fields::GarbledMessage;
use crate::postgres::frame::FrameCutter;
use crate::postgres::tls;
use crate::postgres::trouble::PgError;

/// For connecting, TLS and logging in, all together.
const CONNECT: Duration = Duration::from_secs(10);
/// A peer that is gone without a word is noticed after this much silence, and so many questions.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Opens a session at the first door that answers.
pub(super) async fn open(login: &PgLogin, replication: bool) -> Result<PgSession, PgError> {
    let mut last = PgError::Away("url names no host".to_owned());
    for door in &login.address.doors {
        let opened = timeout(CONNECT, at(door, login, replication)).await;
        match opened.unwrap_or_else(|_| Err(PgError::silence(CONNECT))) {
            Ok(session) => return Ok(session),
            // Another door may be the one that is open; what is refused by name is refused.
            Err(PgError::Away(reason)) => last = PgError::Away(format!("{door}: {reason}")),
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn at(door: &PgEndpoint, login: &PgLogin, replication: bool) -> Result<PgSession, PgError> {
    let (stream, encrypted): (Box<dyn Duplex>, bool) = match door {
        PgEndpoint::Socket(path) => (Box::new(UnixStream::connect(path).await?), false),
        PgEndpoint::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            watch_over(&stream).map_err(std::io::Error::from)?;
            encrypt(stream, host, login).await?
        }
    };
    let (cutter, patience) = (FrameCutter::default(), login.patience);
    let mut session = PgSession { stream, cutter, patience, is_idle: true };
    login::log_in(&mut session, login, login::SessionManner { replication, encrypted }).await?;
    Ok(session)
}

/// A half-open connection would be waited for for hours otherwise.
fn watch_over(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)
}

async fn encrypt(
    mut stream: TcpStream,
    host: &str,
    login: &PgLogin,
) -> Result<(Box<dyn Duplex>, bool), PgError> {
    let encryption = login.address.encryption;
    if encryption == Encryption::Off {
        return Ok((Box::new(stream), false));
    }
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    stream.write_all(&out).await?;
    // One byte and no more: what comes behind it in clear text must not be taken for part of what is encrypted.
    match stream.read_u8().await? {
        b'S' => {
            let verified = encryption == Encryption::Verified;
            let stream = tls::wrap(stream, host, verified, login.ca_file.as_deref()).await?;
            Ok((Box::new(stream), true))
        }
        b'N' if encryption == Encryption::Offered => Ok((Box::new(stream), false)),
        b'N' => Err(PgError::Setup {
            reason: format!("{host} does not speak TLS"),
            advice: "switch ssl on in postgresql.conf, or say sslmode=disable in url".to_owned(),
        }),
        _ => Err(GarbledMessage("an answer about TLS was expected").into()),
    }
}
