//! The bare source: a `sendfile` server, as the machine's own limit for reads.
//!
//! A request is a frame of position and length, both `u64` ([`range_request`](galgo_bench::polls::range_request)); the
//! answer is that range of the one file it serves.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use galgo_bench::polls::RANGE_REQUEST_BYTES;
use galgo_bench::{BenchError, Outcome};
use galgo_wire::command::messages::PolledHeader;
use galgo_wire::frame::ResponseHeader;
use galgo_wire::id::{Offset, PartitionId};
use galgo_wire::index::to_usize;
use galgo_wire::limits::{MESSAGE_HEADER_BYTES, POLLED_HEADER_BYTES};

use crate::rows::RequestSize;

/// Serves ranges of `file` until the process ends.
pub(crate) fn serve(listener: &TcpListener, file: File) -> Outcome {
    super::serve(listener, move |_, socket| give(socket, &file))
}

fn give(mut socket: TcpStream, file: &File) -> io::Result<()> {
    loop {
        let mut frame = [0; RANGE_REQUEST_BYTES];
        socket.read_exact(&mut frame)?;
        let (_, body) = frame.split_at(4);
        let (position, bytes) = body.split_at(8);
        let mut position = word(position);
        let mut left = word(bytes);
        let length = u32::try_from(left).map_err(|_| io::ErrorKind::InvalidData)?;
        socket.write_all(&ResponseHeader::ok(length).to_bytes())?;
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

/// Bytes of the answer to a poll for a batch.
pub(crate) fn polled_bytes(batch: RequestSize) -> u64 {
    let message_bytes = MESSAGE_HEADER_BYTES as u64 + u64::from(batch.message_bytes);
    POLLED_HEADER_BYTES as u64 + u64::from(batch.messages) * message_bytes
}

/// Writes so many answers to polls for a batch, one behind the other, as a log gets written, one batch at a time: the
/// sizes of the writes decide how large the pieces are in which the page cache keeps a file, and by that what reading
/// it costs.
pub(crate) fn write_answers(path: &Path, batch: RequestSize, answers: u32) -> Outcome {
    let failed = |error| BenchError::machine(format!("cannot write {}: {error}", path.display()));
    let header = PolledHeader {
        partition_id: PartitionId::new(0),
        current_offset: Offset::new(0),
        count: batch.messages,
    };
    let mut answer = header.to_array().to_vec();
    answer.resize(to_usize(polled_bytes(batch)), 0);
    let mut file = File::create(path).map_err(failed)?;
    (0..answers).try_for_each(|_| file.write_all(&answer)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use galgo_bench::polls::range_request;

    #[test]
    fn ranges_come_back_with_a_header() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, file));
        let mut socket = TcpStream::connect(address).unwrap();
        for (position, bytes, expected) in [(0, 3, &b"012"[..]), (7, 3, b"789")] {
            socket.write_all(&range_request(position, bytes)).unwrap();
            let mut answer = [0; 11];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..8], [0, 0, 0, 0, 3, 0, 0, 0]);
            assert_eq!(&answer[8..], expected);
        }
    }
}
