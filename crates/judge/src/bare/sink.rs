//! The bare sink: the least a durable server can do, as the machine's own limit for writes.
//!
//! It appends each frame to a file of its connection, calls `fdatasync` when asked to, and answers with nothing.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use galgo_bench::Outcome;

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
pub(crate) fn serve(listener: &TcpListener, options: SinkOptions) -> Outcome {
    super::serve(listener, move |number, socket| {
        let path = options.dir.join(format!("connection-{number}.frames"));
        let taken = take(socket, &path, options.sync);
        std::fs::remove_file(&path)?;
        taken
    })
}

fn take(mut socket: TcpStream, path: &Path, sync: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut frame = Vec::new();
    loop {
        super::take_frame(&mut socket, &mut frame)?;
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
    use std::io::Read as _;

    #[test]
    fn frames_are_appended_and_answered() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let options = SinkOptions { dir: dir.path().to_owned(), sync: true };
        std::thread::spawn(move || serve(&listener, options));
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
