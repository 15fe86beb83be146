//! Whether a server of AMQP is there and greets those it does not know yet.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::bridge::address::BridgeAddress;

/// What a client begins with.
const HELLO: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// Whether it answers a hello with the first step of a login.
pub(super) async fn greets(address: &BridgeAddress, connector: Option<&TlsConnector>) -> bool {
    let Ok(stream) = TcpStream::connect(address.place()).await else { return false };
    match connector {
        None => answers(stream).await,
        Some(connector) => {
            let Ok(name) = ServerName::try_from(address.host.clone()) else { return false };
            match connector.connect(name, stream).await {
                Ok(stream) => answers(stream).await,
                Err(_) => false,
            }
        }
    }
}

async fn answers(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> bool {
    // A method of channel 0, a length, and "connection, start".
    let mut head = [0; 11];
    stream.write_all(&HELLO).await.is_ok()
        && stream.read_exact(&mut head).await.is_ok()
        && matches!(head, [1, 0, 0, _, _, _, _, 0, 10, 0, 10])
}
