//! Bare programs: the least that a server could do, as the machine's own limit.
//!
//! Each has one blocking thread for a connection. What they take are frames (a `u32` length, then that many bytes),
//! what they answer begins as every answer of a server does: a status of 0, and the length of what follows.

pub(crate) mod echo;
pub(crate) mod sink;
pub(crate) mod source;

use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use galgo_bench::{BenchError, Outcome};

use crate::rows::LARGE;

/// Largest frame taken; the load stays far below.
const FRAME_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(
    FRAME_BYTES_MAX as u64 > 16 * LARGE.messages as u64 * LARGE.message_bytes as u64,
    "the largest request of a row is far below"
);

/// Takes connections until the process ends, and has `work` work on each, by its number, on a thread of its own.
fn serve<W>(listener: &TcpListener, work: W) -> Outcome
where
    W: Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static,
{
    let work = Arc::new(work);
    for (number, connection) in listener.incoming().enumerate() {
        let socket = connection.map_err(|error| {
            BenchError::connection(format!("cannot take a connection: {error}"))
        })?;
        let work = Arc::clone(&work);
        std::thread::spawn(move || {
            // The load closes its sockets when it is done; that is the normal end.
            let _ = socket.set_nodelay(true).and_then(|()| work(number, socket));
        });
    }
    Ok(())
}

/// Reads the next frame, its length included, in place of what `frame` held.
fn take_frame(socket: &mut TcpStream, frame: &mut Vec<u8>) -> io::Result<()> {
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
    socket.read_exact(body)
}
