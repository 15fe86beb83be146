//! The bare source: a `sendfile` server, as the machine's own limit for reads.
//!
//! A request is a frame (a `u32` length of 16, then position and length as `u64`); the answer is
//! an eight-byte header (status 0, length) and that range of the one file it serves.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use galgo_wire::index::to_usize;

use crate::failure::{Failure, Outcome};

/// Bytes of a request: its length word, a position and a length.
pub(crate) const REQUEST_BYTES: usize = 20;

/// A request for `bytes` bytes from `position`.
pub(crate) fn request(position: u64, bytes: u64) -> [u8; REQUEST_BYTES] {
    let mut frame = [0; REQUEST_BYTES];
    frame[..4].copy_from_slice(&16u32.to_le_bytes());
    frame[4..12].copy_from_slice(&position.to_le_bytes());
    frame[12..].copy_from_slice(&bytes.to_le_bytes());
    frame
}

/// Serves ranges of `file` until the process ends.
pub(crate) fn serve(listener: &TcpListener, file: File) -> Outcome {
    let file = Arc::new(file);
    for connection in listener.incoming() {
        let socket = connection
            .map_err(|error| Failure::connection(format!("cannot take a connection: {error}")))?;
        let file = Arc::clone(&file);
        std::thread::spawn(move || give(socket, &file));
    }
    Ok(())
}

fn give(mut socket: TcpStream, file: &File) -> io::Result<()> {
    socket.set_nodelay(true)?;
    loop {
        let mut frame = [0; REQUEST_BYTES];
        socket.read_exact(&mut frame)?;
        let (_, body) = frame.split_at(4);
        let (position, bytes) = body.split_at(8);
        let mut position = word(position);
        let mut left = word(bytes);
        let length = u32::try_from(left).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut header = [0; 8];
        header[4..].copy_from_slice(&length.to_le_bytes());
        socket.write_all(&header)?;
        while left > 0 {
            let ask = to_usize(left);
            let sent = rustix::fs::sendfile(&socket, file, Some(&mut position), ask)?;
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            left -= sent as u64;
        }
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_back_with_a_header() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, file));
        let mut socket = TcpStream::connect(address).unwrap();
        for (position, bytes, expected) in [(0, 3, &b"012"[..]), (7, 3, b"789")] {
            socket.write_all(&request(position, bytes)).unwrap();
            let mut answer = [0; 11];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..8], [0, 0, 0, 0, 3, 0, 0, 0]);
            assert_eq!(&answer[8..], expected);
        }
    }
}
