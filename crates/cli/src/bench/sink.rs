//! The bare sink: the least a durable server can do, as the machine's own limit for writes.
//!
//! One blocking thread per connection reads a frame (a `u32` length, then that many bytes), appends
//! it to a file of its connection, calls `fdatasync` when asked to, and answers eight zero bytes.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// Largest frame taken; the load generator stays far below.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What the answer to a frame is: the bytes of an empty successful reply.
const ANSWER: [u8; 8] = [0; 8];

/// How the sink treats what it takes.
#[derive(Clone, Debug)]
pub(crate) struct SinkOptions {
    /// Where its files go.
    pub(crate) dir: PathBuf,
    /// Whether each frame is synced before it is answered.
    pub(crate) sync: bool,
}

/// Takes connections until the process ends.
pub(crate) fn serve(listener: &TcpListener, options: &SinkOptions) -> Outcome {
    for (number, connection) in listener.incoming().enumerate() {
        let socket = connection
            .map_err(|error| Failure::connection(format!("cannot take a connection: {error}")))?;
        let path = options.dir.join(format!("connection-{number}.frames"));
        let sync = options.sync;
        std::thread::spawn(move || {
            // The load generator closes its sockets when it is done; that is the normal end.
            let _ = take(socket, &path, sync);
            let _ = std::fs::remove_file(&path);
        });
    }
    Ok(())
}

fn take(mut socket: TcpStream, path: &Path, sync: bool) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut file = File::create(path)?;
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
        file.write_all(&frame)?;
        if sync {
            file.sync_data()?;
        }
        socket.write_all(&ANSWER)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_appended_and_answered() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let options = SinkOptions { dir: dir.path().to_owned(), sync: true };
        std::thread::spawn(move || serve(&listener, &options));
        let mut socket = TcpStream::connect(address).unwrap();
        for frame in [&b"\x03\0\0\0abc"[..], b"\x01\0\0\0d"] {
            socket.write_all(frame).unwrap();
            let mut answer = [1; 8];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(answer, ANSWER);
        }
        let kept = std::fs::read(dir.path().join("connection-0.frames")).unwrap();
        assert_eq!(kept, b"\x03\0\0\0abc\x01\0\0\0d");
    }
}
