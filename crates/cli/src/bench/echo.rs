//! The bare echo: sends each frame back as it came, as the machine's own limit for a way there and back.
//!
//! A frame is a `u32` length, then that many bytes; one blocking thread for each connection.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::failure::{Failure, Outcome};

/// Largest frame taken; the load generator stays far below.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Takes connections until the process ends.
pub(crate) fn serve(listener: &TcpListener) -> Outcome {
    for connection in listener.incoming() {
        let socket = connection
            .map_err(|error| Failure::connection(format!("cannot take a connection: {error}")))?;
        // The load generator closes its sockets when it is done; that is the normal end.
        std::thread::spawn(move || give_back(socket));
    }
    Ok(())
}

fn give_back(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        // Grows on the first frame of a size and is reused from then on.
        frame.resize(length.len() + bytes, 0);
        let (head, body) = frame.split_at_mut(length.len());
        head.copy_from_slice(&length);
        socket.read_exact(body)?;
        socket.write_all(&frame)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener));
        let mut socket = TcpStream::connect(address).unwrap();
        for frame in [&b"\x03\0\0\0abc"[..], b"\x01\0\0\0d"] {
            socket.write_all(frame).unwrap();
            let mut back = vec![0; frame.len()];
            socket.read_exact(&mut back).unwrap();
            assert_eq!(back, frame);
        }
    }
}
