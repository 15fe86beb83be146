//! One connection after the other: requests sent on without waiting, cut anywhere, every answer counted.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::frames::{framed, request, root_login};
use crate::numbers::Numbers;

/// Most requests of one round.
const ROUND_FRAMES: usize = 60;

/// Rounds over one connection.
const ROUNDS: usize = 20;

/// No answer of a healthy server takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers after which the server closes the connection.
const CLOSING: [u32; 2] = [30, 100];

/// Sends about `frames` frames; returns how many answers came.
pub(crate) fn rounds(address: SocketAddr, mut numbers: Numbers, frames: u64) -> u64 {
    let mut answers = 0;
    while answers < frames {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let known = !numbers.once_in(4);
        for _ in 0..ROUNDS {
            match round(&socket, known, &mut numbers) {
                Ok(count) => answers += count,
                Err(Closed(count)) => {
                    answers += count;
                    break;
                }
            }
        }
    }
    answers
}

/// The server said that it closes, after so many answers.
struct Closed(u64);

fn round(socket: &TcpStream, known: bool, numbers: &mut Numbers) -> Result<u64, Closed> {
    let mut requests = Vec::new();
    if known && numbers.once_in(5) {
        requests.push(root_login());
    }
    let count = 1 + numbers.below(ROUND_FRAMES);
    requests.extend((0..count).map(|_| request(numbers)));
    requests.push(framed(1, &[]));
    let expected = requests.len() as u64;
    let bytes = requests.concat();
    let cuts = Numbers::new(numbers.next());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(socket, &bytes, cuts));
        let mut last = 0;
        for index in 0..expected {
            last = answer(socket);
            if CLOSING.contains(&last) {
                let mut rest = Vec::new();
                let _ = (&*socket).read_to_end(&mut rest);
                assert!(rest.is_empty(), "nothing follows the last answer");
                return Err(Closed(index + 1));
            }
        }
        sender.join().unwrap();
        assert_eq!(last, 0, "the PING at the end is answered in its turn");
        Ok(expected)
    })
}

/// Writes `bytes` in pieces; a server that closed takes no more of them.
fn send(mut socket: &TcpStream, mut bytes: &[u8], mut cuts: Numbers) {
    while !bytes.is_empty() {
        let most = cuts.pick(&[3, 100, 5_000, 1 << 20]);
        let (piece, rest) = bytes.split_at(bytes.len().min(1 + cuts.below(most)));
        if socket.write_all(piece).is_err() {
            return;
        }
        bytes = rest;
    }
}

/// Reads one answer and returns its status.
fn answer(mut socket: &TcpStream) -> u32 {
    let mut header = [0; 8];
    socket.read_exact(&mut header).unwrap();
    let status = u32::from_le_bytes(header[..4].try_into().unwrap());
    let length = u32::from_le_bytes(header[4..].try_into().unwrap());
    assert!(status < 20_000, "{status} is no error of the protocol");
    assert!(status == 0 || length == 0, "an error has no payload");
    assert_ne!(length, 1, "clients do not read a payload of one byte");
    assert!(length <= 100 << 20, "{length} bytes in an answer");
    let mut payload = vec![0; length as usize];
    socket.read_exact(&mut payload).unwrap();
    status
}
