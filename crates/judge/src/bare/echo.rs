//! The bare echo: answers each frame with itself, as the machine's own limit for a way there and back.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};

use galgo_bench::Outcome;
use galgo_wire::frame::ResponseHeader;

/// Takes connections until the process ends.
pub(crate) fn serve(listener: &TcpListener) -> Outcome {
    super::serve(listener, |_, socket| give_back(socket))
}

fn give_back(mut socket: TcpStream) -> io::Result<()> {
    let (mut frame, mut answer) = (Vec::new(), Vec::new());
    loop {
        super::take_frame(&mut socket, &mut frame)?;
        let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        answer.clear();
        ResponseHeader::ok(length).put(&mut answer);
        answer.extend_from_slice(&frame);
        socket.write_all(&answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn frames_come_back_as_they_went() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener));
        let mut socket = TcpStream::connect(address).unwrap();
        for frame in [&b"\x03\0\0\0abc"[..], b"\x01\0\0\0d"] {
            socket.write_all(frame).unwrap();
            let mut back = vec![9; 8 + frame.len()];
            socket.read_exact(&mut back).unwrap();
            assert_eq!(back[..8], [0, 0, 0, 0, frame.len() as u8, 0, 0, 0]);
            assert_eq!(&back[8..], frame);
        }
    }
}
