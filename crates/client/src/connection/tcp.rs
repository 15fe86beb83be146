//! Opens links over plain TCP.

use std::io;

use tokio::net::TcpStream;

use crate::connection::link::Link;

/// Connects to `host`, trying each of its addresses in turn.
pub(super) async fn open(host: &str, port: u16, nodelay: bool) -> io::Result<Link> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(nodelay)?;
    let (reader, writer) = stream.into_split();
    Ok(Link { reader: Box::new(reader), writer: Box::new(writer) })
}
